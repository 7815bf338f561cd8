//! Polling: taking the cursor of a group, and handing out its next events.
//!
//! Invariant: one replica at a time holds the cursor, and is handed the lowest unsettled numbers of the group's names
//! (G9). An event's attempts are counted while it is first in line, once under each token. So an event that kills its
//! worker is dead-lettered in the end, and uses up no attempt of another event (G8, L3).

use crate::op::{Delivery, Refusal, Reply, Target};
use crate::state::{Body, Cause, Cursor, CursorLease, LogRow, Place, State};
use crate::step::log::cursor::{next_event, set_entry_aside, set_event_aside};
use crate::step::records::dead_letter_for_all;
use crate::vocabulary::{Group, Name, Names, RecordId, Seq, Timestamp, Token};

/// The arguments of a poll.
pub(in crate::step) struct PollRequest<'a> {
    pub(in crate::step) names: &'a Names,
    pub(in crate::step) token: Option<Token>,
    pub(in crate::step) max: u32,
    pub(in crate::step) lease_ms: u64,
    pub(in crate::step) attempts_max: u32,
}

/// The next delivery of a group.
enum NextInLine {
    Entry(RecordId),
    Event(Seq, Name),
}

pub(in crate::step) fn poll(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    request: &PollRequest<'_>,
) -> Result<Reply, Refusal> {
    let cursor = state.groups.get(group).ok_or(Refusal::NotSubscribed)?;
    let missing: Names = cursor.names.keys().filter(|name| !request.names.contains(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Refusal::NamesMissing { missing });
    }
    let current = cursor.lease.map(|lease| lease.token);
    if request.token.is_some() && request.token != current {
        return Err(Refusal::LeaseLost);
    }
    if request.token.is_none() && cursor.due_at > now {
        return match current {
            Some(_) => Err(Refusal::Held { until: cursor.due_at }),
            None => Ok(Reply::HandedOut { deliveries: Vec::new(), dead_lettered: Vec::new() }),
        };
    }
    let mut dead_lettered = dead_letter_unreadable(state, now, request.max);
    let token = request.token.unwrap_or(state.token_last.plus(1));
    dead_letter_exhausted(state, now, group, request, token, &mut dead_lettered);
    let room = request.max as usize - dead_lettered.len();
    let deliveries = hand_out(state, now, group, request, token, room);
    Ok(Reply::HandedOut { deliveries, dead_lettered })
}

/// Dead-letters the events whose name cannot be read, once for all groups, and leaves tombstones (G5).
fn dead_letter_unreadable(state: &mut State, now: Timestamp, max: u32) -> Vec<RecordId> {
    let unreadable = |row: &LogRow| matches!(row, LogRow::Event(Body::Unreadable { .. }));
    let found: Vec<Seq> =
        state.log.iter().filter(|(_, row)| unreadable(row)).map(|(seq, _)| *seq).take(max as usize).collect();
    let mut records = Vec::new();
    for seq in found {
        if let Some(LogRow::Event(body)) = state.log.insert(seq, LogRow::Tombstone) {
            records.push(dead_letter_for_all(state, now, seq, body));
        }
    }
    records
}

/// Dead-letters for this group what is first in line, while its attempts are exhausted (G8).
fn dead_letter_exhausted(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    request: &PollRequest<'_>,
    token: Token,
    dead_lettered: &mut Vec<RecordId>,
) {
    while dead_lettered.len() < request.max as usize {
        let Some(cursor) = state.groups.get(group) else { return };
        let Some(first) = next(state, cursor, now, Seq::ZERO) else { return };
        if attempt(cursor, &first, token, &[]) <= request.attempts_max {
            return;
        }
        let cause = Cause::AttemptsExhausted;
        let record = match first {
            NextInLine::Entry(id) => set_entry_aside(state, now, group, id, Place::Dead, cause, None),
            NextInLine::Event(seq, name) => {
                set_event_aside(state, now, group, seq, &name, Place::Dead, cause, None)
            }
        };
        dead_lettered.extend(record);
    }
}

/// Hands out from the front of the line. The batch ends after a redriven entry, after an event that cannot be decoded,
/// and before an event whose attempts are exhausted.
fn hand_out(
    state: &mut State,
    now: Timestamp,
    group: &Group,
    request: &PollRequest<'_>,
    token: Token,
    room: usize,
) -> Vec<Delivery> {
    let lease_until = now.plus(request.lease_ms);
    let mut deliveries: Vec<Delivery> = Vec::new();
    let mut corrupt = None;
    while deliveries.len() < room {
        let Some(cursor) = state.groups.get(group) else { break };
        let past = deliveries.last().map_or(Seq::ZERO, |delivery| delivery.seq);
        let Some(item) = next(state, cursor, now, past) else { break };
        let attempt = attempt(cursor, &item, token, &deliveries);
        let first = deliveries.is_empty();
        let (target, seq, body) = match &item {
            NextInLine::Entry(_) if !first => break,
            NextInLine::Event(..) if attempt > request.attempts_max => break,
            NextInLine::Entry(id) => {
                let entry = &cursor.entries[id];
                let target = Target::Entry { group: group.clone(), record: *id };
                (target, entry.seq, entry.body.clone())
            }
            NextInLine::Event(seq, _) => {
                let Some(LogRow::Event(body)) = state.log.get(seq) else { break };
                (Target::Event { group: group.clone(), seq: *seq }, *seq, body.clone())
            }
        };
        if first {
            count(state, group, &item, token);
        }
        if matches!(item, NextInLine::Event(..)) && !body.is_sound() {
            corrupt = Some(seq);
        }
        let last = matches!(item, NextInLine::Entry(_)) || !body.is_sound();
        deliveries.push(Delivery { target, seq, token, attempt, lease_until, body });
        if last {
            break;
        }
    }
    if let Some(last) = deliveries.last() {
        let through = if matches!(last.target, Target::Event { .. }) { last.seq } else { Seq::ZERO };
        take_lease(state, group, request, token, lease_until, through, corrupt);
    }
    deliveries
}

/// Gives the poll the lease of the cursor, under its own token or a new one (G4).
fn take_lease(
    state: &mut State,
    group: &Group,
    request: &PollRequest<'_>,
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
    cursor.lease = Some(CursorLease { token, attempts_max: request.attempts_max, handed_through, corrupt });
}

/// The lowest of a group's unsettled events and due entries past a number. An entry comes before its own event.
fn next(state: &State, cursor: &Cursor, now: Timestamp, past: Seq) -> Option<NextInLine> {
    let due = cursor.entries.iter().filter(|(_, entry)| entry.due_at <= now && entry.seq > past);
    let entry = due.map(|(id, entry)| (entry.seq, *id)).min();
    match (entry, next_event(state, cursor, past)) {
        (Some((entry, id)), Some((event, _))) if entry <= event => Some(NextInLine::Entry(id)),
        (_, Some((event, name))) => Some(NextInLine::Event(event, name)),
        (Some((_, id)), None) => Some(NextInLine::Entry(id)),
        (None, None) => None,
    }
}

/// The number of the attempt under this token: the next one, unless the attempt was already counted under it. For an
/// event behind another event of its name in the batch it is 1.
fn attempt(cursor: &Cursor, item: &NextInLine, token: Token, batch: &[Delivery]) -> u32 {
    let (attempts, counted) = match item {
        NextInLine::Entry(id) => {
            let entry = &cursor.entries[id];
            (entry.attempts, entry.counted)
        }
        NextInLine::Event(_, name) if batch.iter().any(|before| before.body.name() == Some(name)) => {
            (0, None)
        }
        NextInLine::Event(_, name) => {
            let progress = &cursor.names[name];
            (progress.attempts, progress.counted)
        }
    };
    if counted == Some(token) { attempts } else { attempts + 1 }
}

/// Counts an attempt of the delivery that is first in line, once under each token.
fn count(state: &mut State, group: &Group, item: &NextInLine, token: Token) {
    let Some(cursor) = state.groups.get_mut(group) else { return };
    let attempts = attempt(cursor, item, token, &[]);
    match item {
        NextInLine::Entry(id) => {
            if let Some(entry) = cursor.entries.get_mut(id) {
                entry.attempts = attempts;
                entry.counted = Some(token);
            }
        }
        NextInLine::Event(_, name) => {
            if let Some(progress) = cursor.names.get_mut(name) {
                progress.attempts = attempts;
                progress.counted = Some(token);
            }
        }
    }
}
