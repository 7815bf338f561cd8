//! Counters, cursors and the end of the log are never guessed. Damage to them is a typed error that says what to do, and
//! changes nothing.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::num::NonZeroU32;

use fencepost::Error;
use fencepost::error::Damage;
use fencepost::internals::sqlite::{Store, plant};
use fencepost_model::op::{Op, Start};
use fencepost_model::vocabulary::{Epoch, Group, Kind, Message, Name, RawValue, Seq, Timestamp};

fn name() -> Name {
    Name::new("a").unwrap()
}

fn group() -> Group {
    Group::new("risk").unwrap()
}

fn publish() -> Op {
    Op::Publish { message: Message::new(Kind::Event, name(), *b"x").into() }
}

fn send() -> Op {
    Op::Send { message: Message::new(Kind::Command, name(), *b"x").into(), delay_ms: 0 }
}

fn poll() -> Op {
    let one = NonZeroU32::MIN;
    Op::Poll { group: group(), names: [name()].into(), token: None, max: one, lease_ms: 0, attempts_max: one }
}

fn store() -> Store {
    let mut store = Store::in_memory().unwrap();
    let subscribe = Op::Subscribe { group: group(), name: name(), start: Start::Earliest };
    for op in [subscribe, publish(), publish(), publish()] {
        store.apply(Timestamp::ZERO, &op).unwrap();
    }
    store
}

fn execute(store: &Store, sql: &str) {
    store.connection().pragma_update(None, "ignore_check_constraints", true).unwrap();
    assert_eq!(store.connection().execute(sql, []).unwrap(), 1, "{sql}");
    store.connection().pragma_update(None, "ignore_check_constraints", false).unwrap();
}

fn damage(store: &mut Store, op: &Op) -> Damage {
    let error = store.apply(Timestamp::ZERO, op).unwrap_err();
    assert!(error.to_string().contains("restore the file from a copy"), "{error}");
    assert!(store.connection().is_autocommit());
    let Error::Corrupt { what } = error else { panic!("{error:?}") };
    what
}

#[test]
fn a_log_that_is_shorter_than_its_head_takes_and_gives_nothing() {
    let mut store = store();
    execute(&store, "DELETE FROM log WHERE seq = 3");
    assert_eq!(damage(&mut store, &publish()), Damage::LogShort { head: 3 });
    assert_eq!(damage(&mut store, &poll()), Damage::LogShort { head: 3 });
    assert!(matches!(store.snapshot(), Err(Error::Corrupt { what: Damage::LogShort { head: 3 } })));
}

#[test]
fn a_gap_in_the_log_stops_prune_and_snapshot() {
    let mut store = store();
    execute(&store, "DELETE FROM log WHERE seq = 1");
    assert_eq!(damage(&mut store, &Op::Prune { retention_ms: 0 }), Damage::LogIncomplete);
    assert!(matches!(store.snapshot(), Err(Error::Corrupt { what: Damage::LogIncomplete })));
}

#[test]
fn an_event_past_the_recorded_head_is_not_written_over() {
    let mut store = store();
    execute(&store, "UPDATE store SET log_head = 2");
    assert_eq!(damage(&mut store, &publish()), Damage::Contradiction);
}

#[test]
fn a_damaged_counter_stops_what_needs_it() {
    for (column, op) in [
        ("queue_last", send()),
        ("log_head", publish()),
        ("token_last", poll()),
        ("log_first", publish()),
        ("log_first", poll()),
        ("epoch", Op::Reboot),
        ("epoch", Op::Restore { next: Epoch::from(9) }),
        ("commit_seq", send()),
    ] {
        for value in [RawValue::Null, RawValue::Text(b"7".to_vec()), RawValue::Real(1.5_f64.to_bits())] {
            let mut store = store();
            plant(store.connection_mut(), "store", Seq::from(1), column, &value).unwrap();
            let what = damage(&mut store, &op);
            assert!(
                matches!(what, Damage::Column { table: "store", .. } | Damage::Contradiction),
                "{what:?}"
            );
            store.snapshot().unwrap_err();
        }
    }
}

#[test]
fn damage_that_two_columns_share_is_told_as_well() {
    let mut store = store();
    execute(&store, "UPDATE log SET seq = 77 WHERE seq = 3");
    plant(store.connection_mut(), "store", Seq::from(1), "log_first", &RawValue::Null).unwrap();
    for op in [publish(), poll()] {
        assert_eq!(damage(&mut store, &op), Damage::Column { table: "store", column: "log_first" });
    }
}

#[test]
fn a_missing_store_row_stops_everything() {
    let mut store = store();
    execute(&store, "DELETE FROM store");
    for op in [send(), publish(), poll(), Op::Reboot, Op::Prune { retention_ms: 0 }] {
        assert_eq!(damage(&mut store, &op), Damage::RowMissing { table: "store" }, "{op:?}");
    }
}

#[test]
fn a_damaged_cursor_or_position_stops_its_group() {
    for sql in [
        "UPDATE cursors SET due_at = 'x'",
        "UPDATE cursors SET token = x'01'",
        "UPDATE subscriptions SET position = NULL",
        "UPDATE subscriptions SET position = 'x'",
        "UPDATE subscriptions SET attempts = -1",
        "UPDATE subscriptions SET name = 'not a name'",
    ] {
        let mut store = store();
        execute(&store, sql);
        assert!(matches!(damage(&mut store, &poll()), Damage::Column { .. }), "{sql}");
        store.snapshot().unwrap_err();
    }
}

#[test]
fn prune_keeps_what_a_group_with_a_damaged_position_may_need() {
    let mut store = store();
    execute(&store, "UPDATE subscriptions SET position = 'x'");
    let reply = store.apply(Timestamp::ZERO, &Op::Prune { retention_ms: 0 }).unwrap();
    assert!(format!("{reply:?}").contains("removed: 0"), "{reply:?}");
}
