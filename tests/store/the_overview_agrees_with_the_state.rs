//! The overview that SQL reads from a store equals the one that is computed from the model's state: at every step of a
//! walk with damage, and at times before, now and later.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;

use fencepost::Error;
use fencepost::error::Damage;
use fencepost::internals::sqlite::{
    Durability, OpenOptions, Overview, Statements, Store, execute, overview, overview_of, plant,
};
use fencepost_model::op::{Op, Start};
use fencepost_model::vocabulary::{Group, Kind, Message, Name, RawValue, Seq, Timestamp};

use crate::walk::Walk;

/// The parts of an overview that were seen not to be empty.
fn seen(of: &Overview, seen: &mut BTreeSet<&'static str>) {
    let parts = [
        ("ready", of.queue.ready > 0),
        ("delayed", of.queue.delayed > 0),
        ("leased", of.queue.leased > 0),
        ("overdue", of.queue.oldest_due_age_ms > Some(0)),
        ("nothing due", of.queue.oldest_due_age_ms.is_none() && of.queue.delayed + of.queue.leased > 0),
        ("names", of.queue.names.len() > 1),
        ("unreadable", of.queue.unreadable > 0),
        ("dead", of.dead > 0),
        ("parked", of.parked > 0),
        ("pruned", of.log.first > Seq::from(1)),
        ("tombstones", of.log.events < of.log.head.get() + 1 - of.log.first.get()),
        ("lag", of.groups.iter().any(|group| group.lag > 0)),
        ("attempts", of.groups.iter().any(|group| group.attempts > 0)),
        ("held", of.groups.iter().any(|group| group.held_until.is_some())),
        ("entries", of.groups.iter().any(|group| group.entries > 0)),
        ("groups", of.groups.len() > 2),
        ("ids", of.ids_remembered > 0),
    ];
    seen.extend(parts.iter().filter(|(_, is)| *is).map(|(part, _)| part));
}

#[test]
fn the_overview_in_sql_is_the_overview_of_the_state() {
    let mut parts = BTreeSet::new();
    for seed in 0..40 {
        let mut walk = Walk::new(seed, Store::in_memory().unwrap());
        for step in 0..400 {
            walk.step();
            let now = walk.world.now;
            for now in [now.before(), now, now.plus(3), Timestamp::MAX] {
                let (conn, sql) = (walk.store.connection(), walk.store.statements());
                let read = overview(conn, sql, now).unwrap();
                assert_eq!(read, overview_of(&walk.world.state, now), "seed {seed}, step {step}, now {now}");
                seen(&read, &mut parts);
            }
        }
    }
    assert_eq!(parts.len(), 17, "only {parts:?} were seen");
}

fn name() -> Name {
    Name::new("place.bet").unwrap()
}

fn small() -> Store {
    let mut store = Store::in_memory().unwrap();
    let send = Op::Send { message: Message::new(Kind::Command, name(), *b"x").into(), delay_ms: 0 };
    let group = Group::new("risk").unwrap();
    let subscribe = Op::Subscribe { group, name: name(), start: Start::Earliest };
    let publish = Op::Publish { message: Message::new(Kind::Event, name(), *b"x").into() };
    for op in [send.clone(), send, subscribe, publish] {
        store.apply(Timestamp::from(100), &op).unwrap();
    }
    store
}

#[test]
fn the_overview_is_written_in_the_promised_shape_and_read_back() {
    let store = small();
    let read = overview(store.connection(), store.statements(), Timestamp::from(350)).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    let expected = serde_json::json!({
        "now": 350,
        "queue": {
            "ready": 2, "delayed": 0, "leased": 0, "oldest_due_age_ms": 250,
            "names": [{"name": "place.bet", "ready": 2, "delayed": 0, "leased": 0}],
            "unreadable": 0,
        },
        "dead": 0,
        "parked": 0,
        "log": {"epoch": 1, "first": 1, "head": 1, "events": 1},
        "groups": [{
            "group": "risk", "name": "place.bet", "position": 0, "lag": 1, "attempts": 0,
            "held_until": null, "entries": 0,
        }],
        "ids_remembered": 0,
    });
    assert_eq!(written, expected);
    assert_eq!(serde_json::from_value::<Overview>(written).unwrap(), read);
}

#[test]
fn what_is_written_as_an_overview_is_validated_when_it_is_read_back() {
    let store = small();
    let read = overview(store.connection(), store.statements(), Timestamp::from(350)).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    for (pointer, wrong) in [
        ("/now", serde_json::json!(-1)),
        ("/groups/0/group", serde_json::json!("not a group")),
        ("/groups/0/held_until", serde_json::json!(u64::MAX)),
    ] {
        let mut changed = written.clone();
        *changed.pointer_mut(pointer).unwrap() = wrong;
        serde_json::from_value::<Overview>(changed).unwrap_err();
    }
}

#[test]
fn a_command_that_cannot_be_read_is_counted_apart_and_hides_no_other() {
    for (column, value) in [
        ("name", RawValue::Null),
        ("name", RawValue::Text(vec![0xff])),
        ("due_at", RawValue::Text(b"5".to_vec())),
        ("token", RawValue::Blob(vec![1])),
        ("attempts", RawValue::Integer(-1)),
        ("reason", RawValue::Integer(7)),
    ] {
        let mut store = small();
        plant(store.connection_mut(), "queue", Seq::from(1), column, &value).unwrap();
        let read = overview(store.connection(), store.statements(), Timestamp::from(350)).unwrap();
        assert_eq!((read.queue.unreadable, read.queue.ready), (1, 1), "{column}");
        assert_eq!(read, overview_of(&store.snapshot().unwrap(), Timestamp::from(350)), "{column}");
    }
}

#[test]
fn a_damaged_counter_cursor_or_position_is_an_error() {
    for sql in [
        "UPDATE store SET log_head = 'x'",
        "UPDATE cursors SET due_at = 'x'",
        "UPDATE cursors SET token = x'01'",
        "UPDATE subscriptions SET position = NULL",
        "UPDATE subscriptions SET name = 'not a name'",
        "DELETE FROM cursors",
        "DELETE FROM store",
    ] {
        let store = small();
        let conn = store.connection();
        conn.pragma_update(None, "ignore_check_constraints", true).unwrap();
        assert_eq!(conn.execute(sql, []).unwrap(), 1);
        let error = overview(conn, store.statements(), Timestamp::ZERO).unwrap_err();
        let typed =
            matches!(error, Error::Corrupt { what: Damage::Column { .. } | Damage::RowMissing { .. } });
        assert!(typed, "{sql}: {error:?}");
        assert!(conn.is_autocommit(), "{sql}");
    }
}

#[test]
fn everything_in_an_overview_belongs_to_one_state_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let options = OpenOptions { durability: Durability::ProcessCrash, ..OpenOptions::default() };
    let mut writer = Store::open(&path, &options).unwrap();
    let reader = Store::open(&path, &options).unwrap();
    // Each command and each event are written together, so an overview that tells them apart has seen two states.
    let both = Op::Atomic(vec![
        Op::Send { message: Message::new(Kind::Command, name(), *b"x").into(), delay_ms: 0 },
        Op::Publish { message: Message::new(Kind::Event, name(), *b"x").into() },
    ]);
    let (mut looks, mut changes) = (0, 0);
    std::thread::scope(|threads| {
        let writing = threads.spawn(|| {
            for _ in 0..1_500 {
                writer.apply(Timestamp::ZERO, &both).unwrap();
            }
        });
        let mut last = 0;
        while !writing.is_finished() {
            let read = overview(reader.connection(), reader.statements(), Timestamp::ZERO).unwrap();
            assert_eq!(read.queue.ready, read.log.events);
            looks += 1;
            changes += u64::from(read.log.events != last);
            last = read.log.events;
        }
    });
    assert!(changes > 20, "of {looks} looks only {changes} saw something new");
}

#[test]
fn within_the_callers_transaction_the_callers_state_is_read() {
    let mut store = small();
    let sql = Statements::standard();
    let transaction = store.connection_mut().transaction().unwrap();
    let send = Op::Send { message: Message::new(Kind::Command, name(), *b"x").into(), delay_ms: 0 };
    execute(&transaction, &sql, Timestamp::ZERO, &send).unwrap();
    assert_eq!(overview(&transaction, &sql, Timestamp::from(100)).unwrap().queue.ready, 3);
    assert!(!transaction.is_autocommit(), "the transaction stays the caller's");
    drop(transaction);
    assert_eq!(overview(store.connection(), &sql, Timestamp::from(100)).unwrap().queue.ready, 2);
}
