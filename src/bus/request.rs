//! Requests: from the arguments of a method to an operation, and from the reply to the result of the method.
//!
//! Invariant: a refusal becomes [`Error::Refused`], and a reply of another operation panics, since the lockstep holds each
//! reply against the model's.
//! Does not depend on: where operations are applied, and how.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Op, Reply, Settled, Target};
use fencepost_model::vocabulary::{
    Draft, DraftError, Group, Message, Name, Names, Raw, RecordId, Seq, Timestamp,
};

use crate::error::{Error, Result};
use crate::telemetry;

/// The limits and defaults of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload that is accepted, in bytes.
    pub payload_bytes_max: usize,
    /// How long a lease lasts unless its consumer asks for another time, in milliseconds.
    pub lease_ms: u64,
}

impl Default for Limits {
    /// Payloads of one mebibyte, leases of 30 seconds.
    fn default() -> Self {
        Self { payload_bytes_max: 1 << 20, lease_ms: 30_000 }
    }
}

/// The result of a send or a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the message, or of the first message under its id.
    pub seq: Seq,
    /// False if the id was remembered with the same content, so that nothing was added (G10).
    pub fresh: bool,
}

/// The result of a subscription: where the group stands in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The number of the last event that the group has passed.
    pub position: Seq,
    /// False if the group read the name already, and keeps its position.
    pub fresh: bool,
}

/// The result of a prune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The first number that is kept.
    pub first: Seq,
    /// How many numbers were removed.
    pub removed: u64,
    /// The records of events that could not be decoded and were moved to the dead on the way (G5).
    pub dead_lettered: Vec<RecordId>,
}

/// The operation that puts a command into the queue.
///
/// # Errors
/// [`Error::Draft`] for a draft that breaks a rule, [`Error::PayloadTooLarge`].
pub fn send(draft: Draft, limits: &Limits) -> Result<Op> {
    let (message, delay_ms) = built(telemetry::carry_on(draft), limits)?;
    Ok(Op::Send { message, delay_ms })
}

/// The operation that appends an event to the log.
///
/// # Errors
/// As [`send`].
pub fn publish(draft: Draft, limits: &Limits) -> Result<Op> {
    let (message, _) = built(telemetry::carry_on(draft), limits)?;
    Ok(Op::Publish { message })
}

/// The operation that puts a message in the place of one that cannot be decoded. It is not sent a second time, so it
/// keeps the trace that it had and gets no other.
///
/// # Errors
/// As [`send`].
pub fn repair(record: RecordId, draft: Draft, limits: &Limits) -> Result<Op> {
    let (message, _) = built(draft, limits)?;
    Ok(Op::Repair { record, message })
}

/// The message of a draft, and its delay in milliseconds.
fn built(draft: Draft, limits: &Limits) -> Result<(Arc<Message>, u64)> {
    let (message, delay_ms) = draft.build()?;
    let (bytes, bytes_max) = (message.payload.len(), limits.payload_bytes_max);
    if bytes > bytes_max {
        return Err(Error::PayloadTooLarge { bytes, bytes_max });
    }
    Ok((Arc::new(message), delay_ms))
}

/// The name of a group.
///
/// # Errors
/// [`Error::Group`].
pub fn group(group: &str) -> Result<Group> {
    Group::new(group).map_err(|source| Error::Group { source })
}

/// The name of messages.
///
/// # Errors
/// [`Error::Draft`].
pub fn name(name: &str) -> Result<Name> {
    Name::new(name).map_err(|rule| DraftError::Name(rule).into())
}

/// The names of messages.
///
/// # Errors
/// As [`name`], for the first that breaks a rule.
pub fn names(names: &[&str]) -> Result<Names> {
    names.iter().map(|text| name(text)).collect()
}

/// A duration in whole milliseconds, and the largest number for one that is longer.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// This number, and one in place of zero.
pub fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

/// The result of a send or a publish.
///
/// # Errors
/// A refusal.
pub fn accepted(reply: Reply) -> Result<Receipt> {
    match reply {
        Reply::Accepted { seq, fresh } => Ok(Receipt { seq, fresh }),
        other => unexpected(other),
    }
}

/// The result of a subscription.
///
/// # Errors
/// A refusal.
pub fn subscribed(reply: Reply) -> Result<Subscription> {
    match reply {
        Reply::Subscribed { position, fresh } => Ok(Subscription { position, fresh }),
        other => unexpected(other),
    }
}

/// The result of the end of a subscription, and of a reset: the entries of groups that became dead letters.
///
/// # Errors
/// A refusal.
pub fn returned(reply: Reply) -> Result<Vec<RecordId>> {
    match reply {
        Reply::Unsubscribed { returned } | Reply::EpochBegun { returned } => Ok(returned),
        other => unexpected(other),
    }
}

/// The result of an operation that answers with nothing but success: a cancel, a seek, a purge, a release, a reboot.
///
/// # Errors
/// A refusal.
pub fn nothing(reply: Reply) -> Result<()> {
    match reply {
        Reply::Cancelled | Reply::Sought | Reply::Purged | Reply::Released | Reply::Rebooted => Ok(()),
        other => unexpected(other),
    }
}

/// The result of a redrive: where the message is now.
///
/// # Errors
/// A refusal.
pub fn redriven(reply: Reply) -> Result<Target> {
    match reply {
        Reply::Redriven(target) => Ok(target),
        other => unexpected(other),
    }
}

/// The result of a repair: the columns that were replaced.
///
/// # Errors
/// A refusal.
pub fn repaired(reply: Reply) -> Result<Raw> {
    match reply {
        Reply::Repaired { replaced } => Ok(replaced),
        other => unexpected(other),
    }
}

/// The result of a prune.
///
/// # Errors
/// A refusal.
pub fn pruned(reply: Reply) -> Result<Pruned> {
    match reply {
        Reply::Pruned { first, removed, dead_lettered } => Ok(Pruned { first, removed, dead_lettered }),
        other => unexpected(other),
    }
}

/// The result of forgetting ids: how many were forgotten.
///
/// # Errors
/// A refusal.
pub fn forgotten(reply: Reply) -> Result<u64> {
    match reply {
        Reply::Forgotten { ids } => Ok(ids),
        other => unexpected(other),
    }
}

/// The result of a settlement.
///
/// # Errors
/// A refusal.
pub fn settled(reply: Reply) -> Result<Settled> {
    match reply {
        Reply::Settled(settled) => Ok(settled),
        other => unexpected(other),
    }
}

/// The result of the extension of a lease: when it ends.
///
/// # Errors
/// A refusal.
pub fn extended(reply: Reply) -> Result<Timestamp> {
    match reply {
        Reply::Extended { until } => Ok(until),
        other => unexpected(other),
    }
}

/// The error of a reply that is no result.
fn unexpected<T>(reply: Reply) -> Result<T> {
    match reply {
        Reply::Refused(refusal) => Err(Error::Refused { refusal }),
        // Each operation has one kind of reply; the lockstep compares them with the model's.
        other => unreachable!("an operation was answered with another one's reply: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_are_milliseconds_cut_to_whole_ones_and_bounded() {
        assert_eq!(ms(Duration::from_millis(1_234)), 1_234);
        assert_eq!(ms(Duration::from_micros(1_999)), 1);
        assert_eq!(ms(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_bound_of_zero_is_one() {
        assert_eq!((at_least_one(0).get(), at_least_one(7).get()), (1, 7));
    }
}
