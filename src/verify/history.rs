//! The phase `history`: real clients on a real file, recorded and checked.
//!
//! Processes that are killed and stalled, threads, and clones of buses work on one file in WAL mode, each with a clock
//! of its own that jumps. Every operation is recorded with when it was called and answered. The history is checked
//! twice against the model: in [`commit_order`], and by the search of [`linearizability`], which trusts no number. The
//! [`log`] is checked without a model as well.
//!
//! The search is not split by queue and group. Claims and polls draw from one counter of tokens, and everything that is
//! set aside from one counter of records, so no part of the state is independent of the others. A part could be checked
//! only against a weaker contract, in which numbers grow but may have gaps: an answer with another part's number would
//! pass. The search is fast without a split: those counters are dense, so that of the operations under way at most one
//! can be the next that draws a number; and operations that commute lead to the same pair of what happened and what is,
//! which is looked at once. Histories of a thousand operations cost about as many pairs.
//!
//! Does not depend on: how the store works. It has the operations and the answers.

pub mod alter;
pub mod checkers;
pub mod client;
pub mod commit_order;
pub mod control;
mod journal;
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
pub mod verdict;
