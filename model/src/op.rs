//! The operations of the bus, their replies and their refusals.
//!
//! Invariant: [`Op`], [`Reply`] and [`Refusal`] are exhaustive enums. A new variant breaks every implementation until the
//! implementation handles it.
//! Does not depend on: what operations do, and storage.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::state::Body;
use crate::vocabulary::{Epoch, Group, Message, Name, Names, Raw, Reason, RecordId, Seq, Timestamp, Token};

/// An operation of the bus. Each is applied as one transaction, at a time `now` that the caller passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Op {
    /// Put a command into the queue, due after the delay. A repetition under the same id adds nothing (G10).
    Send {
        /// The command.
        message: Arc<Message>,
        /// The time until it may be claimed, in milliseconds.
        delay_ms: u64,
    },
    /// Take the next due commands of these names, each under its own lease and token (G2, G4, G9).
    Claim {
        /// The names that the claimer can handle.
        names: Names,
        /// The maximum number of commands, including those that the claim dead-letters.
        max: NonZeroU32,
        /// The length of each lease, in milliseconds.
        lease_ms: u64,
        /// The maximum number of attempts. A command that had this many is dead-lettered and not handed out (G8).
        attempts_max: NonZeroU32,
    },
    /// Publish an event at the next number of the log (G15).
    Publish {
        /// The event.
        message: Arc<Message>,
    },
    /// Let a group read a name from a start. A name that the group already reads keeps its position (G6).
    Subscribe {
        /// The group. It exists from its first name on.
        group: Group,
        /// The name.
        name: Name,
        /// Where a new name starts.
        start: Start,
    },
    /// Let a group no longer read a name. Its entries of that name are dead again. The group ends with its last name.
    Unsubscribe {
        /// The group.
        group: Group,
        /// The name.
        name: Name,
    },
    /// Take or keep the cursor of a group, and hand out its lowest unsettled numbers (G6, G9).
    Poll {
        /// The group.
        group: Group,
        /// The names that this replica can handle. They must include all names of the group.
        names: Names,
        /// The token of the cursor's lease, if this replica holds it.
        token: Option<Token>,
        /// The maximum number of events, including those that the poll dead-letters.
        max: NonZeroU32,
        /// The length of the cursor's lease, in milliseconds.
        lease_ms: u64,
        /// The maximum number of attempts. An event that was first in line under this many tokens is dead-lettered for
        /// the group (G8).
        attempts_max: NonZeroU32,
    },
    /// Settle one delivery. This takes effect only under the current token (G3).
    Settle {
        /// The delivery.
        target: Target,
        /// The token of the delivery.
        token: Token,
        /// The settlement.
        how: Settlement,
    },
    /// Return a delivery that no handler has begun: it is due now, and its attempt is not counted. For a cursor, this
    /// returns all unsettled deliveries.
    Release {
        /// The lease to end.
        lease: Lease,
        /// Its token.
        token: Token,
    },
    /// Extend a lease from now.
    Extend {
        /// The lease.
        lease: Lease,
        /// Its token.
        token: Token,
        /// Its new length from now, in milliseconds.
        lease_ms: u64,
    },
    /// Withdraw a command that no worker holds.
    Cancel {
        /// The command.
        seq: Seq,
    },
    /// Move a group's position for one name, and fence the holder of its cursor.
    Seek {
        /// The group.
        group: Group,
        /// The name.
        name: Name,
        /// The new position. The events of the name past it are delivered next.
        position: Seq,
    },
    /// Put a dead-lettered or parked message back, its attempts counted from zero (G14).
    Redrive {
        /// The record.
        record: RecordId,
    },
    /// Remove a dead-lettered or parked record for good.
    Purge {
        /// The record.
        record: RecordId,
    },
    /// Replace the columns of a record that cannot be decoded by a message; the reply returns the columns (G5). The record
    /// keeps its place and its other fields.
    Repair {
        /// The record.
        record: RecordId,
        /// The message. It must have the name of the record, if that can be read. It gets the id that is remembered for its
        /// number, with or without that id given here.
        message: Arc<Message>,
    },
    /// Delete old events that every subscribed group has passed from the front of the log (G13).
    Prune {
        /// The age below which events are kept, in milliseconds.
        retention_ms: u64,
    },
    /// Forget the ids of messages that ended long ago.
    ForgetIds {
        /// How long an id is remembered after the end of its message, in milliseconds.
        retention_ms: u64,
    },
    /// Begin a new epoch with an empty log: a compare-and-swap of the epoch (G11).
    Reset {
        /// The expected current epoch.
        expected: Epoch,
        /// The epoch to begin, never used before.
        next: Epoch,
    },
    /// The first open for writing after a boot: skip tokens, so that no token that a power cut lost is minted again
    /// (G4).
    Reboot,
    /// This store was restored from a copy: begin a new epoch, and mint from its own range of tokens. The log keeps its
    /// events (G4, G11).
    Restore {
        /// The epoch to begin, larger than every epoch that the original or another copy of it ever used.
        next: Epoch,
    },
    /// Several operations, all or none: one refusal undoes them all (G12).
    Atomic(
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::vocabulary::written::nested"))]
        Vec<Op>,
    ),
}

/// Where a group starts to read a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Start {
    /// With the first event that is kept.
    #[default]
    Earliest,
    /// With the next event that will be published.
    Latest,
    /// With the first event past this position.
    After(Seq),
}

/// What a delivery is of, and what a settlement names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Target {
    /// A command of the queue.
    Command(Seq),
    /// An event of the log, for a group.
    Event {
        /// The group.
        group: Group,
        /// The event's number.
        seq: Seq,
    },
    /// A group's own copy of a redriven event.
    Entry {
        /// The group.
        group: Group,
        /// The record that was redriven.
        record: RecordId,
    },
}

/// A lease: of one command, or of the cursor of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Lease {
    /// The lease of a command.
    Command(Seq),
    /// The lease of a group's cursor.
    Cursor(Group),
}

impl Target {
    /// The lease that covers this delivery.
    pub fn lease(&self) -> Lease {
        match self {
            Self::Command(seq) => Lease::Command(*seq),
            Self::Event { group, .. } | Self::Entry { group, .. } => Lease::Cursor(group.clone()),
        }
    }
}

/// How a delivery ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Settlement {
    /// Handled. It is never delivered again; an event is never delivered again to this group.
    Ack,
    /// Failed. It is due again after a delay. The nack of the last attempt dead-letters it.
    Nack {
        /// The delay, in milliseconds.
        delay_ms: u64,
        /// Why. The bus keeps the last reason.
        reason: Reason,
    },
    /// Set it aside as dead, for a person to look at.
    DeadLetter {
        /// Why.
        reason: Reason,
    },
    /// Set it aside as parked, until a person redrives it.
    Park {
        /// Why.
        reason: Reason,
    },
    /// Discard it. Refused for a row that could not be decoded (G5).
    Drop,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Delivery {
    /// The target of its settlement.
    pub target: Target,
    /// Its number in the queue or the log.
    pub seq: Seq,
    /// The fencing token to settle it with.
    pub token: Token,
    /// The number of this attempt; the first is 1.
    pub attempt: u32,
    /// When the lease ends.
    pub lease_until: Timestamp,
    /// The message, or the raw columns of a row that could not be decoded. Raw columns go to no handler (G5).
    pub body: Body,
}

/// The reply to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Reply {
    /// To send and publish.
    Accepted {
        /// The number of the message, or of the first one under its id.
        seq: Seq,
        /// False if the id was remembered and nothing was added.
        fresh: bool,
    },
    /// To claim and poll. If both lists are empty, nothing is due.
    HandedOut {
        /// The deliveries, in the order to handle them.
        deliveries: Vec<Delivery>,
        /// The records of exhausted and unreadable messages that the operation dead-lettered.
        dead_lettered: Vec<RecordId>,
    },
    /// To settle.
    Settled(Settled),
    /// To release.
    Released,
    /// To extend.
    Extended {
        /// When the lease ends now.
        until: Timestamp,
    },
    /// To cancel.
    Cancelled,
    /// To subscribe.
    Subscribed {
        /// The group's position for the name.
        position: Seq,
        /// False if the group already read the name.
        fresh: bool,
    },
    /// To unsubscribe.
    Unsubscribed {
        /// The records of the group's entries of that name, which are dead again.
        returned: Vec<RecordId>,
    },
    /// To seek.
    Sought,
    /// To redrive: the place of the message now.
    Redriven(Target),
    /// To purge.
    Purged,
    /// To repair.
    Repaired {
        /// The columns that could not be decoded. The store no longer has them.
        replaced: Raw,
    },
    /// To prune.
    Pruned {
        /// The first number that is kept.
        first: Seq,
        /// How many numbers were removed.
        removed: u64,
        /// The records of the events that could not be decoded (G5).
        dead_lettered: Vec<RecordId>,
    },
    /// To forget ids.
    Forgotten {
        /// How many ids were forgotten.
        ids: u64,
    },
    /// To reset and restore.
    EpochBegun {
        /// The records of entries that are dead again, because their epoch ended.
        returned: Vec<RecordId>,
    },
    /// To reboot.
    Rebooted,
    /// To several operations: one reply each.
    Done(
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::vocabulary::written::nested"))]
        Vec<Reply>,
    ),
    /// The operation was refused, and nothing changed.
    Refused(Refusal),
}

/// The effect of a settlement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Settled {
    /// Handled.
    Acked,
    /// Will be delivered again.
    Requeued {
        /// When.
        due_at: Timestamp,
    },
    /// Dead-lettered.
    DeadLettered {
        /// Its record.
        record: RecordId,
    },
    /// Parked.
    Parked {
        /// Its record.
        record: RecordId,
    },
    /// Discarded.
    Dropped,
}

/// Why an operation was refused. A refusal is data, not an error, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Refusal {
    /// The token is not the current one of that lease (G3).
    LeaseLost,
    /// The id is remembered with other content (G10).
    Conflict {
        /// The number of the message that has the id.
        seq: Seq,
    },
    /// There is no such command, entry or record.
    NotFound,
    /// Another worker holds the lease.
    Held {
        /// The end of the lease, unless it is extended.
        until: Timestamp,
    },
    /// The poll lacks names that the group reads. The replica must stand by.
    NamesMissing {
        /// Those names.
        missing: Names,
    },
    /// The event is not the next event of this group that was handed out.
    NotNext {
        /// The next one, if there is one.
        next: Option<Seq>,
    },
    /// The group does not exist, or does not read that name.
    NotSubscribed,
    /// The position lies beyond the head of the log.
    BeyondHead {
        /// The head.
        head: Seq,
    },
    /// The position lies before the first event that is kept.
    Pruned {
        /// The first number that is kept.
        first: Seq,
    },
    /// The epoch is not the expected one.
    EpochMismatch {
        /// The current one.
        current: Epoch,
    },
    /// The epoch was used before.
    EpochRetired,
    /// The row cannot be decoded, so this operation is not allowed (G5).
    Corrupt,
    /// A repair would replace what can be read: a message, its name or its id (G5).
    Legible,
    /// A command was published, an event was sent, or a repair would replace one by the other.
    WrongKind,
    /// One of several operations was refused, so none took effect (G12).
    Aborted {
        /// Its index, from 0.
        index: u32,
        /// Its refusal.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::vocabulary::written::nested"))]
        refusal: Box<Refusal>,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LeaseLost => f.write_str("the lease was lost: its token is not the current one"),
            Self::Conflict { seq } => write!(f, "the id is taken, with other content, by message {seq}"),
            Self::NotFound => f.write_str("there is no such message or record"),
            Self::Held { until } => {
                write!(f, "another worker holds the lease, until {until} ms unless it is extended")
            }
            Self::NamesMissing { missing } => {
                let names: Vec<&str> = missing.iter().map(Name::as_str).collect();
                write!(f, "the group also reads {}, which this replica cannot handle", names.join(", "))
            }
            Self::NotNext { next: Some(next) } => {
                write!(f, "not the next event of the group; that is {next}")
            }
            Self::NotNext { next: None } => f.write_str("no event of the group was handed out"),
            Self::NotSubscribed => f.write_str("the group does not exist or does not read that name"),
            Self::BeyondHead { head } => write!(f, "the position lies beyond the head of the log, {head}"),
            Self::Pruned { first } => {
                write!(f, "the position lies before the first event that is kept, {first}")
            }
            Self::EpochMismatch { current } => write!(f, "the epoch is {current}, not the expected one"),
            Self::EpochRetired => f.write_str("the epoch has ended or was used before"),
            Self::Corrupt => f.write_str("the row cannot be decoded, so this is not allowed"),
            Self::Legible => f.write_str("a repair cannot replace what can be read"),
            Self::WrongKind => f.write_str("commands are sent and events are published"),
            Self::Aborted { index, refusal } => write!(f, "operation {index} was refused: {refusal}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;
    use crate::vocabulary::written::NESTING_MAX;

    #[test]
    fn an_operation_that_nests_too_deeply_is_not_decoded() {
        let nested =
            |depth: usize| format!("{}\"reboot\"{}", "{\"atomic\":[".repeat(depth), "]}".repeat(depth));
        assert!(serde_json::from_str::<Op>(&nested(NESTING_MAX as usize)).is_ok());
        let error = serde_json::from_str::<Op>(&nested(NESTING_MAX as usize + 1)).unwrap_err();
        assert!(error.to_string().contains("nested too deeply"), "{error}");
        let aborted = "{\"aborted\":{\"index\":0,\"refusal\":";
        let deep = format!("{}\"lease-lost\"{}", aborted.repeat(33), "}}".repeat(33));
        let error = serde_json::from_str::<Refusal>(&deep).unwrap_err();
        assert!(error.to_string().contains("nested too deeply"), "{error}");
        assert!(serde_json::from_str::<Op>(&nested(1)).is_ok(), "the depth is counted down again");
    }
}
