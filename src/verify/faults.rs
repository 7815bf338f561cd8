//! Faults besides crashes: calls of the disk and allocations that fail, syncs that fail before a power cut, reads that
//! find too little, and bits that change at rest.
//!
//! What always holds: each case is judged by the model, and by the promises that an error makes; and for each promise a
//! control shows that breaking it is noticed. This room must not know how a disk fails (that is `disk`), nor what
//! operations do (that is the model).

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
