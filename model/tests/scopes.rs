//! The contract, checked exhaustively: every named scope is explored to its end, and what was explored is what was
//! meant to be.
//!
//! The numbers of states, the cells of the coverage matrix and the premises of the guarantees are compared with what
//! is written down, since a search that shrank looks as green as one that passed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fencepost_model::check::{PREMISES, Search};
use fencepost_model::coverage::{Tally, difference};
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::op::{Op, Refusal, Reply};
use fencepost_model::scope;
use fencepost_model::story;
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
    let mut wrong = Vec::new();
    for scope in scope::all() {
        let (name, pinned) = (scope.name, scope.states);
        let search = Search::new(scope, Arc::new(Contract));
        let found = search.run(2);
        if let Some((broken, path)) = found.broken.first() {
            wrong.push(format!("{name} breaks {broken}:\n{}", story::tell(&search.scope, path, &Contract)));
        }
        if found.states != pinned {
            wrong.push(format!("{name} has {} states and not {pinned}", found.states));
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
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    bless(&total);
    let (missing, unknown) = difference(&total.cells());
    assert!(missing.is_empty(), "no scope reaches these cells any more:\n{}", missing.join("\n"));
    assert!(unknown.is_empty(), "these cells are reached but were not reviewed:\n{}", unknown.join("\n"));
    for (index, guarantee) in GUARANTEES.iter().enumerate() {
        assert!(total.times_checked(index) > 0, "{} {} judged nothing", guarantee.id, guarantee.name);
    }
    for (property, checked) in LIVENESS.iter().zip(live) {
        assert!(checked > 0, "{} {} judged nothing", property.id, property.name);
    }
    assert_eq!(PREMISES.len(), GUARANTEES.len(), "each guarantee has a premise of its own");
    let lacking: Vec<_> = PREMISES.iter().filter(|premise| !occurred.contains(*premise)).collect();
    assert!(lacking.is_empty(), "no scope has an example of: {lacking:?}");
    docs::parts_are("guarantees.md", exercised.iter().map(|(id, scopes)| exercises(id, scopes)));
}

/// The scopes that have something to judge for a guarantee, as its section in `docs/guarantees.md` lists them.
fn exercises(id: &str, scopes: &BTreeSet<&str>) -> (String, String) {
    let names: Vec<String> = scopes.iter().map(|name| format!("`{name}`")).collect();
    let list = match scopes.len() == scope::all().len() {
        true => "all".to_owned(),
        false => names.join(", "),
    };
    (format!("scopes of {id}"), format!("Exercised by the scopes: {list}."))
}

/// Writes the cells that were reached, below the head of the file, if `FENCEPOST_BLESS=1` says so. They are compiled
/// in, so the next run compares with them.
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

/// Every reply, as the coverage matrix calls it.
fn replies() -> Vec<&'static str> {
    // A new reply or refusal breaks this match, and so asks for a line in the list below.
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

/// Every operation, as the coverage matrix calls it.
fn kinds() -> Vec<&'static str> {
    // A new operation breaks this match, and so asks for a line in the list below.
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
fn every_operation_and_every_reply_has_a_cell_that_was_reviewed() {
    let cells = fencepost_model::coverage::reachable();
    let reached: BTreeSet<&str> = cells.iter().map(|(_, _, reply)| reply.as_str()).collect();
    let ought: BTreeSet<&str> = replies().into_iter().collect();
    assert_eq!(reached, ought, "the replies of the coverage matrix");
    let reached: BTreeSet<&str> = cells.iter().map(|(op, _, _)| op.as_str()).collect();
    let ought: BTreeSet<&str> = kinds().into_iter().collect();
    assert_eq!(reached, ought, "the operations of the coverage matrix");
}

#[test]
fn a_cell_that_is_lacking_and_one_that_is_new_are_both_told() {
    let mut cells: BTreeMap<_, u64> = BTreeMap::new();
    cells.insert(("send", "no id", "accepted"), 1);
    cells.insert(("send", "no id", "Conflict"), 1);
    let (missing, unknown) = difference(&cells);
    assert_eq!(unknown, ["send | no id | Conflict"]);
    assert!(missing.contains(&"send | new id | accepted".to_owned()));
    assert!(!missing.contains(&"send | no id | accepted".to_owned()));
}
