//! Settling what a cursor handed out, and ending or extending its lease.
//!
//! Events are settled in order, one after the other; a redriven entry on its own. A position passes an event by its
//! settlement and by nothing else (G6).

use std::sync::Arc;

use crate::op::{Refusal, Reply, Settled, Settlement};
use crate::state::{Cause, Cursor, CursorLease, LogRow, Origin, Place, Progress, State};
use crate::step::log::poll::next_event;
use crate::step::log::return_entry;
use crate::step::records::put_aside;
use crate::vocabulary::{Group, Name, Reason, RecordId, Seq, Timestamp, Token};

/// The cursor, if this token is its current one (G3).
fn held<'a>(
    state: &'a mut State,
    group: &Group,
    token: Token,
) -> Result<(&'a mut Cursor, CursorLease), Refusal> {
    let cursor = state.groups.get_mut(group).ok_or(Refusal::NotSubscribed)?;
    match cursor.lease {
        Some(lease) if lease.token == token => Ok((cursor, lease)),
        _ => Err(Refusal::LeaseLost),
    }
}

pub(in crate::step) fn settle_event(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    seq: Seq,
    token: Token,
    how: &Settlement,
) -> Result<Reply, Refusal> {
    let (_, lease) = held(state, group, token)?;
    let first = next_event(state, &state.groups[group], Seq::ZERO);
    let Some((_, name)) = first.filter(|(first, _)| *first == seq && seq <= lease.handed_through) else {
        let next = next_event(state, &state.groups[group], Seq::ZERO).map(|(next, _)| next);
        return Err(Refusal::NotNext { next: next.filter(|next| *next <= lease.handed_through) });
    };
    let aside = |state: &mut State, place, cause, reason: &Reason| {
        aside_event(state, now, group, seq, &name, place, cause, Some(Arc::clone(reason)))
            .ok_or(Refusal::NotFound)
    };
    let settled = match how {
        Settlement::Ack | Settlement::Drop if lease.corrupt == Some(seq) => return Err(Refusal::Corrupt),
        Settlement::Ack | Settlement::Drop => {
            pass(state, group, &name, seq);
            if *how == Settlement::Ack { Settled::Acked } else { Settled::Dropped }
        }
        Settlement::Nack { delay_ms, reason } => {
            let Some(cursor) = state.groups.get_mut(group) else { return Err(Refusal::NotSubscribed) };
            let Some(progress) = cursor.names.get_mut(&name) else { return Err(Refusal::NotSubscribed) };
            if progress.attempts < lease.attempts_max {
                progress.reason = Some(Arc::clone(reason));
                cursor.lease = None;
                cursor.due_at = now.plus(*delay_ms);
                Settled::Requeued { due_at: cursor.due_at }
            } else {
                let record = aside(state, Place::Dead, Cause::AttemptsExhausted, reason)?;
                Settled::DeadLettered { record }
            }
        }
        Settlement::DeadLetter { reason } => {
            Settled::DeadLettered { record: aside(state, Place::Dead, Cause::Settled, reason)? }
        }
        Settlement::Park { reason } => {
            Settled::Parked { record: aside(state, Place::Parked, Cause::Settled, reason)? }
        }
    };
    if !matches!(settled, Settled::Requeued { .. }) {
        promote(state, group, token);
    }
    Ok(Reply::Settled(settled))
}

/// The event after the one that was settled is first in line now; if it was handed out already, that counts.
fn promote(state: &mut State, group: &Group, token: Token) {
    let Some(cursor) = state.groups.get(group) else { return };
    let handed_through = cursor.lease.map_or(Seq::ZERO, |lease| lease.handed_through);
    let Some((seq, name)) = next_event(state, cursor, Seq::ZERO) else { return };
    let Some(progress) = state.groups.get_mut(group).and_then(|cursor| cursor.names.get_mut(&name)) else {
        return;
    };
    if seq <= handed_through && progress.counted != Some(token) {
        progress.attempts += 1;
        progress.counted = Some(token);
    }
}

/// The group's position for this name moves to this event, and to nothing else.
fn pass(state: &mut State, group: &Group, name: &Name, seq: Seq) {
    if let Some(progress) = state.groups.get_mut(group).and_then(|cursor| cursor.names.get_mut(name)) {
        *progress = Progress { position: seq, ..Progress::default() };
    }
}

/// Moves a copy of an event aside for one group, whose position passes it.
#[expect(clippy::too_many_arguments, reason = "one argument for each thing that a record keeps")]
pub(super) fn aside_event(
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
    Some(put_aside(state, now, place, origin, body, cause, reason.or(last), attempts))
}

pub(super) fn aside_entry(
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

/// Settles a redriven entry, which moves no position; its nack delays only itself.
pub(in crate::step) fn settle_entry(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    id: RecordId,
    token: Token,
    how: &Settlement,
) -> Result<Reply, Refusal> {
    let (cursor, lease) = held(state, group, token)?;
    let entry = cursor.entries.get_mut(&id).ok_or(Refusal::NotFound)?;
    if entry.counted != Some(token) {
        return Err(Refusal::LeaseLost);
    }
    let aside = |state: &mut State, place, cause, reason: &Reason| {
        aside_entry(state, now, group, id, place, cause, Some(Arc::clone(reason))).ok_or(Refusal::NotFound)
    };
    let settled = match how {
        Settlement::Ack | Settlement::Drop if !entry.body.is_sound() => return Err(Refusal::Corrupt),
        Settlement::Ack | Settlement::Drop => {
            cursor.entries.remove(&id);
            if *how == Settlement::Ack { Settled::Acked } else { Settled::Dropped }
        }
        Settlement::Nack { delay_ms, reason } if entry.attempts < lease.attempts_max => {
            entry.due_at = now.plus(*delay_ms);
            entry.counted = None;
            entry.reason = Some(Arc::clone(reason));
            Settled::Requeued { due_at: entry.due_at }
        }
        Settlement::Nack { reason, .. } => {
            let record = aside(state, Place::Dead, Cause::AttemptsExhausted, reason)?;
            Settled::DeadLettered { record }
        }
        Settlement::DeadLetter { reason } => {
            Settled::DeadLettered { record: aside(state, Place::Dead, Cause::Settled, reason)? }
        }
        Settlement::Park { reason } => {
            Settled::Parked { record: aside(state, Place::Parked, Cause::Settled, reason)? }
        }
    };
    Ok(Reply::Settled(settled))
}

/// Ends the cursor's lease and gives back what was not settled: due now, its attempt not counted.
pub(in crate::step) fn release(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    token: Token,
) -> Result<Reply, Refusal> {
    let (cursor, _) = held(state, group, token)?;
    cursor.lease = None;
    cursor.due_at = now;
    for progress in cursor.names.values_mut().filter(|progress| progress.counted == Some(token)) {
        progress.attempts -= 1;
        progress.counted = None;
    }
    for entry in cursor.entries.values_mut().filter(|entry| entry.counted == Some(token)) {
        entry.attempts -= 1;
        entry.counted = None;
    }
    Ok(Reply::Released)
}

pub(in crate::step) fn extend(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    token: Token,
    lease_ms: u64,
) -> Result<Reply, Refusal> {
    let (cursor, _) = held(state, group, token)?;
    cursor.due_at = now.plus(lease_ms);
    Ok(Reply::Extended { until: cursor.due_at })
}
