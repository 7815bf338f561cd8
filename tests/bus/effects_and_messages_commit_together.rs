//! Operations inside a transaction: one of the caller, and one that the bus began for a handler's effects (G12).
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fencepost::clock::{Clock, ManualClock};
use fencepost::{
    Bus, BusConsumer, Delivery, Error, HandlerError, Handlers, MemoryBus, Message, RunOptions, SqliteBus,
    Take, Timestamp, TransactionError,
};
use fencepost_model::op::Refusal;
use rusqlite::{Connection, TransactionBehavior};

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("bus.db")
    }

    /// A connection of the caller's own, with a table of its own.
    fn own(&self) -> Connection {
        let conn = Connection::open(self.path()).expect("the file is there");
        conn.pragma_update(None, "synchronous", "FULL").expect("a pragma");
        conn.execute_batch("CREATE TABLE IF NOT EXISTS bets (amount INTEGER)").expect("a table");
        conn
    }
}

async fn bus(clock: &Arc<ManualClock>) -> (Files, SqliteBus) {
    let files = Files { directory: tempfile::tempdir().expect("a directory") };
    let builder = SqliteBus::builder(files.path()).clock(Arc::clone(clock) as Arc<dyn Clock>);
    let bus = builder.open().await.expect("a bus");
    (files, bus)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from(1_000)))
}

fn count(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM bets", [], |row| row.get(0)).expect("a count")
}

const INSERT: &str = "INSERT INTO bets (amount) VALUES (17)";

#[tokio::test]
async fn an_outbox_sends_exactly_if_its_transaction_is_committed() {
    let (files, bus) = bus(&clock()).await;
    let mut own = files.own();
    for (commit, expected) in [(false, 0), (true, 1)] {
        let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        transaction.execute(INSERT, []).unwrap();
        let tx = bus.within(&transaction).unwrap();
        tx.send(Message::command("settle").text("17").id("bet-17")).unwrap();
        tx.publish(Message::event("placed").text("17")).unwrap();
        drop(tx);
        if commit {
            transaction.commit().unwrap()
        } else {
            transaction.rollback().unwrap()
        }
        let overview = bus.overview().await.unwrap();
        assert_eq!((overview.queue.ready, overview.log.events), (expected, expected));
        assert_eq!(count(&own), i64::try_from(expected).unwrap());
    }
}

#[tokio::test]
async fn a_consumer_that_sleeps_is_woken_by_the_commit_of_an_outbox() {
    let files = Files { directory: tempfile::tempdir().unwrap() };
    let bus = SqliteBus::open(files.path()).await.unwrap();
    let handled = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&handled);
    let handlers = Handlers::new().on_command("settle", move |_: Delivery| {
        let told = Arc::clone(&told);
        async move {
            told.notify_one();
            Ok(())
        }
    });
    let listening = tokio::spawn({
        let bus = bus.clone();
        async move { bus.listen(handlers, RunOptions::new()).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut own = files.own();
    let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    bus.within(&transaction).unwrap().send(Message::command("settle")).unwrap();
    transaction.commit().unwrap();
    tokio::time::timeout(Duration::from_secs(10), handled.notified()).await.expect("it is woken");
    listening.abort();
}

#[tokio::test]
async fn a_refused_settlement_rolls_the_callers_transaction_back_so_that_its_commit_fails() {
    let clock = clock();
    let (files, bus) = bus(&clock).await;
    let mut own = files.own();
    bus.send(Message::command("bet")).await.unwrap();
    let take = Take { lease: Duration::from_secs(1), ..Take::one(&["bet"]) };
    let late = bus.claim(&take).await.unwrap().deliveries.remove(0);
    clock.advance(1_000);
    let current = bus.claim(&take).await.unwrap().deliveries.remove(0);

    let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute(INSERT, []).unwrap();
    let tx = bus.within(&transaction).unwrap();
    let error = tx.ack(late).unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::LeaseLost));
    assert!(matches!(tx.publish(Message::event("placed")), Err(Error::NotInTransaction)));
    drop(tx);
    transaction.commit().expect_err("ignoring the refusal and committing fails");
    assert_eq!(count(&own), 0);

    let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute(INSERT, []).unwrap();
    bus.within(&transaction).unwrap().ack(current).unwrap();
    transaction.commit().unwrap();
    assert_eq!((count(&own), bus.overview().await.unwrap().queue.leased), (1, 0));
}

#[tokio::test]
async fn a_refused_send_leaves_the_callers_transaction_as_it_was() {
    let (files, bus) = bus(&clock()).await;
    let mut own = files.own();
    bus.send(Message::command("bet").text("17").id("a")).await.unwrap();
    let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let tx = bus.within(&transaction).unwrap();
    let error = tx.send(Message::command("bet").text("18").id("a")).unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Conflict { .. })), "{error}");
    tx.send(Message::command("bet").text("18").id("b")).unwrap();
    drop(tx);
    transaction.commit().unwrap();
    assert_eq!(bus.overview().await.unwrap().queue.ready, 2);
}

#[tokio::test]
async fn operations_need_a_transaction_and_a_file_of_ours() {
    let (files, bus) = bus(&clock()).await;
    assert!(matches!(bus.within(&files.own()), Err(Error::NotInTransaction)));
    let mut other = Connection::open_in_memory().unwrap();
    let transaction = other.transaction().unwrap();
    assert!(matches!(bus.within(&transaction), Err(Error::NotOurs { .. })));
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_connection_that_syncs_less_than_its_bus_is_warned_of() {
    let (files, bus) = bus(&clock()).await;
    for (synchronous, warnings) in [("EXTRA", 0), ("FULL", 0), ("NORMAL", 1), ("OFF", 1)] {
        let mut own = files.own();
        own.pragma_update(None, "synchronous", synchronous).unwrap();
        let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let counted = Warnings::default();
        tracing::subscriber::with_default(counted.clone(), || bus.within(&transaction).map(drop).unwrap());
        assert_eq!(counted.0.load(Ordering::Relaxed), warnings, "{synchronous}");
    }
}

/// Effects of a handler: they fail, panic, end the transaction, or go well.
async fn effects<B: Bus>(bus: &B) {
    bus.transaction(|tx| tx.execute_batch("CREATE TABLE bets (amount INTEGER)")).await.unwrap();
    let take = Take::one(&["bet"]);
    let again = |bus: &B| {
        let bus = bus.clone();
        async move {
            bus.send(Message::command("bet")).await.unwrap();
            bus.claim(&take).await.unwrap().deliveries.remove(0)
        }
    };
    let counted = |bus: &B| {
        let bus = bus.clone();
        async move {
            bus.transaction(|tx| tx.query_row("SELECT count(*) FROM bets", [], |row| row.get::<_, i64>(0)))
                .await
        }
    };

    let failed = again(bus).await.transaction(|tx| {
        tx.execute(INSERT, []).map_err(|_| "no insert")?;
        tx.send(Message::command("more")).map_err(|_| "no send")?;
        Err::<(), _>("changed my mind")
    });
    assert!(matches!(failed.await, Err(TransactionError::Work("changed my mind"))));
    assert_eq!(counted(bus).await.unwrap(), 0);

    let delivery = again(bus).await;
    let panicking = tokio::spawn(delivery.transaction(|tx| -> Result<(), ()> {
        let _ = tx.execute(INSERT, []);
        panic!("the handler's own")
    }));
    assert!(panicking.await.unwrap_err().is_panic(), "it is the caller's own panic");
    assert_eq!(counted(bus).await.unwrap(), 0, "and the bus goes on");

    let done = again(bus).await.transaction(|tx| {
        tx.execute(INSERT, [])?;
        tx.send(Message::command("more")).map_err(|_| rusqlite::Error::InvalidQuery)?;
        Ok::<_, rusqlite::Error>(5)
    });
    assert_eq!(done.await.unwrap(), 5);
    assert_eq!(counted(bus).await.unwrap(), 1);
    let queue = bus.overview().await.unwrap().queue;
    assert_eq!((queue.ready, queue.leased), (1, 2), "one sent within, two unsettled");
}

#[tokio::test]
async fn effects_and_ack_commit_together_or_not_at_all() {
    let (_files, bus) = bus(&clock()).await;
    effects(&bus).await;
    effects(&MemoryBus::new()).await;
}

/// The bound on work that a small file may cause (some ten million rows) does not hold for what the caller asks.
#[tokio::test]
async fn work_may_take_as_long_as_it_likes() {
    const LONG: &str = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 15000000) SELECT max(x) FROM c";
    let (_files, bus) = bus(&clock()).await;
    let done = bus.transaction(|tx| tx.query_row(LONG, [], |row| row.get::<_, i64>(0))).await;
    assert_eq!(done.unwrap(), 15_000_000);
}

#[tokio::test]
async fn under_a_stale_token_the_work_is_not_even_begun() {
    let clock = clock();
    let (_files, bus) = bus(&clock).await;
    bus.send(Message::command("bet")).await.unwrap();
    let take = Take { lease: Duration::from_secs(1), ..Take::one(&["bet"]) };
    let late = bus.claim(&take).await.unwrap().deliveries.remove(0);
    clock.advance(1_000);
    let _current = bus.claim(&take).await.unwrap().deliveries.remove(0);
    let done = late.transaction(|_| -> Result<(), ()> { unreachable!("the token is stale") }).await;
    let Err(TransactionError::Store(error)) = done else { panic!("{done:?}") };
    assert_eq!(error.refusal(), Some(&Refusal::LeaseLost));
}

#[tokio::test]
async fn work_that_ends_the_transaction_itself_is_told_so() {
    let (_files, bus) = bus(&clock()).await;
    for sql in ["COMMIT", "ROLLBACK"] {
        bus.send(Message::command("bet")).await.unwrap();
        let delivery = bus.claim(&Take::one(&["bet"])).await.unwrap().deliveries.remove(0);
        let done = delivery.transaction(move |tx| tx.execute_batch(sql)).await;
        assert!(matches!(done, Err(TransactionError::Store(Error::TransactionEnded))), "{sql}: {done:?}");
    }
    bus.send(Message::command("bet")).await.unwrap();
}

#[tokio::test]
async fn a_handler_that_settled_by_its_transaction_is_not_acked_again() {
    let bus = MemoryBus::new();
    bus.transaction(|tx| tx.execute_batch("CREATE TABLE bets (amount INTEGER)")).await.unwrap();
    bus.send(Message::command("bet")).await.unwrap();
    let handlers = Handlers::new().on_command("bet", |delivery: Delivery| async move {
        delivery.transaction(|tx| tx.execute(INSERT, [])).await.map_err(HandlerError::retryable)?;
        Ok(())
    });
    let report = bus.listen(handlers, RunOptions::new().drain()).await.unwrap();
    assert_eq!((report.acked, report.stale, report.retried), (1, 0, 0));
    assert!(bus.state().queue.is_empty());
}
