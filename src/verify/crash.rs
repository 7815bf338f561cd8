//! Cutting the power: every cut of every short sequence of operations, and what is found on the disk after it.
//!
//! The store works on a simulated [`disk`](super::disk); each of its I/O events is a place where the power may go, and
//! each choice of fates for what was not durable is an image. SQLite recovers the image, and what is found must be a
//! state of the model: after all that was acknowledged, or with the one operation in flight; under
//! [`ProcessCrash`](fencepost::internals::sqlite::Durability::ProcessCrash), after some prefix. This room must not know how a disk
//! fails (that is `disk`), nor what operations do (that is the model).

pub mod case;
pub mod control;
pub mod images;
pub mod phase;
pub mod replay;
pub mod search;
