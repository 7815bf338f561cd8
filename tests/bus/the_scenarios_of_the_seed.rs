//! The scenarios by which the transport was tested that fencepost began from, each under its own name.
//!
//! Both buses play each scenario that the model can play, so a user's own test on a `MemoryBus` tells what the file does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fencepost::clock::{Clock, ManualClock, SystemClock};
use fencepost::{
    Bus, BusConsumer, CancellationToken, Delivery, Error, HandlerError, Handlers, MemoryBus, Message,
    RetryPolicy, RunOptions, SqliteBus, Start, Take, Timestamp,
};
use fencepost_model::op::Refusal;
use fencepost_model::vocabulary::Epoch;

type Seen = Arc<Mutex<Vec<String>>>;

/// A bus of each kind, by the system's clock.
macro_rules! on_both {
    ($bus:ident => $test:expr) => {{
        let directory = tempfile::tempdir().unwrap();
        let $bus = SqliteBus::open(directory.path().join("bus.db")).await.unwrap();
        $test;
        $bus.close().await.unwrap();
        let $bus = MemoryBus::with_clock(Arc::new(SystemClock));
        $test;
    }};
}

fn drain() -> RunOptions {
    RunOptions::new().retry(RetryPolicy { first_ms: 0, max_ms: 0, seed: 1 }).drain()
}

/// Handlers that note what they are given, and their own name.
fn noting(seen: &Seen, who: &'static str, handlers: Handlers, name: &str) -> Handlers {
    let note = |seen: &Seen| {
        let seen = Arc::clone(seen);
        move |delivery: Delivery<String>| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(format!("{who} {}", delivery.payload));
                Ok(())
            }
        }
    };
    handlers.on_command(name, note(seen)).on_event(name, note(seen))
}

#[tokio::test]
async fn point_to_point_across_a_group() {
    on_both!(bus => {
        let seen = Seen::default();
        for n in 0..20 {
            bus.send(Message::command("bet").text(n.to_string())).await.unwrap();
        }
        let run = |who| {
            let handlers = noting(&seen, who, Handlers::new().named("bets"), "bet");
            let bus = bus.clone();
            async move { bus.listen(handlers, drain().concurrency(2)).await.unwrap() }
        };
        let (one, other) = tokio::join!(run("one"), run("other"));
        assert_eq!(one.acked + other.acked, 20);
        let mut numbers: Vec<u32> =
            seen.lock().unwrap().iter().map(|note| note.split(' ').nth(1).unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "each was handled by exactly one");
    });
}

#[tokio::test]
async fn fan_out_across_groups() {
    on_both!(bus => {
        let seen = Seen::default();
        for n in 0..3 {
            bus.publish(Message::event("placed").text(n.to_string())).await.unwrap();
        }
        for who in ["ledger", "mail"] {
            let handlers = noting(&seen, who, Handlers::new().named(who), "placed");
            let report = bus.subscribe(handlers, drain()).await.unwrap();
            assert_eq!(report.acked, 3);
        }
        let expected = ["ledger 0", "ledger 1", "ledger 2", "mail 0", "mail 1", "mail 2"];
        assert_eq!(*seen.lock().unwrap(), expected, "every group saw every event, in order");
    });
}

#[tokio::test]
async fn named_service_as_group() {
    on_both!(bus => {
        let seen = Seen::default();
        bus.publish(Message::event("placed").text("e")).await.unwrap();
        bus.send(Message::command("placed").text("c")).await.unwrap();
        let handlers = noting(&seen, "orders", Handlers::new().named("orders"), "placed");
        let report = bus.run(handlers.clone(), drain()).await.unwrap();
        assert_eq!(report.acked, 2);
        let overview = bus.overview().await.unwrap();
        assert_eq!(overview.groups.len(), 1);
        assert_eq!(overview.groups[0].group.as_str(), "orders");
        assert_eq!((overview.groups[0].position.get(), overview.groups[0].lag), (1, 0));
        let nameless = noting(&seen, "nobody", Handlers::new(), "placed");
        assert!(bus.run(nameless, drain()).await.is_err(), "events are read for a group");
    });
}

#[tokio::test]
async fn retryable_command_redelivers_then_completes() {
    on_both!(bus => {
        bus.send(Message::command("bet").text("17")).await.unwrap();
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&attempts);
        let handlers = Handlers::new().on_command("bet", move |delivery: Delivery| {
            let attempt = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                assert_eq!(delivery.attempt(), attempt);
                if attempt < 3 { Err(HandlerError::retryable("not yet")) } else { Ok(()) }
            }
        });
        let report = bus.listen(handlers, drain()).await.unwrap();
        assert_eq!((report.retried, report.acked, report.panicked), (2, 1, 0));
        assert_eq!(attempts.load(Ordering::SeqCst), 3);
        assert_eq!(bus.overview().await.unwrap().queue.ready, 0);
    });
}

#[tokio::test]
async fn retryable_event_does_not_advance() {
    on_both!(bus => {
        for payload in ["first", "second"] {
            bus.publish(Message::event("placed").text(payload)).await.unwrap();
        }
        let seen = Seen::default();
        let notes = Arc::clone(&seen);
        let handlers = Handlers::new().named("ledger").on_event("placed", move |delivery: Delivery<String>| {
            notes.lock().unwrap().push(delivery.payload);
            async { Err(HandlerError::retry_after(Duration::from_secs(3600), "the ledger is closed")) }
        });
        let report = bus.subscribe(handlers, drain()).await.unwrap();
        assert_eq!((report.retried, report.acked), (1, 0));
        assert_eq!(*seen.lock().unwrap(), ["first"], "the second waits behind the first");
        let group = &bus.overview().await.unwrap().groups[0];
        assert_eq!((group.position.get(), group.lag, group.attempts), (0, 2, 1));
    });
}

/// Damages the checksum of one row's payload, as a script might.
fn damage(path: &std::path::Path, table: &str) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute(&format!("UPDATE {table} SET payload = x'00' WHERE seq = 1"), []).unwrap();
}

#[tokio::test]
async fn corrupt_queue_row_and_corrupt_log_row_are_dead_lettered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let bus = SqliteBus::open(&path).await.unwrap();
    for payload in ["damaged", "sound"] {
        bus.send(Message::command("bet").text(payload)).await.unwrap();
        bus.publish(Message::event("bet").text(payload)).await.unwrap();
    }
    damage(&path, "queue");
    damage(&path, "log");
    let seen = Seen::default();
    let handlers = noting(&seen, "it", Handlers::new().named("bets"), "bet");
    let report = bus.run(handlers, drain()).await.unwrap();
    assert_eq!((report.dead_lettered, report.acked), (2, 2));
    assert_eq!(*seen.lock().unwrap(), ["it sound", "it sound"], "no handler saw a damaged row");
    assert_eq!(bus.overview().await.unwrap().dead, 2, "and none vanished");
}

#[tokio::test]
async fn busy_writer_is_retryable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let builder = SqliteBus::builder(&path).busy_timeout(Duration::from_millis(1));
    let bus = builder.open().await.unwrap();
    bus.send(Message::command("bet").text("17")).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = bus.send(Message::command("bet").text("18")).await.unwrap_err();
    assert!(matches!(error, Error::Busy) && error.is_retryable(), "{error}");
    // A consumer outlives it, and says so.
    let seen = Seen::default();
    let handlers = noting(&seen, "it", Handlers::new(), "bet");
    let listening = tokio::spawn({
        let bus = bus.clone();
        async move { bus.listen(handlers, drain()).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    other.execute_batch("ROLLBACK").unwrap();
    let report = listening.await.unwrap();
    assert_eq!(report.acked, 1);
    assert!(report.busy > 0);
    bus.send(Message::command("bet").text("18")).await.unwrap();
}

#[tokio::test]
async fn expired_claim_cannot_be_settled() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from(1_000)));
    let builder =
        SqliteBus::builder(directory.path().join("bus.db")).clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let bus = builder.open().await.unwrap();
    bus.send(Message::command("bet").text("17")).await.unwrap();
    let take = Take { lease: Duration::from_secs(1), ..Take::one(&["bet"]) };
    let late = bus.claim(&take).await.unwrap().deliveries.remove(0);
    clock.advance(1_000);
    let current = bus.claim(&take).await.unwrap().deliveries.remove(0);
    assert!(current.token() > late.token());
    let error = late.ack().await.unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::LeaseLost));
    current.ack().await.unwrap();
}

#[tokio::test]
async fn stable_id_keeps_its_first_sequence_and_rejects_conflicts() {
    on_both!(bus => {
        let bet = |text: &str| Message::command("bet").text(text).id("bet-17");
        let first = bus.send(bet("17 on red").metadata("traceparent", "00-1")).await.unwrap();
        bus.send(Message::command("bet").text("other")).await.unwrap();
        let again = bus.send(bet("17 on red").metadata("traceparent", "00-2")).await.unwrap();
        assert_eq!((again.seq, first.fresh, again.fresh), (first.seq, true, false));
        let error = bus.send(bet("17 on black")).await.unwrap_err();
        assert_eq!(error.refusal(), Some(&Refusal::Conflict { seq: first.seq }));
        assert_eq!(bus.overview().await.unwrap().queue.ready, 2);
    });
}

#[tokio::test]
async fn epoch_reset_fences_a_running_subscriber() {
    on_both!(bus => {
        bus.publish(Message::event("placed").text("before")).await.unwrap();
        let seen = Seen::default();
        let (started, go_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let handlers = Handlers::new().named("ledger").on_event("placed", {
            let (seen, started, go_on) = (Arc::clone(&seen), Arc::clone(&started), Arc::clone(&go_on));
            move |delivery: Delivery<String>| {
                let (seen, started, go_on) = (Arc::clone(&seen), Arc::clone(&started), Arc::clone(&go_on));
                async move {
                    seen.lock().unwrap().push(delivery.payload.clone());
                    if delivery.payload == "before" {
                        started.notify_one();
                        go_on.notified().await;
                    }
                    Ok(())
                }
            }
        });
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (bus, options) = (bus.clone(), RunOptions::new().shutdown(shutdown.clone()));
            async move { bus.subscribe(handlers, options.start(Start::Earliest)).await.unwrap() }
        });
        started.notified().await;
        bus.reset(Epoch::from(1), Epoch::from(2)).await.unwrap();
        let after = bus.publish(Message::event("placed").text("after")).await.unwrap();
        go_on.notify_one();
        while bus.overview().await.unwrap().groups[0].position < after.seq {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.cancel();
        let report = running.await.unwrap();
        assert_eq!((report.stale, report.acked), (1, 1), "the old epoch's handler settled nothing");
        assert_eq!(*seen.lock().unwrap(), ["before", "after"]);
    });
}
