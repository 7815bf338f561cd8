//! The glue between SQLite and a simulated disk: the one module of this crate with `unsafe`.
//!
//! Invariant: SQLite gets pointers to nothing that can move or go while it may use them; no lock of this crate is held
//! when a callback returns; a panic in a callback ends the process, since it must not cross C. Nothing is decided here:
//! each callback translates its arguments, asks the [`Disk`], and translates the answer.
#![expect(unsafe_code, reason = "SQLite's file systems are tables of C functions")]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rusqlite::ffi;

mod locks;
mod memory;

pub use memory::AllocationFaults;

use super::device::{CallFailed, CallResult, Disk, DiskCall, HandleId, Lock};
use super::event::FileId;
use super::footprint::{FilePart, Footprint};
use super::pace::{Pace, Point};

/// A disk that SQLite can open files on, under the name of a file system of its own. It ends with this; connections
/// to it should have been closed before.
#[derive(Debug)]
pub struct Mounted {
    name: CString,
    shared: Arc<SharedDisk>,
    vfs: *mut ffi::sqlite3_vfs,
}

#[derive(Debug)]
struct SharedDisk {
    disk: Mutex<Disk>,
    open: AtomicUsize,
    pace: OnceLock<Arc<dyn Pace>>,
}

// SAFETY: the pointer is to a table that never changes after its registration and is freed by this alone; SQLite
// guards the list that links it by a mutex of its own. All else is behind `Arc` and `Mutex`.
unsafe impl Send for Mounted {}
// SAFETY: as above; `&Mounted` gives access to the disk through its mutex only.
unsafe impl Sync for Mounted {}

/// What an open file is to SQLite: its own part first, then ours.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

struct Open {
    shared: Arc<SharedDisk>,
    file: FileId,
    id: HandleId,
    part: FilePart,
    /// The first sync of a file that was created as a journal or a WAL syncs the directory too.
    sync_directory: Cell<bool>,
    /// A file without a name goes with its handle, and its content is not recorded.
    unnamed: Option<std::cell::RefCell<super::FileContent>>,
    /// Regions that SQLite has pointers to: they live as long as the handle, whatever the disk does.
    mapped: std::cell::RefCell<Vec<super::device::Region>>,
}

impl Mounted {
    /// Makes a disk known to SQLite. None if SQLite refuses, for want of memory.
    pub fn new(disk: Disk) -> Option<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("fencepost-disk-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).ok()?;
        let shared =
            Arc::new(SharedDisk { disk: Mutex::new(disk), open: AtomicUsize::new(0), pace: OnceLock::new() });
        let vfs = Box::into_raw(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<Handle>()).ok()?,
            mxPathname: 512,
            pNext: ptr::null_mut(),
            zName: name.as_ptr(),
            pAppData: Arc::as_ptr(&shared).cast_mut().cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: None,
            xCurrentTimeInt64: Some(current_time_ms),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the table and the name live until `drop`, which unregisters first.
        let registered = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        let mounted = Self { name, shared, vfs };
        (registered == ffi::SQLITE_OK).then_some(mounted)
    }

    /// The name to open files by.
    pub fn name(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }

    /// Has this asked at each point where another connection may run. The first call counts.
    pub fn set_pace(&self, pace: Arc<dyn Pace>) {
        let _ = self.shared.pace.set(pace);
    }

    /// Reports to the pace what was done to shared memory up to now, where no call of SQLite does that.
    pub fn settle(&self) {
        if let Some(pace) = self.shared.pace.get() {
            let changed = self.shared.disk().memory_changed();
            pace.settle(changed);
        }
    }

    /// The disk. While this is held, no connection to it gets on.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.disk()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // SAFETY: the table is the one that was registered.
        unsafe { ffi::sqlite3_vfs_unregister(self.vfs) };
        if self.shared.open.load(Ordering::SeqCst) == 0 {
            // SAFETY: it came from `Box::into_raw`; without an open file no connection uses it any more.
            drop(unsafe { Box::from_raw(self.vfs) });
        } else {
            // A connection still points here. Better to lose a few bytes than to let it point to nothing.
            std::mem::forget(std::mem::take(&mut self.name));
            std::mem::forget(Arc::clone(&self.shared));
        }
    }
}

impl SharedDisk {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets another connection run before this is read or written. No lock of ours is held here.
    fn pause(&self, point: Point, next: Footprint) {
        if let Some(pace) = self.pace.get() {
            let changed = self.disk().memory_changed();
            pace.pause(changed, point, next);
        }
    }

    fn note(&self, footprint: Footprint) {
        if let Some(pace) = self.pace.get() {
            pace.note(footprint);
        }
    }

    /// Says how a lock went, so that a connection that waits for one can sleep meanwhile.
    fn report_lock(&self, outcome: CallResult<()>, footprint: Footprint) -> c_int {
        if let Some(pace) = self.pace.get() {
            match outcome {
                Err(CallFailed::Busy) => pace.refused(footprint),
                _ => pace.note(footprint),
            }
        }
        status(outcome)
    }

    fn released(&self, footprint: Footprint) {
        self.note(footprint);
        if let Some(pace) = self.pace.get() {
            pace.released(footprint);
        }
    }

    /// A file, and what is shared by it, is let go of.
    fn let_go(&self) {
        let locks = Footprint::slots(0..8, true).and(Footprint::file_lock(Lock::Exclusive));
        self.note(Footprint::names(true).and(Footprint::changed(true, true)));
        self.released(locks);
    }
}

/// Makes the numbers that SQLite takes for random begin anew from a seed: salts of a WAL, nonces of a journal. They are
/// one sequence for the whole process, so what is to be the same each time must not run beside other work on SQLite.
pub fn seed_salts(seed: u32) {
    // A seed of zero would mean: from the operating system.
    let seed = c_int::from_ne_bytes(seed.to_ne_bytes()).max(1);
    // SAFETY: this verb takes an int and a connection, which may be null.
    unsafe {
        ffi::sqlite3_initialize();
        ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_PRNG_SEED, seed, ptr::null_mut::<ffi::sqlite3>());
    }
}

/// The extended code of the last call of a connection, if that was a busy one.
pub fn busy_code(conn: &rusqlite::Connection) -> Option<i32> {
    // SAFETY: the connection is open, and nothing else uses it meanwhile.
    let code = unsafe { ffi::sqlite3_extended_errcode(conn.handle()) };
    (code & 0xff == ffi::SQLITE_BUSY).then_some(code)
}

/// Lets SQLite keep no account of its memory, for which all threads would wait for each other: with two of them on many
/// small stores that is a quarter of the time. It must come before the first connection of the process; after it,
/// nothing happens.
pub fn keep_no_account_of_memory() {
    // SAFETY: this verb takes an int, and is refused if SQLite is in use.
    unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0 as c_int) };
}

// The file system.

/// The disk of a file system.
///
/// # Safety
/// `vfs` is a table of [`Mounted::new`] that is still registered, or in use by a connection.
unsafe fn shared(vfs: *mut ffi::sqlite3_vfs) -> Arc<SharedDisk> {
    // SAFETY: `pAppData` came from `Arc::as_ptr`, and `Mounted` holds that `Arc` as long as the table lives.
    unsafe {
        let data: *const SharedDisk = (*vfs).pAppData.cast();
        Arc::increment_strong_count(data);
        Arc::from_raw(data)
    }
}

/// A name that SQLite passes.
///
/// # Safety
/// `name` is null or a C string.
unsafe fn name<'a>(name: *const c_char) -> &'a str {
    if name.is_null() {
        return "";
    }
    // SAFETY: the caller says so; what is not UTF-8 is no name of ours.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or("?")
}

fn code(failed: CallFailed) -> c_int {
    match failed {
        CallFailed::Io(DiskCall::Open) => ffi::SQLITE_CANTOPEN,
        CallFailed::Io(DiskCall::Read) => ffi::SQLITE_IOERR_READ,
        CallFailed::Io(DiskCall::Write) => ffi::SQLITE_IOERR_WRITE,
        CallFailed::Io(DiskCall::Resize) => ffi::SQLITE_IOERR_TRUNCATE,
        CallFailed::Io(DiskCall::Sync) => ffi::SQLITE_IOERR_FSYNC,
        CallFailed::Io(DiskCall::Unlink) => ffi::SQLITE_IOERR_DELETE,
        CallFailed::Io(DiskCall::Look) => ffi::SQLITE_IOERR_FSTAT,
        CallFailed::Io(DiskCall::Map) => ffi::SQLITE_IOERR_SHMMAP,
        CallFailed::Io(DiskCall::Link) => ffi::SQLITE_IOERR,
        CallFailed::Full => ffi::SQLITE_FULL,
        CallFailed::Short => ffi::SQLITE_IOERR_SHORT_READ,
        CallFailed::Busy => ffi::SQLITE_BUSY,
        CallFailed::NotFound | CallFailed::Exists => ffi::SQLITE_CANTOPEN,
    }
}

fn status(outcome: CallResult<()>) -> c_int {
    outcome.map_or_else(code, |()| ffi::SQLITE_OK)
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a table of ours, `szOsFile` bytes for the file, a name or null, and an int or null.
    unsafe {
        let handle = file.cast::<Handle>();
        // Without methods SQLite does not close what was not opened.
        (*handle).base.pMethods = ptr::null();
        let shared = shared(vfs);
        shared.note(Footprint::names(true));
        let opened = if path.is_null() {
            shared.disk().anonymous().map(|id| (FileId(u32::MAX), id, false))
        } else {
            let create = flags & ffi::SQLITE_OPEN_CREATE != 0;
            let exclusive = flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0;
            shared.disk().open(name(path), create, exclusive)
        };
        let (file, id, created) = match opened {
            Ok(opened) => opened,
            Err(failed) => return code(failed),
        };
        let journals = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
        let open = Open {
            shared: Arc::clone(&shared),
            file,
            id,
            part: match flags {
                main if main & ffi::SQLITE_OPEN_MAIN_DB != 0 => FilePart::Main,
                wal if wal & ffi::SQLITE_OPEN_WAL != 0 => FilePart::Wal,
                _ => FilePart::Other,
            },
            sync_directory: Cell::new(created && flags & journals != 0),
            unnamed: path.is_null().then(Default::default),
            mapped: std::cell::RefCell::default(),
        };
        (*handle).open = Box::into_raw(Box::new(open));
        (*handle).base.pMethods = &raw const METHODS;
        shared.open.fetch_add(1, Ordering::SeqCst);
        if !flags_out.is_null() {
            *flags_out = flags;
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, path: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: SQLite passes a table of ours and a name.
    let (shared, path) = unsafe { (shared(vfs), name(path)) };
    shared.note(Footprint::names(true));
    let unlinked = shared.disk().unlink(path, sync_directory & 1 != 0);
    match unlinked {
        Err(CallFailed::NotFound) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(CallFailed::Io(DiskCall::Sync)) => ffi::SQLITE_IOERR_DIR_FSYNC,
        other => status(other),
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _flags: c_int,
    found: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a table of ours, a name, and an int to write to.
    unsafe {
        let shared = shared(vfs);
        shared.note(Footprint::names(false));
        let there = shared.disk().exists(name(path));
        match there {
            Ok(there) => {
                *found = c_int::from(there);
                ffi::SQLITE_OK
            }
            Err(_) => ffi::SQLITE_IOERR_ACCESS,
        }
    }
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a name, and `room` bytes to write to.
    unsafe {
        let bytes = CStr::from_ptr(path).to_bytes_with_nul();
        if usize::try_from(room).is_ok_and(|room| bytes.len() > room) {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    // No secret depends on this, and everything is to be the same each time.
    let bytes = usize::try_from(count).unwrap_or_default();
    // SAFETY: SQLite passes as many bytes to write to.
    unsafe { ptr::write_bytes(out, 0x5a, bytes) };
    count
}

/// Time does not pass: a connection that waits for a lock asks again until its patience, which is a count, ends.
unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    // SAFETY: SQLite passes a table of ours.
    let shared = unsafe { shared(vfs) };
    if let Some(pace) = shared.pace.get() {
        let changed = shared.disk().memory_changed();
        pace.sleep(changed);
    }
    microseconds
}

/// The first second of the Unix epoch, as a Julian day.
const JULIAN_EPOCH_DAYS: f64 = 2_440_587.5;

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite passes a number to write to.
    unsafe { *out = JULIAN_EPOCH_DAYS };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_ms(_vfs: *mut ffi::sqlite3_vfs, out: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes a number to write to.
    unsafe { *out = 210_866_760_000_000 };
    ffi::SQLITE_OK
}

// Open files.

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(locks::lock),
    xUnlock: Some(locks::unlock),
    xCheckReservedLock: Some(locks::check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(locks::shm_map),
    xShmLock: Some(locks::shm_lock),
    xShmBarrier: Some(locks::shm_barrier),
    xShmUnmap: Some(locks::shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Our part of an open file.
///
/// # Safety
/// `file` was opened by [`open`] and not closed since.
unsafe fn ours<'a>(file: *mut ffi::sqlite3_file) -> &'a Open {
    // SAFETY: `open` wrote a pointer from `Box::into_raw` there, and `close` alone frees it.
    unsafe { &*(*file.cast::<Handle>()).open }
}

fn size(number: ffi::sqlite3_int64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and uses nothing of it after that.
    unsafe {
        let handle = file.cast::<Handle>();
        let open = Box::from_raw((*handle).open);
        (*handle).open = ptr::null_mut();
        (*handle).base.pMethods = ptr::null();
        if open.unnamed.is_none() {
            open.shared.disk().close(open.file, open.id);
            open.shared.let_go();
        }
        open.shared.open.fetch_sub(1, Ordering::SeqCst);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file of ours, and `count` bytes to write to, which it has made its own before.
    let (open, into) =
        unsafe { (ours(file), std::slice::from_raw_parts_mut(into.cast::<u8>(), size(count.into()))) };
    if let Some(content) = &open.unnamed {
        let there = content.borrow().read(size(offset), into);
        return if there < into.len() { ffi::SQLITE_IOERR_SHORT_READ } else { ffi::SQLITE_OK };
    }
    let (offset, end) = (size(offset), size(offset).saturating_add(into.len()));
    open.shared.note(Footprint::bytes(open.part, offset..end, false));
    status(open.shared.disk().read(open.file, offset, into))
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file of ours, and `count` bytes to read.
    let (open, from) =
        unsafe { (ours(file), std::slice::from_raw_parts(from.cast::<u8>(), size(count.into()))) };
    if let Some(content) = &open.unnamed {
        content.borrow_mut().write(size(offset), from);
        return ffi::SQLITE_OK;
    }
    let (offset, end) = (size(offset), size(offset).saturating_add(from.len()));
    let mut disk = open.shared.disk();
    let footprint = Footprint::bytes(open.part, offset..end, true);
    let grows = disk.grows(open.file, end);
    open.shared.note(if grows { footprint.and(Footprint::size(open.part, true)) } else { footprint });
    status(disk.write(open.file, offset, from))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, bytes: ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    let open = unsafe { ours(file) };
    if let Some(content) = &open.unnamed {
        content.borrow_mut().resize(size(bytes));
        return ffi::SQLITE_OK;
    }
    open.shared.note(Footprint::whole(open.part));
    status(open.shared.disk().resize(open.file, size(bytes)))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    let open = unsafe { ours(file) };
    if open.unnamed.is_some() {
        return ffi::SQLITE_OK;
    }
    open.shared.pause(Point::Sync, Footprint::default());
    let mut disk = open.shared.disk();
    if let Err(failed) = disk.sync(open.file) {
        return code(failed);
    }
    match open.sync_directory.replace(false) {
        true => status(disk.sync_directory()),
        false => ffi::SQLITE_OK,
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    let open = unsafe { ours(file) };
    let found = match &open.unnamed {
        Some(content) => Ok(content.borrow().len()),
        None => {
            open.shared.note(Footprint::size(open.part, false));
            open.shared.disk().size(open.file)
        }
    };
    match found {
        Ok(bytes) => {
            // SAFETY: SQLite passes a number to write to.
            unsafe { *out = ffi::sqlite3_int64::try_from(bytes).unwrap_or(ffi::sqlite3_int64::MAX) };
            ffi::SQLITE_OK
        }
        Err(failed) => code(failed),
    }
}

/// One pragma is the disk's own: the one that syncs the directory.
unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, verb: c_int, argument: *mut c_void) -> c_int {
    if verb != ffi::SQLITE_FCNTL_PRAGMA {
        return ffi::SQLITE_NOTFOUND;
    }
    // SAFETY: with this verb SQLite passes an open file of ours, and an array of which the second is a name.
    let (open, pragma) = unsafe { (ours(file), name(*argument.cast::<*const c_char>().add(1))) };
    match pragma {
        "sync_directory" => status(open.shared.disk().sync_directory()),
        _ => ffi::SQLITE_NOTFOUND,
    }
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    let profile = unsafe { ours(file) }.shared.disk().profile();
    c_int::try_from(profile.sector_bytes).unwrap_or(512)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite passes an open file of ours.
    unsafe { ours(file) }.shared.disk().profile().characteristics
}
