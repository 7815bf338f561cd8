//! The state of a bus, as plain ordered maps. A store keeps the same in tables; the two are compared after every step.
//!
//! Does not depend on: how a state changes (`step`), and what must hold (`invariant`).

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
    /// Rows of the queue whose name or bookkeeping cannot be read. The next claim dead-letters them.
    pub unreadable: BTreeMap<Seq, Raw>,
    /// The number of the last accepted command.
    pub queue_last: Seq,
    /// The ids that the queue remembers.
    pub command_ids: BTreeMap<MessageId, Remembered>,
    /// The log from `first` to `head`, without a gap.
    pub log: BTreeMap<Seq, LogRow>,
    /// The first number that is kept. It is `head` + 1 if the log is empty.
    pub first: Seq,
    /// The number of the last published event.
    pub head: Seq,
    /// The ids that the log remembers.
    pub event_ids: BTreeMap<MessageId, Remembered>,
    /// The current epoch of the log.
    pub epoch: Epoch,
    /// The epochs that have ended.
    pub epochs_retired: BTreeSet<Epoch>,
    /// The consumer groups.
    pub groups: BTreeMap<Group, Cursor>,
    /// The dead and parked messages.
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

/// The content of a row: a message, or what is left of a damaged one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Body {
    /// The message, as it was accepted.
    Sound {
        /// The message.
        message: Arc<Message>,
        /// When it was sent or published.
        at: Timestamp,
    },
    /// The name can be read. The rest cannot be trusted.
    Corrupt {
        /// The name.
        name: Name,
        /// The columns as they were found.
        raw: Raw,
    },
    /// The name, or the bookkeeping that a delivery needs, cannot be read.
    Unreadable {
        /// The columns as they were found.
        raw: Raw,
    },
}

impl Body {
    /// The name, if it can be read.
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
    /// The content: [`Body::Sound`] or [`Body::Corrupt`].
    pub body: Body,
    /// The time it was sent for, the end of its lease, or the end of its back-off.
    pub due_at: Timestamp,
    /// The number of claims since it was sent or redriven, without those that were released.
    pub attempts: u32,
    /// The lease of its last claim, unless that was settled. It may have expired.
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
    /// The maximum number of attempts that the claim passed.
    pub attempts_max: u32,
    /// Whether the delivery could not be decoded.
    pub corrupt: bool,
}

/// One number of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum LogRow {
    /// An event. The next poll dead-letters an event whose name cannot be read.
    Event(Body),
    /// The place of an event that was dead-lettered for all groups.
    Tombstone,
}

/// A consumer group: one cursor, and a position for each name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cursor {
    /// The names that the group reads.
    pub names: BTreeMap<Name, Progress>,
    /// The group's own copies of redriven events.
    pub entries: BTreeMap<RecordId, Entry>,
    /// When another replica may poll: the end of the lease or of the back-off.
    pub due_at: Timestamp,
    /// The lease of the last poll that minted a token, unless it ended. It may have expired.
    pub lease: Option<CursorLease>,
}

/// The lease of a cursor. Its end is the cursor's `due_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CursorLease {
    /// The current token.
    pub token: Token,
    /// The maximum number of attempts that the last poll passed.
    pub attempts_max: u32,
    /// All unsettled events of the group up to this number were handed out under this token.
    pub handed_through: Seq,
    /// The event that was handed out as corrupt, if there was one.
    pub corrupt: Option<Seq>,
}

/// A group's progress through one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Progress {
    /// The number of the last event that the group has settled, or where it started.
    pub position: Seq,
    /// How many times the next event of this name was first in line.
    pub attempts: u32,
    /// The token under which the last attempt was counted, so that it is not counted twice.
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
    /// The content.
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

/// A dead or parked message, with everything that was known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// Dead or parked.
    pub place: Place,
    /// Where it came from.
    pub origin: Origin,
    /// The message, or the raw columns.
    pub body: Body,
    /// Why it was set aside.
    pub cause: Cause,
    /// The reason of the settlement, or of the last nack.
    pub reason: Option<Reason>,
    /// The number of attempts that it had.
    pub attempts: u32,
    /// When it was set aside.
    pub at: Timestamp,
}

/// Whether a record is dead or parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Place {
    /// Dead-lettered.
    Dead,
    /// Parked.
    Parked,
}

/// Why a message was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Cause {
    /// A settlement asked for it.
    Settled,
    /// Its attempts were exhausted.
    AttemptsExhausted,
    /// It could not be read.
    Corrupt,
    /// It was an entry of a group that was unsubscribed from its name.
    Unsubscribed,
    /// It was an entry of a group when its epoch ended.
    EpochEnded,
}

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Origin {
    /// A command.
    Queue {
        /// Its number. A redrive keeps it.
        seq: Seq,
    },
    /// An event.
    Log {
        /// Its epoch.
        epoch: Epoch,
        /// Its number.
        seq: Seq,
        /// The group that it was set aside for. `None` for an unreadable event, which is set aside for all groups.
        group: Option<Group>,
    },
}

/// A remembered id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Remembered {
    /// The number of the message that was accepted under the id.
    pub seq: Seq,
    /// The content with which a repetition must agree.
    pub content: Content,
    /// When the message ended: acked, dropped, cancelled, purged or pruned. `None` until then.
    pub ended_at: Option<Timestamp>,
}
