//! Deliveries: a message, the lease under which it was handed out, and the ways to settle it.
//!
//! Invariant: settling consumes the delivery, so that it cannot be settled twice; a settlement under a stale token changes
//! nothing and is refused (G3).
//! Does not depend on: handlers, and what becomes of a failure (the run loops decide that).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fencepost_model::op::{self, Op, Reply, Settled, Settlement, Target};
use fencepost_model::state::Body;
use fencepost_model::vocabulary::{Message, Name, Raw, RecordId, Seq, Timestamp, Token};
use tokio_util::sync::CancellationToken;

use crate::bus::backend::Backend;
use crate::bus::erased::{erase, typed};
use crate::bus::request;
use crate::bus::transaction::{TransactionError, Tx};
use crate::error::Result;

/// A message under a lease, as a handler gets it.
///
/// A handler need not settle its delivery: the result of the handler decides. A caller of [`Bus::claim`](crate::Bus::claim)
/// or [`Bus::poll`](crate::Bus::poll) settles each delivery with one of the methods that consume it.
pub struct Delivery<P = Arc<[u8]>> {
    /// The payload, as its handler wants it.
    pub payload: P,
    message: Arc<Message>,
    held: Arc<Held>,
}

impl<P> fmt::Debug for Delivery<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held { target, token, attempt, .. } = &*self.held;
        let mut debug = f.debug_struct("Delivery");
        debug.field("target", target).field("token", token).field("attempt", attempt);
        debug.field("name", &self.message.name).finish_non_exhaustive()
    }
}

/// A lease, shared between a delivery and the run loop that extends it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) target: Target,
    pub(crate) token: Token,
    pub(crate) seq: Seq,
    pub(crate) attempt: u32,
    pub(crate) at: Timestamp,
    until: AtomicU64,
    lost: CancellationToken,
    by_hand: OnceLock<ByHand>,
}

/// How a handler ended its delivery itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ByHand {
    /// It settled it.
    Settled(Settled),
    /// It released it.
    Released,
}

impl Held {
    pub(crate) fn settle_op(&self, how: Settlement) -> Op {
        Op::Settle { target: self.target.clone(), token: self.token, how }
    }

    pub(crate) fn until(&self) -> Timestamp {
        Timestamp::ZERO.plus(self.until.load(Ordering::SeqCst))
    }

    pub(crate) fn extended(&self, until: Timestamp) {
        self.until.store(until.get(), Ordering::SeqCst);
    }

    /// Marks the lease as lost, and tells the handler that works under it.
    pub(crate) fn lose(&self) {
        self.lost.cancel();
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Records that the handler ended the delivery itself.
    pub(crate) fn settled_by_hand(&self, how: ByHand) {
        // Settling consumes the delivery, so there is no second time.
        let _ = self.by_hand.set(how);
    }

    /// How the handler ended the delivery itself, if it did.
    pub(crate) fn by_hand(&self) -> Option<&ByHand> {
        self.by_hand.get()
    }

    /// Marks the lease as lost if the reply says so.
    fn told(&self, reply: Result<Reply>) -> Result<Reply> {
        if let Ok(Reply::Refused(op::Refusal::LeaseLost)) = &reply {
            self.lose();
        }
        reply
    }

    async fn apply(&self, op: Op) -> Result<Reply> {
        self.told(self.backend.apply_one(op).await)
    }

    fn apply_blocking(&self, op: Op) -> Result<Reply> {
        self.told(self.backend.apply_one_blocking(op))
    }

    /// Lets the lease last for this long from now on, in milliseconds. A refusal does not mark the lease as lost: the
    /// caller does that.
    pub(crate) async fn extend(&self, lease_ms: u64) -> Result<Timestamp> {
        let op = Op::Extend { lease: self.target.lease(), token: self.token, lease_ms };
        let until = request::extended(self.backend.apply_one(op).await?)?;
        self.extended(until);
        Ok(until)
    }
}

impl<P> Delivery<P> {
    /// The message as it was sent.
    pub fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// Its number in the queue or the log.
    pub fn seq(&self) -> Seq {
        self.held.seq
    }

    /// What is settled: a command, or an event or redriven event of a group.
    pub fn target(&self) -> &Target {
        &self.held.target
    }

    /// The fencing token: it grows with every lease (G4). Send it along with writes to other systems, so that they can
    /// refuse a handler whose lease was lost.
    pub fn token(&self) -> Token {
        self.held.token
    }

    /// The number of this attempt; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.held.attempt
    }

    /// When it was sent or published.
    pub fn sent_at(&self) -> Timestamp {
        self.held.at
    }

    /// When the lease ends unless it is extended. A run loop extends it for as long as the handler works.
    pub fn deadline(&self) -> Timestamp {
        self.held.until()
    }

    /// Whether the lease is known to be lost. Then the delivery cannot be settled any more, and another consumer may handle
    /// the same message at the same time.
    pub fn is_lost(&self) -> bool {
        self.held.is_lost()
    }

    /// Completes when the lease is known to be lost; never, if it is not lost.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<P> {
        let lost = self.held.lost.clone();
        async move { lost.cancelled().await }
    }

    /// Settles the delivery.
    ///
    /// # Errors
    /// `Refused`: `LeaseLost` if the token is stale (G3), `NotNext` for an event out of order. Otherwise an error of the
    /// store; the message comes again when the lease has expired.
    pub async fn settle(self, how: Settlement) -> Result<Settled> {
        let held = self.into_held();
        let settled = request::settled(held.apply(held.settle_op(how)).await?)?;
        held.settled_by_hand(ByHand::Settled(settled.clone()));
        Ok(settled)
    }

    /// As [`Delivery::settle`], for code without an async runtime.
    ///
    /// # Errors
    /// As there.
    pub fn settle_blocking(self, how: Settlement) -> Result<Settled> {
        let held = self.into_held();
        let settled = request::settled(held.apply_blocking(held.settle_op(how))?)?;
        held.settled_by_hand(ByHand::Settled(settled.clone()));
        Ok(settled)
    }

    /// Acks the delivery: the message is handled and never comes again.
    ///
    /// # Errors
    /// As [`Delivery::settle`].
    pub async fn ack(self) -> Result<Settled> {
        self.settle(Settlement::Ack).await
    }

    /// As [`Delivery::ack`], for code without an async runtime.
    ///
    /// # Errors
    /// As there.
    pub fn ack_blocking(self) -> Result<Settled> {
        self.settle_blocking(Settlement::Ack)
    }

    /// Nacks the delivery: the message comes again after the delay, unless this was its last attempt (G8).
    ///
    /// # Errors
    /// As [`Delivery::settle`].
    pub async fn nack(self, delay: Duration, reason: &str) -> Result<Settled> {
        self.settle(Settlement::Nack { delay_ms: request::ms(delay), reason: reason.into() }).await
    }

    /// Moves the message to the dead letters, for a person to look at.
    ///
    /// # Errors
    /// As [`Delivery::settle`].
    pub async fn dead_letter(self, reason: &str) -> Result<Settled> {
        self.settle(Settlement::DeadLetter { reason: reason.into() }).await
    }

    /// Parks the message: it is not delivered until a person redrives it.
    ///
    /// # Errors
    /// As [`Delivery::settle`].
    pub async fn park(self, reason: &str) -> Result<Settled> {
        self.settle(Settlement::Park { reason: reason.into() }).await
    }

    /// Releases the lease unhandled: the message is due at once, and the attempt is not counted. The release of an event also
    /// releases all events that were handed out with it.
    ///
    /// # Errors
    /// `Refused`: `LeaseLost`.
    pub async fn release(self) -> Result<()> {
        let held = self.into_held();
        request::nothing(held.apply(held.release_op()).await?)?;
        held.settled_by_hand(ByHand::Released);
        Ok(())
    }

    /// Lets the lease last for this long from now on, to the millisecond; returns when it ends.
    ///
    /// # Errors
    /// `Refused`: `LeaseLost`.
    pub async fn extend(&self, lease: Duration) -> Result<Timestamp> {
        let extended = self.held.extend(request::ms(lease)).await;
        if extended.as_ref().is_err_and(|error| error.refusal() == Some(&op::Refusal::LeaseLost)) {
            self.held.lose();
        }
        extended
    }

    /// Acks the delivery together with the handler's own effects in the same file: all of them are committed, exactly once,
    /// or none (G12). Under a stale token the work is not begun.
    ///
    /// The work runs on the writing thread, so it must be short and wait for nothing.
    ///
    /// # Errors
    /// [`TransactionError`]: nothing happened, and the delivery is unsettled.
    pub async fn transaction<T, E>(
        self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TransactionError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let held = self.into_held();
        let done = held.backend.transact(Some(held.settle_op(Settlement::Ack)), erase(work)).await;
        held.after(typed(done))
    }

    /// As [`Delivery::transaction`], for code without an async runtime.
    ///
    /// # Errors
    /// As there.
    pub fn transaction_blocking<T: Send + 'static, E: Send + 'static>(
        self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TransactionError<E>> {
        let held = self.into_held();
        let done = held.backend.transact_blocking(Some(held.settle_op(Settlement::Ack)), erase(work));
        held.after(typed(done))
    }

    pub(crate) fn into_held(self) -> Arc<Held> {
        self.held
    }
}

impl Held {
    pub(crate) fn release_op(&self) -> Op {
        Op::Release { lease: self.target.lease(), token: self.token }
    }

    fn after<T, E>(&self, done: Result<T, TransactionError<E>>) -> Result<T, TransactionError<E>> {
        match &done {
            Ok(_) => self.settled_by_hand(ByHand::Settled(Settled::Acked)),
            Err(TransactionError::Store(error)) if error.refusal() == Some(&op::Refusal::LeaseLost) => {
                self.lose();
            }
            Err(_) => {}
        }
        done
    }
}

impl Delivery {
    /// The same delivery with another payload.
    pub(crate) fn with_payload<P>(self, payload: P) -> Delivery<P> {
        Delivery { payload, message: self.message, held: self.held }
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }
}

impl Tx<'_> {
    /// Settles a delivery, exactly if the transaction is committed (G12).
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if the lease was lost: then the transaction was rolled back (G3).
    pub fn settle<P>(&self, delivery: Delivery<P>, how: Settlement) -> Result<Settled> {
        let held = delivery.into_held();
        let settled = request::settled(self.apply(&held.settle_op(how))?)?;
        let by_hand = ByHand::Settled(settled.clone());
        self.after_commit(move || held.settled_by_hand(by_hand));
        Ok(settled)
    }

    /// Acks a delivery, exactly if the transaction is committed (G12).
    ///
    /// # Errors
    /// As [`Tx::settle`].
    pub fn ack<P>(&self, delivery: Delivery<P>) -> Result<()> {
        self.settle(delivery, Settlement::Ack).map(|_| ())
    }
}

/// A row that was handed out and could not be decoded. No handler gets it (G5).
#[derive(Debug)]
pub struct Corrupt {
    /// The name, if it can be read.
    pub name: Option<Name>,
    /// The columns as they were found.
    pub raw: Raw,
    pub(crate) held: Arc<Held>,
}

impl Corrupt {
    /// Its number in the queue or the log.
    pub fn seq(&self) -> Seq {
        self.held.seq
    }

    /// Moves the row to the dead letters, unchanged.
    ///
    /// # Errors
    /// `Refused`: `LeaseLost`.
    pub async fn dead_letter(self, reason: &str) -> Result<Settled> {
        let how = Settlement::DeadLetter { reason: reason.into() };
        request::settled(self.held.apply(self.held.settle_op(how)).await?)
    }

    /// Parks the row, unchanged.
    ///
    /// # Errors
    /// `Refused`: `LeaseLost`.
    pub async fn park(self, reason: &str) -> Result<Settled> {
        let how = Settlement::Park { reason: reason.into() };
        request::settled(self.held.apply(self.held.settle_op(how)).await?)
    }
}

/// The result of a claim or a poll.
#[derive(Debug, Default)]
pub struct HandedOut {
    /// The messages, in the order to work through.
    pub deliveries: Vec<Delivery>,
    /// The rows that could not be decoded, to be dead-lettered or parked.
    pub corrupt: Vec<Corrupt>,
    /// The records of messages that were found exhausted or unreadable and are dead letters now.
    pub dead_lettered: Vec<RecordId>,
}

/// One row of a claim or a poll.
pub(crate) enum Handed {
    Sound(Delivery),
    Corrupt(Corrupt),
}

impl Handed {
    pub(crate) fn of(backend: &Arc<dyn Backend>, delivery: op::Delivery) -> Self {
        let op::Delivery { target, seq, token, attempt, lease_until, body } = delivery;
        let at = if let Body::Sound { at, .. } = &body { *at } else { Timestamp::ZERO };
        let held = Arc::new(Held {
            backend: Arc::clone(backend),
            target,
            token,
            seq,
            attempt,
            at,
            until: AtomicU64::new(lease_until.get()),
            lost: CancellationToken::new(),
            by_hand: OnceLock::new(),
        });
        match body {
            Body::Sound { message, .. } => {
                Self::Sound(Delivery { payload: Arc::clone(&message.payload), message, held })
            }
            Body::Corrupt { name, raw } => Self::Corrupt(Corrupt { name: Some(name), raw, held }),
            Body::Unreadable { raw } => Self::Corrupt(Corrupt { name: None, raw, held }),
        }
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        match self {
            Self::Sound(delivery) => &delivery.held,
            Self::Corrupt(corrupt) => &corrupt.held,
        }
    }
}

impl HandedOut {
    pub(crate) fn of(backend: &Arc<dyn Backend>, reply: Reply) -> Result<Self> {
        let (deliveries, dead_lettered) = match reply {
            Reply::HandedOut { deliveries, dead_lettered } => (deliveries, dead_lettered),
            Reply::Refused(refusal) => return Err(refusal.into()),
            other => unreachable!("a claim was answered with another operation's reply: {other:?}"),
        };
        let mut handed_out = Self { dead_lettered, ..Self::default() };
        for delivery in deliveries {
            match Handed::of(backend, delivery) {
                Handed::Sound(delivery) => handed_out.deliveries.push(delivery),
                Handed::Corrupt(corrupt) => handed_out.corrupt.push(corrupt),
            }
        }
        Ok(handed_out)
    }
}
