//! Measures what the guarantees reject.
//!
//! Transitions of the contract are changed in one field, of the state after or of the reply, and checked again. A
//! snapshot counts how often each guarantee rejects a change of each field. A guarantee that becomes weaker rejects
//! less. The snapshot also shows the changes that no guarantee rejects; only the comparison with the model finds those.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fencepost_model::coverage::Tally;
use fencepost_model::generate::{Numbers, choose};
use fencepost_model::invariant::{CheckResult, GUARANTEES, STATE_INVARIANTS};
use fencepost_model::liveness::LIVENESS;
use fencepost_model::mutant;
use fencepost_model::op::{Op, Reply};
use fencepost_model::scope::{self, Scope};
use fencepost_model::state::{Cause, State};
use fencepost_model::world::{Contract, Move, OpOutcome, World};
use serde_json::{Value, json};

#[path = "shared/keep.rs"]
mod keep;

/// The number of walks through each scope.
const WALKS: u64 = 3;

/// The length of a walk.
const MOVES: usize = 60;

/// The number of changes of the state after each transition, and of its reply.
const CHANGES: usize = 7;

/// One operation of a walk.
struct ObservedTransition {
    world: World,
    op: Op,
    reply: Reply,
    after: State,
}

/// The operations of this many walks through a scope.
fn transitions(scope: &Scope, walks: u64) -> Vec<ObservedTransition> {
    let mut all = Vec::new();
    for seed in 0..walks {
        let mut world = scope.world();
        for number in Numbers::new(seed).take(MOVES) {
            let Some(action) = choose(scope, &world, number) else { break };
            let before = world.clone();
            let reply = world.perform(&action, &Contract, &Tally::new());
            assert_eq!(world.violations, [], "{action:?}");
            let Move::Do { op, outcome, .. } = &action else { continue };
            if let (Some(reply), false) = (reply, *outcome == OpOutcome::Lost) {
                let (op, after) = (Op::clone(op), world.state.clone());
                all.push(ObservedTransition { world: before, op, reply, after });
            }
        }
    }
    all
}

/// The indices of the guarantees that a transition violates.
fn violated(of: &ObservedTransition, reply: &Reply, after: &State) -> BTreeSet<usize> {
    let mut world = of.world.clone();
    world.check(&of.world.state, &of.op, reply, after, &Contract, &Tally::new());
    world.violations.iter().map(|violation| violation.guarantee).collect()
}

/// Replacements for a value, by its type. Those that cannot be decoded are skipped later.
fn instead(value: &Value) -> Vec<Value> {
    const WORDS: [&str; 14] = [
        "zz",
        "acked",
        "dropped",
        "tombstone",
        "dead",
        "parked",
        "settled",
        "attempts-exhausted",
        "corrupt",
        "released",
        "sought",
        "cancelled",
        "purged",
        "rebooted",
    ];
    const REFUSALS: [&str; 7] =
        ["lease-lost", "not-found", "not-subscribed", "epoch-retired", "corrupt", "legible", "wrong-kind"];
    let mut others: Vec<Value> = match value {
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or_default();
            vec![json!(number + 1), json!(number.saturating_sub(1)), Value::Null]
        }
        Value::Bool(is) => vec![json!(!is)],
        Value::Null => vec![
            json!(1),
            json!("zz"),
            json!({"token": 1, "attempts_max": 2, "corrupt": false}),
            json!({"token": 1, "attempts_max": 2, "handed_through": 1, "corrupt": null}),
        ],
        Value::String(_) | Value::Object(_) => vec![Value::Null],
        Value::Array(_) => Vec::new(),
    };
    if matches!(value, Value::String(_) | Value::Object(_)) {
        others.extend(WORDS.map(|word| json!(word)));
        others.extend(REFUSALS.map(|word| json!({ "refused": word })));
    }
    if let Value::Object(_) = value {
        others.extend([
            json!({"accepted": {"seq": 1, "fresh": false}}),
            json!({"handed-out": {"deliveries": [], "dead_lettered": []}}),
            json!({"subscribed": {"position": 1, "fresh": true}}),
            json!({"unsubscribed": {"returned": []}}),
            json!({"pruned": {"first": 1, "removed": 0, "dead_lettered": []}}),
            json!({"forgotten": {"ids": 0}}),
            json!({"epoch-begun": {"returned": []}}),
            json!({"settled": "acked"}),
        ]);
    }
    others.retain(|other| other != value);
    others
}

/// Fields that are maps. Their members are counted together.
const MAPS: [&str; 9] =
    ["queue", "unreadable", "command_ids", "log", "event_ids", "groups", "records", "names", "entries"];

/// A change of a value.
#[derive(Clone, Debug)]
enum FieldChange {
    /// The value is replaced.
    Instead(Value),
    /// The member of this key or index is removed.
    Gone(String),
    /// The member gets another key, or moves to the end of the list.
    Moved(String, String),
    /// The member is duplicated, under another key or at the end of the list.
    Twice(String, String),
}

/// A place to change: the name of the field, the path to it, and the change.
type ChangePlace = (String, Vec<String>, FieldChange);

/// The line of the snapshot that counts a change of this field. The columns of a damaged row are counted together.
fn called(path: &str) -> String {
    match path.find(".raw").or_else(|| path.find(".unreadable.*")) {
        Some(end) => path[..end].to_owned() + ", what was read",
        None => path.to_owned(),
    }
}

/// All places at which a value can be changed.
fn places(value: &Value, path: &str, way: &mut Vec<String>, all: &mut Vec<ChangePlace>) {
    all.extend(
        instead(value).into_iter().map(|other| (path.to_owned(), way.clone(), FieldChange::Instead(other))),
    );
    let is_map = MAPS.contains(&path.rsplit('.').next().unwrap_or_default());
    let (keys, same): (Vec<String>, bool) = match value {
        Value::Object(members) => (members.keys().cloned().collect(), is_map),
        // A longer list is a payload. Its first byte is enough.
        Value::Array(members) => {
            let some = if members.len() < 20 { members.len() } else { 1 };
            ((0..some).map(|n| n.to_string()).collect(), true)
        }
        _ => return,
    };
    for key in keys {
        let of = format!("{path}.{}", if same { "*" } else { &key });
        way.push(key.clone());
        places(member(value, &key), &of, way, all);
        way.pop();
        if same {
            let next = key.parse::<u64>().map_or("zz".to_owned(), |key| (key + 1).to_string());
            all.push((format!("{of} gone"), way.clone(), FieldChange::Gone(key.clone())));
            all.push((format!("{of} moved"), way.clone(), FieldChange::Moved(key.clone(), next.clone())));
            all.push((format!("{of} twice"), way.clone(), FieldChange::Twice(key, next)));
        }
    }
}

fn member<'a>(value: &'a Value, key: &str) -> &'a Value {
    match value {
        Value::Array(members) => &members[key.parse::<usize>().expect("an index of a list")],
        value => &value[key],
    }
}

/// The value with one place changed.
fn changed(value: &Value, way: &[String], change: &FieldChange) -> Value {
    let mut whole = value.clone();
    let mut at = &mut whole;
    for key in way {
        at = match at {
            Value::Array(members) => &mut members[key.parse::<usize>().expect("an index of a list")],
            at => &mut at[key],
        };
    }
    match (at, change) {
        (at, FieldChange::Instead(other)) => *at = other.clone(),
        (Value::Object(members), FieldChange::Gone(key)) => _ = members.remove(key),
        (Value::Object(members), FieldChange::Moved(key, to)) => {
            let member = members.remove(key).unwrap_or_default();
            members.insert(to.clone(), member);
        }
        (Value::Object(members), FieldChange::Twice(key, to)) => {
            _ = members.insert(to.clone(), members[key].clone())
        }
        (
            Value::Array(members),
            FieldChange::Gone(index) | FieldChange::Moved(index, _) | FieldChange::Twice(index, _),
        ) => {
            let index = index.parse::<usize>().expect("an index of a list");
            let member = members[index].clone();
            if !matches!(change, FieldChange::Twice(..)) {
                members.remove(index);
            }
            if !matches!(change, FieldChange::Gone(_)) {
                members.push(member);
            }
        }
        (at, change) => unreachable!("{change:?} of {at}"),
    }
    whole
}

/// Whether the value at a path differs from the one before.
fn is_new(value: &Value, before: &Value, way: &[String]) -> bool {
    fn at<'a>(value: &'a Value, way: &[String]) -> Option<&'a Value> {
        way.iter().try_fold(value, |at, key| match at {
            Value::Array(members) => members.get(key.parse::<usize>().ok()?),
            at => at.get(key),
        })
    }
    at(value, way) != at(before, way)
}

/// Some changes of a value that can be decoded and differ from it. Half of them are where the value differs from
/// `before`.
fn some_changes<T>(value: &T, before: Option<&T>, path: &str, numbers: &mut Numbers) -> Vec<(String, T)>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq,
{
    let written = serde_json::to_value(value).expect("the value can be encoded");
    let mut all = Vec::new();
    places(&written, path, &mut Vec::new(), &mut all);
    // Each place is equally likely, however many replacements it has.
    let mut by_place: BTreeMap<(Vec<String>, String), Vec<FieldChange>> = BTreeMap::new();
    for (path, way, change) in all {
        by_place.entry((way, path)).or_default().push(change);
    }
    let before = before.map(|before| serde_json::to_value(before).expect("the value can be encoded"));
    let new = |way: &[String]| before.as_ref().is_some_and(|before| is_new(&written, before, way));
    let (mut fresh, mut old): (Vec<_>, Vec<_>) = by_place.into_iter().partition(|((way, _), _)| new(way));
    let mut some = Vec::new();
    while some.len() < CHANGES && !(fresh.is_empty() && old.is_empty()) {
        let number = numbers.next().expect("numbers have no end") as usize;
        let of_fresh = old.is_empty() || (!fresh.is_empty() && (number / 1_000_000).is_multiple_of(2));
        let left = if of_fresh { &mut fresh } else { &mut old };
        let place = number % left.len();
        let ((way, path), changes) = &mut left[place];
        let change = changes.swap_remove(number / 1_000 % changes.len());
        if let Ok(other) = serde_json::from_value::<T>(changed(&written, way, &change))
            && other != *value
        {
            some.push((path.clone(), other));
        }
        if changes.is_empty() {
            left.swap_remove(place);
        }
    }
    some
}

/// How often a field was changed, how often that was rejected, and by which guarantees.
#[derive(Default)]
struct RefusalCount {
    tried: u32,
    refused: u32,
    by: BTreeMap<usize, u32>,
}

impl RefusalCount {
    fn add(&mut self, by: &BTreeSet<usize>) {
        self.tried += 1;
        self.refused += u32::from(!by.is_empty());
        for index in by {
            *self.by.entry(*index).or_default() += 1;
        }
    }
}

fn summary(counts: &BTreeMap<String, RefusalCount>, names: &[String]) -> String {
    let mut text = String::new();
    for (what, RefusalCount { tried, refused, by }) in counts {
        let by: Vec<String> = by.iter().map(|(index, count)| format!("{} {count}", names[*index])).collect();
        let _ = writeln!(text, "{what}: {refused} of {tried}; {}", by.join(", "));
    }
    text
}

#[test]
fn a_transition_with_one_changed_field_is_rejected_by_the_same_guarantees_as_before() {
    let mut counts: BTreeMap<String, RefusalCount> = BTreeMap::new();
    let mut numbers = Numbers::new(1);
    for name in scope::names().into_iter().chain(["wide"]) {
        let scope = scope::by_name(name).expect("the scope of a name");
        for of in transitions(&scope, WALKS) {
            for (path, after) in some_changes(&of.after, Some(&of.world.state), "state", &mut numbers) {
                counts.entry(called(&path)).or_default().add(&violated(&of, &of.reply, &after));
            }
            for (path, reply) in some_changes(&of.reply, None, "reply", &mut numbers) {
                counts.entry(called(&path)).or_default().add(&violated(&of, &reply, &of.after));
            }
            if of.after != of.world.state {
                let by = violated(&of, &of.reply, &of.world.state);
                counts.entry("state as it was".to_owned()).or_default().add(&by);
            }
        }
    }
    let mut total = RefusalCount::default();
    for count in counts.values() {
        (total.tried, total.refused) = (total.tried + count.tried, total.refused + count.refused);
        count.by.iter().for_each(|(index, count)| *total.by.entry(*index).or_default() += count);
    }
    counts.insert("together".to_owned(), total);
    // The second guarantee of one id is marked with a prime.
    let prime =
        |index: usize| if index > 0 && GUARANTEES[index - 1].id == GUARANTEES[index].id { "'" } else { "" };
    let names: Vec<String> =
        (0..GUARANTEES.len()).map(|n| format!("{}{}", GUARANTEES[n].id, prime(n))).collect();
    keep::keep("checkers", "transitions", &summary(&counts, &names));
}

/// Random changes rarely hit this case: a new record whose cause is exhausted attempts.
#[test]
fn a_message_that_is_exhausted_too_early_is_rejected_by_g8() {
    let mut tried = 0;
    for name in scope::names().into_iter().chain(["wide"]) {
        for of in transitions(&scope::by_name(name).expect("the scope of a name"), 20 * WALKS) {
            let (Op::Claim { attempts_max, .. } | Op::Poll { attempts_max, .. }) = &of.op else { continue };
            let Reply::HandedOut { dead_lettered, .. } = &of.reply else { continue };
            for id in dead_lettered {
                let mut after = of.after.clone();
                let record = after.records.get_mut(id).expect("the reply names the record");
                if record.cause != Cause::AttemptsExhausted {
                    continue;
                }
                record.attempts = attempts_max.get() - 1;
                let by = violated(&of, &of.reply, &after);
                assert!(by.iter().any(|index| GUARANTEES[*index].id == "G8"), "{name}: {by:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried} records only");
}

#[test]
fn a_state_with_one_changed_field_is_rejected_by_the_same_state_invariants_as_before() {
    let mut counts: BTreeMap<String, RefusalCount> = BTreeMap::new();
    let mut numbers = Numbers::new(2);
    for name in scope::names().into_iter().chain(["wide"]) {
        let scope = scope::by_name(name).expect("the scope of a name");
        for of in transitions(&scope, WALKS) {
            for (path, after) in some_changes(&of.after, Some(&of.world.state), "state", &mut numbers) {
                let refuses = |index: &usize| {
                    matches!((STATE_INVARIANTS[*index].of_state)(&after), CheckResult::Violated(_))
                };
                counts
                    .entry(called(&path))
                    .or_default()
                    .add(&(0..STATE_INVARIANTS.len()).filter(refuses).collect());
            }
        }
    }
    let names: Vec<String> = STATE_INVARIANTS.iter().map(|of| of.id.to_owned()).collect();
    keep::keep("checkers", "states", &summary(&counts, &names));
}

#[test]
fn each_mutant_fails_the_same_liveness_properties_as_before() {
    let mut text = String::new();
    let mut all: BTreeMap<&str, [u32; 3]> = BTreeMap::new();
    for mutant in mutant::all() {
        let scope = scope::by_name(mutant.scope).expect("a mutant names a scope that exists");
        let mut world = scope.world();
        let mut broken: BTreeMap<&str, (u32, usize)> = BTreeMap::new();
        for (index, number) in Numbers::new(3).take(MOVES).enumerate() {
            let Some(action) = choose(&scope, &world, number) else { break };
            world.perform(&action, &Contract, &Tally::new());
            if index % 6 != 0 {
                continue;
            }
            for property in LIVENESS {
                let count = all.entry(property.id).or_default();
                match property.check(&world, &mutant) {
                    CheckResult::Vacuous => count[0] += 1,
                    CheckResult::Held => count[1] += 1,
                    CheckResult::Violated(why) => {
                        count[2] += 1;
                        let (again, steps) = property.counterexample(&world, &mutant).expect("it is broken");
                        assert_eq!(again, why);
                        let (worlds, taken) = broken.entry(property.id).or_default();
                        (*worlds, *taken) = (*worlds + 1, *taken + steps.len());
                    }
                }
            }
        }
        for (id, (worlds, steps)) in broken {
            let _ = writeln!(text, "{}: {id} in {worlds} worlds, {steps} steps", mutant.name);
        }
    }
    for (id, [vacuous, held, broken]) in all {
        let _ = writeln!(
            text,
            "{id}: nothing to check in {vacuous} worlds, held in {held}, violated in {broken}"
        );
    }
    keep::keep("checkers", "liveness", &text);
}
