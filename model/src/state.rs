//! The whole state of a bus, as plain ordered maps.
//!
//! What a store keeps in tables, this keeps in memory; the two are compared after every step. This module knows
//! nothing of how a state changes (that is `step`) and of what is forbidden (that is `invariant`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::vocabulary::{
    Content, Epoch, Group, Message, MessageId, Name, Raw, Reason, RecordId, Seq, Timestamp, Token,
};

/// The state of a bus between two operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct State {
    /// Commands that are ready, delayed or leased.
    pub queue: BTreeMap<Seq, Command>,
    /// Rows of the queue whose name or bookkeeping cannot be read; the next claim moves them to the dead.
    pub unreadable: BTreeMap<Seq, Raw>,
    /// The number of the last command that was accepted.
    pub queue_last: Seq,
    /// The sender's ids that the queue remembers.
    pub command_ids: BTreeMap<MessageId, Remembered>,
    /// The log from `first` to `head`, without a gap.
    pub log: BTreeMap<Seq, LogRow>,
    /// The first number that is kept; `head` + 1 if none is.
    pub first: Seq,
    /// The number of the last event that was published.
    pub head: Seq,
    /// The publisher's ids that the log remembers.
    pub event_ids: BTreeMap<MessageId, Remembered>,
    /// The current epoch of the log.
    pub epoch: Epoch,
    /// The epochs that have ended.
    pub epochs_retired: BTreeSet<Epoch>,
    /// The consumer groups.
    pub groups: BTreeMap<Group, Cursor>,
    /// What was dead-lettered or parked.
    pub records: BTreeMap<RecordId, Record>,
    /// The number of the last record.
    pub record_last: RecordId,
    /// The last token that was minted.
    pub token_last: Token,
}

impl State {
    /// An empty bus in its first epoch.
    pub fn new() -> Self {
        Self { first: Seq::from(1), epoch: Epoch::from(1), ..Self::default() }
    }
}

/// What a row holds: a message, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Body {
    /// The message as it was accepted.
    Sound {
        /// The message.
        message: Arc<Message>,
        /// When it was sent or published.
        at: Timestamp,
    },
    /// The name can be read, the rest cannot be trusted.
    Corrupt {
        /// The name.
        name: Name,
        /// The columns as they were found.
        raw: Raw,
    },
    /// Not even the name, or the bookkeeping that a delivery needs, can be read.
    Unreadable {
        /// The columns as they were found.
        raw: Raw,
    },
}

impl Body {
    /// The name, where it can be read.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Sound { message, .. } => Some(&message.name),
            Self::Corrupt { name, .. } => Some(name),
            Self::Unreadable { .. } => None,
        }
    }

    /// Whether this is a message that may reach a handler.
    pub fn is_sound(&self) -> bool {
        matches!(self, Self::Sound { .. })
    }
}

/// A command in the queue. One number, `due_at`, says when it may next be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Command {
    /// What is delivered: [`Body::Sound`] or [`Body::Corrupt`].
    pub body: Body,
    /// The time it was sent for, the end of its lease, or the end of its back-off.
    pub due_at: Timestamp,
    /// How many times it was claimed since it was sent or redriven, releases not counted.
    pub attempts: u32,
    /// The lease of its last claim, unless that was settled. It may have run out.
    pub lease: Option<CommandLease>,
    /// The reason of its last nack.
    pub reason: Option<Reason>,
}

/// The lease of a command. Its end is the command's `due_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CommandLease {
    /// The current token.
    pub token: Token,
    /// The limit that the claimer carried.
    pub attempts_max: u32,
    /// Whether what was handed out could not be decoded.
    pub corrupt: bool,
}

/// One number of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum LogRow {
    /// An event, readable or not; one whose name cannot be read is moved to the dead by the next poll.
    Event(Body),
    /// What is left of an event that was moved to the dead for all groups.
    Tombstone,
}

/// A consumer group: one cursor, and a position for each name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cursor {
    /// The names that the group reads.
    pub names: BTreeMap<Name, Progress>,
    /// The group's own copies of events that were redriven.
    pub entries: BTreeMap<RecordId, Entry>,
    /// When the group may next be polled by another: the end of its lease or of its back-off.
    pub due_at: Timestamp,
    /// The lease of the last poll that minted a token, unless it ended. It may have run out.
    pub lease: Option<CursorLease>,
}

/// The lease of a cursor. Its end is the cursor's `due_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CursorLease {
    /// The current token.
    pub token: Token,
    /// The limit that the last poll carried.
    pub attempts_max: u32,
    /// All unsettled events of the group up to this number were handed out under this token.
    pub handed_through: Seq,
    /// The event that was handed out as not decodable, if one was.
    pub corrupt: Option<Seq>,
}

/// A group's progress through one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Progress {
    /// The number of the last event that the group has settled, or where it started.
    pub position: Seq,
    /// How many times the next event of this name was handed out as first in line.
    pub attempts: u32,
    /// The token under which the last of these was counted, so that it is not counted twice.
    pub counted: Option<Token>,
    /// The reason of the next event's last nack.
    pub reason: Option<Reason>,
}

/// A group's own copy of a redriven event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// The event's number in the log.
    pub seq: Seq,
    /// The message.
    pub body: Body,
    /// When it may next be handed out.
    pub due_at: Timestamp,
    /// How many times it was handed out since it was redriven.
    pub attempts: u32,
    /// The token under which it is handed out now.
    pub counted: Option<Token>,
    /// The reason of its last nack.
    pub reason: Option<Reason>,
}

/// A dead-lettered or parked message, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// Dead or parked.
    pub place: Place,
    /// Where it came from.
    pub origin: Origin,
    /// The message, or the raw columns.
    pub body: Body,
    /// What moved it here.
    pub cause: Cause,
    /// Why, in the words of who moved it, or of the last nack.
    pub reason: Option<Reason>,
    /// How many attempts it had.
    pub attempts: u32,
    /// When it was moved here.
    pub at: Timestamp,
}

/// Where a record rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Place {
    /// Dead-lettered.
    Dead,
    /// Parked.
    Parked,
}

/// What moved a record aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Cause {
    /// A settlement asked for it.
    Settled,
    /// It had all the attempts that it may have.
    AttemptsExhausted,
    /// It could not be read.
    Corrupt,
    /// Its group stopped reading its name while it waited there as an entry.
    Unsubscribed,
    /// Its epoch ended while it waited in a group as an entry.
    EpochEnded,
}

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Origin {
    /// A command.
    Queue {
        /// Its number, which it keeps when it is redriven.
        seq: Seq,
    },
    /// An event.
    Log {
        /// The life of the log that it belongs to.
        epoch: Epoch,
        /// Its number.
        seq: Seq,
        /// The group that it was moved aside for; none for an event that nobody could read.
        group: Option<Group>,
    },
}

/// What is remembered of an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Remembered {
    /// The number of the message that was accepted under it.
    pub seq: Seq,
    /// What a repetition must agree with.
    pub content: Content,
    /// When the message ended (acked, dropped, cancelled, purged or pruned); none while it is there.
    pub ended_at: Option<Timestamp>,
}
