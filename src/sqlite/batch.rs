//! Several operations in one transaction, each of which succeeds or fails for itself; and an operation together with
//! effects of the caller's own.
//!
//! Invariant: nothing is answered before its commit. Each operation has its own savepoint, so an operation that cannot
//! succeed fails alone. When an error ends the whole transaction, as a full disk and a failed write can, nothing of it is
//! answered, and each operation is tried once more alone.
//! Does not depend on: what operations do; who waits for the answers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::sqlite::execute::execute;
use crate::sqlite::session::Session;
use crate::sqlite::statements::{StatementId as Sql, Statements};
use crate::sqlite::steps::Steps;
use crate::sqlite::store::{CommitNumber, End, Numbering, Store};

/// Why effects were not committed together with their operation. None of them is there.
#[derive(Debug)]
pub enum Undone<E> {
    /// The caller's own work failed.
    Work(E),
    /// The operation was refused, or the store failed.
    Store(Error),
    /// The caller's own work panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

/// The result of an operation together with the caller's own work: the reply and what the work returned.
pub(crate) type WithEffects<T, E> = Result<(Option<Reply>, T), Undone<E>>;

impl<E> From<Error> for Undone<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// The replies to operations that were applied together, and the transactions in which they were answered.
#[derive(Debug, Default)]
pub struct AppliedTogether {
    /// One reply for each operation, in order.
    pub replies: Vec<Result<Reply>>,
    /// The transactions that ended as they were meant to, in order; none unless numbers were asked for.
    pub transactions: Vec<NumberedOps>,
}

/// One transaction, and the operations that were answered in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedOps {
    /// The number of the transaction.
    pub number: CommitNumber,
    /// The index of each operation among those that were applied together, and its time.
    pub ops: Vec<(usize, Timestamp)>,
}

impl Store {
    /// Applies each operation at the time that the clock says when its turn comes, all in one transaction, and
    /// answers each in order. A refused or failed one changes nothing and leaves the others alone.
    ///
    /// # Errors
    /// Each for itself, as [`Store::apply`].
    pub fn apply_all(&mut self, clock: impl FnMut() -> Timestamp, ops: &[&Op]) -> Vec<Result<Reply>> {
        self.apply_together(clock, ops, Numbering::Off).replies
    }

    /// Applies operations as [`Store::apply_all`] does, with the commit numbers if they are asked for.
    pub fn apply_together(
        &mut self,
        mut clock: impl FnMut() -> Timestamp,
        ops: &[&Op],
        numbering: Numbering,
    ) -> AppliedTogether {
        if ops.len() == 1 {
            return self.apply_each(clock, ops, numbering);
        }
        let (mut began, mut answered) = (false, Vec::new());
        let together = self.transaction(numbering, |conn, sql| {
            began = true;
            let mut replies = Vec::with_capacity(ops.len());
            for (index, op) in ops.iter().enumerate() {
                let now = clock();
                let reply = alone_in_batch(conn, sql, now, op)?;
                if numbering == Numbering::On && reply.is_ok() {
                    answered.push((index, now));
                }
                replies.push(reply);
            }
            Ok(End::Commit(replies))
        });
        match together {
            Ok((replies, number)) => {
                let transactions = number.map(|number| NumberedOps { number, ops: answered });
                AppliedTogether { replies, transactions: transactions.into_iter().collect() }
            }
            Err(error @ (Error::Indeterminate { .. } | Error::Closed)) => all(ops, &error),
            // The whole transaction is gone, for one operation or for all: each is tried once more, alone.
            Err(_) if began => self.apply_each(clock, ops, numbering),
            Err(error) => all(ops, &error),
        }
    }

    /// Applies each operation in a transaction of its own.
    fn apply_each(
        &mut self,
        mut clock: impl FnMut() -> Timestamp,
        ops: &[&Op],
        numbering: Numbering,
    ) -> AppliedTogether {
        let mut applied = AppliedTogether::default();
        for (index, op) in ops.iter().enumerate() {
            let now = clock();
            let (reply, number) = match self.apply_one(now, op, numbering) {
                Ok((reply, number)) => (Ok(reply), number),
                Err(error) => (Err(error), None),
            };
            applied.replies.push(reply);
            applied.transactions.extend(number.map(|number| NumberedOps { number, ops: vec![(index, now)] }));
        }
        applied
    }

    /// Applies an operation and runs the caller's own work, in one transaction: both take effect or neither (G12).
    /// The operation comes first, so that work under a stale token is never begun.
    ///
    /// # Errors
    /// See [`Undone`]. After [`Error::Indeterminate`] the effect is not known, and the store is closed.
    pub fn transact<T, E>(
        &mut self,
        now: Timestamp,
        op: Option<&Op>,
        work: impl FnOnce(&Connection, &Statements) -> Result<T, E>,
    ) -> Result<(Option<Reply>, T), Undone<E>> {
        self.transact_numbered(now, op, work, Numbering::Off).0
    }

    /// Runs a transaction as [`Store::transact`] does, with the commit number if it is asked for. A transaction that did not
    /// end with an answer to the operation has no number: a refusal is an answer, failed work is none.
    pub fn transact_numbered<T, E>(
        &mut self,
        now: Timestamp,
        op: Option<&Op>,
        work: impl FnOnce(&Connection, &Statements) -> Result<T, E>,
        numbering: Numbering,
    ) -> (WithEffects<T, E>, Option<CommitNumber>) {
        let (mut undone, steps) = (None, self.steps.clone());
        let done = self.transaction(numbering, |conn, sql| {
            let reply = op.map(|op| execute(conn, sql, now, op)).transpose()?;
            if let Some(Reply::Refused(refusal)) = reply {
                undone = Some(Undone::Store(refusal.into()));
                return Ok(End::Undo(None));
            }
            // The caller's work may take as long as the caller likes.
            steps.iter().for_each(Steps::pause);
            let worked = catch_unwind(AssertUnwindSafe(|| work(conn, sql)));
            steps.iter().for_each(Steps::begin);
            match worked {
                Ok(Ok(done)) => return Ok(End::Commit(Some((reply, done)))),
                Ok(Err(error)) => undone = Some(Undone::Work(error)),
                Err(panic) => undone = Some(Undone::Panicked(panic)),
            }
            // The work may have ended the transaction itself, and then there is nothing to take back.
            if conn.is_autocommit() { Err(Error::TransactionEnded) } else { Ok(End::Undo(None)) }
        });
        match (undone, done) {
            (Some(Undone::Panicked(panic)), _) => (Err(Undone::Panicked(panic)), None),
            (_, Err(error)) => (Err(Undone::Store(error)), None),
            (Some(undone @ Undone::Store(_)), Ok((_, number))) => (Err(undone), number),
            (Some(undone), Ok(_)) => (Err(undone), None),
            (None, Ok((done, number))) => (done.ok_or(Undone::Store(Error::TransactionEnded)), number),
        }
    }
}

/// One operation of a batch, under its own savepoint.
///
/// # Errors
/// The transaction of the batch is gone. An error of the operation alone is its answer.
fn alone_in_batch(conn: &Connection, sql: &Statements, now: Timestamp, op: &Op) -> Result<Result<Reply>> {
    let s = Session::new(conn, sql, now);
    s.run(Sql::BatchBegin, &[])?;
    let reply = execute(conn, sql, now, op);
    if reply.is_err() {
        // A full disk and a failed write or allocation may end the whole transaction, and autocommit is on then.
        if conn.is_autocommit() {
            return Err(Error::TransactionEnded);
        }
        s.run(Sql::BatchUndo, &[])?;
    }
    s.run(Sql::BatchKeep, &[])?;
    Ok(reply)
}

/// The same error for each operation.
fn all(ops: &[&Op], error: &Error) -> AppliedTogether {
    let replies = ops.iter().map(|_| Err(error.again())).collect();
    AppliedTogether { replies, transactions: Vec::new() }
}
