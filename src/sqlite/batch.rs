//! Several operations in one transaction, each of which succeeds or fails for itself; and an operation together with
//! effects of the caller's own.
//!
//! What always holds: nothing is answered before its commit. Each operation has its own savepoint, so what cannot
//! succeed fails alone. Where an error took the whole transaction with it, as a full disk and a failed write can,
//! nothing of it is answered, and each operation is tried once more alone. This module must not know what operations
//! do, nor who waits for the answers.

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
use crate::sqlite::store::{End, Store};

/// Why effects were not committed together with their operation. Whatever it is, none of them is there.
#[derive(Debug)]
pub enum Undone<E> {
    /// The caller's own work failed.
    Work(E),
    /// The operation was refused, or the store failed.
    Store(Error),
    /// The caller's own work panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

impl<E> From<Error> for Undone<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Applies each operation at the time that the clock says when its turn comes, all in one transaction, and
    /// answers each in order. A refused or failed one changes nothing and leaves the others alone.
    ///
    /// # Errors
    /// Each for itself, as [`Store::apply`].
    pub fn apply_all(&mut self, mut clock: impl FnMut() -> Timestamp, ops: &[&Op]) -> Vec<Result<Reply>> {
        if let [op] = ops {
            return vec![self.apply(clock(), op)];
        }
        let (mut began, numbering, mut answered) = (false, self.is_numbering(), Vec::new());
        let together = self.transaction(|conn, sql| {
            began = true;
            let mut replies = Vec::with_capacity(ops.len());
            for (index, op) in ops.iter().enumerate() {
                let now = clock();
                let reply = alone_in_batch(conn, sql, now, op)?;
                if numbering && reply.is_ok() {
                    answered.push((index, now));
                }
                replies.push(reply);
            }
            Ok(End::Commit(replies))
        });
        match together {
            Ok(replies) => {
                self.tell(|| answered);
                replies
            }
            Err(error @ (Error::Indeterminate { .. } | Error::Closed)) => all(ops, &error),
            // The whole transaction is gone, whoever was at fault: each is tried once more, alone.
            Err(_) if began => {
                ops.iter().enumerate().map(|(index, op)| self.apply_at(index, clock(), op)).collect()
            }
            Err(error) => all(ops, &error),
        }
    }

    /// Applies an operation and runs the caller's own work, in one transaction: both take effect or neither (G12).
    /// The operation comes first, so that work under a stale token is never begun.
    ///
    /// # Errors
    /// See [`Undone`]. Of [`Error::Indeterminate`] nobody knows what it left; then the store is closed.
    pub fn transact<T, E>(
        &mut self,
        now: Timestamp,
        op: Option<&Op>,
        work: impl FnOnce(&Connection, &Statements) -> Result<T, E>,
    ) -> Result<(Option<Reply>, T), Undone<E>> {
        let (mut undone, steps) = (None, self.steps.clone());
        let done = self.transaction(|conn, sql| {
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
        // What the work did before it failed is not there, and nobody is to be told of it. A refusal is an answer.
        if matches!(undone, None | Some(Undone::Store(_))) && done.is_ok() {
            self.tell(|| op.map(|_| (0, now)).into_iter().collect());
        }
        match (undone, done) {
            (Some(Undone::Panicked(panic)), _) => Err(Undone::Panicked(panic)),
            (_, Err(error)) => Err(Undone::Store(error)),
            (Some(undone), Ok(_)) => Err(undone),
            (None, Ok(done)) => done.ok_or(Undone::Store(Error::TransactionEnded)),
        }
    }
}

/// One operation of a batch, under its own savepoint.
///
/// # Errors
/// None of its own: those are its answer. That the transaction of the batch is gone.
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

fn all(ops: &[&Op], error: &Error) -> Vec<Result<Reply>> {
    ops.iter().map(|_| Err(error.again())).collect()
}
