//! A path as a story that can be read: who did what when, what was answered, and how queue and log stood then.
//!
//! Nothing is decided here. The same path always gives the same text.

use std::fmt::Write as _;

use crate::coverage::Tally;
use crate::invariant::GUARANTEES;
use crate::liveness::{LIVENESS, Liveness};
use crate::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Settlement, Start, Target};
use crate::scope::Scope;
use crate::state::{Body, LogRow, Origin, Place, State};
use crate::vocabulary::{Message, Names};
use crate::world::{Move, Outcome, Row, Rules, World};

/// Tells a path of a scope under some rules, up to what it breaks.
pub fn tell(scope: &Scope, path: &[Move], rules: &dyn Rules) -> String {
    let mut world = scope.world();
    let mut text = String::new();
    let width = scope.start.len() + path.len();
    let mut line = Lines { number: 0, digits: width.to_string().len() };
    let mut early = World::new(scope.workers);
    for op in &scope.start {
        let action = Move::Do { worker: 0, op: std::sync::Arc::new(op.clone()), outcome: Outcome::Told };
        let reply = early.perform(&action, &crate::world::Contract, &Tally::new());
        line.add(&mut text, &early, &action, reply.as_ref());
    }
    for action in path {
        let before = world.now;
        let reply = world.perform(action, rules, &Tally::new());
        let at = World { now: before, ..world.clone() };
        line.add(&mut text, &at, action, reply.as_ref());
    }
    text.push('\n');
    text.push_str(&verdict(&world, rules));
    text
}

/// What is broken in a world: guarantees by its last operation, or else what can never come about from here.
pub fn verdict(world: &World, rules: &dyn Rules) -> String {
    let mut text = String::new();
    for broken in &world.broken {
        let guarantee = &GUARANTEES[broken.guarantee];
        let _ = writeln!(text, "broken: {} {}\n        {}", guarantee.id, guarantee.name, broken.why);
    }
    if world.broken.is_empty() {
        for property in &LIVENESS {
            if let Liveness::Broken(why) = (property.check)(world, rules) {
                let _ = writeln!(text, "broken: {} {}\n        {why}", property.id, property.name);
            }
        }
    }
    text
}

struct Lines {
    number: usize,
    digits: usize,
}

impl Lines {
    fn add(&mut self, text: &mut String, world: &World, action: &Move, reply: Option<&Reply>) {
        self.number += 1;
        let (who, what) = actor_and_action(action);
        let (number, digits) = (self.number, self.digits);
        let _ = write!(text, "{number:digits$}  t={}  {who:8}  {what}", world.now);
        if let Some(reply) = reply {
            let unheard = matches!(action, Move::Do { outcome: Outcome::Unheard, .. });
            let heard = if unheard { " (but nobody hears it)" } else { "" };
            let _ = write!(text, "  ->  {}{heard}", answer(reply));
        }
        let pad = " ".repeat(digits);
        let _ = writeln!(text, "\n{pad}       {}", stand(&world.state));
    }
}

/// One move and its answer as a line, for a running log.
pub fn line(action: &Move, reply: Option<&Reply>) -> String {
    let (who, what) = actor_and_action(action);
    match reply {
        Some(reply) => format!("{who}: {what}  ->  {}", answer(reply)),
        None => format!("{who}: {what}"),
    }
}

fn actor_and_action(action: &Move) -> (String, String) {
    match action {
        Move::Do { worker, op, outcome } => {
            let who = format!("worker {}", char::from(b'A' + *worker));
            let lost = if *outcome == Outcome::Lost { " (which is lost on the way)" } else { "" };
            (who, format!("{}{lost}", describe(op)))
        }
        Move::Clock(now) => ("clock".to_owned(), format!("shows {now}")),
        Move::Crash { worker } => {
            (format!("worker {}", char::from(b'A' + *worker)), "crashes and forgets what it holds".to_owned())
        }
        Move::Damage { row, wound } => {
            let row = match row {
                Row::Queue(seq) => format!("command {seq}"),
                Row::Log(seq) => format!("event {seq}"),
            };
            ("damage".to_owned(), format!("{row}: {wound:?}"))
        }
        Move::Copy => ("owner".to_owned(), "copies the store".to_owned()),
        Move::FallBack { restore: None } => {
            ("power".to_owned(), "is cut; what came after the copy is gone; the machine boots".to_owned())
        }
        Move::FallBack { restore: Some(epoch) } => {
            ("owner".to_owned(), format!("restores the copy into epoch {epoch}"))
        }
        Move::Reopen => ("owner".to_owned(), "closes the store and opens it again".to_owned()),
    }
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

/// An operation in words.
pub fn describe(op: &Op) -> String {
    match op {
        Op::Send { message: sent, delay_ms: 0 } => format!("sends {}", message(sent)),
        Op::Send { message: sent, delay_ms } => format!("sends {} in {delay_ms} ms", message(sent)),
        Op::Claim { names: of, max, lease_ms, attempts_max } => {
            format!("claims up to {max} of {} for {lease_ms} ms, at most {attempts_max} attempts", names(of))
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
        Op::Poll { group, names: of, token, max, lease_ms, attempts_max } => {
            let under = token.map(|token| format!(" under token {token}")).unwrap_or_default();
            let of = names(of);
            format!(
                "polls up to {max} of {of} for {group}{under} for {lease_ms} ms, at most {attempts_max} attempts"
            )
        }
        Op::Settle { target: what, token, how } => {
            let verb = match how {
                Settlement::Ack => "acks".to_owned(),
                Settlement::Nack { delay_ms, reason } => {
                    format!("nacks (again in {delay_ms} ms: {reason:?})")
                }
                Settlement::DeadLetter { reason } => format!("dead-letters ({reason:?})"),
                Settlement::Park { reason } => format!("parks ({reason:?})"),
                Settlement::Drop => "drops".to_owned(),
            };
            format!("{verb} {} under token {token}", target(what))
        }
        Op::Release { lease: what, token } => format!("releases {} under token {token}", lease(what)),
        Op::Extend { lease: what, token, lease_ms } => {
            format!("extends {} under token {token} to {lease_ms} ms from now", lease(what))
        }
        Op::Cancel { seq } => format!("cancels command {seq}"),
        Op::Seek { group, name, position } => format!("seeks {group} to {position} for {name}"),
        Op::Redrive { record } => format!("redrives record {record}"),
        Op::Purge { record } => format!("purges record {record}"),
        Op::Prune { retention_ms } => format!("prunes what is older than {retention_ms} ms"),
        Op::ForgetIds { retention_ms } => format!("forgets ids that ended {retention_ms} ms ago"),
        Op::Reset { expected, next } => format!("resets the log from epoch {expected} to {next}"),
        Op::Reboot => "boots".to_owned(),
        Op::Restore { next } => format!("restores into epoch {next}"),
        Op::Atomic(ops) => {
            let parts: Vec<String> = ops.iter().map(describe).collect();
            format!("in one transaction {}", parts.join("; "))
        }
    }
}

fn delivery(delivery: &Delivery) -> String {
    let corrupt = if delivery.body.is_sound() { "" } else { " (corrupt)" };
    let (what, token, attempt) = (target(&delivery.target), delivery.token, delivery.attempt);
    format!("{what}{corrupt}, token {token}, attempt {attempt}, until {}", delivery.lease_until)
}

/// An answer in words.
pub fn answer(reply: &Reply) -> String {
    let records = |records: &[crate::vocabulary::RecordId]| {
        records.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
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
            let dead = if dead_lettered.is_empty() { String::new() } else { records(dead_lettered) };
            format!("{removed} gone, {first} is the first; dead: [{dead}]")
        }
        Reply::Forgotten { ids } => format!("{ids} forgotten"),
        Reply::EpochBegun { .. } => "epoch begun".to_owned(),
        Reply::Done(replies) => {
            format!("done: {}", replies.iter().map(answer).collect::<Vec<_>>().join("; "))
        }
        Reply::Refused(refusal) => format!("refused: {}", refused(refusal)),
        Reply::Released => "released".to_owned(),
        Reply::Cancelled => "cancelled".to_owned(),
        Reply::Sought => "sought".to_owned(),
        Reply::Purged => "purged".to_owned(),
        Reply::Rebooted => "booted".to_owned(),
    }
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NamesMissing { missing } => format!("NamesMissing {}", names(missing)),
        Refusal::Held { until } => format!("Held until {until}"),
        Refusal::Conflict { seq } => format!("Conflict with {seq}"),
        Refusal::NotNext { next: Some(next) } => format!("NotNext, {next} is"),
        Refusal::Aborted { index, refusal } => format!("Aborted by part {}: {}", index + 1, refused(refusal)),
        other => format!("{other:?}"),
    }
}

/// How queue, log, groups and records stand, in one line.
pub fn stand(state: &State) -> String {
    let mut parts = Vec::new();
    for (seq, command) in &state.queue {
        let lease = command.lease.map(|lease| format!(" token {}", lease.token)).unwrap_or_default();
        let corrupt = if command.body.is_sound() { "" } else { " corrupt" };
        let (due_at, attempts) = (command.due_at, command.attempts);
        parts.push(format!("command {seq}{corrupt} due {due_at} attempts {attempts}{lease}"));
    }
    parts.extend(state.unreadable.keys().map(|seq| format!("command {seq} unreadable")));
    if state.head.get() > 0 {
        let rows: String = state
            .log
            .values()
            .map(|row| match row {
                LogRow::Event(Body::Sound { .. }) => 'e',
                LogRow::Event(_) => '!',
                LogRow::Tombstone => 't',
            })
            .collect();
        parts.push(format!("log {}..={} {rows}", state.first, state.head));
    }
    for (group, cursor) in &state.groups {
        let positions: Vec<String> =
            cursor.names.iter().map(|(name, progress)| format!("{name}@{}", progress.position)).collect();
        let lease = cursor
            .lease
            .map(|lease| format!(" token {} until {}", lease.token, cursor.due_at))
            .unwrap_or_default();
        let entries: String = cursor.entries.keys().map(|id| format!(" entry {id}")).collect();
        parts.push(format!("{group} {}{lease}{entries}", positions.join(" ")));
    }
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
        parts.push(format!("{place} {id} ({origin})"));
    }
    if parts.is_empty() { "(empty)".to_owned() } else { parts.join(" | ") }
}
