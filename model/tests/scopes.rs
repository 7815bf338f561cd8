//! Explores every named scope to its end, and checks every guarantee in every state.
//!
//! A search that shrank would pass as well. So the numbers of states, the cells of the coverage matrix and the premises
//! of the guarantees are compared with pinned values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fencepost_model::check::{PREMISES, ScopeSearch};
use fencepost_model::coverage::{Tally, difference};
use fencepost_model::explanation;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::op::{Op, Refusal, Reply};
use fencepost_model::scope;
use fencepost_model::world::Contract;

#[path = "shared/docs.rs"]
mod docs;

#[test]
fn every_guarantee_holds_in_every_state_of_every_scope() {
    let total = Tally::new();
    let mut live = [0; LIVENESS.len()];
    let mut occurred = BTreeSet::new();
    let mut transitions = 0;
    let mut exercised: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut failures = Vec::new();
    for scope in scope::all() {
        let (name, pinned) = (scope.name, scope.states);
        let search = ScopeSearch::new(scope, Arc::new(Contract));
        let found = search.run(2);
        if let Some((property, path)) = found.counterexamples.first() {
            failures.push(format!(
                "{name} violates {property}:\n{}",
                explanation::explain(&search.scope, path, &Contract)
            ));
        }
        if found.states != pinned {
            failures.push(format!("{name} has {} states and not {pinned}", found.states));
        }
        println!("{name:20} {:8} states {:9} transitions", found.states, found.transitions);
        transitions += found.transitions;
        for (index, guarantee) in GUARANTEES.iter().enumerate() {
            if search.tally.times_checked(index) > 0 {
                exercised.entry(guarantee.id).or_default().insert(name);
            }
        }
        for (property, checked) in LIVENESS.iter().zip(search.live.iter()) {
            if checked.load(Ordering::Relaxed) > 0 {
                exercised.entry(property.id).or_default().insert(name);
            }
        }
        total.add(&search.tally);
        occurred.extend(found.occurred);
        for (sum, checked) in live.iter_mut().zip(search.live.iter()) {
            *sum += checked.load(Ordering::Relaxed);
        }
    }
    println!("{transitions} transitions in all");
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    bless(&total);
    let (missing, unknown) = difference(&total.cells());
    assert!(missing.is_empty(), "no scope reaches these cells any more:\n{}", missing.join("\n"));
    assert!(unknown.is_empty(), "these cells are reached but were not reviewed:\n{}", unknown.join("\n"));
    for (index, guarantee) in GUARANTEES.iter().enumerate() {
        assert!(total.times_checked(index) > 0, "{} {} checked nothing", guarantee.id, guarantee.name);
    }
    for (property, checked) in LIVENESS.iter().zip(live) {
        assert!(checked > 0, "{} {} checked nothing", property.id, property.name);
    }
    assert_eq!(PREMISES.len(), GUARANTEES.len(), "each guarantee has one premise");
    let lacking: Vec<_> = PREMISES.iter().filter(|premise| !occurred.contains(*premise)).collect();
    assert!(lacking.is_empty(), "no scope has an example of: {lacking:?}");
    docs::parts_are("guarantees.md", exercised.iter().map(|(id, scopes)| exercises(id, scopes)));
}

/// The scopes in which the premise of a guarantee occurs, as its section in `docs/guarantees.md` lists them.
fn exercises(id: &str, scopes: &BTreeSet<&str>) -> (String, String) {
    let names: Vec<String> = scopes.iter().map(|name| format!("`{name}`")).collect();
    let list = match scopes.len() == scope::all().len() {
        true => "all".to_owned(),
        false => names.join(", "),
    };
    (format!("scopes of {id}"), format!("Exercised by the scopes: {list}."))
}

/// With `FENCEPOST_BLESS=1`, writes the cells that were reached below the head of the file. The file is compiled in, so
/// the next build compares with it.
fn bless(total: &Tally) {
    if !std::env::var("FENCEPOST_BLESS").is_ok_and(|bless| bless == "1") {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/coverage/cells.txt");
    let written = std::fs::read_to_string(path).expect("the cells can be read");
    let mut text: String =
        written.lines().filter(|line| line.starts_with('#')).map(|l| format!("{l}\n")).collect();
    for (op, class, reply) in total.cells().keys() {
        text += &format!("{op} | {class} | {reply}\n");
    }
    std::fs::write(path, text).expect("the cells can be written");
}

/// The names of all replies in the coverage matrix.
fn replies() -> Vec<&'static str> {
    // A new reply or refusal breaks this match. Add it to the list below as well.
    let _ = |reply: &Reply| match reply {
        Reply::Accepted { .. }
        | Reply::HandedOut { .. }
        | Reply::Settled(_)
        | Reply::Released
        | Reply::Extended { .. }
        | Reply::Cancelled
        | Reply::Subscribed { .. }
        | Reply::Unsubscribed { .. }
        | Reply::Sought
        | Reply::Redriven(_)
        | Reply::Purged
        | Reply::Repaired { .. }
        | Reply::Pruned { .. }
        | Reply::Forgotten { .. }
        | Reply::EpochBegun { .. }
        | Reply::Rebooted
        | Reply::Done(_) => (),
        Reply::Refused(refusal) => match refusal {
            Refusal::LeaseLost
            | Refusal::Conflict { .. }
            | Refusal::NotFound
            | Refusal::Held { .. }
            | Refusal::NamesMissing { .. }
            | Refusal::NotNext { .. }
            | Refusal::NotSubscribed
            | Refusal::BeyondHead { .. }
            | Refusal::Pruned { .. }
            | Refusal::EpochMismatch { .. }
            | Refusal::EpochRetired
            | Refusal::Corrupt
            | Refusal::Legible
            | Refusal::WrongKind
            | Refusal::Aborted { .. } => (),
        },
    };
    "accepted|accepted before|nothing due|one handed out|several handed out|dead-lettered only|\
     handed out and dead-lettered|acked|requeued|dead-lettered|parked|dropped|released|extended|cancelled|\
     subscribed|subscribed before|unsubscribed|sought|redriven|purged|repaired|pruned|pruned nothing|forgot|forgot nothing|\
     epoch begun|rebooted|done|LeaseLost|Conflict|NotFound|Held|NamesMissing|NotNext|NotSubscribed|BeyondHead|\
     Pruned|EpochMismatch|EpochRetired|Corrupt|Legible|WrongKind|Aborted"
        .split('|')
        .collect()
}

/// The names of all operations in the coverage matrix.
fn kinds() -> Vec<&'static str> {
    // A new operation breaks this match. Add it to the list below as well.
    let _ = |op: &Op| match op {
        Op::Send { .. }
        | Op::Claim { .. }
        | Op::Publish { .. }
        | Op::Subscribe { .. }
        | Op::Unsubscribe { .. }
        | Op::Poll { .. }
        | Op::Settle { .. }
        | Op::Release { .. }
        | Op::Extend { .. }
        | Op::Cancel { .. }
        | Op::Seek { .. }
        | Op::Redrive { .. }
        | Op::Purge { .. }
        | Op::Repair { .. }
        | Op::Prune { .. }
        | Op::ForgetIds { .. }
        | Op::Reset { .. }
        | Op::Reboot
        | Op::Restore { .. }
        | Op::Atomic(_) => (),
    };
    "send|send with a delay|claim|publish|subscribe from the earliest|subscribe from the latest|\
     subscribe from a number|unsubscribe|poll|poll as the holder|ack a command|nack a command|\
     dead-letter a command|park a command|drop a command|ack an event|nack an event|dead-letter an event|\
     park an event|drop an event|ack an entry|nack an entry|dead-letter an entry|park an entry|drop an entry|\
     release a command|release a cursor|extend a command|extend a cursor|cancel|seek|redrive|purge|repair|prune|\
     forget ids|reset|reboot|restore|atomic"
        .split('|')
        .collect()
}

#[test]
fn every_operation_and_every_reply_has_a_reviewed_cell() {
    let cells = fencepost_model::coverage::reachable();
    let reached: BTreeSet<&str> = cells.iter().map(|(_, _, reply)| reply.as_str()).collect();
    let expected: BTreeSet<&str> = replies().into_iter().collect();
    assert_eq!(reached, expected, "the replies of the coverage matrix");
    let reached: BTreeSet<&str> = cells.iter().map(|(op, _, _)| op.as_str()).collect();
    let expected: BTreeSet<&str> = kinds().into_iter().collect();
    assert_eq!(reached, expected, "the operations of the coverage matrix");
}

#[test]
fn a_missing_cell_and_a_new_cell_are_both_reported() {
    let mut cells: BTreeMap<_, u64> = BTreeMap::new();
    cells.insert(("send", "no id", "accepted"), 1);
    cells.insert(("send", "no id", "Conflict"), 1);
    let (missing, unknown) = difference(&cells);
    assert_eq!(unknown, ["send | no id | Conflict"]);
    assert!(missing.contains(&"send | new id | accepted".to_owned()));
    assert!(!missing.contains(&"send | no id | accepted".to_owned()));
}
