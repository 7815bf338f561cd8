//! Histories: real clients on a real file, recorded and judged.
//!
//! Processes that are killed and stalled, threads, and clones of buses work on one file in WAL mode, each with a time of
//! its own that jumps. Every operation is recorded with when it was called and answered, and what comes of it is judged
//! twice against the model: in the order of the numbers that transactions take inside themselves ([`numbers`]), and by a
//! search for any order at all that trusts no number ([`search`]). What is wrong with the log is looked for without a
//! model as well ([`log`]).
//!
//! The search is not split by queue and group. Claims and polls draw from one counter of tokens, everything that is moved
//! aside from one counter of records, so no part of the state is independent of the others, and a part can be judged only
//! against a weaker contract, in which numbers grow but may have gaps: an answer with another part's number would pass.
//! What splitting is for is had otherwise: those counters are dense, so that of the operations under way at most one can
//! be the next that draws a number; and operations that commute lead to the same pair of what happened and what is, which
//! is looked at once. Histories of a thousand operations cost about as many pairs.
//!
//! This room must not know how the store works: it has its operations and its answers.

pub mod alter;
pub mod checkers;
pub mod client;
pub mod commit_order;
pub mod control;
pub mod linearizability;
pub mod log;
pub mod mutant;
pub mod phase;
pub mod record;
pub mod recording;
pub mod replay;
pub mod shrink;
pub mod task;
pub mod timeline;
