//! The observer of commits: an observer is told of each transaction by the thread that committed it.
//!
//! Invariant: a transaction is told after its commit and before its answers, in the order of the commits; a transaction that
//! was rolled back is not told. An observer is quick and does not fail.
//! Does not depend on: what an observer does with it.

use std::fmt;
use std::path::Path;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;

use crate::error::Result;
use crate::sqlite::{CommitNumber, NumberedOps, OpenOptions, Store};

/// An observer of commits. An observer that is dropped without a call of `ended` does not know how the last commit went.
pub trait CommitObserver: Send {
    /// A transaction was committed, or changed nothing. Returns whether the observer wants to be told of more.
    #[must_use]
    fn committed(&mut self, transaction: ObservedTransaction) -> bool;

    /// The bus is closed: no transaction comes any more.
    fn ended(self: Box<Self>);
}

/// Makes the observer of a bus when the bus is opened.
pub trait MakeObserver: fmt::Debug + Send + Sync {
    /// The observer of the bus over this store, before the first operation.
    ///
    /// # Errors
    /// The bus is not opened then.
    fn observe(&self, path: &Path, options: &OpenOptions, store: &Store) -> Result<Box<dyn CommitObserver>>;
}

/// One transaction that ended as it was meant to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedTransaction {
    /// The number that the transaction took if it changed something, or else the number of the last transaction before it
    /// that did.
    pub commit_seq: u64,
    /// Whether the transaction changed something.
    pub changed: bool,
    /// The operations in it, in order.
    pub ops: Vec<ObservedOp>,
}

/// One operation, its time, and its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedOp {
    /// The time at which it was applied.
    pub now: Timestamp,
    /// The operation.
    pub op: Op,
    /// Its reply.
    pub reply: Reply,
}

impl ObservedTransaction {
    /// A transaction of the store, with the operations and replies at the indices that it names.
    pub(super) fn of(numbered: &NumberedOps, ops: &[&Op], replies: &[Result<Reply>]) -> Self {
        let observed = numbered.ops.iter().filter_map(|(index, now)| {
            let reply = replies[*index].as_ref().ok()?.clone();
            Some(ObservedOp { now: *now, op: ops[*index].clone(), reply })
        });
        let CommitNumber { commit_seq, changed } = numbered.number;
        Self { commit_seq, changed, ops: observed.collect() }
    }
}
