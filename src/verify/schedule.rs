//! Schedules: every order in which a few connections, or threads of the product, can go on.
//!
//! The connections are real ones, over the simulated [`disk`](super::disk); at each lock, each lock of shared memory and
//! each sync a deterministic scheduler decides who goes on, and a client that waits for a lock sleeps until something is
//! released. What they answered and what they left must be what **some** order of their operations does in the model,
//! one that respects real time. This room must not know what operations do (that is the model), nor how a disk works.

pub mod case;
pub mod connections;
pub mod control;
pub mod cuts;
pub mod mutant;
pub mod orders;
pub mod phase;
pub mod replay;
