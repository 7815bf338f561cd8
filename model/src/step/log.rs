//! The log and its groups: publish, subscribe, unsubscribe, seek, prune. Polling and settling are in `poll` and `settle`.
//!
//! Invariant: a group has one position for each of its names, and one cursor under one lease.

mod cursor;
mod poll;
mod settle;

use std::sync::Arc;

use crate::op::{Refusal, Reply, Start};
use crate::state::{Body, Cause, Cursor, Entry, LogRow, Place, Progress, State};
use crate::step::ids::{end, recall, remember};
use crate::step::records::{dead_letter_for_all, return_entry};
use crate::vocabulary::{Group, Kind, Message, Name, RecordId, Seq, Timestamp};

pub(super) use poll::{PollRequest, poll};
pub(super) use settle::{extend, release, settle_entry, settle_event};

pub(super) fn publish(state: &mut State, now: Timestamp, message: &Arc<Message>) -> Result<Reply, Refusal> {
    if message.kind != Kind::Event {
        return Err(Refusal::WrongKind);
    }
    if let Some(seq) = recall(&state.event_ids, message)? {
        return Ok(Reply::Accepted { seq, fresh: false });
    }
    let seq = state.head.plus(1);
    state.head = seq;
    remember(&mut state.event_ids, message, seq);
    let body = Body::Sound { message: Arc::clone(message), at: now };
    state.log.insert(seq, LogRow::Event(body));
    Ok(Reply::Accepted { seq, fresh: true })
}

/// A position may lie anywhere from just before what is kept up to the head.
fn check_position(state: &State, position: Seq) -> Result<(), Refusal> {
    if position > state.head {
        Err(Refusal::BeyondHead { head: state.head })
    } else if position < state.first.before() {
        Err(Refusal::Pruned { first: state.first })
    } else {
        Ok(())
    }
}

/// Adds a name to a group. Other names keep their positions. The holder has not been handed out the events of the new
/// name, so it must poll again before it settles past the first of them (G6).
pub(super) fn subscribe(
    state: &mut State,
    group: &Group,
    name: &Name,
    start: Start,
) -> Result<Reply, Refusal> {
    if let Some(known) = state.groups.get(group).and_then(|cursor| cursor.names.get(name)) {
        return Ok(Reply::Subscribed { position: known.position, fresh: false });
    }
    let position = match start {
        Start::Earliest => state.first.before(),
        Start::Latest => state.head,
        Start::After(position) => position,
    };
    check_position(state, position)?;
    let cursor = state.groups.entry(group.clone()).or_default();
    cursor.names.insert(name.clone(), Progress { position, ..Progress::default() });
    if let Some(lease) = &mut cursor.lease {
        let is_new = |row: &LogRow| matches!(row, LogRow::Event(body) if body.name() == Some(name));
        let first = state.log.range(position.plus(1)..).find(|(_, row)| is_new(row));
        let through = first.map_or(lease.handed_through, |(seq, _)| seq.before());
        lease.handed_through = lease.handed_through.min(through);
    }
    Ok(Reply::Subscribed { position, fresh: true })
}

pub(super) fn unsubscribe(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    name: &Name,
) -> Result<Reply, Refusal> {
    let cursor = state.groups.get_mut(group).ok_or(Refusal::NotSubscribed)?;
    cursor.names.remove(name).ok_or(Refusal::NotSubscribed)?;
    let entries = std::mem::take(&mut cursor.entries);
    let ends = cursor.names.is_empty();
    let leaves = |entry: &Entry| ends || entry.body.name() == Some(name);
    let (leaving, staying) = entries.into_iter().partition(|(_, entry)| leaves(entry));
    cursor.entries = staying;
    if ends {
        state.groups.remove(group);
    }
    let mut returned = Vec::new();
    let leaving: std::collections::BTreeMap<RecordId, Entry> = leaving;
    for (id, entry) in leaving {
        returned.push(return_entry(state, now, group, id, entry, Place::Dead, Cause::Unsubscribed, None));
    }
    Ok(Reply::Unsubscribed { returned })
}

pub(super) fn seek(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    name: &Name,
    position: Seq,
) -> Result<Reply, Refusal> {
    check_position(state, position)?;
    let cursor = state.groups.get_mut(group).ok_or(Refusal::NotSubscribed)?;
    let progress = cursor.names.get_mut(name).ok_or(Refusal::NotSubscribed)?;
    *progress = Progress { position, ..Progress::default() };
    cursor.lease = None;
    cursor.due_at = now;
    Ok(Reply::Sought)
}

/// Deletes old events that every subscribed group has passed from the front of the log, up to the first event that is
/// needed or young (G13). An event that cannot be decoded has no age, and is dead-lettered (G5).
pub(super) fn prune(state: &mut State, now: Timestamp, retention_ms: u64) -> Reply {
    let before = state.first;
    let mut dead_lettered = Vec::new();
    while let Some(row) = state.log.get(&state.first) {
        let seq = state.first;
        let old = match row {
            LogRow::Event(Body::Sound { at, .. }) => at.plus(retention_ms) <= now,
            LogRow::Event(_) | LogRow::Tombstone => true,
        };
        if !old || needed(state, seq, row) {
            break;
        }
        if let Some(LogRow::Event(body)) = state.log.remove(&seq)
            && !body.is_sound()
        {
            dead_lettered.push(dead_letter_for_all(state, now, seq, body));
        }
        end(&mut state.event_ids, seq, now);
        state.first = seq.plus(1);
    }
    Reply::Pruned { first: state.first, removed: state.first.get() - before.get(), dead_lettered }
}

/// Whether a subscribed group has not passed this row yet.
fn needed(state: &State, seq: Seq, row: &LogRow) -> bool {
    let LogRow::Event(body) = row else { return false };
    let Some(name) = body.name() else { return false };
    let behind = |cursor: &Cursor| cursor.names.get(name).is_some_and(|progress| progress.position < seq);
    state.groups.values().any(behind)
}
