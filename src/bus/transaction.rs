//! Operations of the bus inside a transaction: the caller's own one, or one that a bus began for the caller's work.
//!
//! What always holds (G12): an operation takes effect exactly if the transaction is committed. A refused settlement
//! ends the transaction right there with a rollback, so that ignoring it and committing fails. This module must not
//! know where the operations are applied.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Op, Reply, Settled, Settlement, Start, Target};
use fencepost_model::vocabulary::{Draft, Epoch, Raw, RecordId, Seq};
use rusqlite::Connection;

use crate::bus::backend::Limits;
use crate::bus::operations::{Pruned, Receipt, Subscription, operations, request, write_within};
use crate::bus::signals::Change;
use crate::delivery::{ByHand, Delivery, Held};
use crate::error::{Error, Result};
use crate::sqlite::{StatementId, Statements};

/// A transaction, for the caller's own SQL and for operations of the bus, which commit together or not at all.
///
/// It is made by [`SqliteBus::within`](crate::SqliteBus::within), [`Delivery::transaction`] and
/// [`Bus::transaction`](crate::Bus::transaction). Whoever began the transaction ends it; a `COMMIT` or `ROLLBACK` from
/// within is an error.
pub struct Tx<'a> {
    conn: &'a Connection,
    limits: Limits,
    apply: Apply<'a>,
    changes: RefCell<Vec<Change>>,
    /// What was settled in it, if it is committed.
    settled: RefCell<Vec<(Arc<Held>, Settled)>>,
}

/// Applies one operation, wherever that is.
type Apply<'a> = Box<dyn Fn(&Op) -> Result<Reply> + 'a>;

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("conn", &self.conn).finish_non_exhaustive()
    }
}

/// What follows from a transaction that was committed.
#[derive(Debug, Default)]
pub(crate) struct Followup {
    changes: Vec<Change>,
    settled: Vec<(Arc<Held>, Settled)>,
}

impl Followup {
    /// It is committed: what was settled in it is settled. Returns what it made due for others.
    pub(crate) fn committed(self) -> Vec<Change> {
        for (held, settled) in self.settled {
            held.settled_by_hand(ByHand::Settled(settled));
        }
        self.changes
    }
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;

    /// The connection, for the caller's own SQL.
    fn deref(&self) -> &Connection {
        self.conn
    }
}

impl<'a> Tx<'a> {
    pub(crate) fn new(
        conn: &'a Connection,
        limits: Limits,
        apply: impl Fn(&Op) -> Result<Reply> + 'a,
    ) -> Self {
        Self {
            conn,
            limits,
            apply: Box::new(apply),
            changes: RefCell::default(),
            settled: RefCell::default(),
        }
    }

    /// What is to be done once it is committed, and not before: a transaction that is taken back settled nothing.
    pub(crate) fn into_followup(self) -> Followup {
        Followup { changes: self.changes.into_inner(), settled: self.settled.into_inner() }
    }

    /// Applies one operation.
    ///
    /// # Errors
    /// A refusal of anything but sending, publishing and looking after the log is [`Error::Refused`] and has rolled
    /// the transaction back; other refusals are replies. [`Error::NotInTransaction`] once that has happened.
    pub fn apply(&self, op: &Op) -> Result<Reply> {
        if self.conn.is_autocommit() {
            return Err(Error::NotInTransaction);
        }
        let reply = (self.apply)(op)?;
        if let Reply::Refused(refusal) = &reply {
            if matches!(op, Op::Settle { .. } | Op::Release { .. } | Op::Extend { .. } | Op::Atomic(_)) {
                self.conn.execute_batch(Statements::standard().get(StatementId::Rollback))?;
                return Err(Error::Refused { refusal: refusal.clone() });
            }
        } else {
            self.changes.borrow_mut().extend(Change::of(op, &reply));
        }
        Ok(reply)
    }

    /// Settles a delivery.
    ///
    /// # Errors
    /// [`Error::Refused`] if its lease was lost: then the transaction was rolled back (G3, G12).
    pub fn settle<P>(&self, delivery: Delivery<P>, how: Settlement) -> Result<Settled> {
        let held = delivery.into_held();
        let settled = request::settled(self.apply(&held.settle_op(how))?)?;
        self.settled.borrow_mut().push((held, settled.clone()));
        Ok(settled)
    }

    /// Acks a delivery: handled, exactly if the transaction is committed (G12).
    ///
    /// # Errors
    /// As [`Tx::settle`].
    pub fn ack<P>(&self, delivery: Delivery<P>) -> Result<()> {
        self.settle(delivery, Settlement::Ack).map(|_| ())
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    operations!(write_within);
}
