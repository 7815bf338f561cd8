//! Operations of the bus inside a transaction: one of the caller's own, or one that a bus began for the caller's work.
//!
//! Invariant (G12): an operation takes effect exactly if the transaction is committed. A refused settlement rolls the
//! transaction back at once, so that a caller who ignores the refusal cannot commit.
//! Does not depend on: where the operations are applied; deliveries.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use fencepost_model::op::{Op, Reply, Start, Target};
use fencepost_model::vocabulary::{Draft, Epoch, Raw, RecordId, Seq};
use rusqlite::Connection;

use crate::bus::operations::{operations, write_within};
use crate::bus::request::{self, Limits, Pruned, Receipt, Subscription};
use crate::error::{Error, Result};
use crate::sqlite::{StatementId, Statements};

/// A transaction, for the caller's own SQL and for operations of the bus, which commit together or not at all.
///
/// It is made by [`SqliteBus::within`](crate::SqliteBus::within), [`Delivery::transaction`](crate::Delivery::transaction)
/// and [`Bus::transaction`](crate::Bus::transaction). The transaction is ended where it was begun; a `COMMIT` or `ROLLBACK`
/// from within is an error.
pub struct Tx<'a> {
    transaction: OpenTransaction<'a>,
    after_commit: RefCell<AfterCommit>,
}

/// An open transaction, as a backend hands it to the caller's work.
pub struct OpenTransaction<'a> {
    /// The connection on which it is open.
    pub conn: &'a Connection,
    /// The limits and defaults of the bus.
    pub limits: Limits,
    /// Applies one operation in it.
    pub apply: ApplyOp<'a>,
}

/// Applies one operation in an open transaction.
pub type ApplyOp<'a> = Box<dyn Fn(&Op) -> Result<Reply> + 'a>;

/// What to run after the commit of a transaction, in order. A rollback drops it.
pub type AfterCommit = Vec<Box<dyn FnOnce() + Send>>;

impl fmt::Debug for OpenTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTransaction").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("conn", &self.transaction.conn).finish_non_exhaustive()
    }
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;

    /// The connection, for the caller's own SQL.
    fn deref(&self) -> &Connection {
        self.transaction.conn
    }
}

impl<'a> Tx<'a> {
    pub(crate) fn new(transaction: OpenTransaction<'a>) -> Self {
        Self { transaction, after_commit: RefCell::default() }
    }

    /// Runs this after the commit. A transaction that is rolled back drops it.
    pub(crate) fn after_commit(&self, run: impl FnOnce() + Send + 'static) {
        self.after_commit.borrow_mut().push(Box::new(run));
    }

    /// What is to run after the commit.
    pub(crate) fn into_after_commit(self) -> AfterCommit {
        self.after_commit.into_inner()
    }

    /// Applies one operation.
    ///
    /// # Errors
    /// A refusal of anything but sending, publishing and maintenance of the log is [`Error::Refused`] and has rolled the
    /// transaction back; other refusals are replies. After such a rollback: [`Error::NotInTransaction`].
    pub fn apply(&self, op: &Op) -> Result<Reply> {
        let conn = self.transaction.conn;
        if conn.is_autocommit() {
            return Err(Error::NotInTransaction);
        }
        let reply = (self.transaction.apply)(op)?;
        if let Reply::Refused(refusal) = &reply
            && matches!(op, Op::Settle { .. } | Op::Release { .. } | Op::Extend { .. } | Op::Atomic(_))
        {
            conn.execute_batch(Statements::standard().get(StatementId::Rollback))?;
            return Err(Error::Refused { refusal: refusal.clone() });
        }
        Ok(reply)
    }

    fn limits(&self) -> Limits {
        self.transaction.limits
    }

    operations!(write_within);
}

/// Why a transaction did not happen. None of its effects is there.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransactionError<E> {
    /// The caller's work failed with this error.
    Work(E),
    /// The settlement was refused, or the store failed.
    Store(Error),
}

impl<E: fmt::Display> fmt::Display for TransactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for TransactionError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Work(error) => error.source(),
            Self::Store(error) => error.source(),
        }
    }
}
