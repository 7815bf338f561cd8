//! A repair moves what cannot be read to the dead, as operations of the contract would have done: the state afterwards is
//! the one that the model comes to. What it cannot mend it reports, and leaves.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use fencepost::check::{Finding, RepairReport, repair};
use fencepost::internals::sqlite::{OpenOptions, Statements, Store, plant, quarantine};
use fencepost_model::op::{Op, Reply, Settled, Settlement, Start, Target};
use fencepost_model::state::{Body, Cause, State};
use fencepost_model::vocabulary::{Group, Kind, Message, Name, Names, RawValue, RecordId, Seq, Timestamp};
use fencepost_verify::system::undigest;

use crate::walk::Walk;

const HUNDRED: NonZeroU32 = NonZeroU32::new(100).unwrap();

fn dead_lettered(reply: Reply) -> Vec<RecordId> {
    match reply {
        Reply::HandedOut { deliveries, dead_lettered } if deliveries.is_empty() => dead_lettered,
        reply => panic!("{reply:?}"),
    }
}

/// The claim and the settlement of one command, for a queue in which nothing else is due.
fn claim_and_bury(state: &mut State, now: Timestamp, seq: Seq) -> RecordId {
    let mut others = std::mem::take(&mut state.queue);
    let (seq, command) = others.remove_entry(&seq).unwrap();
    // A delayed command is claimed when it is due, and settled now: time may jump.
    let (name, at) = (command.body.name().unwrap().clone(), command.due_at.max(now));
    state.queue.insert(seq, command);
    let claim = Op::Claim { names: [name].into(), max: HUNDRED, lease_ms: 7, attempts_max: NonZeroU32::MAX };
    let Reply::HandedOut { deliveries, .. } = fencepost_model::apply(state, at, &claim) else { panic!() };
    let [delivery] = &deliveries[..] else { panic!("{deliveries:?}") };
    let how = Settlement::DeadLetter { reason: "found by check".into() };
    let settle = Op::Settle { target: Target::Command(seq), token: delivery.token, how };
    let settled = fencepost_model::apply(state, now, &settle);
    state.queue.append(&mut others);
    match settled {
        Reply::Settled(Settled::DeadLettered { record }) => record,
        settled => panic!("{settled:?}"),
    }
}

/// The state after the operations of the contract that do what a repair does.
fn by_operations(state: &mut State, now: Timestamp) -> RepairReport {
    let corrupt: Vec<Seq> =
        state.queue.iter().filter(|(_, command)| !command.body.is_sound()).map(|(seq, _)| *seq).collect();
    let mut done = RepairReport::default();
    let sweep = Op::Claim { names: Names::new(), max: HUNDRED, lease_ms: 0, attempts_max: HUNDRED };
    done.unreadable_commands = dead_lettered(fencepost_model::apply(state, now, &sweep));
    let (group, name) = (Group::new("bystander").unwrap(), Name::new("nothing").unwrap());
    let ops = [
        Op::Subscribe { group: group.clone(), name: name.clone(), start: Start::Latest },
        Op::Poll {
            group: group.clone(),
            names: [name.clone()].into(),
            token: None,
            max: HUNDRED,
            lease_ms: 0,
            attempts_max: HUNDRED,
        },
        Op::Unsubscribe { group, name },
    ];
    let [_, polled, _] = ops.map(|op| fencepost_model::apply(state, now, &op));
    done.unreadable_events = dead_lettered(polled);
    for seq in corrupt {
        let held = |lease: bool, due_at| lease && due_at > now;
        if !held(state.queue[&seq].lease.is_some(), state.queue[&seq].due_at) {
            done.corrupt_commands.push(claim_and_bury(state, now, seq));
        }
    }
    done
}

#[test]
fn after_a_repair_the_store_holds_what_the_operations_come_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..60 {
        let path = directory.path().join(format!("{seed}.db"));
        let mut walk = Walk::new(seed, Store::open(&path, &OpenOptions::default()).unwrap());
        for _ in 0..(60 + seed * 5) {
            walk.step();
        }
        let now = walk.world.now;
        let mut expected = walk.world.state.clone();
        let operations = by_operations(&mut expected, now);
        let done = repair(&path, now).unwrap();
        assert_eq!(done.unreadable_commands, operations.unreadable_commands, "seed {seed}");
        assert_eq!(done.unreadable_events, operations.unreadable_events, "seed {seed}");
        assert_eq!(done.corrupt_commands, operations.corrupt_commands, "seed {seed}");
        let mut found = walk.store.snapshot().unwrap();
        undigest(&mut found, &expected);
        assert!(found == expected, "seed {seed}: {found:#?}\n is not {expected:#?}");
        let mut see = |what, count: usize| *seen.entry(what).or_default() += count;
        see("unreadable commands", done.unreadable_commands.len());
        see("unreadable events", done.unreadable_events.len());
        see("corrupt commands", done.corrupt_commands.len());
        for finding in &done.left.findings {
            match finding {
                Finding::CorruptEvent { .. } => see("left: corrupt event", 1),
                Finding::CorruptCommand { seq, .. } => {
                    assert!(expected.queue[seq].due_at > now && expected.queue[seq].lease.is_some());
                    see("left: held command", 1);
                }
                other => panic!("seed {seed}: {other}"),
            }
        }
        // A second repair does nothing.
        let again = repair(&path, now).unwrap();
        assert!(again.is_empty());
        assert_eq!(again.left, done.left);
    }
    assert!(seen.len() == 5 && seen.values().all(|count| *count > 3), "{seen:?}");
}

fn sends(path: &Path, count: u32) -> Store {
    let mut store = Store::open(path, &OpenOptions::default()).unwrap();
    let message = std::sync::Arc::new(Message::new(Kind::Command, Name::new("bet").unwrap(), *b"x"));
    let send = Op::Send { message, delay_ms: 0 };
    store.apply(Timestamp::ZERO, &Op::Atomic(vec![send; count as usize])).unwrap();
    store
}

#[test]
fn more_than_one_batch_is_moved_and_a_reserved_group_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut store = sends(&path, 350);
    let group = Group::new("fencepost.check").unwrap();
    let (name, start) = (Name::new("fencepost.check").unwrap(), Start::Earliest);
    store.apply(Timestamp::ZERO, &Op::Subscribe { group: group.clone(), name: name.clone(), start }).unwrap();
    let publish = Op::Publish { message: Message::new(Kind::Event, name, *b"x").into() };
    store.apply(Timestamp::ZERO, &Op::Atomic(vec![publish; 150])).unwrap();
    for seq in 1..=130 {
        plant(store.connection_mut(), "queue", Seq::from(seq), "name", &RawValue::Null).unwrap();
        plant(store.connection_mut(), "queue", Seq::from(130 + seq), "payload", &RawValue::Null).unwrap();
        plant(store.connection_mut(), "log", Seq::from(seq), "name", &RawValue::Null).unwrap();
    }
    let before = store.snapshot().unwrap();
    let done = repair(&path, Timestamp::from(5)).unwrap();
    assert!(done.left.is_sound(), "{:?}", done.left.findings);
    let moved = [&done.unreadable_commands, &done.corrupt_commands, &done.unreadable_events].map(Vec::len);
    assert_eq!(moved, [130, 130, 130]);
    let after = store.snapshot().unwrap();
    assert_eq!(after.groups, before.groups);
    assert_eq!(after.queue.len(), 90);
    let record = &after.records[&done.corrupt_commands[0]];
    assert_eq!(
        (record.cause, record.attempts, record.reason.as_deref()),
        (Cause::Settled, 1, Some("found by check"))
    );
    assert!(matches!(record.body, Body::Corrupt { .. }));
}

#[test]
fn nothing_is_written_where_nothing_can_be_mended() {
    let directory = tempfile::tempdir().unwrap();
    for (n, wound) in [
        "DROP INDEX queue_unreadable",
        "CREATE TRIGGER t AFTER DELETE ON queue BEGIN SELECT 1; END",
        "SELECT 1",
    ]
    .into_iter()
    .enumerate()
    {
        let path = directory.path().join(format!("{n}.db"));
        let mut store = sends(&path, 3);
        let wounded = wound != "SELECT 1";
        if wounded {
            plant(store.connection_mut(), "queue", Seq::from(1), "payload", &RawValue::Null).unwrap();
        }
        store.connection().execute_batch(wound).unwrap();
        store.close().unwrap();
        let before = fs::read(&path).unwrap();
        let done = repair(&path, Timestamp::ZERO).unwrap();
        assert!(done.is_empty());
        assert_eq!(done.left.is_sound(), !wounded, "{wound}");
        assert!(fs::read(&path).unwrap() == before, "{wound}");
    }
}

#[test]
fn damage_elsewhere_is_reported_and_does_not_keep_the_rest_from_being_mended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut store = sends(&path, 3);
    let publish = Op::Publish { message: Message::new(Kind::Event, Name::new("bet").unwrap(), *b"x").into() };
    store.apply(Timestamp::ZERO, &Op::Atomic(vec![publish; 3])).unwrap();
    plant(store.connection_mut(), "queue", Seq::from(1), "payload", &RawValue::Null).unwrap();
    plant(store.connection_mut(), "queue", Seq::from(2), "name", &RawValue::Null).unwrap();
    plant(store.connection_mut(), "log", Seq::from(1), "name", &RawValue::Null).unwrap();
    store.connection().execute("DELETE FROM log WHERE seq = 3", []).unwrap();
    let done = repair(&path, Timestamp::ZERO).unwrap();
    assert_eq!((done.unreadable_commands.len(), done.corrupt_commands.len()), (1, 1));
    // A log that is shorter than its head hands out nothing, so nothing in it is moved.
    assert!(done.unreadable_events.is_empty());
    let kinds: Vec<bool> = done
        .left
        .findings
        .iter()
        .map(|finding| matches!(finding, Finding::DamagedRow { table: "log", .. }))
        .collect();
    assert_eq!(kinds, [true, false], "{:?}", done.left.findings);
}

#[test]
fn what_is_sound_or_held_or_gone_or_unreadable_is_not_quarantined() {
    let (sql, reason) = (Statements::standard(), "found by check".into());
    let mut store = Store::in_memory().unwrap();
    let message = std::sync::Arc::new(Message::new(Kind::Command, Name::new("bet").unwrap(), *b"x"));
    let send = Op::Send { message, delay_ms: 0 };
    store.apply(Timestamp::ZERO, &Op::Atomic(vec![send; 4])).unwrap();
    let names = Names::from([Name::new("bet").unwrap()]);
    let claim = Op::Claim { names, max: NonZeroU32::MIN, lease_ms: 10, attempts_max: HUNDRED };
    plant(store.connection_mut(), "queue", Seq::from(1), "payload", &RawValue::Null).unwrap();
    plant(store.connection_mut(), "queue", Seq::from(2), "due_at", &RawValue::Null).unwrap();
    store.apply(Timestamp::ZERO, &claim).unwrap();
    store.apply(Timestamp::ZERO, &claim).unwrap();
    plant(store.connection_mut(), "queue", Seq::from(4), "due_at", &RawValue::Null).unwrap();
    let before = store.snapshot().unwrap();
    assert!(before.queue[&Seq::from(1)].lease.is_some_and(|lease| lease.corrupt));
    let at = |now: u32, seq: u32| {
        quarantine(store.connection(), &sql, Timestamp::from(now), Seq::from(seq), &reason).unwrap()
    };
    // Held, unreadable before it was swept and gone after, sound, unreadable, never there.
    for seq in [1, 2, 3, 4, 9] {
        assert_eq!(at(9, seq), None, "{seq}");
    }
    // A lease that has expired does not keep it, and its token is fenced.
    assert!(at(10, 1).is_some());
    let after = store.snapshot().unwrap();
    assert_eq!(after.queue.len() + 1, before.queue.len());
    assert!(after.token_last > before.token_last);
}
