//! Operations that share a transaction. One that fails takes no other with it, and no caller hears of success before the
//! commit.

use std::sync::Arc;

use fencepost::internals::sqlite::{OpenOptions, StatementId, Statements, Store};
use fencepost::{Bus, Error, Message, SqliteBus, Timestamp};
use fencepost_model::op::{Op, Refusal, Reply};

fn send(payload: &[u8], id: &str) -> Op {
    let (message, delay_ms) = Message::command("bet").payload(payload).id(id).build().expect("a message");
    Op::Send { message: Arc::new(message), delay_ms }
}

fn at() -> Timestamp {
    Timestamp::from(1_000)
}

fn accepted(replies: &[fencepost::Result<Reply>]) -> Vec<bool> {
    replies.iter().map(|reply| matches!(reply, Ok(Reply::Accepted { fresh: true, .. }))).collect()
}

#[test]
fn a_refused_operation_leaves_its_neighbours_in_place() {
    let mut store = Store::in_memory().unwrap();
    let (one, conflict, two) = (send(b"1", "a"), send(b"2", "a"), send(b"3", "b"));
    let replies = store.apply_all(at, &[&one, &conflict, &two]);
    assert_eq!(accepted(&replies), [true, false, true]);
    assert!(matches!(replies[1], Ok(Reply::Refused(Refusal::Conflict { .. }))));
    assert_eq!(store.snapshot().unwrap().queue.len(), 2);
}

#[test]
fn an_operation_that_fails_half_way_leaves_no_half_behind() {
    let mut store = Store::in_memory().unwrap();
    // The command is inserted, and remembering its id fails.
    let broken = Statements::standard().replaced(StatementId::IdRemember, "INSERT INTO nowhere VALUES (1)");
    store = store.with_statements(broken);
    let (plain, named) = (Message::command("bet").build().unwrap().0, send(b"2", "a"));
    let plain = Op::Send { message: Arc::new(plain), delay_ms: 0 };
    let replies = store.apply_all(at, &[&plain, &named, &plain]);
    assert_eq!(accepted(&replies), [true, false, true]);
    assert!(matches!(replies[1], Err(Error::Sqlite { .. })), "{:?}", replies[1]);
    let state = store.snapshot().unwrap();
    let seqs: Vec<_> = state.queue.keys().map(|seq| seq.get()).collect();
    assert_eq!(seqs, [1, 2], "its number was given back as well: numbers are dense");
}

#[test]
fn a_full_disk_fails_those_that_do_not_fit_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path().join("bus.db"), &OpenOptions::default()).unwrap();
    let pages: i64 = store.connection().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection().pragma_update(None, "max_page_count", pages + 20).unwrap();
    let large = vec![7; 1 << 18];
    let ops = [send(b"1", "a"), send(&large, "b"), send(b"3", "c"), send(&large, "d"), send(b"5", "e")];
    let replies = store.apply_all(at, &ops.iter().collect::<Vec<_>>());
    assert_eq!(accepted(&replies), [true, false, true, false, true]);
    for reply in [&replies[1], &replies[3]] {
        assert!(matches!(reply, Err(Error::Full)), "{reply:?}");
    }
    let state = store.snapshot().unwrap();
    assert_eq!(state.queue.len(), 3);
    assert_eq!(state.command_ids.len(), 3, "an id whose message is not there was not remembered");
    // It works again as soon as there is room.
    store.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    assert!(matches!(store.apply(at(), &ops[1]), Ok(Reply::Accepted { fresh: true, .. })));
}

#[tokio::test]
async fn callers_that_share_a_commit_hear_each_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let builder = SqliteBus::builder(directory.path().join("bus.db")).payload_bytes_max(100);
    let bus = builder.open().await.unwrap();
    let sends = (0..200).map(|n: u32| {
        let bus = bus.clone();
        tokio::spawn(async move {
            // Every third is a conflict with the one before it, every fifth is too large.
            let id = format!("id-{}", if n % 3 == 1 { n - 1 } else { n });
            let payload = if n % 5 == 4 { vec![0; 101] } else { n.to_be_bytes().to_vec() };
            (n, bus.send(Message::command("bet").payload(payload).id(&id)).await)
        })
    });
    let mut accepted = 0;
    for sent in sends.collect::<Vec<_>>() {
        match sent.await.unwrap() {
            (n, Ok(receipt)) => {
                assert!(receipt.fresh && n % 5 != 4, "{n}");
                accepted += 1;
            }
            (n, Err(Error::PayloadTooLarge { bytes: 101, bytes_max: 100 })) => assert_eq!(n % 5, 4),
            (n, Err(error)) => {
                assert!(
                    n % 3 < 2 && matches!(error.refusal(), Some(Refusal::Conflict { .. })),
                    "{n} {error}"
                );
            }
        }
    }
    assert_eq!(bus.overview().await.unwrap().queue.ready, accepted);
    assert!(accepted > 80, "{accepted}");
}

#[tokio::test]
async fn a_bus_that_was_closed_says_so_and_loses_nothing_that_it_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let bus = SqliteBus::open(&path).await.unwrap();
    let clone = bus.clone();
    bus.send(Message::command("bet")).await.unwrap();
    bus.close().await.unwrap();
    assert!(matches!(clone.send(Message::command("bet")).await, Err(Error::Closed)));
    let bus = SqliteBus::open(&path).await.unwrap();
    assert_eq!(bus.overview().await.unwrap().queue.ready, 1);
    let blocking = bus.blocking();
    let sent = tokio::task::spawn_blocking(move || blocking.send(Message::command("bet").text("18")));
    assert!(sent.await.unwrap().unwrap().fresh);
}

#[tokio::test]
async fn a_bus_whose_last_clone_ends_with_work_on_its_own_thread_ends_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let bus = SqliteBus::open(&path).await.unwrap();
    // A consumer sleeps, so the watcher looks again and again.
    let sleeper = tokio::spawn({
        let bus = bus.clone();
        let handlers =
            fencepost::Handlers::new().on_command("bet", |_: fencepost::Delivery| async { Ok(()) });
        async move { fencepost::BusConsumer::listen(&bus, handlers, fencepost::RunOptions::new()).await }
    });
    let (ended, end) = tokio::sync::oneshot::channel();
    let (began, begin) = std::sync::mpsc::channel::<()>();
    let last = bus.clone();
    let work = move |_: &fencepost::Tx<'_>| {
        // Until the caller has gone away, and with it every other clone.
        let _ = begin.recv();
        drop(last);
        let _ = ended.send(());
        Ok::<(), ()>(())
    };
    let asked = tokio::spawn(async move { bus.transaction(work).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    asked.abort();
    sleeper.abort();
    let _ = (asked.await, sleeper.await);
    began.send(()).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(30), end).await.expect("it ends").unwrap();
}
