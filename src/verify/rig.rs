//! The crash rig: a store on a simulated disk, what is done with it, and what is found on the disk afterwards.
//!
//! The phases `crash`, `faults`, `schedule` and `history` share it.
//!
//! Invariant: the same setting, start and acts give the same recording, byte for byte.
//! Does not depend on: any phase, or what a phase expects to find.

pub mod act;
pub mod promises;
pub mod recorder;
pub mod recovery;
pub mod seed;
pub mod setting;
