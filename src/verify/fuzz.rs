//! The fuzz targets: each is a function of bytes that panics if a promise is broken.
//!
//! Invariant: the same bytes do the same; no target waits for anything or reads a clock, and each works with any bytes.
//! Does not depend on: where the bytes come from: `fuzz/` asks a fuzzer, `cargo test` takes the seeds and the
//! regressions.

mod bytes;
pub(super) mod decode_row;
pub mod file;
pub(super) mod furnished;
pub mod hostile;
mod mended;
mod metadata;
mod open_file;
mod ops;
pub mod page_flip;
mod trace;

use std::cell::RefCell;
use std::fmt;
use std::thread::LocalKey;

pub use bytes::{ByteSource, ByteWriter};
pub use furnished::Sent;

use fencepost::error::Result;

/// Runs on a harness that is made once for each thread.
///
/// # Panics
/// If there is no harness, or if something has no typed answer.
fn on_harness<S>(
    kept: &'static LocalKey<RefCell<Option<S>>>,
    make: impl FnOnce() -> Result<S>,
    run: impl FnOnce(&mut S) -> Result<()>,
) {
    kept.with_borrow_mut(|kept| {
        let harness = kept.get_or_insert_with(|| match make() {
            Ok(harness) => harness,
            Err(error) => panic!("there is no harness: {error:?}"),
        });
        if let Err(error) = run(harness) {
            panic!("no typed answer: {error:?}");
        }
    });
}

/// Something to be fuzzed.
#[derive(Clone, Copy)]
pub struct FuzzTarget {
    /// Its name, which is also that of its folders.
    pub name: &'static str,
    /// Runs on bytes.
    pub run: fn(&[u8]),
    /// What to begin with: a name and bytes for each.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for FuzzTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every target of the library; the program has one more, for its arguments.
pub const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "decode_row", run: decode_row::run, seeds: decode_row::seeds },
    FuzzTarget { name: "ops", run: ops::run, seeds: ops::seeds },
    FuzzTarget { name: "open_file", run: open_file::run, seeds: open_file::seeds },
    FuzzTarget { name: "page_flip", run: page_flip::run, seeds: page_flip::seeds },
    FuzzTarget { name: "metadata", run: metadata::run, seeds: metadata::seeds },
    FuzzTarget { name: "trace", run: trace::run, seeds: trace::seeds },
];

/// The target of this name.
pub fn by_name(name: &str) -> Option<&'static FuzzTarget> {
    TARGETS.iter().find(|target| target.name == name)
}
