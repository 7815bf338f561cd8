//! Operations, replies and states as text that a person can read.
//!
//! Invariant: the same value always gives the same text.
//! Does not depend on: how a reply came about, and which guarantee holds.

use std::num::NonZeroU32;

use crate::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Settlement, Start, Target};
use crate::state::{Body, Command, Cursor, LogRow, Origin, Place, Progress, State};
use crate::vocabulary::{Group, Message, Name, Names, RecordId, Seq, Token};

/// What an operation does, such as `claims bet (lease 1 ms, attempts 2)`.
pub fn operation(op: &Op) -> String {
    match op {
        Op::Send { message: sent, delay_ms: 0 } => format!("sends {}", message(sent)),
        Op::Send { message: sent, delay_ms } => format!("sends {} in {delay_ms} ms", message(sent)),
        Op::Claim { names: of, max, lease_ms, attempts_max } => {
            format!("claims {} (lease {lease_ms} ms, attempts {attempts_max})", up_to(*max, of))
        }
        Op::Publish { message: published } => format!("publishes {}", message(published)),
        Op::Subscribe { group, name, start } => {
            let start = match start {
                Start::Earliest => "the earliest".to_owned(),
                Start::Latest => "the latest".to_owned(),
                Start::After(seq) => format!("after {seq}"),
            };
            format!("subscribes {group} to {name} from {start}")
        }
        Op::Unsubscribe { group, name } => format!("unsubscribes {group} from {name}"),
        Op::Poll { group, names: of, token: own, max, lease_ms, attempts_max } => {
            let under = own.map(|own| format!(" under token {}", token(own))).unwrap_or_default();
            let of = up_to(*max, of);
            format!("polls {of} for {group}{under} (lease {lease_ms} ms, attempts {attempts_max})")
        }
        Op::Settle { target: what, token: by, how } => {
            let (verb, more) = match how {
                Settlement::Ack => ("acks", String::new()),
                Settlement::Nack { delay_ms, reason } => {
                    ("nacks", format!(" ({reason:?}, again in {delay_ms} ms)"))
                }
                Settlement::DeadLetter { reason } => ("dead-letters", format!(" ({reason:?})")),
                Settlement::Park { reason } => ("parks", format!(" ({reason:?})")),
                Settlement::Drop => ("drops", String::new()),
            };
            format!("{verb} {} under token {}{more}", target(what), token(*by))
        }
        Op::Release { lease: what, token: by } => {
            format!("releases {} under token {}", lease(what), token(*by))
        }
        Op::Extend { lease: what, token: by, lease_ms } => {
            format!("extends {} under token {} to {lease_ms} ms from now", lease(what), token(*by))
        }
        Op::Cancel { seq } => format!("cancels command {seq}"),
        Op::Seek { group, name, position } => format!("seeks {group} to {position} for {name}"),
        Op::Redrive { record } => format!("redrives record {record}"),
        Op::Purge { record } => format!("purges record {record}"),
        Op::Repair { record, message: given } => format!("repairs record {record} as {}", message(given)),
        Op::Prune { retention_ms } => format!("prunes what is older than {retention_ms} ms"),
        Op::ForgetIds { retention_ms } => format!("forgets ids that ended {retention_ms} ms ago"),
        Op::Reset { expected, next } => format!("resets the log from epoch {expected} to {next}"),
        Op::Reboot => "boots".to_owned(),
        Op::Restore { next } => format!("restores into epoch {next}"),
        Op::Atomic(ops) => {
            let parts: Vec<String> = ops.iter().map(operation).collect();
            format!("in one transaction {}", parts.join("; "))
        }
    }
}

/// What a reply says, such as `command 1, token 3, attempt 1, until 5`.
pub fn reply(reply: &Reply) -> String {
    let records =
        |records: &[RecordId]| records.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match reply {
        Reply::Accepted { seq, fresh: true } => format!("accepted as {seq}"),
        Reply::Accepted { seq, fresh: false } => format!("accepted before as {seq}"),
        Reply::HandedOut { deliveries, dead_lettered } => {
            let mut parts: Vec<String> = deliveries.iter().map(delivery).collect();
            if !dead_lettered.is_empty() {
                parts.push(format!("dead-lettered as record {}", records(dead_lettered)));
            }
            if parts.is_empty() { "nothing due".to_owned() } else { parts.join("; ") }
        }
        Reply::Settled(settled) => match settled {
            Settled::Acked => "acked".to_owned(),
            Settled::Requeued { due_at } => format!("due again at {due_at}"),
            Settled::DeadLettered { record } => format!("dead-lettered as record {record}"),
            Settled::Parked { record } => format!("parked as record {record}"),
            Settled::Dropped => "dropped".to_owned(),
        },
        Reply::Extended { until } => format!("extended until {until}"),
        Reply::Subscribed { position, fresh } => {
            format!("{} position {position}", if *fresh { "from" } else { "known, at" })
        }
        Reply::Unsubscribed { returned } if returned.is_empty() => "unsubscribed".to_owned(),
        Reply::Unsubscribed { returned } => format!("unsubscribed; records {}", records(returned)),
        Reply::Redriven(to) => format!("now {}", target(to)),
        Reply::Pruned { first, removed, dead_lettered } => {
            let dead = match dead_lettered.as_slice() {
                [] => String::new(),
                dead => format!("; dead-lettered as record {}", records(dead)),
            };
            format!("{removed} removed, {first} is the first{dead}")
        }
        Reply::Forgotten { ids } => format!("{ids} forgotten"),
        Reply::EpochBegun { .. } => "epoch begun".to_owned(),
        Reply::Done(replies) => {
            format!("done: {}", replies.iter().map(self::reply).collect::<Vec<_>>().join("; "))
        }
        Reply::Refused(refusal) => format!("refused: {}", refused(refusal)),
        Reply::Released => "released".to_owned(),
        Reply::Cancelled => "cancelled".to_owned(),
        Reply::Sought => "sought".to_owned(),
        Reply::Purged => "purged".to_owned(),
        Reply::Repaired { .. } => "repaired".to_owned(),
        Reply::Rebooted => "booted".to_owned(),
    }
}

/// The queue, the log, the groups and the records of a state, in one line.
pub fn state(state: &State) -> String {
    let mut parts = Vec::new();
    parts.extend(state.queue.iter().map(|(seq, row)| command(*seq, row)));
    parts.extend(state.unreadable.keys().map(|seq| format!("command {seq} unreadable")));
    if state.epoch.get() > 1 {
        parts.push(format!("epoch {}", state.epoch));
    }
    if state.head.get() > 0 {
        parts.push(log(state));
    }
    parts.extend(state.groups.iter().map(|(group, of)| cursor(group, of)));
    for (id, record) in &state.records {
        let place = match record.place {
            Place::Dead => "dead",
            Place::Parked => "parked",
        };
        let origin = match &record.origin {
            Origin::Queue { seq } => format!("command {seq}"),
            Origin::Log { seq, group: Some(group), .. } => format!("event {seq} of {group}"),
            Origin::Log { seq, group: None, .. } => format!("event {seq}"),
        };
        parts.push(format!("{place}: {origin} as record {id}"));
    }
    if parts.is_empty() { "empty".to_owned() } else { parts.join(" | ") }
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NamesMissing { missing } => format!("NamesMissing {}", names(missing)),
        Refusal::Held { until } => format!("Held until {until}"),
        Refusal::Conflict { seq } => format!("Conflict with {seq}"),
        Refusal::NotNext { next: Some(next) } => format!("NotNext, {next} is"),
        Refusal::NotNext { next: None } => "NotNext, nothing is".to_owned(),
        Refusal::BeyondHead { head } => format!("BeyondHead, which is {head}"),
        Refusal::Pruned { first } => format!("Pruned, {first} is the first"),
        Refusal::EpochMismatch { current } => format!("EpochMismatch, the epoch is {current}"),
        Refusal::Aborted { index, refusal } => format!("Aborted by part {}: {}", index + 1, refused(refusal)),
        other => format!("{other:?}"),
    }
}

fn delivery(delivery: &Delivery) -> String {
    let corrupt = if delivery.body.is_sound() { "" } else { " (corrupt)" };
    let (what, token, attempt) = (target(&delivery.target), token(delivery.token), delivery.attempt);
    format!("{what}{corrupt}, token {token}, attempt {attempt}, until {}", delivery.lease_until)
}

fn command(seq: Seq, command: &Command) -> String {
    let corrupt = if command.body.is_sound() { "" } else { " (corrupt)" };
    let (due_at, attempts) = (command.due_at, command.attempts);
    match command.lease {
        Some(lease) => {
            format!("command {seq}{corrupt} token {} until {due_at}, attempt {attempts}", token(lease.token))
        }
        None if attempts == 0 => format!("command {seq}{corrupt} due {due_at}"),
        None => format!("command {seq}{corrupt} due {due_at} after attempt {attempts}"),
    }
}

/// A longer log is described by its first and last number alone.
const ROWS_MAX: usize = 6;

fn log(state: &State) -> String {
    let row = |(seq, row): (&Seq, &LogRow)| match row {
        LogRow::Event(Body::Sound { message, .. }) => format!("{seq} {}", message.name),
        LogRow::Event(Body::Corrupt { name, .. }) => format!("{seq} {name} (corrupt)"),
        LogRow::Event(Body::Unreadable { .. }) => format!("{seq} unreadable"),
        LogRow::Tombstone => format!("{seq} tombstone"),
    };
    match state.log.len() {
        0 => format!("log empty after {}", state.head),
        rows if rows > ROWS_MAX => format!("log {} to {}", state.first, state.head),
        _ => format!("log {}", state.log.iter().map(row).collect::<Vec<_>>().join(", ")),
    }
}

fn cursor(group: &Group, cursor: &Cursor) -> String {
    let name = |(name, progress): (&Name, &Progress)| match progress.attempts {
        0 => format!("{name} past {}", progress.position),
        attempts => format!("{name} past {} (next: attempt {attempts})", progress.position),
    };
    let mut parts = vec![cursor.names.iter().map(name).collect::<Vec<_>>().join(", ")];
    parts.extend(cursor.lease.map(|lease| format!("token {} until {}", token(lease.token), cursor.due_at)));
    parts.extend(cursor.entries.iter().map(|(id, entry)| format!("entry {id} due {}", entry.due_at)));
    format!("{group}: {}", parts.join("; "))
}

fn token(token: Token) -> String {
    let number = token.get();
    let (epoch, boots, count) = (number >> 48, (number >> 32) & 0xffff, number & 0xffff_ffff);
    let times = |n: u64, unit: &str| if n == 1 { unit.to_owned() } else { format!("{n}*{unit}") };
    let high = [(epoch, "2^48"), (boots, "2^32")];
    let mut parts: Vec<String> =
        high.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| times(*n, unit)).collect();
    if count > 0 || parts.is_empty() {
        parts.push(count.to_string());
    }
    parts.join("+")
}

/// How many at most, of which names.
fn up_to(max: NonZeroU32, of: &Names) -> String {
    if max.get() == 1 { names(of) } else { format!("up to {max} of {}", names(of)) }
}

fn message(message: &Message) -> String {
    let payload = String::from_utf8_lossy(&message.payload);
    let id = message.id.as_ref().map(|id| format!(" id {id}")).unwrap_or_default();
    let metadata: String = message.metadata.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    format!("{} {payload:?}{id}{metadata}", message.name)
}

fn names(names: &Names) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join("+")
}

fn target(target: &Target) -> String {
    match target {
        Target::Command(seq) => format!("command {seq}"),
        Target::Event { group, seq } => format!("event {seq} for {group}"),
        Target::Entry { group, record } => format!("entry {record} of {group}"),
    }
}

fn lease(lease: &Lease) -> String {
    match lease {
        Lease::Command(seq) => format!("command {seq}"),
        Lease::Cursor(group) => format!("the cursor of {group}"),
    }
}
