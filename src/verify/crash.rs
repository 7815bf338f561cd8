//! The phase `crash`: the power is cut after every I/O event of short sequences of operations, and what is on the disk
//! is checked.
//!
//! The store works on a simulated [`disk`](super::disk). Each choice of fates for what was not durable is a crash
//! image. SQLite recovers the image, and its content must be a state of the model: after all that was acknowledged, or
//! with the one operation in flight. Under [`ProcessCrash`](fencepost::internals::sqlite::Durability::ProcessCrash), if the
//! cut lost a write, it may be the state after some prefix.
//!
//! Does not depend on: how a disk fails (that is `disk`), and what operations do (that is the model).

pub mod case;
pub mod control;
pub mod images;
pub mod phase;
pub mod replay;
pub mod search;
