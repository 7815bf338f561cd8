//! How two states differ, in a few words.
//!
//! Invariant: the text names at most [`NAMED_MAX`] of each kind.
//! Does not depend on: why they differ.

use std::collections::BTreeMap;
use std::fmt::Display;

use fencepost_model::state::State;

/// How many of a kind are named.
const NAMED_MAX: usize = 5;

/// The differences between a state and that of the model; empty if they are equal.
pub(super) fn difference(found: &State, model: &State) -> String {
    let mut parts = Vec::new();
    parts.extend(of_map("commands", &found.queue, &model.queue));
    parts.extend(of_map("unreadable commands", &found.unreadable, &model.unreadable));
    parts.extend(of_map("ids of commands", &found.command_ids, &model.command_ids));
    parts.extend(of_map("events", &found.log, &model.log));
    parts.extend(of_map("ids of events", &found.event_ids, &model.event_ids));
    parts.extend(of_map("groups", &found.groups, &model.groups));
    parts.extend(of_map("records", &found.records, &model.records));
    let counters = |state: &State| {
        [
            ("the last command", state.queue_last.get()),
            ("the first event", state.first.get()),
            ("the last event", state.head.get()),
            ("the epoch", state.epoch.get()),
            ("the last record", state.record_last.get()),
            ("the last token", state.token_last.get()),
        ]
    };
    for ((what, found), (_, model)) in counters(found).into_iter().zip(counters(model)) {
        if found != model {
            parts.push(format!("{what} is {found} and not {model}"));
        }
    }
    if found.epochs_retired != model.epochs_retired {
        parts.push("other epochs have ended".to_owned());
    }
    parts.join("; ")
}

fn of_map<K: Ord + Display, V: PartialEq>(
    what: &str,
    found: &BTreeMap<K, V>,
    model: &BTreeMap<K, V>,
) -> Option<String> {
    let more = found.keys().filter(|key| !model.contains_key(key));
    let other = model.iter().filter(|(key, value)| found.get(key) != Some(value)).map(|(key, _)| key);
    let keys: Vec<String> = more.chain(other).take(NAMED_MAX + 1).map(ToString::to_string).collect();
    match keys.len() {
        0 => None,
        more if more > NAMED_MAX => Some(format!("{what} {} and more", keys[..NAMED_MAX].join(", "))),
        _ => Some(format!("{what} {}", keys.join(", "))),
    }
}
