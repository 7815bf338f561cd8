//! Settling events and entries, and ending or extending the lease of a cursor.
//!
//! Invariant: events are settled in order. A redriven entry is settled on its own, and moves no position (G6).

use std::sync::Arc;

use crate::op::{Refusal, Reply, Settled, Settlement};
use crate::state::{Cause, Cursor, CursorLease, Place, State};
use crate::step::log::cursor::{next_event, pass, set_entry_aside, set_event_aside};
use crate::vocabulary::{Group, Reason, RecordId, Seq, Timestamp, Token};

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
    let set_aside = |state: &mut State, place, cause, reason: &Reason| {
        set_event_aside(state, now, group, seq, &name, place, cause, Some(Arc::clone(reason)))
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
                let record = set_aside(state, Place::Dead, Cause::AttemptsExhausted, reason)?;
                Settled::DeadLettered { record }
            }
        }
        Settlement::DeadLetter { reason } => {
            Settled::DeadLettered { record: set_aside(state, Place::Dead, Cause::Settled, reason)? }
        }
        Settlement::Park { reason } => {
            Settled::Parked { record: set_aside(state, Place::Parked, Cause::Settled, reason)? }
        }
    };
    if !matches!(settled, Settled::Requeued { .. }) {
        promote(state, group, token);
    }
    Ok(Reply::Settled(settled))
}

/// Counts an attempt of the event that is now first in line, if it was handed out already.
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

/// Settles a redriven entry. That moves no position, and a nack delays only the entry.
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
    let set_aside = |state: &mut State, place, cause, reason: &Reason| {
        set_entry_aside(state, now, group, id, place, cause, Some(Arc::clone(reason)))
            .ok_or(Refusal::NotFound)
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
            let record = set_aside(state, Place::Dead, Cause::AttemptsExhausted, reason)?;
            Settled::DeadLettered { record }
        }
        Settlement::DeadLetter { reason } => {
            Settled::DeadLettered { record: set_aside(state, Place::Dead, Cause::Settled, reason)? }
        }
        Settlement::Park { reason } => {
            Settled::Parked { record: set_aside(state, Place::Parked, Cause::Settled, reason)? }
        }
    };
    Ok(Reply::Settled(settled))
}

/// Ends the cursor's lease. Unsettled deliveries are due now, and their attempts are not counted.
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
