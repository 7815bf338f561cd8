//! The calls by which connections exclude each other: locks of files, shared memory, and its locks.
//!
//! Invariant: each call lets the scheduler run another connection first, if there is a scheduler, and reports its
//! result.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering;

use rusqlite::ffi;

use super::{code, ours, size};
use crate::disk::device::Lock;
use crate::disk::footprint::Footprint;
use crate::disk::pace::Point;

fn level(number: c_int) -> Lock {
    match number {
        ffi::SQLITE_LOCK_NONE => Lock::None,
        ffi::SQLITE_LOCK_SHARED => Lock::Shared,
        ffi::SQLITE_LOCK_RESERVED => Lock::Reserved,
        _ => Lock::Exclusive,
    }
}

pub(super) unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    let open = unsafe { ours(file) };
    if open.unnamed.is_some() {
        return ffi::SQLITE_OK;
    }
    let footprint = Footprint::file_lock(level(wanted));
    open.shared.pause(Point::Lock(level(wanted)), footprint);
    let outcome = open.shared.disk().lock(open.file, open.id, level(wanted));
    open.shared.report_lock(outcome, footprint)
}

pub(super) unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    let open = unsafe { ours(file) };
    if open.unnamed.is_none() {
        let footprint = Footprint::file_lock(Lock::Exclusive);
        open.shared.pause(Point::Unlock(level(wanted)), footprint);
        open.shared.disk().unlock(open.file, open.id, level(wanted));
        open.shared.released(footprint);
    }
    ffi::SQLITE_OK
}

pub(super) unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite passes an open file of ours, and an int to write to.
    unsafe {
        let open = ours(file);
        open.shared.note(Footprint::file_lock(Lock::Shared));
        *out = c_int::from(open.unnamed.is_none() && open.shared.disk().is_reserved(open.file));
    }
    ffi::SQLITE_OK
}

pub(super) unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes an open file of ours, and a pointer to write to.
    let open = unsafe { ours(file) };
    let (index, bytes) = (size(index.into()), size(bytes.into()));
    open.shared.note(Footprint::names(true));
    let mapped = open.shared.disk().shm_map(open.file, open.id, index, bytes, extend != 0);
    match mapped {
        Ok(region) => {
            let start = region
                .as_ref()
                .and_then(|region| region.first())
                .map_or(ptr::null_mut(), |word| word.as_ptr());
            open.mapped.borrow_mut().extend(region);
            // SAFETY: SQLite passes a pointer to write to. The region does not move, lives as long as the handle, and
            // consists of atomics, so that writing through a shared pointer is allowed.
            unsafe { *out = start.cast() };
            ffi::SQLITE_OK
        }
        Err(failed) => code(failed),
    }
}

pub(super) unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    let open = unsafe { ours(file) };
    let slots = size(first.into())..size((first + count).into());
    let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    let unlock = flags & ffi::SQLITE_SHM_UNLOCK != 0;
    let footprint = Footprint::slots(slots.clone(), exclusive);
    open.shared.pause(Point::Shared { first: slots.start, exclusive, unlock }, footprint);
    if unlock {
        open.shared.disk().shm_unlock(open.file, open.id, slots, exclusive);
        open.shared.released(footprint);
        return ffi::SQLITE_OK;
    }
    let outcome = open.shared.disk().shm_lock(open.file, open.id, slots, exclusive);
    open.shared.report_lock(outcome, footprint)
}

pub(super) unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

pub(super) unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: SQLite passes an open file of ours, and uses no region of it after this.
    let open = unsafe { ours(file) };
    open.shared.disk().shm_unmap(open.file, open.id);
    open.shared.let_go();
    open.mapped.borrow_mut().clear();
    ffi::SQLITE_OK
}
