//! The phase `faults`: calls of the disk and allocations that fail, syncs that fail before a power cut, reads that are
//! short, and bits that flip at rest.
//!
//! Invariant: each case is checked against the model, and against what its error promises; for each promise a positive
//! control shows that the check can fail.
//! Does not depend on: how a disk fails (that is `disk`), and what operations do (that is the model).

use std::sync::OnceLock;

use crate::disk::{AllocationFaults, keep_no_account_of_memory};

pub mod answers;
pub mod case;
pub mod control;
pub mod flips;
pub mod harness;
mod mutant;
pub mod phase;
pub mod reboot;
pub mod replay;
pub mod sync;

pub use phase::{FaultsFigures, FaultsPhase};

/// Makes SQLite's allocations such that they can fail, and lets it keep no account of its memory. This must come before
/// SQLite's first use in the process: none if it came too late, however often it is called.
pub fn prepare() -> Option<AllocationFaults> {
    static PREPARED: OnceLock<Option<AllocationFaults>> = OnceLock::new();
    *PREPARED.get_or_init(|| {
        keep_no_account_of_memory();
        AllocationFaults::install()
    })
}
