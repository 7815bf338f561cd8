//! What was moved aside: putting it there, redriving it, purging it.
//!
//! A record keeps everything that was known. Redriving moves it back and never copies (G14); purging is the one way
//! for it to disappear (G1).

use crate::op::{Refusal, Reply, Target};
use crate::state::{Body, Cause, Command, Entry, Origin, Place, Record, State};
use crate::step::queue;
use crate::vocabulary::{Reason, RecordId, Timestamp};

#[expect(clippy::too_many_arguments, reason = "one argument for each thing that a record keeps")]
pub(super) fn put_aside(
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

/// Puts a message back: a command into the queue under its own number, an event into the group that it was moved
/// aside for, as an entry of that group alone. A row that cannot be read stays where it is.
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
        queue::end(&mut state.command_ids, seq, now);
    }
    Ok(Reply::Purged)
}
