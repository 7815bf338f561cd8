//! A record whose message cannot be decoded can be given a message again. The caller of the repair is told what the
//! record was, what can still be read stays, and the message is redriven and delivered as it was given.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost::clock::ManualClock;
use fencepost::internals::sqlite::{Store, plant};
use fencepost::{Bus, Error, MemoryBus, SqliteBus, Take, TransactionError};
use fencepost_model::op::{Op, Refusal, Reply, Settlement, Start, Target};
use fencepost_model::state::{Body, State};
use fencepost_model::vocabulary::{
    Group, Kind, Message, MessageId, Name, Names, Raw, RawValue, RecordId, Seq, Timestamp,
};

const ONE: RecordId = match RecordId::new(1) {
    Ok(record) => record,
    Err(_) => RecordId::ZERO,
};

fn now() -> Timestamp {
    Timestamp::from(1_000)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn group() -> Group {
    Group::new("audit").unwrap()
}

fn message(kind: Kind, payload: &[u8]) -> Message {
    Message::new(kind, name("bet"), payload)
}

fn apply(store: &mut Store, op: &Op) -> Reply {
    store.apply(now(), op).unwrap()
}

fn send(payload: &[u8]) -> Op {
    Op::Send { message: message(Kind::Command, payload).with_id(id("bet-17")).into(), delay_ms: 0 }
}

fn claim() -> Op {
    let (max, attempts_max) = (NonZeroU32::MAX, NonZeroU32::MAX);
    Op::Claim { names: Names::from([name("bet"), name("pay")]), max, lease_ms: 1_000, attempts_max }
}

fn poll() -> Op {
    let (max, attempts_max) = (NonZeroU32::MAX, NonZeroU32::MAX);
    Op::Poll { group: group(), names: [name("bet")].into(), token: None, max, lease_ms: 0, attempts_max }
}

fn repair(message: Message) -> Op {
    Op::Repair { record: ONE, message: message.into() }
}

/// The delivery of a record after its redrive.
fn delivered(store: &mut Store, op: &Op) -> Vec<Body> {
    let Reply::HandedOut { deliveries, .. } = apply(store, op) else { panic!("{op:?}") };
    deliveries.into_iter().map(|delivery| delivery.body).collect()
}

/// A store in which a command that was sent under an id was damaged in a column, and is dead.
fn with_a_dead_command(store: &mut Store, column: &str, value: &RawValue) {
    apply(store, &send(b"17 on red"));
    plant(store.connection_mut(), "queue", Seq::from(1), column, value).unwrap();
    let Reply::HandedOut { deliveries, .. } = apply(store, &claim()) else { panic!("a claim") };
    for delivery in deliveries {
        let how = Settlement::DeadLetter { reason: "cannot be decoded".into() };
        apply(store, &Op::Settle { target: delivery.target, token: delivery.token, how });
    }
}

fn raw(state: &State) -> Raw {
    match &state.records[&ONE].body {
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => raw.clone(),
        Body::Sound { .. } => panic!("the record can be decoded"),
    }
}

#[test]
fn a_repaired_command_is_redriven_and_delivered_as_it_was_given_under_its_id() {
    for (column, value) in [
        ("payload", RawValue::Null),
        ("checksum", RawValue::Integer(1)),
        ("id", RawValue::Blob(vec![0xff])),
        ("name", RawValue::Blob(vec![0xff])),
        ("due_at", RawValue::Text(b"soon".to_vec())),
    ] {
        let mut store = Store::in_memory().unwrap();
        with_a_dead_command(&mut store, column, &value);
        let before = store.snapshot().unwrap();
        let given = message(Kind::Command, b"18 on black").with_metadata("who", "ann");
        let replaced = match apply(&mut store, &repair(given.clone())) {
            Reply::Repaired { replaced } => replaced,
            other => panic!("{column}: {other:?}"),
        };
        assert_eq!(replaced, raw(&before), "{column}");
        assert!(replaced.0.iter().any(|(is, what)| (&**is, what) == (column, &value)), "{replaced:?}");
        let expected = Body::Sound { message: Arc::new(given.with_id(id("bet-17"))), at: now() };
        let mut repaired = before.clone();
        repaired.records.get_mut(&ONE).unwrap().body = expected.clone();
        assert_eq!(store.snapshot().unwrap(), repaired, "{column}: nothing else was changed");
        let back = apply(&mut store, &Op::Redrive { record: ONE });
        assert_eq!(back, Reply::Redriven(Target::Command(Seq::from(1))));
        assert_eq!(delivered(&mut store, &claim()), [expected], "{column}");
        // A sender that tries again is answered as before.
        let again = apply(&mut store, &send(b"17 on red"));
        assert_eq!(again, Reply::Accepted { seq: Seq::from(1), fresh: false });
        let other = apply(&mut store, &send(b"18 on black"));
        assert_eq!(other, Reply::Refused(Refusal::Conflict { seq: Seq::from(1) }));
    }
}

#[test]
fn a_repaired_event_is_redriven_to_its_group_and_the_log_keeps_what_it_has() {
    let mut store = Store::in_memory().unwrap();
    apply(&mut store, &Op::Subscribe { group: group(), name: name("bet"), start: Start::Earliest });
    let sent = message(Kind::Event, b"17 won").with_id(id("won-17"));
    apply(&mut store, &Op::Publish { message: sent.into() });
    plant(store.connection_mut(), "log", Seq::from(1), "payload", &RawValue::Null).unwrap();
    let Reply::HandedOut { deliveries, .. } = apply(&mut store, &poll()) else { panic!("a poll") };
    let how = Settlement::Park { reason: "cannot be decoded".into() };
    apply(&mut store, &Op::Settle { target: deliveries[0].target.clone(), token: deliveries[0].token, how });
    let log = store.snapshot().unwrap().log;
    let given = message(Kind::Event, b"17 won");
    assert!(matches!(apply(&mut store, &repair(given.clone())), Reply::Repaired { .. }));
    assert_eq!(store.snapshot().unwrap().log, log);
    apply(&mut store, &Op::Redrive { record: ONE });
    let expected = Body::Sound { message: Arc::new(given.with_id(id("won-17"))), at: now() };
    assert_eq!(delivered(&mut store, &poll()), [expected]);
}

#[test]
fn what_can_still_be_read_is_not_replaced_by_something_else() {
    let mut store = Store::in_memory().unwrap();
    with_a_dead_command(&mut store, "payload", &RawValue::Null);
    let given = message(Kind::Command, b"18 on black");
    let other_name = Message { name: name("pay"), ..given.clone() };
    for (refused, refusal) in [
        (repair(message(Kind::Event, b"18 on black")), Refusal::WrongKind),
        (repair(other_name), Refusal::Legible),
        (repair(given.clone().with_id(id("bet-18"))), Refusal::Legible),
        (Op::Repair { record: RecordId::from(2), message: given.clone().into() }, Refusal::NotFound),
    ] {
        let before = (store.snapshot().unwrap(), store.commit_seq().unwrap());
        assert_eq!(apply(&mut store, &refused), Reply::Refused(refusal));
        assert_eq!((store.snapshot().unwrap(), store.commit_seq().unwrap()), before);
    }
    assert!(matches!(
        apply(&mut store, &repair(given.clone().with_id(id("bet-17")))),
        Reply::Repaired { .. }
    ));
    // Now it can be decoded, so it is not overwritten.
    let before = store.snapshot().unwrap();
    assert_eq!(apply(&mut store, &repair(given)), Reply::Refused(Refusal::Legible));
    assert_eq!(store.snapshot().unwrap(), before);
}

#[test]
fn a_command_without_an_id_and_a_readable_name_can_be_given_any_name() {
    let mut store = Store::in_memory().unwrap();
    apply(&mut store, &Op::Send { message: message(Kind::Command, b"x").into(), delay_ms: 0 });
    plant(store.connection_mut(), "queue", Seq::from(1), "name", &RawValue::Null).unwrap();
    apply(&mut store, &claim());
    let given = Message { name: name("pay"), ..message(Kind::Command, b"y") };
    assert_eq!(
        apply(&mut store, &repair(given.clone().with_id(id("z")))),
        Reply::Refused(Refusal::Legible),
        "it was sent without an id"
    );
    assert!(matches!(apply(&mut store, &repair(given.clone())), Reply::Repaired { .. }));
    apply(&mut store, &Op::Redrive { record: ONE });
    assert_eq!(delivered(&mut store, &claim()), [Body::Sound { message: given.into(), at: now() }]);
}

#[test]
fn a_repair_in_a_transaction_that_is_taken_back_replaced_nothing() {
    let mut store = Store::in_memory().unwrap();
    with_a_dead_command(&mut store, "payload", &RawValue::Null);
    let before = store.snapshot().unwrap();
    let ops = vec![repair(message(Kind::Command, b"18")), Op::Redrive { record: RecordId::from(9) }];
    let refused = apply(&mut store, &Op::Atomic(ops));
    let refusal = Box::new(Refusal::NotFound);
    assert_eq!(refused, Reply::Refused(Refusal::Aborted { index: 1, refusal }));
    assert_eq!(store.snapshot().unwrap(), before);
}

/// Repairs by the methods of a bus, redrives, and reads.
async fn on_a_bus(bus: &impl Bus) {
    let draft = || Message::command("bet").text("18 on black");
    let error = bus.repair(9.into(), draft()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { refusal: Refusal::NotFound }), "{error:?}");
    let error = bus.repair(1.into(), draft().payload(vec![0; 2 << 20])).await.unwrap_err();
    assert!(matches!(error, Error::PayloadTooLarge { .. }), "{error:?}");
    let undone = bus.transaction(move |tx| {
        assert!(!tx.repair(1.into(), draft()).unwrap().0.is_empty());
        Err::<(), _>("no")
    });
    assert!(matches!(undone.await, Err(TransactionError::Work("no"))));
    assert!(!bus.repair(1.into(), draft()).await.unwrap().0.is_empty());
    bus.redrive(1.into()).await.unwrap();
    let handed = bus.claim(&Take::one(&["bet"])).await.unwrap();
    let delivery = handed.deliveries.into_iter().next().unwrap();
    assert_eq!(&delivery.message().payload[..], b"18 on black");
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn both_buses_repair_and_so_does_a_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut store = Store::open(&path, &fencepost::internals::sqlite::OpenOptions::default()).unwrap();
    with_a_dead_command(&mut store, "payload", &RawValue::Null);
    let state = store.snapshot().unwrap();
    store.close().unwrap();
    let bus = SqliteBus::open(&path).await.unwrap();
    on_a_bus(&bus).await;
    bus.close().await.unwrap();
    let bus = MemoryBus::with_clock(Arc::new(ManualClock::new(now())));
    bus.tamper(|of| *of = state);
    on_a_bus(&bus).await;
}
