//! Records of dead and parked messages: setting aside, redriving, purging, repairing.
//!
//! Invariant: a redrive moves a message and never copies it (G14). Only a purge removes one (G1). A repair replaces only
//! what cannot be decoded (G5).

use std::sync::Arc;

use crate::op::{Refusal, Reply, Target};
use crate::state::{Body, Cause, Command, Entry, Origin, Place, Record, State};
use crate::step::ids;
use crate::vocabulary::{Group, Kind, Message, Reason, RecordId, Seq, Timestamp};

/// Puts a message back: a command into the queue under its own number, an event into the group that it was set aside
/// for, as an entry of that group alone. A record that cannot be decoded stays where it is.
pub(super) fn redrive(state: &mut State, now: Timestamp, id: RecordId) -> Result<Reply, Refusal> {
    let record = state.records.get(&id).ok_or(Refusal::NotFound)?;
    let Body::Sound { message, .. } = &record.body else { return Err(Refusal::Corrupt) };
    let body = record.body.clone();
    let target = match record.origin.clone() {
        Origin::Queue { seq } => {
            state.queue.insert(seq, Command { body, due_at: now, attempts: 0, lease: None, reason: None });
            Target::Command(seq)
        }
        Origin::Log { epoch, seq, group } => {
            if epoch != state.epoch {
                return Err(Refusal::EpochRetired);
            }
            let group = group.ok_or(Refusal::NotSubscribed)?;
            let cursor = state.groups.get_mut(&group).ok_or(Refusal::NotSubscribed)?;
            if !cursor.names.contains_key(&message.name) {
                return Err(Refusal::NotSubscribed);
            }
            let entry = Entry { seq, body, due_at: now, attempts: 0, counted: None, reason: None };
            cursor.entries.insert(id, entry);
            Target::Entry { group, record: id }
        }
    };
    state.records.remove(&id);
    Ok(Reply::Redriven(target))
}

pub(super) fn purge(state: &mut State, now: Timestamp, id: RecordId) -> Result<Reply, Refusal> {
    let record = state.records.remove(&id).ok_or(Refusal::NotFound)?;
    if let Origin::Queue { seq } = record.origin {
        ids::end(&mut state.command_ids, seq, now);
    }
    Ok(Reply::Purged)
}

/// Replaces the columns that cannot be decoded by a message, and returns them. The name, if it can be read, and the id
/// that is remembered for the number stay: a redriven message needs its id (G10). The time of sending is lost, so the
/// message counts as sent now.
pub(super) fn repair(
    state: &mut State,
    now: Timestamp,
    id: RecordId,
    message: &Arc<Message>,
) -> Result<Reply, Refusal> {
    let record = state.records.get_mut(&id).ok_or(Refusal::NotFound)?;
    let (kind, seq, ids) = match record.origin {
        Origin::Queue { seq } => (Kind::Command, seq, &state.command_ids),
        Origin::Log { seq, .. } => (Kind::Event, seq, &state.event_ids),
    };
    let replaced = match &record.body {
        Body::Sound { .. } => return Err(Refusal::Legible),
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => raw.clone(),
    };
    if message.kind != kind {
        return Err(Refusal::WrongKind);
    }
    let remembered = ids.iter().find(|(_, known)| known.seq == seq).map(|(id, _)| id.clone());
    let other_name = record.body.name().is_some_and(|name| *name != message.name);
    let other_id = message.id.is_some() && message.id != remembered;
    if other_name || other_id {
        return Err(Refusal::Legible);
    }
    let message = Arc::new(Message { id: remembered, ..(**message).clone() });
    record.body = Body::Sound { message, at: now };
    Ok(Reply::Repaired { replaced })
}

#[expect(clippy::too_many_arguments, reason = "one argument for each field of a record")]
pub(super) fn set_aside(
    state: &mut State,
    now: Timestamp,
    place: Place,
    origin: Origin,
    body: Body,
    cause: Cause,
    reason: Option<Reason>,
    attempts: u32,
) -> RecordId {
    let id = state.record_last.plus(1);
    state.record_last = id;
    state.records.insert(id, Record { place, origin, body, cause, reason, attempts, at: now });
    id
}

/// Moves a redriven entry back to the records, under the number that it had there (G14).
#[expect(clippy::too_many_arguments, reason = "one argument for each field of a record")]
pub(super) fn return_entry(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    id: RecordId,
    entry: Entry,
    place: Place,
    cause: Cause,
    reason: Option<Reason>,
) -> RecordId {
    let origin = Origin::Log { epoch: state.epoch, seq: entry.seq, group: Some(group.clone()) };
    let Entry { body, attempts, reason: last, .. } = entry;
    let record = Record { place, origin, body, cause, reason: reason.or(last), attempts, at: now };
    state.records.insert(id, record);
    id
}

/// Dead-letters an unreadable event once, for all groups.
pub(super) fn dead_letter_for_all(state: &mut State, now: Timestamp, seq: Seq, body: Body) -> RecordId {
    let origin = Origin::Log { epoch: state.epoch, seq, group: None };
    set_aside(state, now, Place::Dead, origin, body, Cause::Corrupt, None, 0)
}
