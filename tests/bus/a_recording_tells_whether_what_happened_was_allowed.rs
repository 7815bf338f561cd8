//! An audit replays a recording of a bus in the model. The answer is yes only for a recording that was replayed from its
//! beginning to its end, no with an explanation of the first operation that is not allowed, and otherwise a sentence that says
//! how far the check reaches.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fencepost::audit::{Audit, Doubt, Verdict, audit};
use fencepost::clock::{Clock, ManualClock};
use fencepost::internals::sqlite::{OpenOptions, Store, plant};
use fencepost::record::previous;
use fencepost::{
    Bus, Error, Message, Recording, Settlement, SqliteBus, Start, Take, Timestamp, TransactionError,
};
use fencepost_model::vocabulary::{Epoch, RawValue};
use rusqlite::{Connection, TransactionBehavior};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from(1_000)))
}

async fn open(store: &Path, recording: Recording, clock: &Arc<ManualClock>) -> SqliteBus {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    SqliteBus::builder(store).clock(clock).record(recording).open().await.unwrap()
}

/// Everything that a bus can be asked for, refusals included.
async fn work(bus: &SqliteBus, clock: &ManualClock, round: u64) {
    let take = |names| Take { max: 4, lease: Duration::from_millis(50), attempts_max: 2, ..Take::one(names) };
    for n in 0..12_u64 {
        let id = format!("{round}-{}", n / 2);
        let sent =
            bus.send(Message::command("a").text(format!("{n}")).id(&id).metadata("traceparent", "1")).await;
        assert_eq!(sent.is_ok(), n % 2 == 0, "every second one is a conflict");
        bus.send(Message::command("b").text("later").delay(Duration::from_millis(n * 20))).await.unwrap();
        bus.publish(Message::event(["x", "y"][n as usize % 2]).text("e")).await.unwrap();
    }
    for name in ["x", "y"] {
        bus.subscribe_group("g", name, Start::Earliest).await.unwrap();
    }
    for step in 0..14_u64 {
        clock.advance(15);
        let handed = bus.claim(&take(&["a", "b"])).await.unwrap();
        for (index, delivery) in handed.deliveries.into_iter().enumerate() {
            match (step as usize + index) % 6 {
                0 => delivery.ack().await.map(|_| ()).unwrap(),
                1 => delivery.settle(nack()).await.map(|_| ()).unwrap(),
                2 => delivery.settle(Settlement::Park { reason: "wait".into() }).await.map(|_| ()).unwrap(),
                3 => drop(delivery.release().await),
                _ => drop(delivery),
            }
        }
        let Ok(handed) = bus.poll("g", None, &take(&["x", "y"])).await else { continue };
        for (index, delivery) in handed.deliveries.into_iter().enumerate() {
            match (step as usize + index) % 4 {
                0 => drop(delivery.settle(Settlement::DeadLetter { reason: "no".into() }).await),
                1 => drop(delivery.settle(nack()).await),
                _ => drop(delivery.ack().await),
            }
        }
    }
    for record in 1..6_u32 {
        let _ = bus.redrive(record.into()).await;
        let _ = bus.purge((record + 3).into()).await;
    }
    let _ = bus.cancel(3.into()).await;
    bus.prune(Duration::from_millis(10)).await.unwrap();
    bus.forget_ids(Duration::from_millis(10)).await.unwrap();
    let done = bus.transaction(|tx| {
        tx.send(Message::command("a").text("in a transaction"))?;
        tx.publish(Message::event("x").text("in a transaction"))
    });
    done.await.unwrap();
    let undone = bus.transaction(|tx| {
        tx.send(Message::command("a").text("taken back")).unwrap();
        Err::<(), _>("no")
    });
    assert!(matches!(undone.await, Err(TransactionError::Work("no"))));
    // An effect that fails takes the ack back with it.
    bus.send(Message::command("effect")).await.unwrap();
    for fails in [true, false] {
        clock.advance(100);
        let delivery = bus.claim(&take(&["effect"])).await.unwrap().deliveries.pop().unwrap();
        let done = delivery.transaction(move |_| if fails { Err("no") } else { Ok(()) }).await;
        assert_eq!(done.is_err(), fails);
    }
    bus.reset(Epoch::from(1).plus(round), Epoch::from(2).plus(round)).await.unwrap();
    bus.publish(Message::event("x").text("after")).await.unwrap();
}

fn nack() -> Settlement {
    Settlement::Nack { delay_ms: 5, reason: "again".into() }
}

fn audited(paths: &[&Path], store: Option<&Path>) -> Audit {
    audit(&paths.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>(), store).unwrap()
}

fn allowed(audit: &Audit) -> bool {
    match &audit.verdict {
        Verdict::Allowed => true,
        Verdict::NotAllowed(violation) => panic!("{}\n{}", violation.what, violation.explanation),
        Verdict::NotChecked(doubts) => {
            panic!("{}", doubts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
    }
}

fn doubts(audit: &Audit) -> &[Doubt] {
    match &audit.verdict {
        Verdict::NotChecked(doubts) => doubts,
        _ => panic!("{audit:?}"),
    }
}

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

#[tokio::test]
async fn a_repair_is_allowed_and_digests_do_not_tell_what_it_replaced() {
    for whole in [false, true] {
        let bench = Bench::new();
        let (path, trace, clock) = (bench.path("bus.db"), bench.path("bus.rec"), clock());
        let bus = open(&path, Recording::to(bench.path("other.rec")), &clock).await;
        bus.send(Message::command("a").text("as it was sent").id("one")).await.unwrap();
        bus.close().await.unwrap();
        let mut store = Store::open(&path, &OpenOptions::default()).unwrap();
        let left = RawValue::Text(b"what is left".to_vec());
        plant(store.connection_mut(), "queue", 1.into(), "payload", &left).unwrap();
        store.close().unwrap();
        // Damage from before its beginning is nothing that the recording has to explain.
        let recording = Recording::to(&trace);
        let bus = open(&path, if whole { recording.whole_contents() } else { recording }, &clock).await;
        let take = |names| Take { lease: Duration::from_secs(9), attempts_max: 2, ..Take::one(names) };
        let handed = bus.claim(&take(&["a"])).await.unwrap();
        for corrupt in handed.corrupt {
            corrupt.park("cannot be decoded").await.unwrap();
        }
        bus.repair(1.into(), Message::command("a").text("as it is given")).await.unwrap();
        bus.repair(1.into(), Message::command("a").text("once more")).await.unwrap_err();
        bus.redrive(1.into()).await.unwrap();
        let handed = bus.claim(&take(&["a"])).await.unwrap();
        assert_eq!(handed.deliveries.len(), 1);
        bus.close().await.unwrap();
        let audit = audited(&[&trace], Some(&path));
        assert!(allowed(&audit) && audit.compared, "{audit:?}");
        let bytes = fs::read(&trace).unwrap();
        for text in ["what is left", "as it is given", "once more"] {
            let told = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert_eq!(told, whole, "{text}");
        }
    }
}

#[tokio::test]
async fn what_a_bus_does_is_allowed() {
    for whole in [false, true] {
        let bench = Bench::new();
        let (store, trace, clock) = (bench.path("bus.db"), bench.path("bus.rec"), clock());
        // It begins with a state that is not empty.
        let bus = open(&store, Recording::to(bench.path("other.rec")), &clock).await;
        work(&bus, &clock, 0).await;
        bus.close().await.unwrap();
        let recording = Recording::to(&trace);
        let bus = open(&store, if whole { recording.whole_contents() } else { recording }, &clock).await;
        work(&bus, &clock, 1).await;
        bus.close().await.unwrap();
        let audit = audited(&[&trace], Some(&store));
        assert!(allowed(&audit) && audit.compared);
        assert!(audit.operations > 120 && audit.stretches.len() == 1, "{audit:?}");
        let both = audited(&[&bench.path("other.rec"), &trace], Some(&store));
        assert!(allowed(&both) && both.operations > audit.operations + 120, "{both:?}");
        assert_eq!(both.stretches[0].0, 0);
        let found = |text: &[u8]| fs::read(&trace).unwrap().windows(text.len()).any(|part| part == text);
        assert_eq!(found(b"in a transaction"), whole, "contents stand there only if that was asked for");
    }
}

#[tokio::test]
async fn what_is_changed_past_the_bus_is_not_allowed_and_explained() {
    let bench = Bench::new();
    let (store, trace, clock) = (bench.path("bus.db"), bench.path("bus.rec"), clock());
    let bus = open(&store, Recording::to(&trace), &clock).await;
    bus.send(Message::command("a").text("1").id("first")).await.unwrap();
    bus.send(Message::command("a").text("2")).await.unwrap();
    let one = Take { lease: Duration::from_millis(100), ..Take::one(&["a"]) };
    let first = bus.claim(&one).await.unwrap().deliveries.remove(0);
    // The lease is ended by hand, past the bus.
    Connection::open(&store).unwrap().execute("UPDATE queue SET due_at = 0 WHERE seq = 1", []).unwrap();
    assert_eq!(bus.claim(&one).await.unwrap().deliveries[0].seq(), 1.into());
    drop(first);
    bus.close().await.unwrap();
    let audit = audited(&[&trace], Some(&store));
    let Verdict::NotAllowed(violation) = &audit.verdict else { panic!("{audit:?}") };
    assert_eq!((audit.operations, violation.number), (4, 4));
    let explanation = &violation.explanation;
    assert!(explanation.contains("1  t=1000  bus.rec  sends a"), "{explanation}");
    assert!(
        explanation.contains("id first") && explanation.contains("command 1, token 1, attempt 1"),
        "{explanation}"
    );
    assert!(
        explanation.contains("[command 1 token 1 until 1100, attempt 1 | command 2 due 1000]")
            || explanation.contains("[command 2 due 1000]"),
        "{explanation}"
    );
    assert!(explanation.contains("-> command 1, token 2, attempt 2"), "{explanation}");
    assert!(explanation.contains("the model answers: command 2, token 2, attempt 1"), "{explanation}");
}

#[tokio::test]
async fn a_change_past_the_bus_that_no_reply_shows_is_found_in_the_store() {
    let bench = Bench::new();
    let (store, trace, clock) = (bench.path("bus.db"), bench.path("bus.rec"), clock());
    let bus = open(&store, Recording::to(&trace), &clock).await;
    work(&bus, &clock, 0).await;
    bus.close().await.unwrap();
    let changed = "UPDATE queue SET attempts = attempts + 1 WHERE seq = (SELECT min(seq) FROM queue)";
    assert_eq!(Connection::open(&store).unwrap().execute(changed, []).unwrap(), 1);
    assert!(allowed(&audited(&[&trace], None)));
    let audit = audited(&[&trace], Some(&store));
    let Verdict::NotAllowed(violation) = &audit.verdict else { panic!("{audit:?}") };
    assert!(
        violation.what.contains("not the one that the operations lead to: commands "),
        "{}",
        violation.what
    );
    Connection::open(&store).unwrap().execute("UPDATE store SET commit_seq = commit_seq + 1", []).unwrap();
    let audit = audited(&[&trace], Some(&store));
    assert!(matches!(doubts(&audit), [Doubt::Elsewhere { .. }]), "{audit:?}");
}

#[tokio::test]
async fn what_others_did_is_a_gap_and_closes_with_their_recording() {
    let bench = Bench::new();
    let (store, clock) = (bench.path("bus.db"), clock());
    let (one, two) = (bench.path("one.rec"), bench.path("two.rec"));
    let first = open(&store, Recording::to(&one), &clock).await;
    let second = open(&store, Recording::to(&two), &clock).await;
    // In turns first: under load, one of the two may get the lock again and again until it is done.
    for bus in [&first, &second, &first, &second] {
        bus.send(Message::command("a").text("in turns")).await.unwrap();
    }
    let workers = [&first, &second].into_iter().cycle().take(6).enumerate().map(|(index, bus)| {
        let (bus, clock) = (bus.clone(), Arc::clone(&clock));
        tokio::spawn(async move {
            let take =
                Take { max: 3, lease: Duration::from_millis(20), attempts_max: 3, ..Take::one(&["a"]) };
            for n in 0..40 {
                bus.send(Message::command("a").text(format!("{n}")).id(&format!("{n}-{}", index / 2)))
                    .await
                    .unwrap();
                for delivery in bus.claim(&take).await.unwrap().deliveries {
                    clock.advance(1);
                    if n % 3 > 0 {
                        let _ = delivery.ack().await;
                    }
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
    let both = audited(&[&two, &one], Some(&store));
    assert!(allowed(&both) && both.compared && both.operations > 480, "{both:?}");
    for alone in [&one, &two] {
        let audit = audited(&[alone], None);
        let [Doubt::Gap { number, again: None }] = doubts(&audit) else { panic!("{audit:?}") };
        assert_eq!(audit.stretches.last().unwrap().1 + 1, *number);
        assert!(doubts(&audit)[0].to_string().contains("taken by operations that are not in these"));
    }
}

#[tokio::test]
async fn a_transaction_of_the_callers_own_is_a_gap() {
    let bench = Bench::new();
    let (store, trace, clock) = (bench.path("bus.db"), bench.path("bus.rec"), clock());
    let bus = open(&store, Recording::to(&trace), &clock).await;
    bus.send(Message::command("a").text("1")).await.unwrap();
    let mut own = Connection::open(&store).unwrap();
    let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    bus.within(&transaction).unwrap().send(Message::command("a").text("2")).unwrap();
    transaction.commit().unwrap();
    bus.send(Message::command("a").text("3")).await.unwrap();
    bus.close().await.unwrap();
    let audit = audited(&[&trace], None);
    assert!(matches!(doubts(&audit), [Doubt::Gap { number: 2, again: None }]), "{audit:?}");
    assert_eq!((audit.operations, audit.stretches.as_slice()), (1, &[(0, 1)][..]));
}

#[tokio::test]
async fn a_boot_is_in_the_recording_of_who_noticed_it() {
    let bench = Bench::new();
    let (store, clock) = (bench.path("bus.db"), clock());
    let (one, two) = (bench.path("one.rec"), bench.path("two.rec"));
    let begin = |boot: &'static str, recording: &Path| {
        let clock: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let builder = SqliteBus::builder(&store).clock(clock).record(Recording::to(recording));
        builder.store_options(move |options| options.boot_id = Some(boot.to_owned())).open()
    };
    let first = begin("first", &one).await.unwrap();
    first.send(Message::command("a").text("1")).await.unwrap();
    let second = begin("second", &two).await.unwrap();
    second.send(Message::command("a").text("2")).await.unwrap();
    first.send(Message::command("a").text("3")).await.unwrap();
    second.close().await.unwrap();
    first.close().await.unwrap();
    let audit = audited(&[&one, &two], Some(&store));
    assert!(allowed(&audit));
    assert_eq!(audit.operations, 4, "the boot is one of them");
}

#[tokio::test]
async fn a_full_file_is_followed_by_another_and_both_are_audited() {
    let bench = Bench::new();
    let (store, trace, clock) = (bench.path("bus.db"), bench.path("bus.rec"), clock());
    let bytes_max = 24_000;
    let bus = open(&store, Recording::to(&trace).bytes_max(bytes_max), &clock).await;
    let one = Take::one(&["a"]);
    for _ in 0..400 {
        bus.send(Message::command("a").text("x")).await.unwrap();
        for delivery in bus.claim(&one).await.unwrap().deliveries {
            delivery.ack().await.unwrap();
        }
    }
    bus.close().await.unwrap();
    let before = previous(&trace);
    let bytes = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(bytes(&trace) + bytes(&before) <= bytes_max && bytes(&before) > bytes_max / 4);
    let audit = audited(&[&before, &trace], Some(&store));
    assert!(allowed(&audit) && audit.stretches.len() == 1, "{audit:?}");
    assert!(audit.stretches[0].0 > 100, "the oldest files are gone");
    let newest = audited(&[&trace], Some(&store));
    assert!(allowed(&newest) && newest.operations < audit.operations);
    assert!(matches!(doubts(&audited(&[&before], None)), [Doubt::Continued { .. }]));
    // Another life of the bus goes on in a file of its own.
    let bus = open(&store, Recording::to(&trace).bytes_max(bytes_max), &clock).await;
    bus.send(Message::command("a").text("x")).await.unwrap();
    bus.close().await.unwrap();
    assert!(allowed(&audited(&[&before, &trace], Some(&store))));
}

#[tokio::test]
async fn a_file_that_is_no_recording_is_not_written_over_and_a_limit_too_small_is_said() {
    let bench = Bench::new();
    let (store, clock) = (bench.path("bus.db"), clock());
    let text = bench.path("text");
    fs::write(&text, "somebody's text").unwrap();
    let opened = SqliteBus::builder(&store).record(Recording::to(&text)).open().await;
    assert!(matches!(opened, Err(Error::NotRecorded { source }) if matches!(*source, Error::Exists)));
    assert_eq!(fs::read(&text).unwrap(), b"somebody's text");
    let opened = SqliteBus::builder(&store).record(Recording::to(bench.path("missing/x"))).open().await;
    assert!(matches!(opened, Err(Error::NotRecorded { source }) if matches!(*source, Error::Io { .. })));
    let opened = SqliteBus::builder(&store).record(Recording::to(bench.path("r")).bytes_max(40)).open().await;
    assert!(matches!(opened, Err(Error::NotRecorded { .. })));
    // A recording that cannot go on ends; the bus goes on.
    let trace = bench.path("bus.rec");
    let bus = open(&store, Recording::to(&trace).bytes_max(2_000), &clock).await;
    for n in 0..50 {
        bus.send(Message::command("a").text("x").id(&format!("{n}"))).await.unwrap();
    }
    bus.close().await.unwrap();
    let audit = audited(&[&trace], None);
    assert!(!matches!(audit.verdict, Verdict::NotAllowed(_)), "{audit:?}");
    let [Doubt::Ends { .. } | Doubt::Unreadable { .. }] = doubts(&audit) else { panic!("{audit:?}") };
}
