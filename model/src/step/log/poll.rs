//! Polling: taking the cursor of a group and handing out what stands in line.
//!
//! One replica at a time holds the cursor, and is handed the lowest unsettled numbers of the group's names (G9). An
//! event's attempts are counted while it is first in line, once under each token, so that an event that kills its
//! worker comes to rest and its neighbours lose nothing (G8, L3).

use crate::op::{Delivery, Refusal, Reply, Target};
use crate::state::{Body, Cause, Cursor, CursorLease, LogRow, Place, State};
use crate::step::log::bury_for_all;
use crate::step::log::settle::{aside_entry, aside_event};
use crate::vocabulary::{Group, Name, Names, RecordId, Seq, Timestamp, Token};

/// What a poll says of the replica that polls.
pub(in crate::step) struct Replica<'a> {
    pub(in crate::step) names: &'a Names,
    pub(in crate::step) token: Option<Token>,
    pub(in crate::step) max: u32,
    pub(in crate::step) lease_ms: u64,
    pub(in crate::step) attempts_max: u32,
}

/// What stands next in line for a group.
enum Next {
    Entry(RecordId),
    Event(Seq, Name),
}

pub(in crate::step) fn poll(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    replica: &Replica<'_>,
) -> Result<Reply, Refusal> {
    let cursor = state.groups.get(group).ok_or(Refusal::NotSubscribed)?;
    let missing: Names = cursor.names.keys().filter(|name| !replica.names.contains(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Refusal::NamesMissing { missing });
    }
    let current = cursor.lease.map(|lease| lease.token);
    if replica.token.is_some() && replica.token != current {
        return Err(Refusal::LeaseLost);
    }
    if replica.token.is_none() && cursor.due_at > now {
        return match current {
            Some(_) => Err(Refusal::Held { until: cursor.due_at }),
            None => Ok(Reply::HandedOut { deliveries: Vec::new(), dead_lettered: Vec::new() }),
        };
    }
    let mut dead_lettered = sweep(state, now, replica.max);
    let token = replica.token.unwrap_or(state.token_last.plus(1));
    bury_exhausted(state, now, group, replica, token, &mut dead_lettered);
    let room = replica.max as usize - dead_lettered.len();
    let deliveries = hand_out(state, now, group, replica, token, room);
    Ok(Reply::HandedOut { deliveries, dead_lettered })
}

/// Moves events whose name cannot be read to the dead, once for all groups, and leaves tombstones (G5).
fn sweep(state: &mut State, now: Timestamp, max: u32) -> Vec<RecordId> {
    let unreadable = |row: &LogRow| matches!(row, LogRow::Event(Body::Unreadable { .. }));
    let found: Vec<Seq> =
        state.log.iter().filter(|(_, row)| unreadable(row)).map(|(seq, _)| *seq).take(max as usize).collect();
    let mut records = Vec::new();
    for seq in found {
        if let Some(LogRow::Event(body)) = state.log.insert(seq, LogRow::Tombstone) {
            records.push(bury_for_all(state, now, seq, body));
        }
    }
    records
}

/// While what is first in line has had all its attempts, moves it to the dead for this group (G8).
fn bury_exhausted(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    replica: &Replica<'_>,
    token: Token,
    dead_lettered: &mut Vec<RecordId>,
) {
    while dead_lettered.len() < replica.max as usize {
        let Some(cursor) = state.groups.get(group) else { return };
        let Some(first) = next(state, cursor, now, Seq::ZERO) else { return };
        if attempt(cursor, &first, token, &[]) <= replica.attempts_max {
            return;
        }
        let cause = Cause::AttemptsExhausted;
        let record = match first {
            Next::Entry(id) => aside_entry(state, now, group, id, Place::Dead, cause, None),
            Next::Event(seq, name) => aside_event(state, now, group, seq, &name, Place::Dead, cause, None),
        };
        dead_lettered.extend(record);
    }
}

/// Hands out from the front of the line. A redriven entry and an event that cannot be decoded end the batch; so
/// does an event that may not be handed out once more unless it is first.
fn hand_out(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    replica: &Replica<'_>,
    token: Token,
    room: usize,
) -> Vec<Delivery> {
    let lease_until = now.plus(replica.lease_ms);
    let mut deliveries: Vec<Delivery> = Vec::new();
    let mut corrupt = None;
    while deliveries.len() < room {
        let Some(cursor) = state.groups.get(group) else { break };
        let past = deliveries.last().map_or(Seq::ZERO, |delivery| delivery.seq);
        let Some(item) = next(state, cursor, now, past) else { break };
        let attempt = attempt(cursor, &item, token, &deliveries);
        let first = deliveries.is_empty();
        let (target, seq, body) = match &item {
            Next::Entry(_) if !first => break,
            Next::Event(..) if attempt > replica.attempts_max => break,
            Next::Entry(id) => {
                let entry = &cursor.entries[id];
                let target = Target::Entry { group: group.clone(), record: *id };
                (target, entry.seq, entry.body.clone())
            }
            Next::Event(seq, _) => {
                let Some(LogRow::Event(body)) = state.log.get(seq) else { break };
                (Target::Event { group: group.clone(), seq: *seq }, *seq, body.clone())
            }
        };
        if first {
            count(state, group, &item, token);
        }
        if matches!(item, Next::Event(..)) && !body.is_sound() {
            corrupt = Some(seq);
        }
        let last = matches!(item, Next::Entry(_)) || !body.is_sound();
        deliveries.push(Delivery { target, seq, token, attempt, lease_until, body });
        if last {
            break;
        }
    }
    if let Some(last) = deliveries.last() {
        let through = if matches!(last.target, Target::Event { .. }) { last.seq } else { Seq::ZERO };
        take_lease(state, group, replica, token, lease_until, through, corrupt);
    }
    deliveries
}

/// The poll holds the cursor from now on: under its own token, or under one that this mints (G4).
fn take_lease(
    state: &mut State,
    group: &Group,
    replica: &Replica<'_>,
    token: Token,
    until: Timestamp,
    through: Seq,
    corrupt: Option<Seq>,
) {
    state.token_last = state.token_last.max(token);
    let Some(cursor) = state.groups.get_mut(group) else { return };
    let before = cursor.lease.filter(|lease| lease.token == token);
    let handed_through = before.map_or(through, |lease| lease.handed_through.max(through));
    let corrupt = corrupt.or(before.and_then(|lease| lease.corrupt));
    cursor.due_at = until;
    cursor.lease = Some(CursorLease { token, attempts_max: replica.attempts_max, handed_through, corrupt });
}

/// The lowest unsettled event of the group past a number.
pub(super) fn next_event(state: &State, cursor: &Cursor, past: Seq) -> Option<(Seq, Name)> {
    state.log.range(past.plus(1)..).find_map(|(seq, row)| {
        let LogRow::Event(body) = row else { return None };
        let name = body.name()?;
        let progress = cursor.names.get(name)?;
        (progress.position < *seq).then(|| (*seq, name.clone()))
    })
}

/// The lowest of a group's unsettled events and due entries, past a number; an entry before the event itself.
fn next(state: &State, cursor: &Cursor, now: Timestamp, past: Seq) -> Option<Next> {
    let due = cursor.entries.iter().filter(|(_, entry)| entry.due_at <= now && entry.seq > past);
    let entry = due.map(|(id, entry)| (entry.seq, *id)).min();
    match (entry, next_event(state, cursor, past)) {
        (Some((entry, id)), Some((event, _))) if entry <= event => Some(Next::Entry(id)),
        (_, Some((event, name))) => Some(Next::Event(event, name)),
        (Some((_, id)), None) => Some(Next::Entry(id)),
        (None, None) => None,
    }
}

/// The number that an attempt under this token has: a new one, unless it was counted under it already. Behind
/// another event of its name in the batch, it is an event's first.
fn attempt(cursor: &Cursor, item: &Next, token: Token, batch: &[Delivery]) -> u32 {
    let (attempts, counted) = match item {
        Next::Entry(id) => {
            let entry = &cursor.entries[id];
            (entry.attempts, entry.counted)
        }
        Next::Event(_, name) if batch.iter().any(|before| before.body.name() == Some(name)) => (0, None),
        Next::Event(_, name) => {
            let progress = &cursor.names[name];
            (progress.attempts, progress.counted)
        }
    };
    if counted == Some(token) { attempts } else { attempts + 1 }
}

/// Counts a hand-out as first in line, once under each token.
fn count(state: &mut State, group: &Group, item: &Next, token: Token) {
    let Some(cursor) = state.groups.get_mut(group) else { return };
    let attempts = attempt(cursor, item, token, &[]);
    match item {
        Next::Entry(id) => {
            if let Some(entry) = cursor.entries.get_mut(id) {
                entry.attempts = attempts;
                entry.counted = Some(token);
            }
        }
        Next::Event(_, name) => {
            if let Some(progress) = cursor.names.get_mut(name) {
                progress.attempts = attempts;
                progress.counted = Some(token);
            }
        }
    }
}
