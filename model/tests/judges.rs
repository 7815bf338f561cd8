//! What the guarantees refuse, and not only what they let pass.
//!
//! Transitions that the contract led to are changed in one place, in what was left or in what was answered, and judged
//! again. How often which guarantee refuses a change of which field is kept as a snapshot: a guarantee that grows weaker,
//! in whatever clause, refuses less. What nobody refuses is there to be read as well: the guarantees do not say everything
//! that the rules do, and what they leave open is found by the comparison with the model alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fencepost_model::coverage::Tally;
use fencepost_model::generate::{Numbers, choose};
use fencepost_model::invariant::{GUARANTEES, STANDING, Verdict};
use fencepost_model::liveness::{LIVENESS, Liveness};
use fencepost_model::mutant;
use fencepost_model::op::{Op, Reply};
use fencepost_model::scope::{self, Scope};
use fencepost_model::state::{Cause, State};
use fencepost_model::world::{Contract, Move, Outcome, World};
use serde_json::{Value, json};

#[path = "shared/keep.rs"]
mod keep;

/// How many walks go through each scope.
const WALKS: u64 = 3;

/// How far a walk goes.
const MOVES: usize = 60;

/// How many changes are made of what a transition left, and as many of what was answered.
const CHANGES: usize = 7;

/// One operation as it happened.
struct Transition {
    world: World,
    op: Op,
    reply: Reply,
    after: State,
}

/// The operations of so many walks through a scope.
fn transitions(scope: &Scope, walks: u64) -> Vec<Transition> {
    let mut all = Vec::new();
    for seed in 0..walks {
        let mut world = scope.world();
        for number in Numbers::new(seed).take(MOVES) {
            let Some(action) = choose(scope, &world, number) else { break };
            let before = world.clone();
            let reply = world.perform(&action, &Contract, &Tally::new());
            assert_eq!(world.broken, [], "{action:?}");
            let Move::Do { op, outcome, .. } = &action else { continue };
            if let (Some(reply), false) = (reply, *outcome == Outcome::Lost) {
                let (op, after) = (Op::clone(op), world.state.clone());
                all.push(Transition { world: before, op, reply, after });
            }
        }
    }
    all
}

/// The places of the guarantees that a transition breaks.
fn broken(of: &Transition, reply: &Reply, after: &State) -> BTreeSet<usize> {
    let mut world = of.world.clone();
    world.judge(&of.world.state, &of.op, reply, after, &Contract, &Tally::new());
    world.broken.iter().map(|broken| broken.guarantee).collect()
}

/// What may be written in place of a value, by its kind. What does not fit there is left out later.
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

/// Fields whose members have names or numbers, and which are told as one.
const MAPS: [&str; 9] =
    ["queue", "unreadable", "command_ids", "log", "event_ids", "groups", "records", "names", "entries"];

/// What can be done with a value in its place.
#[derive(Clone, Debug)]
enum Change {
    /// Another value is there.
    Instead(Value),
    /// The member of this key, or of this place in the list, is gone.
    Gone(String),
    /// It has another key, or is the last in the list.
    Moved(String, String),
    /// It is there twice, under another key or as the last in the list.
    Twice(String, String),
}

/// Where something is changed: what it is called, the way there, and what is done.
type Place = (String, Vec<String>, Change);

/// What a change of this place is told under. What was read of a damaged row is told as one.
fn called(path: &str) -> String {
    match path.find(".raw").or_else(|| path.find(".unreadable.*")) {
        Some(end) => path[..end].to_owned() + ", what was read",
        None => path.to_owned(),
    }
}

/// All places in which a value can be changed.
fn places(value: &Value, path: &str, way: &mut Vec<String>, all: &mut Vec<Place>) {
    all.extend(
        instead(value).into_iter().map(|other| (path.to_owned(), way.clone(), Change::Instead(other))),
    );
    let is_map = MAPS.contains(&path.rsplit('.').next().unwrap_or_default());
    let (keys, same): (Vec<String>, bool) = match value {
        Value::Object(members) => (members.keys().cloned().collect(), is_map),
        // Of what is longer, which is what somebody's bytes are, the first is enough.
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
            all.push((format!("{of} gone"), way.clone(), Change::Gone(key.clone())));
            all.push((format!("{of} moved"), way.clone(), Change::Moved(key.clone(), next.clone())));
            all.push((format!("{of} twice"), way.clone(), Change::Twice(key, next)));
        }
    }
}

fn member<'a>(value: &'a Value, key: &str) -> &'a Value {
    match value {
        Value::Array(members) => &members[key.parse::<usize>().expect("a place in a list")],
        value => &value[key],
    }
}

/// The value with one place changed.
fn changed(value: &Value, way: &[String], change: &Change) -> Value {
    let mut whole = value.clone();
    let mut at = &mut whole;
    for key in way {
        at = match at {
            Value::Array(members) => &mut members[key.parse::<usize>().expect("a place in a list")],
            at => &mut at[key],
        };
    }
    match (at, change) {
        (at, Change::Instead(other)) => *at = other.clone(),
        (Value::Object(members), Change::Gone(key)) => _ = members.remove(key),
        (Value::Object(members), Change::Moved(key, to)) => {
            let member = members.remove(key).unwrap_or_default();
            members.insert(to.clone(), member);
        }
        (Value::Object(members), Change::Twice(key, to)) => {
            _ = members.insert(to.clone(), members[key].clone())
        }
        (Value::Array(members), Change::Gone(index) | Change::Moved(index, _) | Change::Twice(index, _)) => {
            let index = index.parse::<usize>().expect("a place in a list");
            let member = members[index].clone();
            if !matches!(change, Change::Twice(..)) {
                members.remove(index);
            }
            if !matches!(change, Change::Gone(_)) {
                members.push(member);
            }
        }
        (at, change) => unreachable!("{change:?} of {at}"),
    }
    whole
}

/// Whether what stands there is not what stood there before.
fn is_new(value: &Value, before: &Value, way: &[String]) -> bool {
    fn at<'a>(value: &'a Value, way: &[String]) -> Option<&'a Value> {
        way.iter().try_fold(value, |at, key| match at {
            Value::Array(members) => members.get(key.parse::<usize>().ok()?),
            at => at.get(key),
        })
    }
    at(value, way) != at(before, way)
}

/// A few of the changes of a value that still mean something, each another value: half of them where it is not as it was
/// `before`.
fn some_changes<T>(value: &T, before: Option<&T>, path: &str, numbers: &mut Numbers) -> Vec<(String, T)>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq,
{
    let written = serde_json::to_value(value).expect("it can be written");
    let mut all = Vec::new();
    places(&written, path, &mut Vec::new(), &mut all);
    // Each place is as likely as any other, whatever can be written there.
    let mut by_place: BTreeMap<(Vec<String>, String), Vec<Change>> = BTreeMap::new();
    for (path, way, change) in all {
        by_place.entry((way, path)).or_default().push(change);
    }
    let before = before.map(|before| serde_json::to_value(before).expect("it can be written"));
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

/// How often something was changed, and who refused it.
#[derive(Default)]
struct Count {
    tried: u32,
    refused: u32,
    by: BTreeMap<usize, u32>,
}

impl Count {
    fn add(&mut self, by: &BTreeSet<usize>) {
        self.tried += 1;
        self.refused += u32::from(!by.is_empty());
        for index in by {
            *self.by.entry(*index).or_default() += 1;
        }
    }
}

fn told(counts: &BTreeMap<String, Count>, names: &[String]) -> String {
    let mut text = String::new();
    for (what, Count { tried, refused, by }) in counts {
        let by: Vec<String> = by.iter().map(|(index, count)| format!("{} {count}", names[*index])).collect();
        let _ = writeln!(text, "{what}: {refused} of {tried}; {}", by.join(", "));
    }
    text
}

#[test]
fn a_transition_that_is_changed_in_one_place_is_refused_by_the_same_guarantees_as_ever() {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut numbers = Numbers::new(1);
    for name in scope::names().into_iter().chain(["wide"]) {
        let scope = scope::by_name(name).expect("the scope of a name");
        for of in transitions(&scope, WALKS) {
            for (path, after) in some_changes(&of.after, Some(&of.world.state), "state", &mut numbers) {
                counts.entry(called(&path)).or_default().add(&broken(&of, &of.reply, &after));
            }
            for (path, reply) in some_changes(&of.reply, None, "reply", &mut numbers) {
                counts.entry(called(&path)).or_default().add(&broken(&of, &reply, &of.after));
            }
            if of.after != of.world.state {
                let by = broken(&of, &of.reply, &of.world.state);
                counts.entry("state as it was".to_owned()).or_default().add(&by);
            }
        }
    }
    let mut total = Count::default();
    for count in counts.values() {
        (total.tried, total.refused) = (total.tried + count.tried, total.refused + count.refused);
        count.by.iter().for_each(|(index, count)| *total.by.entry(*index).or_default() += count);
    }
    counts.insert("together".to_owned(), total);
    // The second of an id is told with a prime.
    let prime =
        |index: usize| if index > 0 && GUARANTEES[index - 1].id == GUARANTEES[index].id { "'" } else { "" };
    let names: Vec<String> =
        (0..GUARANTEES.len()).map(|n| format!("{}{}", GUARANTEES[n].id, prime(n))).collect();
    keep::keep("judges", "transitions", &told(&counts, &names));
}

/// Few changes come upon this by chance: of the records, those that were just made, and of these, those for this cause.
#[test]
fn what_is_exhausted_too_early_is_refused_for_that() {
    let mut tried = 0;
    for name in scope::names().into_iter().chain(["wide"]) {
        for of in transitions(&scope::by_name(name).expect("the scope of a name"), 20 * WALKS) {
            let (Op::Claim { attempts_max, .. } | Op::Poll { attempts_max, .. }) = &of.op else { continue };
            let Reply::HandedOut { dead_lettered, .. } = &of.reply else { continue };
            for id in dead_lettered {
                let mut after = of.after.clone();
                let record = after.records.get_mut(id).expect("it was told of");
                if record.cause != Cause::AttemptsExhausted {
                    continue;
                }
                record.attempts = attempts_max.get() - 1;
                let by = broken(&of, &of.reply, &after);
                assert!(by.iter().any(|index| GUARANTEES[*index].id == "G8"), "{name}: {by:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried} records only");
}

#[test]
fn a_state_that_is_changed_in_one_place_is_refused_by_what_stands_alone_as_ever() {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut numbers = Numbers::new(2);
    for name in scope::names().into_iter().chain(["wide"]) {
        let scope = scope::by_name(name).expect("the scope of a name");
        for of in transitions(&scope, WALKS) {
            for (path, after) in some_changes(&of.after, Some(&of.world.state), "state", &mut numbers) {
                let refuses =
                    |index: &usize| matches!((STANDING[*index].of_state)(&after), Verdict::Broken(_));
                counts.entry(called(&path)).or_default().add(&(0..STANDING.len()).filter(refuses).collect());
            }
        }
    }
    let names: Vec<String> = STANDING.iter().map(|of| of.id.to_owned()).collect();
    keep::keep("judges", "states", &told(&counts, &names));
}

#[test]
fn what_never_comes_about_under_a_mistake_is_told_by_the_same_properties_as_ever() {
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
                    Liveness::Vacuous => count[0] += 1,
                    Liveness::Held => count[1] += 1,
                    Liveness::Broken(why) => {
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
        let _ =
            writeln!(text, "{id}: nothing to judge in {vacuous} worlds, held in {held}, broken in {broken}");
    }
    keep::keep("judges", "liveness", &text);
}
