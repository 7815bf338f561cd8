//! What polling and settling share: the next event of a group, and how its position passes an event.
//!
//! Invariant: a position passes an event together with its settlement or its record (G6).

use crate::state::{Cause, Cursor, LogRow, Origin, Place, Progress, State};
use crate::step::records::{return_entry, set_aside};
use crate::vocabulary::{Group, Name, Reason, RecordId, Seq, Timestamp};

/// The lowest unsettled event of the group past a number.
pub(super) fn next_event(state: &State, cursor: &Cursor, past: Seq) -> Option<(Seq, Name)> {
    state.log.range(past.plus(1)..).find_map(|(seq, row)| {
        let LogRow::Event(body) = row else { return None };
        let name = body.name()?;
        let progress = cursor.names.get(name)?;
        (progress.position < *seq).then(|| (*seq, name.clone()))
    })
}

/// Moves the group's position for this name to this event.
pub(super) fn pass(state: &mut State, group: &Group, name: &Name, seq: Seq) {
    if let Some(progress) = state.groups.get_mut(group).and_then(|cursor| cursor.names.get_mut(name)) {
        *progress = Progress { position: seq, ..Progress::default() };
    }
}

/// Sets a copy of an event aside for one group, whose position passes the event.
#[expect(clippy::too_many_arguments, reason = "one argument for each field of a record")]
pub(super) fn set_event_aside(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    seq: Seq,
    name: &Name,
    place: Place,
    cause: Cause,
    reason: Option<Reason>,
) -> Option<RecordId> {
    let Some(LogRow::Event(body)) = state.log.get(&seq) else { return None };
    let body = body.clone();
    let progress = state.groups.get(group)?.names.get(name)?;
    let (attempts, last) = (progress.attempts, progress.reason.clone());
    let origin = Origin::Log { epoch: state.epoch, seq, group: Some(group.clone()) };
    pass(state, group, name, seq);
    Some(set_aside(state, now, place, origin, body, cause, reason.or(last), attempts))
}

pub(super) fn set_entry_aside(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    id: RecordId,
    place: Place,
    cause: Cause,
    reason: Option<Reason>,
) -> Option<RecordId> {
    let entry = state.groups.get_mut(group)?.entries.remove(&id)?;
    Some(return_entry(state, now, group, id, entry, place, cause, reason))
}
