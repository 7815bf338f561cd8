//! The kind of an operation, and the class of the state in which it is applied.
//!
//! Does not depend on: the reply, and `step`.

use crate::op::{Lease, Op, Settlement, Start, Target};
use crate::state::{Body, Command, Cursor, LogRow, Origin, Progress, Remembered, State};
use crate::vocabulary::{Content, Kind, Message, MessageId, Names, RecordId, Seq, Timestamp, Token};

/// The name of an operation in the matrix.
pub fn kind(op: &Op) -> &'static str {
    match op {
        Op::Send { delay_ms: 0, .. } => "send",
        Op::Send { .. } => "send with a delay",
        Op::Claim { .. } => "claim",
        Op::Publish { .. } => "publish",
        Op::Subscribe { start, .. } => match start {
            Start::Earliest => "subscribe from the earliest",
            Start::Latest => "subscribe from the latest",
            Start::After(_) => "subscribe from a number",
        },
        Op::Unsubscribe { .. } => "unsubscribe",
        Op::Poll { token: None, .. } => "poll",
        Op::Poll { token: Some(_), .. } => "poll as the holder",
        Op::Settle { target: Target::Command(_), how, .. } => match how {
            Settlement::Ack => "ack a command",
            Settlement::Nack { .. } => "nack a command",
            Settlement::DeadLetter { .. } => "dead-letter a command",
            Settlement::Park { .. } => "park a command",
            Settlement::Drop => "drop a command",
        },
        Op::Settle { target: Target::Event { .. }, how, .. } => match how {
            Settlement::Ack => "ack an event",
            Settlement::Nack { .. } => "nack an event",
            Settlement::DeadLetter { .. } => "dead-letter an event",
            Settlement::Park { .. } => "park an event",
            Settlement::Drop => "drop an event",
        },
        Op::Settle { target: Target::Entry { .. }, how, .. } => match how {
            Settlement::Ack => "ack an entry",
            Settlement::Nack { .. } => "nack an entry",
            Settlement::DeadLetter { .. } => "dead-letter an entry",
            Settlement::Park { .. } => "park an entry",
            Settlement::Drop => "drop an entry",
        },
        Op::Release { lease: Lease::Command(_), .. } => "release a command",
        Op::Release { lease: Lease::Cursor(_), .. } => "release a cursor",
        Op::Extend { lease: Lease::Command(_), .. } => "extend a command",
        Op::Extend { lease: Lease::Cursor(_), .. } => "extend a cursor",
        Op::Cancel { .. } => "cancel",
        Op::Seek { .. } => "seek",
        Op::Redrive { .. } => "redrive",
        Op::Purge { .. } => "purge",
        Op::Repair { .. } => "repair",
        Op::Prune { .. } => "prune",
        Op::ForgetIds { .. } => "forget ids",
        Op::Reset { .. } => "reset",
        Op::Reboot => "reboot",
        Op::Restore { .. } => "restore",
        Op::Atomic(_) => "atomic",
    }
}

/// The class of the state in which an operation finds what it names.
pub fn class(state: &State, now: Timestamp, op: &Op) -> &'static str {
    match op {
        Op::Send { message, .. } => accepting(&state.command_ids, message, Kind::Command),
        Op::Publish { message } => accepting(&state.event_ids, message, Kind::Event),
        Op::Claim { names, attempts_max, .. } => claiming(state, now, names, attempts_max.get()),
        Op::Settle { target, token, how } => settling(state, now, target, *token, how),
        Op::Release { lease, token } | Op::Extend { lease, token, .. } => match lease {
            Lease::Command(seq) => holding_command(state, now, *seq, *token),
            Lease::Cursor(group) => holding_cursor(state.groups.get(group), now, *token),
        },
        Op::Cancel { seq } => match state.queue.get(seq) {
            None if state.unreadable.contains_key(seq) => "unreadable",
            None => "gone",
            Some(Command { lease: Some(_), due_at, .. }) if *due_at > now => "leased",
            Some(Command { body, .. }) if !body.is_sound() => "corrupt",
            Some(Command { lease: Some(_), .. }) => "lease ran out",
            Some(Command { due_at, .. }) if *due_at > now => "delayed",
            Some(_) => "ready",
        },
        Op::Subscribe { group, name, start } => {
            let outside = match start {
                Start::After(position) if *position > state.head => Some("beyond the head"),
                Start::After(position) if *position < state.first.before() => Some("before what is kept"),
                _ => None,
            };
            match state.groups.get(group) {
                Some(cursor) if cursor.names.contains_key(name) => "known name",
                _ if outside.is_some() => outside.unwrap_or_default(),
                None => "new group",
                Some(Cursor { lease: Some(_), .. }) => "new name, cursor held",
                Some(_) => "new name",
            }
        }
        Op::Unsubscribe { group, name } => match state.groups.get(group) {
            None => "no group",
            Some(cursor) if !cursor.names.contains_key(name) => "other names",
            Some(cursor) if cursor.entries.values().any(|entry| entry.body.name() == Some(name)) => {
                "with entries"
            }
            Some(cursor) if cursor.names.len() == 1 => "last name",
            Some(_) => "one of several names",
        },
        Op::Poll { group, names, token, attempts_max, .. } => {
            polling(state, now, state.groups.get(group), names, *token, attempts_max.get())
        }
        Op::Seek { group, name, position } => match state.groups.get(group) {
            _ if *position > state.head => "beyond the head",
            _ if *position < state.first.before() => "before what is kept",
            None => "no group",
            Some(cursor) if !cursor.names.contains_key(name) => "other names",
            Some(Cursor { lease: Some(_), .. }) => "cursor held",
            Some(_) => "cursor free",
        },
        Op::Redrive { record } => redriving(state, *record),
        Op::Purge { record } => match state.records.get(record).map(|record| &record.origin) {
            None => "gone",
            Some(Origin::Queue { .. }) => "a command's",
            Some(Origin::Log { .. }) => "an event's",
        },
        Op::Repair { record, message } => repairing(state, *record, message),
        Op::Prune { retention_ms } => pruning(state, now, *retention_ms),
        Op::ForgetIds { retention_ms } => forgetting(state, now, *retention_ms),
        Op::Reset { expected, next } => {
            if *expected != state.epoch {
                "another epoch"
            } else if *next == state.epoch || state.epochs_retired.contains(next) {
                "used epoch"
            } else if state.groups.values().any(|cursor| !cursor.entries.is_empty()) {
                "with entries"
            } else {
                "fresh epoch"
            }
        }
        Op::Restore { next } => {
            let used = *next <= state.epoch || state.epochs_retired.iter().any(|epoch| next <= epoch);
            if used { "earlier epoch" } else { "fresh epoch" }
        }
        Op::Reboot | Op::Atomic(_) => "any",
    }
}

fn accepting(
    ids: &std::collections::BTreeMap<MessageId, Remembered>,
    message: &Message,
    kind: Kind,
) -> &'static str {
    let known = message.id.as_ref().and_then(|id| ids.get(id));
    match known {
        _ if message.kind != kind => "wrong kind",
        None if message.id.is_none() => "no id",
        None => "new id",
        Some(known) if known.content != Content::of(message) => "id with other content",
        Some(known) if known.ended_at.is_some() => "id of an ended message",
        Some(_) => "id of a message that is there",
    }
}

fn claiming(state: &State, now: Timestamp, names: &Names, attempts_max: u32) -> &'static str {
    let wanted = |command: &&Command| command.body.name().is_some_and(|name| names.contains(name));
    let mut line: Vec<_> = state
        .queue
        .iter()
        .filter(|(_, command)| wanted(command) && command.due_at <= now)
        .map(|(seq, command)| (command.due_at, *seq, command))
        .collect();
    line.sort_by_key(|(due_at, seq, _)| (*due_at, *seq));
    match line.first() {
        _ if !state.unreadable.is_empty() => "an unreadable row",
        Some((_, _, command)) if command.attempts >= attempts_max => "first is exhausted",
        Some((_, _, command)) if !command.body.is_sound() => "first is corrupt",
        Some((_, _, command)) if command.lease.is_some() => "first lease ran out",
        Some(_) => "first is ready",
        None if state.queue.values().any(|command| wanted(&command)) => "none is due",
        None => "none of these names",
    }
}

fn holding_command(state: &State, now: Timestamp, seq: Seq, token: Token) -> &'static str {
    match state.queue.get(&seq) {
        None if state.unreadable.contains_key(&seq) => "unreadable",
        None => "gone",
        Some(Command { lease: Some(lease), due_at, .. }) if lease.token == token => {
            if *due_at > now {
                "current"
            } else {
                "current, time ran out"
            }
        }
        Some(_) => "stale",
    }
}

fn holding_cursor(cursor: Option<&Cursor>, now: Timestamp, token: Token) -> &'static str {
    match cursor {
        None => "no group",
        Some(Cursor { lease: Some(lease), due_at, .. }) if lease.token == token => {
            if *due_at > now {
                "current"
            } else {
                "current, time ran out"
            }
        }
        Some(_) => "stale",
    }
}

fn settling(state: &State, now: Timestamp, target: &Target, token: Token, how: &Settlement) -> &'static str {
    let nack = matches!(how, Settlement::Nack { .. });
    match target {
        Target::Command(seq) => {
            let held = holding_command(state, now, *seq, token);
            let command = state.queue.get(seq).filter(|_| held.starts_with("current"));
            let Some((command, lease)) = command.and_then(|command| Some((command, command.lease?))) else {
                return held;
            };
            if lease.corrupt {
                "current, corrupt"
            } else if nack && command.attempts >= lease.attempts_max {
                "current, last attempt"
            } else {
                held
            }
        }
        Target::Event { group, seq } => {
            let cursor = state.groups.get(group);
            let held = holding_cursor(cursor, now, token);
            let Some(cursor) = cursor.filter(|_| held.starts_with("current")) else { return held };
            let Some(lease) = cursor.lease else { return held };
            match front(state, cursor) {
                Some((first, progress)) if first == *seq && *seq <= lease.handed_through => {
                    if lease.corrupt == Some(*seq) {
                        "current, corrupt"
                    } else if nack && progress.attempts >= lease.attempts_max {
                        "current, last attempt"
                    } else {
                        held
                    }
                }
                _ => "not the next",
            }
        }
        Target::Entry { group, record } => {
            let cursor = state.groups.get(group);
            let held = holding_cursor(cursor, now, token);
            let Some(cursor) = cursor.filter(|_| held.starts_with("current")) else { return held };
            match cursor.entries.get(record) {
                None => "gone",
                Some(entry) if entry.counted != Some(token) => "not handed out",
                Some(entry)
                    if nack && cursor.lease.is_some_and(|lease| entry.attempts >= lease.attempts_max) =>
                {
                    "current, last attempt"
                }
                Some(_) => held,
            }
        }
    }
}

/// The event that is first in line for a group, with its attempts.
fn front<'a>(state: &State, cursor: &'a Cursor) -> Option<(Seq, &'a Progress)> {
    state.log.iter().find_map(|(seq, row)| {
        let LogRow::Event(body) = row else { return None };
        let progress = cursor.names.get(body.name()?)?;
        (progress.position < *seq).then_some((*seq, progress))
    })
}

fn polling(
    state: &State,
    now: Timestamp,
    cursor: Option<&Cursor>,
    names: &Names,
    token: Option<Token>,
    attempts_max: u32,
) -> &'static str {
    let Some(cursor) = cursor else { return "no group" };
    let current = cursor.lease.map(|lease| lease.token);
    if cursor.names.keys().any(|name| !names.contains(name)) {
        return "names missing";
    }
    match (token, current) {
        (Some(_), _) if token != current => return "stale",
        (None, Some(_)) if cursor.due_at > now => return "held",
        (None, None) if cursor.due_at > now => return "backing off",
        _ => {}
    }
    if state.log.values().any(|row| matches!(row, LogRow::Event(Body::Unreadable { .. }))) {
        return "an unreadable event";
    }
    // The attempt that is under way under the holder's token was counted already; any other would be one more.
    let exhausted = |attempts: u32, counted: Option<Token>| {
        let under_way = token.is_some() && counted == token;
        attempts + u32::from(!under_way) > attempts_max
    };
    let due = cursor.entries.values().filter(|entry| entry.due_at <= now);
    let entry = due.min_by_key(|entry| entry.seq);
    match (entry, front(state, cursor)) {
        (Some(entry), event) if event.is_none_or(|(event, _)| entry.seq <= event) => {
            if exhausted(entry.attempts, entry.counted) {
                "first is an exhausted entry"
            } else {
                "first is an entry"
            }
        }
        (_, Some((event, progress))) => match &state.log[&event] {
            _ if exhausted(progress.attempts, progress.counted) => "first is exhausted",
            LogRow::Event(body) if !body.is_sound() => "first is corrupt",
            _ => "first is an event",
        },
        _ => "nothing in line",
    }
}

fn redriving(state: &State, record: RecordId) -> &'static str {
    let Some(record) = state.records.get(&record) else { return "gone" };
    let reads = |cursor: &Cursor| record.body.name().is_some_and(|name| cursor.names.contains_key(name));
    match &record.origin {
        _ if !record.body.is_sound() => "corrupt",
        Origin::Queue { .. } => "a command's",
        Origin::Log { epoch, .. } if *epoch != state.epoch => "a retired epoch's",
        Origin::Log { group, .. } => match group.as_ref().and_then(|group| state.groups.get(group)) {
            None => "its group is gone",
            Some(cursor) if reads(cursor) => "an event's",
            Some(_) => "its group reads it no more",
        },
    }
}

fn repairing(state: &State, record: RecordId, message: &Message) -> &'static str {
    let Some(record) = state.records.get(&record) else { return "gone" };
    let (kind, seq, ids) = match &record.origin {
        Origin::Queue { seq } => (Kind::Command, seq, &state.command_ids),
        Origin::Log { seq, .. } => (Kind::Event, seq, &state.event_ids),
    };
    let known = |id: &MessageId| ids.get(id).is_some_and(|known| known.seq == *seq);
    match &record.body {
        Body::Sound { .. } => "not corrupt",
        _ if message.kind != kind => "of the other kind",
        Body::Corrupt { name, .. } if *name != message.name => "of another name",
        _ if message.id.as_ref().is_some_and(|id| !known(id)) => "of another id",
        Body::Corrupt { .. } if ids.values().any(|known| known.seq == *seq) => "sent under an id",
        Body::Corrupt { .. } => "corrupt",
        Body::Unreadable { .. } if kind == Kind::Command => "an unreadable command's",
        Body::Unreadable { .. } => "an unreadable event's",
    }
}

fn pruning(state: &State, now: Timestamp, retention_ms: u64) -> &'static str {
    let behind = |cursor: &Cursor, body: &Body, seq: Seq| {
        let progress = body.name().and_then(|name| cursor.names.get(name));
        progress.is_some_and(|progress| progress.position < seq)
    };
    match state.log.first_key_value() {
        None => "empty",
        Some((_, LogRow::Tombstone)) => "first is a tombstone",
        Some((seq, LogRow::Event(body))) => match body {
            Body::Unreadable { .. } => "first is unreadable",
            Body::Sound { at, .. } if at.plus(retention_ms) > now => "first is young",
            _ if state.groups.values().any(|cursor| behind(cursor, body, *seq)) => "first is needed",
            Body::Corrupt { .. } => "first is corrupt",
            Body::Sound { .. } => "first may go",
        },
    }
}

fn forgetting(state: &State, now: Timestamp, retention_ms: u64) -> &'static str {
    let over = |ended_at: Option<Timestamp>| ended_at.is_some_and(|at| at.plus(retention_ms) <= now);
    let events = state.event_ids.values().any(|known| over(known.ended_at));
    if state.command_ids.values().any(|known| over(known.ended_at)) {
        "a command's time is up"
    } else if events {
        "an event's time is up"
    } else if state.command_ids.is_empty() && state.event_ids.is_empty() {
        "none"
    } else {
        "all remembered"
    }
}
