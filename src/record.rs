//! Recording what a bus does, so that [`audit`](crate::audit) can check it against the model: off by default.
//!
//! A recording begins with the whole state of the store. Then comes every operation that was committed through the bus, with
//! its time, its reply and its commit number.
//!
//! Invariant: recording changes nothing that the bus does.
//! Does not depend on: what the model answers.

pub(crate) mod contents;
pub mod format;
pub(crate) mod recorder;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bus::sqlite::SqliteBusBuilder;

impl SqliteBusBuilder {
    /// Records what the bus does to a file that `fencepost audit` checks. Off by default; `docs/operations.md` says what it
    /// costs. A recording that cannot go on ends with a warning, and the bus goes on.
    pub fn record(self, recording: Recording) -> Self {
        self.observer(Arc::new(recording))
    }
}

/// Where and how to record what a bus does. See [`SqliteBusBuilder::record`](crate::SqliteBusBuilder::record).
///
/// A recording that is there already, or that is full, is renamed: its new name is the same with `.1` at the end. An older
/// file with that name is replaced.
#[derive(Clone, Debug)]
pub struct Recording {
    path: PathBuf,
    bytes_max: u64,
    whole_contents: bool,
}

/// The default limit of a recording, in bytes: 256 MiB.
pub const BYTES_MAX: u64 = 256 << 20;

impl Recording {
    /// A recording to this file, with digests in place of contents, and a limit of 256 MiB.
    pub fn to(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), bytes_max: BYTES_MAX, whole_contents: false }
    }

    /// The limit of the file and its predecessor together, in bytes. Each file takes at most half of the limit, and the state
    /// that a file begins with at most half of the file.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Writes payloads and the values of metadata as they are. The default is digests, which are enough for a check.
    #[must_use]
    pub fn whole_contents(mut self) -> Self {
        self.whole_contents = true;
        self
    }

    /// The limit of one file, in bytes.
    fn file_bytes_max(&self) -> u64 {
        self.bytes_max / 2
    }
}

/// The path of the file before this one.
pub fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}
