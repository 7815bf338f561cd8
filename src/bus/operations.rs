//! The operations of the contract as methods, written once: async on a bus, blocking for code without a runtime, and
//! within a transaction.
//!
//! What always holds: a method that promises a result answers a refusal as [`Error::Refused`]. This module knows how
//! operations are written and answered, and not how they are applied.

use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::op::{Op, Reply, Settled};
use fencepost_model::vocabulary::{Draft, Group, Name, Names, Raw, RecordId, Seq};

use crate::bus::backend::Limits;
use crate::error::{Error, Result};

/// What was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the message, or of the first one under its id.
    pub seq: Seq,
    /// False if its id was remembered with the same content, so that nothing was added (G10).
    pub fresh: bool,
}

/// Where a group stands in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The number of the last event that it has passed.
    pub position: Seq,
    /// False if the group read the name already, and keeps its position.
    pub fresh: bool,
}

/// What pruning removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The first number that is kept.
    pub first: Seq,
    /// How many numbers went.
    pub removed: u64,
    /// The records of events that could not be decoded, moved to the dead on the way (G5).
    pub dead_lettered: Vec<RecordId>,
}

/// From arguments to operations, and from replies to results.
pub mod request {
    use super::{
        Arc, Draft, Error, Group, Limits, Name, Names, NonZeroU32, Op, Pruned, Raw, Receipt, RecordId, Reply,
        Result, Settled, Subscription,
    };

    fn unexpected<T>(reply: Reply) -> Result<T> {
        match reply {
            Reply::Refused(refusal) => Err(Error::Refused { refusal }),
            // Each operation has one kind of answer; the lockstep compares them with the model's.
            other => unreachable!("an operation was answered with another one's reply: {other:?}"),
        }
    }

    fn message(draft: Draft, limits: &Limits) -> Result<(Arc<fencepost_model::vocabulary::Message>, u64)> {
        within_limits(crate::telemetry::carry_on(draft), limits)
    }

    fn within_limits(
        draft: Draft,
        limits: &Limits,
    ) -> Result<(Arc<fencepost_model::vocabulary::Message>, u64)> {
        let (message, delay_ms) = draft.build()?;
        let (bytes, bytes_max) = (message.payload.len(), limits.payload_bytes_max);
        if bytes > bytes_max {
            return Err(Error::PayloadTooLarge { bytes, bytes_max });
        }
        Ok((Arc::new(message), delay_ms))
    }

    /// Puts a command into the queue.
    ///
    /// # Errors
    /// A draft that is not valid, or too large.
    pub fn send(draft: Draft, limits: &Limits) -> Result<Op> {
        let (message, delay_ms) = message(draft, limits)?;
        Ok(Op::Send { message, delay_ms })
    }

    /// Appends an event to the log.
    ///
    /// # Errors
    /// As [`send`].
    pub fn publish(draft: Draft, limits: &Limits) -> Result<Op> {
        let (message, _) = message(draft, limits)?;
        Ok(Op::Publish { message })
    }

    /// What was sent once is not sent again, so it keeps the trace that it had and is given no other.
    pub fn repair(record: RecordId, draft: Draft, limits: &Limits) -> Result<Op> {
        let (message, _) = within_limits(draft, limits)?;
        Ok(Op::Repair { record, message })
    }

    /// The name of a group.
    pub fn group(group: &str) -> Result<Group> {
        Group::new(group).map_err(|source| Error::Group { source })
    }

    /// The name of messages.
    pub fn name(name: &str) -> Result<Name> {
        Name::new(name).map_err(|rule| fencepost_model::vocabulary::DraftError::Name(rule).into())
    }

    /// The names of messages.
    pub fn names(names: &[&str]) -> Result<Names> {
        names.iter().map(|text| name(text)).collect()
    }

    /// A duration in milliseconds.
    pub fn ms(duration: std::time::Duration) -> u64 {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }

    /// At least one.
    pub fn at_least_one(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn accepted(reply: Reply) -> Result<Receipt> {
        match reply {
            Reply::Accepted { seq, fresh } => Ok(Receipt { seq, fresh }),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn subscribed(reply: Reply) -> Result<Subscription> {
        match reply {
            Reply::Subscribed { position, fresh } => Ok(Subscription { position, fresh }),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn returned(reply: Reply) -> Result<Vec<RecordId>> {
        match reply {
            Reply::Unsubscribed { returned } | Reply::EpochBegun { returned } => Ok(returned),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn nothing(reply: Reply) -> Result<()> {
        match reply {
            Reply::Cancelled | Reply::Sought | Reply::Purged | Reply::Released | Reply::Rebooted => Ok(()),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn redriven(reply: Reply) -> Result<fencepost_model::op::Target> {
        match reply {
            Reply::Redriven(target) => Ok(target),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn repaired(reply: Reply) -> Result<Raw> {
        match reply {
            Reply::Repaired { replaced } => Ok(replaced),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn pruned(reply: Reply) -> Result<Pruned> {
        match reply {
            Reply::Pruned { first, removed, dead_lettered } => Ok(Pruned { first, removed, dead_lettered }),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn forgotten(reply: Reply) -> Result<u64> {
        match reply {
            Reply::Forgotten { ids } => Ok(ids),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn settled(reply: Reply) -> Result<Settled> {
        match reply {
            Reply::Settled(settled) => Ok(settled),
            other => unexpected(other),
        }
    }

    /// The result of an operation that is answered like this.
    ///
    /// # Errors
    /// A refusal.
    pub fn extended(reply: Reply) -> Result<fencepost_model::vocabulary::Timestamp> {
        match reply {
            Reply::Extended { until } => Ok(until),
            other => unexpected(other),
        }
    }
}

/// The list: documentation, name, arguments, result, how to make the operation, how to read the reply.
macro_rules! operations {
    ($write:ident) => {
        $write! {
            /// Puts a command into the queue; on success it is as durable as the bus is. Under an id that is remembered
            /// with the same content nothing is added (G10).
            ///
            /// # Errors
            /// [`Error::Draft`](crate::Error::Draft) and [`Error::PayloadTooLarge`](crate::Error::PayloadTooLarge) before
            /// anything is done; `Refused`: `Conflict`, if the id is remembered with other content, or `WrongKind`.
            send(draft: impl Into<Draft>) -> Receipt,
                |limits| request::send(draft.into(), &limits)?, request::accepted;
            /// Appends an event to the log at the next number (G15); ids as with `send`.
            ///
            /// # Errors
            /// As `send`.
            publish(draft: impl Into<Draft>) -> Receipt,
                |limits| request::publish(draft.into(), &limits)?, request::accepted;
            /// Lets a group read a name from a start. A name that it reads already keeps its position (G6).
            ///
            /// # Errors
            /// `Refused`: `BeyondHead` or `Pruned`, if the start is not in the log.
            subscribe_group(group: &str, name: &str, start: Start) -> Subscription,
                |_limits| Op::Subscribe { group: request::group(group)?, name: request::name(name)?, start },
                request::subscribed;
            /// Lets a group read a name no more; returns its redriven entries of that name, which are dead letters again.
            ///
            /// # Errors
            /// `Refused`: `NotSubscribed`.
            unsubscribe_group(group: &str, name: &str) -> Vec<RecordId>,
                |_limits| Op::Unsubscribe { group: request::group(group)?, name: request::name(name)? },
                request::returned;
            /// Withdraws a command that nobody holds.
            ///
            /// # Errors
            /// `Refused`: `NotFound`, `Held`, or `Corrupt`.
            cancel(seq: Seq) -> (), |_limits| Op::Cancel { seq }, request::nothing;
            /// Moves a group's position for one name, and fences the holder of its cursor.
            ///
            /// # Errors
            /// `Refused`: `NotSubscribed`, `BeyondHead` or `Pruned`.
            seek(group: &str, name: &str, position: Seq) -> (),
                |_limits| Op::Seek { group: request::group(group)?, name: request::name(name)?, position },
                request::nothing;
            /// Puts a dead-lettered or parked message back, its attempts counted from zero (G14); says where it is now.
            ///
            /// # Errors
            /// `Refused`: `NotFound`, `Corrupt`, `NotSubscribed`, or `EpochRetired`.
            redrive(record: RecordId) -> Target, |_limits| Op::Redrive { record }, request::redriven;
            /// Removes a dead-lettered or parked record for good.
            ///
            /// # Errors
            /// `Refused`: `NotFound`.
            purge(record: RecordId) -> (), |_limits| Op::Purge { record }, request::nothing;
            /// Puts a message in the place of what cannot be decoded in a record, which stays where it is; returns the
            /// columns that were there, and are not in the store any more (G5). The message keeps the name that can still
            /// be read, and has the id that is remembered for its number; a delay of the draft counts for nothing.
            ///
            /// # Errors
            /// As `send` before anything is done; `Refused`: `NotFound`; `Legible`, if the message can be decoded, or its
            /// name or id is known and another; or `WrongKind`.
            repair(record: RecordId, draft: impl Into<Draft>) -> Raw,
                |limits| request::repair(record, draft.into(), &limits)?, request::repaired;
            /// Deletes from the front of the log what is older than the retention and passed by every group (G13).
            ///
            /// # Errors
            /// Those of the store alone.
            prune(retention: Duration) -> Pruned,
                |_limits| Op::Prune { retention_ms: request::ms(retention) }, request::pruned;
            /// Forgets the ids of messages that ended longer ago than this (G10); returns how many.
            ///
            /// # Errors
            /// Those of the store alone.
            forget_ids(retention: Duration) -> u64,
                |_limits| Op::ForgetIds { retention_ms: request::ms(retention) }, request::forgotten;
            /// Begins a new life of the log: events, positions and event ids end, holders are fenced (G11). Returns the
            /// groups' entries that became dead letters.
            ///
            /// # Errors
            /// `Refused`: `EpochMismatch` or `EpochRetired`.
            reset(expected: Epoch, next: Epoch) -> Vec<RecordId>,
                |_limits| Op::Reset { expected, next }, request::returned;
        }
    };
}

/// The operations as async methods of a trait with `backend`.
macro_rules! write_async {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty,
        |$limits:ident| $op:expr, $read:path;)+) => {$(
        $(#[$doc])*
        fn $name(&self, $($arg: $type),*) -> impl Future<Output = Result<$result>> + Send {
            let backend = Arc::clone(self.backend());
            let op = within(backend.limits(), |$limits| Ok($op));
            async move { $read(apply(&backend, op?).await?) }
        }
    )+};
}

/// The operations as blocking methods of a struct with `backend`.
macro_rules! write_blocking {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty,
        |$limits:ident| $op:expr, $read:path;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self, $($arg: $type),*) -> Result<$result> {
            let $limits = self.backend().limits();
            $read(apply_blocking(self.backend(), $op)?)
        }
    )+};
}

/// The operations as methods within a transaction.
macro_rules! write_within {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty,
        |$limits:ident| $op:expr, $read:path;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self, $($arg: $type),*) -> Result<$result> {
            let $limits = self.limits();
            $read(self.apply(&$op)?)
        }
    )+};
}

pub(crate) use {operations, write_async, write_blocking, write_within};
