//! The events of a disk, in order: the journal is a list of these.
//!
//! The user of the disk may put marks between them.
//!
//! Does not depend on: which event makes what durable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub u32);

/// One thing that happened, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A file came to be, under this name.
    Create {
        /// The file.
        file: FileId,
        /// Its name.
        name: Arc<str>,
    },
    /// A file got a second name.
    Link {
        /// The file.
        file: FileId,
        /// The name.
        name: Arc<str>,
    },
    /// A name went.
    Unlink {
        /// The name.
        name: Arc<str>,
    },
    /// Bytes were written.
    Write {
        /// The file.
        file: FileId,
        /// Where.
        offset: usize,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// The size of a file was set.
    Resize {
        /// The file.
        file: FileId,
        /// Its size from now on.
        bytes: usize,
    },
    /// A file was synced.
    Sync {
        /// The file.
        file: FileId,
    },
    /// A sync of a file failed, and what it should have written is not tried again.
    SyncFailed {
        /// The file.
        file: FileId,
    },
    /// The directory was synced.
    SyncDirectory,
    /// Something that is not the disk's business happened.
    Mark(Mark),
}

/// What the user of the disk says of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Work of this number was begun.
    Called(usize),
    /// Work of this number was answered.
    Answered(usize),
}
