//! The phase `schedule`: every order in which a few connections, or threads of the product, can run.
//!
//! The connections are real ones, over the simulated [`disk`](super::disk). At each lock, each lock of shared memory
//! and each sync a deterministic [`scheduler`](super::scheduler) decides which client runs; a client that waits for a
//! lock sleeps until something is released. Answers and the state at the end must be those of **some** order of the
//! operations in the model, one that respects real time.
//!
//! Does not depend on: what operations do (that is the model), and how a disk works.

pub mod case;
pub mod connections;
pub mod control;
pub mod cuts;
pub mod mutant;
pub mod orders;
pub mod phase;
pub mod replay;
