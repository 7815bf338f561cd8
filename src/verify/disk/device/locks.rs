//! Locks of files, and the memory that connections share.
//!
//! Invariant: a connection that is refused a lock changed nothing, except for a lock that is pending.
//! Does not depend on: when SQLite asks for which lock.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    CallFailed, CallResult, Disk, DiskCall, FileId, HandleId, INDEX_HEADER_WORDS, Lock, MARK_WORDS, Region,
    SHM_SLOTS,
};
use crate::disk::footprint::Footprint;

impl Disk {
    pub(in crate::disk) fn lock(&mut self, file: FileId, handle: HandleId, level: Lock) -> CallResult<()> {
        let held_by_other = |holder: Option<HandleId>| holder.is_some_and(|holder| holder != handle);
        let file = self.file_mut(file);
        match level {
            Lock::None => {}
            Lock::Shared => {
                if held_by_other(file.pending) || held_by_other(file.exclusive) {
                    return Err(CallFailed::Busy);
                }
                file.shared.insert(handle);
            }
            Lock::Reserved => {
                if held_by_other(file.reserved) || held_by_other(file.pending) {
                    return Err(CallFailed::Busy);
                }
                file.reserved = Some(handle);
            }
            Lock::Exclusive => {
                if held_by_other(file.reserved) || held_by_other(file.pending) {
                    return Err(CallFailed::Busy);
                }
                file.pending = Some(handle);
                if file.shared.iter().any(|holder| *holder != handle) {
                    return Err(CallFailed::Busy);
                }
                file.exclusive = Some(handle);
            }
        }
        Ok(())
    }

    pub(in crate::disk) fn unlock(&mut self, file: FileId, handle: HandleId, level: Lock) {
        let file = self.file_mut(file);
        for holder in [&mut file.reserved, &mut file.pending, &mut file.exclusive] {
            if *holder == Some(handle) {
                *holder = None;
            }
        }
        if level == Lock::None {
            file.shared.remove(&handle);
        }
    }

    pub(in crate::disk) fn is_reserved(&self, file: FileId) -> bool {
        let file = self.file(file);
        file.reserved.is_some() || file.pending.is_some() || file.exclusive.is_some()
    }

    pub(in crate::disk) fn shm_map(
        &mut self,
        file: FileId,
        handle: HandleId,
        index: usize,
        bytes: usize,
        extend: bool,
    ) -> CallResult<Option<Region>> {
        self.may_fail(DiskCall::Map)?;
        let shm = &mut self.file_mut(file).shm;
        shm.users.insert(handle);
        while extend && shm.regions.len() <= index {
            shm.regions.push((0..bytes / size_of::<AtomicU32>()).map(|_| AtomicU32::new(0)).collect());
        }
        Ok(shm.regions.get(index).cloned())
    }

    pub(in crate::disk) fn shm_lock(
        &mut self,
        file: FileId,
        handle: HandleId,
        slots: std::ops::Range<usize>,
        exclusive: bool,
    ) -> CallResult<()> {
        let shm = &mut self.file_mut(file).shm;
        let taken = |slot: usize| {
            shm.exclusive[slot].is_some_and(|holder| holder != handle)
                || (exclusive && shm.shared[slot].iter().any(|holder| *holder != handle))
        };
        if slots.clone().any(taken) {
            return Err(CallFailed::Busy);
        }
        for slot in slots {
            match exclusive {
                true => shm.exclusive[slot] = Some(handle),
                false => {
                    shm.shared[slot].insert(handle);
                }
            }
        }
        Ok(())
    }

    pub(in crate::disk) fn shm_unlock(
        &mut self,
        file: FileId,
        handle: HandleId,
        slots: std::ops::Range<usize>,
        exclusive: bool,
    ) {
        let shm = &mut self.file_mut(file).shm;
        for slot in slots {
            if exclusive && shm.exclusive[slot] == Some(handle) {
                shm.exclusive[slot] = None;
            }
            if !exclusive {
                shm.shared[slot].remove(&handle);
            }
        }
    }

    /// What connections wrote to shared memory since the last time: in the header of a WAL's index and what
    /// is noted of checkpoints, and in the marks of readers. What is behind that is read as far as the header says.
    pub(in crate::disk) fn memory_changed(&mut self) -> Footprint {
        let (mut header, mut marks) = (false, false);
        for file in &mut self.files {
            let Some(region) = file.shm.regions.first() else { continue };
            file.shm.seen.resize(INDEX_HEADER_WORDS, 0);
            for (index, (word, seen)) in region.iter().zip(&mut file.shm.seen).enumerate() {
                let word = word.load(Ordering::Relaxed);
                let changed = std::mem::replace(seen, word) != word;
                if MARK_WORDS.contains(&index) {
                    marks |= changed;
                } else {
                    header |= changed;
                }
            }
        }
        Footprint::changed(header, marks)
    }

    /// The regions go with the last connection that mapped them, as on Unix the next one begins with empty ones.
    pub(in crate::disk) fn shm_unmap(&mut self, file: FileId, handle: HandleId) {
        self.shm_unlock(file, handle, 0..SHM_SLOTS, true);
        self.shm_unlock(file, handle, 0..SHM_SLOTS, false);
        let shm = &mut self.file_mut(file).shm;
        shm.users.remove(&handle);
        if shm.users.is_empty() {
            shm.regions.clear();
        }
    }
}
