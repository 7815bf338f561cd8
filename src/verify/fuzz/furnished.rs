//! A store with something of everything, and what was sent to it.
//!
//! It has commands that are ready, delayed, leased, dead and parked; events, a tombstone, groups, a redriven entry,
//! records of both kinds; ids that are remembered and ids that have ended.
//!
//! Invariant: the same operations at the same times give the same numbers.
//! Does not depend on: what is done to it afterwards.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::op::{Lease, Op, Reply, Settlement, Start, Target};
use fencepost_model::vocabulary::{
    Epoch, Group, Kind, Message, MessageId, Name, Names, RawValue, RecordId, Seq, Timestamp, Token,
};

use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Store, plant};

/// What was accepted, by kind and number.
pub type Sent = BTreeMap<(Kind, Seq), Arc<Message>>;

/// When everything was done.
pub(crate) const THEN: Timestamp = match Timestamp::new(10) {
    Ok(then) => then,
    Err(_) => Timestamp::ZERO,
};

/// When every lease and delay has ended.
pub(crate) const LATE: Timestamp = match Timestamp::new(1_000_000) {
    Ok(late) => late,
    Err(_) => Timestamp::MAX,
};

/// One of two names.
pub(crate) fn name(which: u8) -> Name {
    let text = if which.is_multiple_of(2) { "place.bet" } else { "pay" };
    Name::new(text).unwrap_or_else(|rule| unreachable!("{text} {rule}"))
}

/// Both names.
pub(crate) fn names() -> Names {
    [name(0), name(1)].into()
}

/// One of two groups.
pub(crate) fn group(which: u8) -> Group {
    let text = if which.is_multiple_of(2) { "audit" } else { "stats" };
    Group::new(text).unwrap_or_else(|rule| unreachable!("{text} {rule}"))
}

/// A claim of these names.
pub(crate) fn claim(names: Names, max: u32) -> Op {
    let (max, attempts_max) = (count(max), count(9));
    Op::Claim { names, max, lease_ms: 1_000, attempts_max }
}

/// A poll of a group for all names.
pub(crate) fn poll(group: Group, max: u32) -> Op {
    let (max, attempts_max) = (count(max), count(9));
    Op::Poll { group, names: names(), token: None, max, lease_ms: 1_000, attempts_max }
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

fn send(which: u8, payload: &[u8]) -> Message {
    Message::new(Kind::Command, name(which), payload)
}

fn publish(which: u8, payload: &[u8]) -> Op {
    let message = Message::new(Kind::Event, name(which), payload);
    Op::Publish { message: Arc::new(message.with_metadata("traceparent", "00-1")) }
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap_or_else(|rule| unreachable!("{text} {rule}"))
}

/// What was done, before and after an event whose name cannot be read.
fn operations() -> (Vec<Op>, Vec<Op>) {
    let long: Vec<u8> = (0..5_000_u16).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let sends = [
        (send(0, b"one").with_id(id("c-1")).with_metadata("traceparent", "00-1"), 0),
        (send(0, b"two").with_id(id("c-2")), 0),
        (send(1, &long), 0),
        (send(0, b""), 0),
        (send(1, b"five"), 1_000),
        (send(0, b"six").with_metadata("causation_id", "c-1").with_metadata("", "\u{1}\""), 0),
        (send(1, b"seven"), 0),
    ];
    let settle = |target, token: u32, how| Op::Settle { target, token: Token::from(token), how };
    let command = |seq: u32| Target::Command(Seq::from(seq));
    let event = |which, seq: u32| Target::Event { group: group(which), seq: Seq::from(seq) };
    let why = || Arc::from("it did not go");
    let mut ops = vec![
        Op::Subscribe { group: group(0), name: name(0), start: Start::Earliest },
        Op::Subscribe { group: group(0), name: name(1), start: Start::Earliest },
        Op::Subscribe { group: group(1), name: name(0), start: Start::Earliest },
    ];
    ops.extend(sends.map(|(message, delay_ms)| Op::Send { message: Arc::new(message), delay_ms }));
    ops.extend([
        claim([name(0)].into(), 3),
        settle(command(2), 2, Settlement::DeadLetter { reason: why() }),
        settle(command(4), 3, Settlement::Nack { delay_ms: 0, reason: why() }),
        claim([name(1)].into(), 1),
        settle(command(3), 4, Settlement::Park { reason: why() }),
        publish(0, b"e-one"),
        publish(1, b"e-two"),
        publish(0, &long[..1_500]),
        publish(0, b"e-four"),
        poll(group(0), 3),
        settle(event(0, 1), 5, Settlement::DeadLetter { reason: why() }),
        Op::Redrive { record: RecordId::from(3) },
        poll(group(1), 1),
        settle(event(1, 1), 6, Settlement::Park { reason: why() }),
        Op::Release { lease: Lease::Cursor(group(1)), token: Token::from(6) },
    ]);
    let after = vec![
        poll(group(1), 2),
        publish(1, b"e-five"),
        publish(0, b"e-six"),
        claim([name(1)].into(), 1),
        settle(command(7), 8, Settlement::Ack),
    ];
    (ops, after)
}

/// Furnishes an empty store. Without `damage` no row of it was ever damaged.
///
/// # Errors
/// Whatever the store answers.
pub(crate) fn furnish(store: &mut Store, damage: bool) -> Result<Sent> {
    let mut sent = Sent::new();
    let (before, after) = operations();
    let mut apply = |store: &mut Store, op: &Op| {
        let reply = store.apply(THEN, op)?;
        match (op, reply) {
            (Op::Send { message, .. } | Op::Publish { message }, Reply::Accepted { seq, .. }) => {
                sent.insert((message.kind, seq), Arc::clone(message));
            }
            (_, Reply::Refused(refusal)) => return Err(Error::Refused { refusal }),
            _ => {}
        }
        Ok(())
    };
    apply(store, &Op::Restore { next: Epoch::from(2) })?;
    // Tokens begin anew, so that they can be named here.
    store.connection().execute("UPDATE store SET token_last = 0", [])?;
    for op in &before {
        apply(store, op)?;
    }
    if damage {
        plant(store.connection_mut(), "log", Seq::from(4), "name", &RawValue::Blob(vec![0xff]))?;
    }
    for op in &after {
        apply(store, op)?;
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_something_of_everything() {
        let mut store = Store::in_memory().unwrap();
        let sent = furnish(&mut store, true).unwrap();
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            store.connection().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let tables = [
            "queue",
            "log",
            "tombstones",
            "cursors",
            "subscriptions",
            "entries",
            "records",
            "ids",
            "epochs_retired",
        ];
        assert_eq!(tables.map(count), [4, 5, 1, 2, 3, 1, 4, 2, 1]);
        assert_eq!(sent.len(), 13);
    }
}
