//! Dead letters and parked messages: how they are encoded in columns, redriving, purging, repairing.
//!
//! Invariant: a redrive copies the columns as they are and deletes the record in the same transaction (G14). A record
//! disappears only by a purge (G1). A repair replaces only what cannot be decoded, and returns the replaced columns (G5).
//! Does not depend on: why a message was set aside.

use fencepost_model::op::{Refusal, Reply, Settled, Target};
use fencepost_model::state::{Body, Cause, Origin, Place, Record};
use fencepost_model::vocabulary::{Epoch, Group, Kind, Message, MessageId, Name, Reason, RecordId, Seq};
use rusqlite::types::ValueRef;
use rusqlite::{Row, named_params};

use crate::error::{Error, Result};
use crate::sqlite::cursor::store;
use crate::sqlite::ids;
use crate::sqlite::rows::{
    BODY_COLUMNS, body, count, encode, int, maybe_number, number, reason, text, unreadable,
};
use crate::sqlite::session::{Answer, Session};
use crate::sqlite::statements::StatementId as Sql;

/// How a message is set aside.
pub(super) struct Aside<'a> {
    pub(super) place: Place,
    pub(super) cause: Cause,
    /// The reason; without one, that of the last nack stays.
    pub(super) reason: Option<&'a str>,
}

impl<'a> Aside<'a> {
    pub(super) fn dead(cause: Cause, reason: Option<&'a Reason>) -> Self {
        Self { place: Place::Dead, cause, reason: reason.map(AsRef::as_ref) }
    }

    pub(super) fn parked(reason: &'a Reason) -> Self {
        Self { place: Place::Parked, cause: Cause::Settled, reason: Some(reason) }
    }

    /// The answer to the settlement that moved it here.
    pub(super) fn settled(&self, record: RecordId) -> Settled {
        match self.place {
            Place::Dead => Settled::DeadLettered { record },
            Place::Parked => Settled::Parked { record },
        }
    }
}

/// The word of a place in the tables.
pub(super) const fn place_word(place: Place) -> &'static str {
    match place {
        Place::Dead => "dead",
        Place::Parked => "parked",
    }
}

/// The word of a cause in the tables.
pub const fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Settled => "settled",
        Cause::AttemptsExhausted => "attempts-exhausted",
        Cause::Corrupt => "corrupt",
        Cause::Unsubscribed => "unsubscribed",
        Cause::EpochEnded => "epoch-ended",
    }
}

/// Where a record came from.
pub(super) enum Source {
    /// The queue.
    Queue { seq: Seq },
    /// The log, for one group or for all.
    Log { epoch: Epoch, seq: Seq, group: Option<Group> },
}

impl Source {
    fn kind(&self) -> (Kind, Seq) {
        match self {
            Self::Queue { seq } => (Kind::Command, *seq),
            Self::Log { seq, .. } => (Kind::Event, *seq),
        }
    }
}

/// Reads the columns kind, seq, epoch and group_name of a record from `first` on.
pub(super) fn source(row: &Row<'_>, first: usize) -> Result<Source> {
    let seq = number(row, first + 1, ("records", "seq"))?;
    let epoch = maybe_number(row, first + 2, ("records", "epoch"))?;
    match (row.get_ref(first)?, epoch) {
        (ValueRef::Text(b"command"), None) => Ok(Source::Queue { seq }),
        (ValueRef::Text(b"event"), Some(epoch)) => {
            let group = match row.get_ref(first + 3)? {
                ValueRef::Null => None,
                _ => Some(text(row, first + 3, ("records", "group_name"))?),
            };
            Ok(Source::Log { epoch, seq, group })
        }
        _ => Err(Error::column("records", "kind")),
    }
}

/// The columns of a record, in the order of the statements that list records.
pub(super) const RECORD_COLUMNS: [&str; 24] = [
    "record",
    "kind",
    "seq",
    "epoch",
    "group_name",
    "place",
    "cause",
    "reason",
    "attempts",
    "moved_at",
    "unreadable",
    "id",
    "name",
    "content_type",
    "payload",
    "metadata",
    "at",
    "checksum",
    "raw_due_at",
    "raw_attempts",
    "raw_token",
    "raw_attempts_max",
    "raw_corrupt",
    "raw_reason",
];

/// Decodes a row whose columns are [`RECORD_COLUMNS`]. Damage to its message is a body that says so; to anything else
/// a typed error.
pub(super) fn stored(row: &Row<'_>) -> Result<Record> {
    let first = 11;
    let rest = first + BODY_COLUMNS.len();
    let source = source(row, 1)?;
    let unread = match row.get_ref(10)? {
        ValueRef::Integer(0) => false,
        ValueRef::Integer(1) => true,
        _ => return Err(Error::column("records", "unreadable")),
    };
    let (body, origin) = match source {
        Source::Queue { seq } if unread => {
            (Body::Unreadable { raw: unreadable(row, first, rest)? }, Origin::Queue { seq })
        }
        Source::Queue { seq } => (body(row, first, Kind::Command, seq.get())?, Origin::Queue { seq }),
        Source::Log { epoch, seq, group } => {
            (body(row, first, Kind::Event, seq.get())?, Origin::Log { epoch, seq, group })
        }
    };
    Ok(Record {
        place: place(row.get_ref(5)?)?,
        origin,
        body,
        cause: cause(row.get_ref(6)?)?,
        reason: reason(row, 7, ("records", "reason"))?,
        attempts: count(row, 8, ("records", "attempts"))?,
        at: number(row, 9, ("records", "moved_at"))?,
    })
}

fn place(value: ValueRef<'_>) -> Result<Place> {
    match value {
        ValueRef::Text(b"dead") => Ok(Place::Dead),
        ValueRef::Text(b"parked") => Ok(Place::Parked),
        _ => Err(Error::column("records", "place")),
    }
}

fn cause(value: ValueRef<'_>) -> Result<Cause> {
    match value {
        ValueRef::Text(b"settled") => Ok(Cause::Settled),
        ValueRef::Text(b"attempts-exhausted") => Ok(Cause::AttemptsExhausted),
        ValueRef::Text(b"corrupt") => Ok(Cause::Corrupt),
        ValueRef::Text(b"unsubscribed") => Ok(Cause::Unsubscribed),
        ValueRef::Text(b"epoch-ended") => Ok(Cause::EpochEnded),
        _ => Err(Error::column("records", "cause")),
    }
}

/// Puts a message back: a command into the queue, an event into its group alone, as an entry.
pub(super) fn redrive(s: &Session<'_>, record: RecordId) -> Answer<Reply> {
    let (source, body) = read(s, record)?.ok_or(Refusal::NotFound)?;
    let Body::Sound { message, .. } = body else { return Err(Refusal::Corrupt.into()) };
    let params = named_params! {":record": int(record), ":now": int(s.now)};
    let target = match source {
        Source::Queue { seq } => {
            s.run(Sql::RecordToQueue, params)?;
            Target::Command(seq)
        }
        Source::Log { epoch, group, .. } => {
            if epoch != store(s)?.epoch {
                return Err(Refusal::EpochRetired.into());
            }
            let group = group.ok_or(Refusal::NotSubscribed)?;
            if position(s, &group, &message.name)?.is_none() {
                return Err(Refusal::NotSubscribed.into());
            }
            s.run(Sql::RecordToEntry, params)?;
            Target::Entry { group, record }
        }
    };
    remove(s, record)?;
    Ok(Reply::Redriven(target))
}

/// Where a group stands in a name that it reads.
pub(super) fn position(s: &Session<'_>, group: &Group, name: &Name) -> Result<Option<Seq>> {
    let params = named_params! {":group": group.as_str(), ":name": name.as_str()};
    s.first(Sql::SubscriptionRead, params, |row| number(row, 0, ("subscriptions", "position")))
}

pub(super) fn purge(s: &Session<'_>, record: RecordId) -> Answer<Reply> {
    let (source, _) = read(s, record)?.ok_or(Refusal::NotFound)?;
    remove(s, record)?;
    if let Source::Queue { seq } = source {
        ids::end(s, Kind::Command, seq)?;
    }
    Ok(Reply::Purged)
}

/// Puts a message that a person gives in the place of what cannot be decoded. What can still be read stays: the name,
/// and the id that is remembered for the number (G10).
pub(super) fn repair(s: &Session<'_>, record: RecordId, given: &Message) -> Answer<Reply> {
    let params = named_params! {":record": int(record)};
    let found = s.first(Sql::RecordLook, params, stored)?.ok_or(Refusal::NotFound)?;
    let (kind, seq) = match found.origin {
        Origin::Queue { seq } => (Kind::Command, seq),
        Origin::Log { seq, .. } => (Kind::Event, seq),
    };
    let (name, replaced) = match found.body {
        Body::Sound { .. } => return Err(Refusal::Legible.into()),
        Body::Corrupt { name, raw } => (Some(name), raw),
        Body::Unreadable { raw } => (None, raw),
    };
    if given.kind != kind {
        return Err(Refusal::WrongKind.into());
    }
    let id = ids::of_number(s, kind, seq)?;
    let other_id = given.id.is_some() && given.id != id;
    if other_id || name.is_some_and(|name| name != given.name) {
        return Err(Refusal::Legible.into());
    }
    write(s, record, &Message { id, ..given.clone() }, seq)?;
    Ok(Reply::Repaired { replaced })
}

/// Writes a message into a record, as sent now.
fn write(s: &Session<'_>, record: RecordId, message: &Message, seq: Seq) -> Result<()> {
    let encoded = encode(message, seq.get(), s.now);
    s.run(
        Sql::RecordRepair,
        named_params! {
            ":record": int(record), ":id": message.id.as_ref().map(MessageId::as_str), ":name": message.name.as_str(),
            ":content_type": message.content_type.as_str(), ":payload": &message.payload[..],
            ":metadata": encoded.metadata, ":at": int(s.now), ":checksum": encoded.checksum,
        },
    )?;
    Ok(())
}

fn read(s: &Session<'_>, record: RecordId) -> Result<Option<(Source, Body)>> {
    s.first(Sql::RecordRead, named_params! {":record": int(record)}, |row| {
        let source = source(row, 0)?;
        let (kind, seq) = source.kind();
        let body = match row.get_ref(4)? {
            ValueRef::Integer(0) => body(row, 5, kind, seq.get())?,
            ValueRef::Integer(1) => Body::Unreadable { raw: crate::sqlite::rows::raw(row, 5, &[])? },
            _ => return Err(Error::column("records", "unreadable")),
        };
        Ok((source, body))
    })
}

fn remove(s: &Session<'_>, record: RecordId) -> Result<()> {
    s.run(Sql::RecordRemove, named_params! {":record": int(record)})?;
    Ok(())
}
