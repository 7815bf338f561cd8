//! Recording what a bus does, so that it can be judged afterwards: off unless it is asked for.
//!
//! A recording begins with the whole state of the store, and goes on with every operation that was committed through its
//! bus, with its time, its reply and its number among all changes. [`audit`](crate::audit) replays it in the model. What
//! always holds: recording changes nothing that the bus does. This module must not know what is right.

pub(crate) mod contents;
pub mod format;
pub(crate) mod recorder;

use std::path::{Path, PathBuf};

/// Where and how to record what a bus does. See [`SqliteBusBuilder::record`](crate::SqliteBusBuilder::record).
///
/// The file that was there before, and its predecessor when this one is full, is kept beside it under the same name with
/// `.1` at its end; one more is kept, and no more.
#[derive(Clone, Debug)]
pub struct Recording {
    path: PathBuf,
    bytes_max: u64,
    whole_contents: bool,
}

/// What a recording may take unless it is said otherwise: 256 MiB.
pub const BYTES_MAX: u64 = 256 << 20;

impl Recording {
    /// A recording to this file, with digests in place of contents, and 256 MiB at most.
    pub fn to(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), bytes_max: BYTES_MAX, whole_contents: false }
    }

    /// How much the file and its predecessor may take together, in bytes. Each takes half of it at most, so that at least
    /// the newest quarter and at most all of it is operations and not the state that a file begins with.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Writes payloads and the values of metadata as they are, and not their digests, which is all that a judgement needs.
    #[must_use]
    pub fn whole_contents(mut self) -> Self {
        self.whole_contents = true;
        self
    }

    /// How large one file may become.
    fn file_bytes_max(&self) -> u64 {
        self.bytes_max / 2
    }
}

/// Where the file before this one is.
pub fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}
