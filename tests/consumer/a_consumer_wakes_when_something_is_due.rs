//! What a consumer asks between its operations: when to come back, and whether a lease still holds. The answers are those
//! of the model's state, and no delivery is handed out before them.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use fencepost::Error;
use fencepost::error::Damage;
use fencepost::internals::sqlite::{
    StatementId, Statements, Store, lease_is_current, next_due_commands, next_due_group, plant,
};
use fencepost_model::op::{Lease, Op, Reply, Start};
use fencepost_model::vocabulary::{Group, Kind, Message, Name, Names, RawValue, Seq, Timestamp, Token};
use fencepost_verify::readers::{due_commands, due_group};
use rusqlite::StatementStatus;

use crate::walk::Walk;

fn names(of: &[&str]) -> Names {
    of.iter().map(|name| Name::new(*name).unwrap()).collect()
}

#[test]
fn the_next_due_times_are_those_of_the_state() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut see = |what, is: bool| *seen.entry(what).or_default() += u32::from(is);
    for seed in 0..40 {
        let mut walk = Walk::new(seed, Store::in_memory().unwrap());
        for step in 0..400 {
            walk.step();
            let (state, now) = (&walk.world.state, walk.world.now);
            let (conn, sql) = (walk.store.connection(), walk.store.statements());
            for names in
                [names(&[]), names(&["bet"]), names(&["pay", "mail"]), names(&["bet", "mail", "pay"])]
            {
                let due = next_due_commands(conn, sql, &names).unwrap();
                assert_eq!(due, due_commands(state, &names), "seed {seed}, step {step}, {names:?}");
                see("nothing waits", due.is_none());
                see("due later", due > Some(now));
                see("due now", due.is_some_and(|due| due <= now));
                see("unreadable", due == Some(Timestamp::ZERO) && !state.unreadable.is_empty());
            }
            for group in ["audit", "stats", "nobody"].map(|group| Group::new(group).unwrap()) {
                let due = next_due_group(conn, sql, &group, now).unwrap();
                assert_eq!(due, due_group(state, &group, now), "seed {seed}, step {step}, {group}");
                let cursor = state.groups.get(&group);
                see("held", cursor.is_some_and(|cursor| cursor.lease.is_some()) && due > Some(now));
                see("backing off", cursor.is_some_and(|cursor| cursor.lease.is_none()) && due > Some(now));
                see("an entry", due.is_some() && cursor.is_some_and(|cursor| cursor.due_at <= now));
                see("no timer", due.is_none() && cursor.is_some());
            }
        }
    }
    assert!(seen.values().all(|count| *count > 10) && seen.len() == 8, "{seen:?}");
}

#[test]
fn a_claim_before_the_next_due_time_hands_out_nothing_and_one_at_it_does_something() {
    let all = names(&["bet", "mail", "pay"]);
    let one = NonZeroU32::MIN;
    let (mut early, mut late) = (0, 0);
    for seed in 100..106 {
        let mut walk = Walk::new(seed, Store::in_memory().unwrap());
        for _ in 0..300 {
            walk.step();
            let (conn, sql) = (walk.store.connection(), walk.store.statements());
            let Some(due) = next_due_commands(conn, sql, &all).unwrap() else { continue };
            let claim = Op::Claim { names: all.clone(), max: one, lease_ms: 9, attempts_max: one };
            let does_something = |now| {
                let reply = fencepost_model::apply(&mut walk.world.state.clone(), now, &claim);
                let Reply::HandedOut { deliveries, dead_lettered } = reply else { panic!("{reply:?}") };
                !deliveries.is_empty() || !dead_lettered.is_empty()
            };
            assert!(does_something(due));
            late += 1;
            if due > Timestamp::ZERO {
                assert!(!does_something(due.before()));
                early += 1;
            }
        }
    }
    assert!(early > 100 && late > early, "{early} {late}");
}

#[test]
fn a_lease_is_current_exactly_while_the_state_says_so() {
    let (mut current, mut stale) = (0, 0);
    for seed in 0..8 {
        let mut walk = Walk::new(seed, Store::in_memory().unwrap());
        for step in 0..400 {
            walk.step();
            let state = &walk.world.state;
            let (conn, sql) = (walk.store.connection(), walk.store.statements());
            let commands = state.queue.keys().chain(state.unreadable.keys()).map(|seq| {
                let token = state.queue.get(seq).and_then(|command| command.lease).map(|lease| lease.token);
                (Lease::Command(*seq), token)
            });
            let cursors = ["audit", "stats", "nobody"].map(|group| {
                let group = Group::new(group).unwrap();
                let lease = state.groups.get(&group).and_then(|cursor| cursor.lease);
                (Lease::Cursor(group), lease.map(|lease| lease.token))
            });
            for (lease, token) in commands.chain(cursors) {
                let tokens = [Token::ZERO, state.token_last].into_iter().chain(token);
                for presented in tokens.chain(token.map(Token::before)) {
                    let is = lease_is_current(conn, sql, &lease, presented).unwrap();
                    assert_eq!(is, token == Some(presented), "seed {seed}, step {step}, {lease:?}");
                    *(if is { &mut current } else { &mut stale }) += 1;
                }
            }
        }
    }
    assert!(current > 500 && stale > 500, "{current} {stale}");
}

#[test]
fn a_token_stays_current_after_its_time_until_somebody_takes_the_lease_anew() {
    let mut store = Store::in_memory().unwrap();
    let message = Message::new(Kind::Command, Name::new("bet").unwrap(), *b"x").into();
    let (names, max) = (names(&["bet"]), NonZeroU32::MIN);
    let claim = Op::Claim { names, max, lease_ms: 10, attempts_max: NonZeroU32::MAX };
    store.apply(Timestamp::ZERO, &Op::Send { message, delay_ms: 0 }).unwrap();
    store.apply(Timestamp::ZERO, &claim).unwrap();
    let current = |store: &Store, token| {
        let lease = Lease::Command(Seq::from(1));
        lease_is_current(store.connection(), store.statements(), &lease, Token::from(token)).unwrap()
    };
    assert!(current(&store, 1));
    store.apply(Timestamp::from(50), &claim).unwrap();
    assert!(!current(&store, 1));
    assert!(current(&store, 2));
}

#[test]
fn damage_to_a_cursor_is_an_error_and_to_an_entry_is_due_at_once() {
    let group = Group::new("risk").unwrap();
    let mut store = Store::in_memory().unwrap();
    let subscribe =
        Op::Subscribe { group: group.clone(), name: Name::new("bet").unwrap(), start: Start::Earliest };
    store.apply(Timestamp::ZERO, &subscribe).unwrap();
    let conn = store.connection();
    conn.execute(
        "INSERT INTO entries (record, group_name, seq, due_at, attempts) VALUES (7, 'risk', 1, 500, 0)",
        [],
    )
    .unwrap();
    let next =
        |store: &Store| next_due_group(store.connection(), store.statements(), &group, Timestamp::from(5));
    assert_eq!(next(&store).unwrap(), Some(Timestamp::from(500)));
    for value in
        [RawValue::Null, RawValue::Text(b"later".to_vec()), RawValue::Integer(-4), RawValue::Blob(vec![])]
    {
        plant(store.connection_mut(), "entries", Seq::from(7), "due_at", &value).unwrap();
        assert_eq!(next(&store).unwrap(), Some(Timestamp::ZERO), "{value:?}");
    }
    store.connection().pragma_update(None, "ignore_check_constraints", true).unwrap();
    store.connection().execute("UPDATE cursors SET due_at = 'x'", []).unwrap();
    let is_typed = |error| matches!(error, Error::Corrupt { what: Damage::Column { table: "cursors", .. } });
    assert!(is_typed(next(&store).unwrap_err()));
    let lease = Lease::Cursor(group.clone());
    let error = lease_is_current(store.connection(), store.statements(), &lease, Token::ZERO).unwrap_err();
    assert!(is_typed(error));
}

#[test]
fn to_ask_when_to_come_back_costs_the_same_however_much_waits() {
    let work = |others: u32| {
        let mut store = Store::in_memory().unwrap();
        for n in 0..others {
            for name in ["bet", "pay"] {
                let message = Message::new(Kind::Command, Name::new(name).unwrap(), *b"x").into();
                store.apply(Timestamp::from(n), &Op::Send { message, delay_ms: 5 }).unwrap();
            }
        }
        let sql = Statements::standard();
        let mut statement = store.connection().prepare(sql.get(StatementId::CommandNextDue)).unwrap();
        statement.raw_bind_parameter(1, "bet").unwrap();
        assert_eq!(statement.raw_query().mapped(|_| Ok(())).count(), 1);
        statement.get_status(StatementStatus::VmStep)
    };
    assert_eq!(work(2), work(1_000));
}
