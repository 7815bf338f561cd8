//! What can be asked of the bus, and what it answers.
//!
//! [`Op`], [`Reply`] and [`Refusal`] are exhaustive on purpose: a new one breaks every implementation until it is
//! handled. This module holds no logic and knows no storage.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::state::Body;
use crate::vocabulary::{Epoch, Group, Message, Name, Names, Raw, Reason, RecordId, Seq, Timestamp, Token};

/// An operation of the bus. Every one is applied at a time `now` that the caller names, as one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Op {
    /// Put a command into the queue, due after the delay. Under an id, a repetition adds nothing (G10).
    Send {
        /// The command.
        message: Arc<Message>,
        /// How long until it may be claimed, in milliseconds.
        delay_ms: u64,
    },
    /// Take the next due commands of these names, each under a lease with a token of its own (G2, G4, G9).
    Claim {
        /// The names that the claimer can handle.
        names: Names,
        /// How many commands at most, those that are dead-lettered on the way included.
        max: NonZeroU32,
        /// The length of each lease, in milliseconds.
        lease_ms: u64,
        /// A command that already had this many attempts is dead-lettered and not handed out (G8).
        attempts_max: NonZeroU32,
    },
    /// Publish an event at the next number of the log (G15).
    Publish {
        /// The event.
        message: Arc<Message>,
    },
    /// Let a group read a name from a start; a name that it already reads keeps its position (G6).
    Subscribe {
        /// The group, which begins to exist with its first name.
        group: Group,
        /// The name.
        name: Name,
        /// Where a new name starts.
        start: Start,
    },
    /// Let a group read a name no more. Its redriven entries of that name go back to the dead; the group ends
    /// with its last name.
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
        /// The names that this replica can handle; all of the group's must be among them.
        names: Names,
        /// The token of the cursor's lease, if this replica holds it.
        token: Option<Token>,
        /// How many events at most, those that are dead-lettered on the way included.
        max: NonZeroU32,
        /// The length of the cursor's lease, in milliseconds.
        lease_ms: u64,
        /// An event that was already first in line this many times is dead-lettered for the group (G8).
        attempts_max: NonZeroU32,
    },
    /// Settle one delivery. Takes effect only under its current token (G3).
    Settle {
        /// What was delivered.
        target: Target,
        /// The token that it was delivered under.
        token: Token,
        /// How it ends.
        how: Settlement,
    },
    /// Give an undispatched delivery back: due now, its attempt not counted. For a cursor, all that was handed
    /// out and not settled.
    Release {
        /// The lease to end.
        lease: Lease,
        /// Its token.
        token: Token,
    },
    /// Let a lease last from now on for this long.
    Extend {
        /// The lease.
        lease: Lease,
        /// Its token.
        token: Token,
        /// Its new length from now, in milliseconds.
        lease_ms: u64,
    },
    /// Withdraw a command that nobody holds.
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
        /// The new position: events of the name past it are delivered next.
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
    /// Put a message in the place of what cannot be decoded in a record, as a person gives it; what was there is told
    /// (G5). The record stays where it is, with all else that it keeps.
    Repair {
        /// The record.
        record: RecordId,
        /// The message. It has the name that can still be read, if one can; and the id that is remembered for its
        /// number, whether that is given here or not.
        message: Arc<Message>,
    },
    /// Delete from the front of the log what is old and passed by every subscribed group (G13).
    Prune {
        /// Events younger than this are kept, in milliseconds.
        retention_ms: u64,
    },
    /// Forget the ids of messages that were settled (or pruned) longer ago than this.
    ForgetIds {
        /// How long an id is remembered after its message's end, in milliseconds.
        retention_ms: u64,
    },
    /// Begin a new life of the log: a compare-and-swap of its epoch (G11).
    Reset {
        /// The epoch that the caller believes to be current.
        expected: Epoch,
        /// The epoch to begin, never used before.
        next: Epoch,
    },
    /// The first writing open after a boot: move the token counter on, so that no token which a power cut took
    /// away is minted again (G4).
    Reboot,
    /// This store was restored from a copy: begin a new epoch and mint from its own range of tokens. What the log
    /// holds stays (G4, G11).
    Restore {
        /// The epoch to begin, larger than every one that the original or another copy of it ever used.
        next: Epoch,
    },
    /// Several operations, all or none: the first refusal undoes them all (G12).
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

/// One thing that was delivered.
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
    /// A group's own copy of an event that was redriven.
    Entry {
        /// The group.
        group: Group,
        /// The record that was redriven.
        record: RecordId,
    },
}

/// What a token is the right to: one command, or the cursor of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Lease {
    /// The lease of a command.
    Command(Seq),
    /// The lease of a group's cursor.
    Cursor(Group),
}

impl Target {
    /// The lease under which this is delivered.
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
    /// Handled: never delivered again to that consumer or group.
    Ack,
    /// Not handled: eligible again after a delay. The nack of the last attempt dead-letters.
    Nack {
        /// The delay, in milliseconds.
        delay_ms: u64,
        /// Why; the last one is kept.
        reason: Reason,
    },
    /// Move aside, for a person to look at.
    DeadLetter {
        /// Why.
        reason: Reason,
    },
    /// Hold out of delivery until a person releases it.
    Park {
        /// Why.
        reason: Reason,
    },
    /// Discard unhandled. Refused for what could not be decoded (G5).
    Drop,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Delivery {
    /// What to settle.
    pub target: Target,
    /// Its number in the queue or the log.
    pub seq: Seq,
    /// The fencing token to settle it with.
    pub token: Token,
    /// The number of this attempt; the first is 1.
    pub attempt: u32,
    /// When the lease ends.
    pub lease_until: Timestamp,
    /// The message, or the raw columns of a row that could not be decoded: those go to no handler (G5).
    pub body: Body,
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Reply {
    /// To send and publish.
    Accepted {
        /// The number of the message, or of the first one under its id.
        seq: Seq,
        /// False if its id was remembered, and nothing was added.
        fresh: bool,
    },
    /// To claim and poll. Both lists empty: nothing is due.
    HandedOut {
        /// In the order to work through.
        deliveries: Vec<Delivery>,
        /// The records of what was found exhausted or unreadable and moved to the dead.
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
        /// The group's entries of that name, which went back to the dead.
        returned: Vec<RecordId>,
    },
    /// To seek.
    Sought,
    /// To redrive: where it is now.
    Redriven(Target),
    /// To purge.
    Purged,
    /// To repair.
    Repaired {
        /// The columns that could not be decoded, as they were found; the store has them no more.
        replaced: Raw,
    },
    /// To prune.
    Pruned {
        /// The first number that is kept.
        first: Seq,
        /// How many numbers went.
        removed: u64,
        /// The records of events that could not be decoded, moved to the dead on the way (G5).
        dead_lettered: Vec<RecordId>,
    },
    /// To forget ids: how many.
    Forgotten {
        /// How many ids.
        ids: u64,
    },
    /// To reset and restore.
    EpochBegun {
        /// Entries of groups that went back to the dead, since their epoch ended.
        returned: Vec<RecordId>,
    },
    /// To reboot.
    Rebooted,
    /// To several operations: each one's answer.
    Done(
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::vocabulary::written::nested"))]
        Vec<Reply>,
    ),
    /// The answer is no, and nothing changed.
    Refused(Refusal),
}

/// What a settlement did.
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
    /// Moved to the dead.
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

/// A no, as data: nothing changed.
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
    /// Another holds the lease.
    Held {
        /// Until when, unless it is extended.
        until: Timestamp,
    },
    /// The poll lacks names that the group reads; stand by.
    NamesMissing {
        /// Those names.
        missing: Names,
    },
    /// Not the next event of this group that was handed out.
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
    /// The position lies before what is kept.
    Pruned {
        /// The first number that is kept.
        first: Seq,
    },
    /// The epoch is not the expected one.
    EpochMismatch {
        /// The current one.
        current: Epoch,
    },
    /// The epoch was used before, or has ended.
    EpochRetired,
    /// The row cannot be decoded, so this may not be done to it (G5).
    Corrupt,
    /// What can still be read is not replaced by something else: a message that can be decoded, its name, its id (G5).
    Legible,
    /// A command was published, an event was sent, or one was given in the place of the other.
    WrongKind,
    /// One of several operations was refused, so none took effect.
    Aborted {
        /// Which one, counted from 0.
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
                write!(f, "another holds the lease, until {until} ms if it is not extended")
            }
            Self::NamesMissing { missing } => {
                let names: Vec<&str> = missing.iter().map(Name::as_str).collect();
                write!(f, "the group also reads {}, which this replica cannot handle", names.join(", "))
            }
            Self::NotNext { next: Some(next) } => {
                write!(f, "not the next event of the group; that is {next}")
            }
            Self::NotNext { next: None } => f.write_str("the group was handed out no event to settle"),
            Self::NotSubscribed => f.write_str("the group does not exist or does not read that name"),
            Self::BeyondHead { head } => write!(f, "the position lies beyond the head of the log, {head}"),
            Self::Pruned { first } => {
                write!(f, "the position lies before what is kept, which begins at {first}")
            }
            Self::EpochMismatch { current } => write!(f, "the epoch is {current}, not the expected one"),
            Self::EpochRetired => f.write_str("the epoch has ended, or was used before"),
            Self::Corrupt => f.write_str("what cannot be decoded may not be treated so"),
            Self::Legible => f.write_str("what can still be read is not replaced by something else"),
            Self::WrongKind => f.write_str("commands are sent, and events are published"),
            Self::Aborted { index, refusal } => write!(f, "operation {index} was refused: {refusal}"),
        }
    }
}

impl std::error::Error for Refusal {}
