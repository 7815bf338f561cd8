//! The footprint of a step: what a call reads and writes, coarse enough to be a few bits.
//!
//! Invariant: two calls whose footprints do not meet do the same in either order: a footprint is never smaller than
//! what is read and written. Shared memory is read and written through SQLite's own pointers, so every call counts as
//! reading it, and a change to it is found by comparing.
//! Does not depend on: which order is tried.

use std::ops::Range;

use super::device::Lock;

/// Sets of things that are read, and that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// What is read, a bit for each thing.
    pub reads: u64,
    /// What is written.
    pub writes: u64,
}

/// Which part of a store a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePart {
    /// The file itself.
    Main,
    /// Its WAL.
    Wal,
    /// Anything else.
    Other,
}

// Bits 0 to 7 are the slots of the shared memory, those of readers from 3 on.
const READERS: u64 = 0b1111_1000;
const FILE_LOCK: u64 = 1 << 8;
/// The header of the index of a WAL, and how much of the WAL was copied.
const HEADER: u64 = 1 << 9;
/// How far each reader's slot lets its readers read.
const MARKS: u64 = 1 << 14;
const NAMES: u64 = 1 << 10;
const MAIN_SIZE: u64 = 1 << 11;
const WAL_SIZE: u64 = 1 << 12;
const OTHER: u64 = 1 << 13;
const MAIN_BLOCKS: u32 = 16;
const WAL_BLOCKS: u32 = 40;
/// Blocks share bits: so many there are for the blocks of a file.
const BLOCKS: usize = 24;
/// A block of a file is about a page of it, or a frame of its WAL.
const BLOCK_BYTES: usize = 4_120;

impl Footprint {
    fn reads(reads: u64) -> Self {
        Self { reads, writes: 0 }
    }

    fn writes(writes: u64) -> Self {
        Self { reads: 0, writes }
    }

    fn either(bits: u64, write: bool) -> Self {
        if write { Self::writes(bits) } else { Self::reads(bits) }
    }

    /// A lock on slots of the shared memory, or its end. Shared locks do not meet.
    pub fn slots(slots: Range<usize>, exclusive: bool) -> Self {
        Self::either(slots.fold(0, |bits, slot| bits | 1 << slot), exclusive)
    }

    /// A lock on a file, or its end.
    pub fn file_lock(level: Lock) -> Self {
        Self::either(FILE_LOCK, !matches!(level, Lock::Shared))
    }

    /// What was changed of shared memory: its header, and the marks of its readers.
    pub fn changed(header: bool, marks: bool) -> Self {
        Self::writes(u64::from(header) * HEADER + u64::from(marks) * MARKS)
    }

    /// What every call counts as having read of shared memory. A connection that was refused a lock for writing,
    /// recovering or checkpointing and asks for it again has looked at the header in between, if at anything: SQLite
    /// looks at marks for the sake of a reader's slot alone.
    pub fn read_memory(refused_again: Option<Self>) -> Self {
        let marks = refused_again.is_none_or(|lock| (lock.reads | lock.writes) & READERS != 0);
        Self::reads(HEADER + u64::from(marks) * MARKS)
    }

    /// Whether this changes what a connection that was refused a lock reads before it asks again.
    pub fn is_news_to(self, lock: Self) -> bool {
        self.writes & Self::read_memory(Some(lock)).reads != 0
    }

    /// What is asked for in vain is only looked at.
    #[must_use]
    pub fn in_vain(self) -> Self {
        Self::reads(self.reads | self.writes)
    }

    /// The names of files.
    pub fn names(write: bool) -> Self {
        Self::either(NAMES, write)
    }

    /// Bytes of a file.
    pub fn bytes(part: FilePart, bytes: Range<usize>, write: bool) -> Self {
        let first = match part {
            FilePart::Main => MAIN_BLOCKS,
            FilePart::Wal => WAL_BLOCKS,
            FilePart::Other => return Self::either(OTHER, write),
        };
        let (from, to) = (bytes.start / BLOCK_BYTES, bytes.end.saturating_sub(1) / BLOCK_BYTES);
        let last = to.min(from.saturating_add(BLOCKS - 1));
        let blocks = (from..=last).fold(0, |bits, block| bits | 1 << (first as usize + block % BLOCKS));
        Self::either(blocks, write)
    }

    /// The size of a file.
    pub fn size(part: FilePart, write: bool) -> Self {
        Self::either(
            match part {
                FilePart::Main => MAIN_SIZE,
                FilePart::Wal => WAL_SIZE,
                FilePart::Other => OTHER,
            },
            write,
        )
    }

    /// All of a file, and its size.
    pub fn whole(part: FilePart) -> Self {
        Self::bytes(part, 0..BLOCKS * BLOCK_BYTES, true).and(Self::size(part, true))
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { reads: self.reads | other.reads, writes: self.writes | other.writes }
    }

    /// Whether the order of two matters: one writes what the other reads or writes.
    pub fn meets(self, other: Self) -> bool {
        self.writes & (other.reads | other.writes) != 0 || other.writes & self.reads != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_meets_what_is_touched_and_readers_do_not_meet() {
        let frame =
            |n: usize, write| Footprint::bytes(FilePart::Wal, n * BLOCK_BYTES..(n + 1) * BLOCK_BYTES, write);
        assert!(frame(3, true).meets(frame(3, false)) && frame(3, false).meets(frame(3, true)));
        assert!(frame(3, true).meets(frame(3, true)));
        assert!(!frame(3, false).meets(frame(3, false)));
        assert!(!frame(3, true).meets(frame(4, true)));
        assert!(!frame(3, true).meets(Footprint::bytes(FilePart::Main, 0..usize::MAX, true)));
        assert!(frame(3, true).meets(Footprint::whole(FilePart::Wal)));
        assert!(!Footprint::slots(0..1, true).meets(Footprint::slots(1..8, true)));
        assert!(Footprint::slots(0..8, true).meets(Footprint::slots(4..5, false)));
        assert!(!Footprint::slots(4..5, false).meets(Footprint::slots(4..5, false)));
        let (write, reader) = (Footprint::slots(0..1, true), Footprint::slots(4..5, false));
        assert!(Footprint::changed(true, false).meets(Footprint::read_memory(Some(write))));
        assert!(!Footprint::changed(false, true).meets(Footprint::read_memory(Some(write))));
        assert!(Footprint::changed(false, true).meets(Footprint::read_memory(Some(reader))));
        assert!(Footprint::changed(false, true).meets(Footprint::read_memory(None)));
        assert!(!Footprint::read_memory(None).meets(Footprint::read_memory(None)));
        assert!(!write.in_vain().meets(write.in_vain()) && write.in_vain().meets(write));
    }
}
