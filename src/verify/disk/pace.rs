//! The seam at which a connection may stand back for another: each lock, each lock of shared memory and each sync.
//!
//! Without a pace, calls follow each other as their threads make them.
//!
//! Does not depend on: the scheduler.

use super::device::Lock;
use super::footprint::Footprint;

/// A point at which another connection may run, before what it names is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A lock of a file.
    Lock(Lock),
    /// A file is unlocked, down to this level.
    Unlock(Lock),
    /// A lock of shared memory, or its end.
    Shared {
        /// The first slot.
        first: usize,
        /// Whether no other connection may hold it.
        exclusive: bool,
        /// Whether it ends.
        unlock: bool,
    },
    /// A sync.
    Sync,
}

/// What SQLite calls a slot of the shared memory of a WAL.
fn slot(first: usize) -> &'static str {
    match first {
        0 => "write",
        1 => "checkpoint",
        2 => "recover",
        3 => "read 0",
        4 => "read 1",
        5 => "read 2",
        6 => "read 3",
        _ => "read 4",
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lock(level) => write!(f, "lock file {level:?}"),
            Self::Unlock(level) => write!(f, "unlock file {level:?}"),
            Self::Shared { first, unlock: true, .. } => write!(f, "unlock {}", slot(*first)),
            Self::Shared { first, exclusive: true, .. } => write!(f, "lock {}", slot(*first)),
            Self::Shared { first, .. } => write!(f, "share {}", slot(*first)),
            Self::Sync => f.write_str("sync"),
        }
    }
}

/// The scheduler's side of the seam.
pub trait Pace: Send + Sync + std::fmt::Debug {
    /// A point is reached, at which the caller has changed this of shared memory, and continues with this.
    fn pause(&self, changed: Footprint, point: Point, next: Footprint);
    /// The caller read or wrote this.
    fn note(&self, footprint: Footprint);
    /// A lock on this was refused, since another connection holds it.
    fn refused(&self, footprint: Footprint);
    /// A lock on this was released.
    fn released(&self, footprint: Footprint);
    /// The caller has changed this of shared memory, and waits before it asks for a lock again.
    fn sleep(&self, changed: Footprint);
    /// The caller has changed this of shared memory, and does no more.
    fn settle(&self, changed: Footprint);
}
