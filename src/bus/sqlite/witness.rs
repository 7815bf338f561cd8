//! Who is told of each transaction that was committed, by the thread that committed it.
//!
//! What always holds: a transaction is told after its commit and before its answers, in the order of the commits, and a
//! transaction that was taken back is not told at all. Who is told must be quick and must not fail. This module knows
//! nothing of what is done with it.

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;

use crate::error::Result;
use crate::sqlite::{CommitNumber, NumberedOps};

/// One transaction that ended as it was meant to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// The number that it took if it changed something, or else that of the last one before it that did.
    pub(crate) commit_seq: u64,
    /// Whether it changed something.
    pub(crate) changed: bool,
    /// The operations in it, in order.
    pub(crate) done: Vec<Done>,
}

/// One operation, when it was done, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Done {
    pub(crate) now: Timestamp,
    pub(crate) op: Op,
    pub(crate) reply: Reply,
}

/// Who is told. One that is dropped without having been told of the end does not know how it ended.
pub(crate) trait Witness: Send {
    /// A transaction was committed, or found nothing to change. Returns whether there is a wish to hear of more.
    #[must_use]
    fn committed(&mut self, transaction: Transaction) -> bool;

    /// There will be no more.
    fn ended(self: Box<Self>);
}

impl Transaction {
    /// A transaction as the store tells of it, with the operations by their places.
    pub(super) fn of(numbered: &NumberedOps, ops: &[&Op], replies: &[Result<Reply>]) -> Self {
        let done = numbered.ops.iter().filter_map(|(index, now)| {
            let reply = replies[*index].as_ref().ok()?.clone();
            Some(Done { now: *now, op: ops[*index].clone(), reply })
        });
        let CommitNumber { commit_seq, changed } = numbered.number;
        Self { commit_seq, changed, done: done.collect() }
    }
}
