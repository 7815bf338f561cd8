//! Generates the diagrams and tables of `docs/lifecycle.md` from explored scopes: every row occurs, and every transition
//! that occurs has a row.
//!
//! Does not depend on: `step`. The states are computed from the tables of the model.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use fencepost_model::coverage::{Tally, kind};
use fencepost_model::op::{Op, Target};
use fencepost_model::scope::{self, Scope};
use fencepost_model::state::{LogRow, Origin, Place, State};
use fencepost_model::vocabulary::{Group, RecordId, Seq, Timestamp};
use fencepost_model::world::{Contract, Move, World};

#[path = "shared/docs.rs"]
mod docs;

/// Named scopes, with smaller limits on commands and events. Together they contain every transition.
const SCOPES: [(&str, u64, u64); 11] = [
    ("leases", 1, 0),
    ("releases", 1, 0),
    ("set-aside", 1, 0),
    ("damaged-commands", 1, 0),
    ("batches-of-events", 0, 2),
    ("names-added", 0, 3),
    ("events-set-aside", 0, 2),
    ("entry-settlements", 0, 1),
    ("one-damaged-event", 0, 1),
    ("seeking", 0, 2),
    ("epochs", 0, 1),
];

/// An object whose states are followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LifecycleObject {
    Command(Seq),
    Event(Group, Seq),
    Entry(Group, RecordId),
    Record(RecordId),
    Cursor(Group),
}

impl LifecycleObject {
    fn machine(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Event(..) => "event",
            Self::Entry(..) => "entry",
            Self::Record(_) => "record",
            Self::Cursor(_) => "cursor",
        }
    }
}

type Rows = BTreeSet<(&'static str, String, &'static str)>;

#[test]
fn the_documented_life_cycles_are_up_to_date() {
    let mut seen: BTreeMap<&'static str, Rows> = BTreeMap::new();
    std::thread::scope(|threads| {
        let explorers = SCOPES.map(|scope| threads.spawn(move || explored(scope)));
        for explorer in explorers {
            let rows = explorer.join().expect("the thread explored its scope");
            rows.into_iter().for_each(|(machine, rows)| seen.entry(machine).or_default().extend(rows));
        }
    });
    docs::parts_are("lifecycle.md", seen.iter().map(|(machine, rows)| ((*machine).to_owned(), drawn(rows))));
}

/// The transitions in a named scope with these limits.
fn explored((name, commands, events): (&str, u64, u64)) -> BTreeMap<&'static str, Rows> {
    let mut scope = scope::by_name(name).expect("the scope exists");
    scope.limits.commands = commands;
    scope.limits.events = events;
    // Each send is offered with a delay as well.
    let delayed: Vec<_> = scope.offers.iter().filter_map(|op| delayed(op)).map(Arc::new).collect();
    scope.offers.extend(delayed);
    let mut seen = BTreeMap::new();
    explore(&scope, &mut seen);
    seen
}

fn delayed(op: &Op) -> Option<Op> {
    match op {
        Op::Send { message, .. } => Some(Op::Send { message: Arc::clone(message), delay_ms: 1 }),
        _ => None,
    }
}

/// Explores a scope to its end, and records every transition of an object.
fn explore(scope: &Scope, seen: &mut BTreeMap<&'static str, Rows>) {
    let tally = Tally::new();
    let start = scope.world();
    let mut known = HashSet::from([start.representative()]);
    let mut open = vec![start];
    let mut moves = Vec::new();
    while let Some(world) = open.pop() {
        scope.moves(&world, &mut moves);
        for action in moves.drain(..) {
            let (next, _) = world.step(&action, &Contract, &tally);
            note(&world, &action, &next, seen);
            if scope.contains(&next) && known.insert(next.representative()) {
                open.push(next);
            }
        }
    }
}

fn note(before: &World, action: &Move, after: &World, seen: &mut BTreeMap<&'static str, Rows>) {
    let objects: BTreeSet<LifecycleObject> = objects(&before.state).chain(objects(&after.state)).collect();
    for object in objects {
        let (from, to) =
            (state_of(&before.state, before.now, &object), state_of(&after.state, after.now, &object));
        if from != to {
            let row = (from, what(action, &object), to);
            seen.entry(object.machine()).or_default().insert(row);
        }
    }
}

fn objects(state: &State) -> impl Iterator<Item = LifecycleObject> {
    let number = |n: u64| Seq::new(n).expect("a small number");
    let record = |n: u64| RecordId::new(n).expect("a small number");
    let commands = (1..=state.queue_last.get()).map(move |n| LifecycleObject::Command(number(n)));
    let records = (1..=state.record_last.get()).map(move |n| LifecycleObject::Record(record(n)));
    let of_group = state.groups.keys().flat_map(move |group| {
        let events = (1..=state.head.get()).map(move |n| LifecycleObject::Event(group.clone(), number(n)));
        let entries =
            (1..=state.record_last.get()).map(move |n| LifecycleObject::Entry(group.clone(), record(n)));
        events.chain(entries).chain([LifecycleObject::Cursor(group.clone())])
    });
    commands.chain(records).chain(of_group).collect::<Vec<_>>().into_iter()
}

fn state_of(state: &State, now: Timestamp, object: &LifecycleObject) -> &'static str {
    match object {
        LifecycleObject::Command(seq) => command(state, now, *seq),
        LifecycleObject::Event(group, seq) => event(state, now, group, *seq),
        LifecycleObject::Entry(group, record) => entry(state, now, group, *record),
        LifecycleObject::Record(record) => match state.records.get(record).map(|record| record.place) {
            Some(Place::Dead) => "dead",
            Some(Place::Parked) => "parked",
            None if *record > state.record_last => "not there",
            None => "gone",
        },
        LifecycleObject::Cursor(group) => match state.groups.get(group) {
            None => "not there",
            Some(cursor) => match (cursor.lease, cursor.due_at > now) {
                (None, false) => "free",
                (None, true) => "backing off",
                (Some(_), true) => "held",
                (Some(_), false) => "lease expired",
            },
        },
    }
}

fn command(state: &State, now: Timestamp, seq: Seq) -> &'static str {
    let set_aside = state.records.values().find(|record| record.origin == Origin::Queue { seq });
    match (state.queue.get(&seq), set_aside.map(|record| record.place)) {
        (Some(command), _) => match (command.lease, command.due_at > now) {
            (None, false) => "ready",
            (None, true) => "delayed",
            (Some(_), true) => "leased",
            (Some(_), false) => "lease expired",
        },
        (None, _) if state.unreadable.contains_key(&seq) => "unreadable",
        (None, Some(Place::Dead)) => "dead",
        (None, Some(Place::Parked)) => "parked",
        (None, None) if seq > state.queue_last => "not there",
        (None, None) => "ended",
    }
}

/// The state of an event in one group.
fn event(state: &State, now: Timestamp, group: &Group, seq: Seq) -> &'static str {
    let Some(LogRow::Event(body)) = state.log.get(&seq) else { return "not in the log" };
    let Some(name) = body.name() else { return "unreadable" };
    let Some(cursor) = state.groups.get(group) else { return "not subscribed" };
    let Some(progress) = cursor.names.get(name) else { return "not subscribed" };
    match cursor.lease {
        _ if progress.position >= seq => "passed",
        Some(lease) if seq <= lease.handed_through && cursor.due_at > now => "handed out",
        Some(lease) if seq <= lease.handed_through => "lease expired",
        _ => "waiting",
    }
}

fn entry(state: &State, now: Timestamp, group: &Group, record: RecordId) -> &'static str {
    let Some(cursor) = state.groups.get(group) else { return "not there" };
    let Some(entry) = cursor.entries.get(&record) else { return "not there" };
    match cursor.lease {
        Some(lease) if entry.counted == Some(lease.token) && cursor.due_at > now => "handed out",
        Some(lease) if entry.counted == Some(lease.token) => "lease expired",
        _ if entry.due_at > now => "backing off",
        _ => "waiting",
    }
}

/// The name of a move, from the point of view of one object.
fn what(action: &Move, object: &LifecycleObject) -> String {
    match action {
        Move::Do { op, .. } => {
            let other = match (&**op, object) {
                (Op::Settle { target: Target::Event { seq, .. }, .. }, LifecycleObject::Event(_, own)) => {
                    seq != own
                }
                _ => false,
            };
            let kind = match kind(op) {
                subscribe if subscribe.starts_with("subscribe") => "subscribe",
                "send with a delay" => "send",
                kind => kind,
            };
            if other { kind.replace("an event", "another event") } else { kind.to_owned() }
        }
        Move::Clock(now) if *now == Timestamp::ZERO => "the clock jumps back".to_owned(),
        Move::Clock(_) => "time passes".to_owned(),
        Move::Damage { .. } => "damage".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A diagram and a table of these transitions.
fn drawn(rows: &Rows) -> String {
    let mut arrows: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (from, what, to) in rows {
        arrows.entry((from, to)).or_default().push(what);
    }
    let id = |state: &str| state.replace(' ', "_");
    let states: BTreeSet<&str> = rows.iter().flat_map(|(from, _, to)| [*from, *to]).collect();
    let mut text = "```mermaid\nstateDiagram-v2\n".to_owned();
    for state in states {
        let _ = writeln!(text, "    state \"{state}\" as {}", id(state));
    }
    for ((from, to), whats) in &arrows {
        let _ = writeln!(text, "    {} --> {}: {}", id(from), id(to), whats.join(", "));
    }
    text += "```\n\n| from | what happens | to |\n| --- | --- | --- |\n";
    for (from, what, to) in rows {
        let _ = writeln!(text, "| {from} | {what} | {to} |");
    }
    text
}
