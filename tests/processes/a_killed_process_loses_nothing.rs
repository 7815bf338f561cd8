//! Processes that work on one file are killed with SIGKILL at random moments, again and again.
//!
//! Effects that are settled in one transaction happen exactly once (G12). A message that was acknowledged to its sender
//! is handled at least once (G1). One that was not acknowledged may be there or not, but never half.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use fencepost::{
    Bus, BusConsumer, Delivery, HandlerError, Handlers, Message, RetryPolicy, RunOptions, SqliteBus,
    TransactionError,
};

use crate::kill::{Actor, Chance, pause, say, told};
use crate::role::Role;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn options() -> RunOptions {
    // A lease of a killed process comes back soon, and being killed does not make a message poisonous.
    RunOptions::new().lease(Duration::from_millis(400)).attempts_max(1_000).retry(RetryPolicy {
        first_ms: 1,
        max_ms: 10,
        seed: 1,
    })
}

#[test]
#[ignore = "a role: run by the test below, in processes that are killed"]
fn role_of_a_worker_with_effects() {
    let (file, ()) = told();
    runtime().block_on(async {
        let bus = SqliteBus::open(file).await.unwrap();
        let handlers = Handlers::new().on_command("bet", |delivery: Delivery<String>| async move {
            let (seq, bet) = (delivery.seq().get().cast_signed(), delivery.payload.clone());
            let done = delivery.transaction(move |tx| {
                tx.execute("INSERT INTO effects (seq, bet) VALUES (?1, ?2)", (seq, bet)).map(|_| ())
            });
            match done.await {
                Ok(()) => Ok(()),
                Err(TransactionError::Store(error)) if error.refusal().is_some() => Ok(()),
                Err(error) => Err(HandlerError::retryable(error)),
            }
        });
        bus.listen(handlers, options()).await.unwrap();
    });
}

#[test]
#[ignore = "a role: run by the test below, in processes that are killed"]
fn role_of_a_sender() {
    let (file, (from, to)) = told::<(u64, u64)>();
    runtime().block_on(async {
        let bus = SqliteBus::open(file).await.unwrap();
        let mut waiting = std::collections::VecDeque::new();
        for n in from..to {
            if waiting.len() == 256 {
                said(waiting.pop_front().unwrap()).await;
            }
            let message = Message::command("bet").text(n.to_string()).id(&n.to_string());
            let bus = bus.clone();
            waiting.push_back((n, tokio::spawn(async move { bus.send(message).await })));
        }
        for sent in waiting {
            said(sent).await;
        }
    });
}

/// Says that a message was accepted, once it was.
async fn said((n, sent): (u64, tokio::task::JoinHandle<fencepost::Result<fencepost::Receipt>>)) {
    sent.await.unwrap().unwrap();
    say(&n);
}

#[test]
#[ignore = "a role: run by the test below, in processes that are killed"]
fn role_of_a_listener() {
    let (file, ()) = told();
    runtime().block_on(async {
        let bus = SqliteBus::open(&file).await.unwrap();
        let handled = file.with_extension("handled");
        let handled = std::fs::OpenOptions::new().create(true).append(true).open(handled).unwrap();
        let handled = std::sync::Arc::new(handled);
        let handlers = Handlers::new().on_command("bet", move |delivery: Delivery<String>| {
            let handled = std::sync::Arc::clone(&handled);
            async move {
                (&*handled).write_all(format!("{:>10}\n", delivery.payload).as_bytes())?;
                Ok(())
            }
        });
        bus.listen(handlers, options().concurrency(64)).await.unwrap();
    });
}

/// A process that says nothing.
fn begin(role: Role, file: &Path) -> Actor<()> {
    Actor::begin(role, file, &())
}

fn ready(file: &Path) -> u64 {
    let conn = rusqlite::Connection::open(file).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    conn.query_row("SELECT count(*) FROM queue", [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

#[test]
fn effects_settled_in_one_transaction_happen_exactly_once_however_often_the_workers_are_killed() {
    const COMMANDS: u64 = 10_000;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bus.db");
    runtime().block_on(async {
        let bus = SqliteBus::open(&file).await.unwrap();
        bus.transaction(|tx| tx.execute_batch("CREATE TABLE effects (seq INTEGER, bet TEXT)")).await.unwrap();
        let sends = (0..COMMANDS).map(|n| {
            let bus = bus.clone();
            tokio::spawn(async move { bus.send(Message::command("bet").text(n.to_string())).await })
        });
        for sent in sends.collect::<Vec<_>>() {
            sent.await.unwrap().unwrap();
        }
        bus.close().await.unwrap();
    });
    let role = Role::of(role_of_a_worker_with_effects);
    let mut workers = [begin(role, &file), begin(role, &file)];
    let (mut chance, mut kills) = (Chance(17), 0);
    let rest = Instant::now() + Duration::from_secs(180);
    while ready(&file) > 0 {
        assert!(Instant::now() < rest, "{} commands are left", ready(&file));
        pause(1_000 * (30 + chance.below(300)));
        let worker = &mut workers[chance.below(2) as usize];
        std::mem::replace(worker, begin(role, &file)).kill().unwrap();
        kills += 1;
    }
    for worker in workers {
        worker.kill().unwrap();
    }
    let conn = rusqlite::Connection::open(&file).unwrap();
    let count = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned();
    let effects = count("SELECT count(*) FROM effects");
    let distinct = count("SELECT count(DISTINCT seq) FROM effects");
    println!("{kills} kills, {effects} effects of {distinct} commands");
    assert_eq!((effects, distinct), (COMMANDS, COMMANDS));
    assert_eq!(count("SELECT count(*) FROM records"), 0, "no death made a message poisonous");
    assert!(kills >= 3, "only {kills} kills: the test was too short to show anything");
}

#[test]
fn a_hundred_thousand_messages_survive_the_deaths_of_their_senders_and_listeners() {
    const MESSAGES: u64 = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bus.db");
    runtime().block_on(async { SqliteBus::open(&file).await.unwrap().close().await.unwrap() });
    let (mut chance, mut kills) = (Chance(42), 0_u32);
    let role = Role::of(role_of_a_listener);
    let mut listener = begin(role, &file);
    let mut accepted = BTreeSet::new();
    let mut next = 0;
    while next < MESSAGES {
        let mut sender = Actor::<u64>::begin(Role::of(role_of_a_sender), &file, &(next, MESSAGES));
        // Some sender gets far enough for what is left.
        let patience = 200 + chance.below(1_500);
        let until = Instant::now() + Duration::from_millis(u64::from(patience));
        while Instant::now() < until && !sender.has_ended() {
            pause(1_000 * (50 + chance.below(200)));
            if chance.one_in(4) {
                listener.kill().unwrap();
                kills += 1;
                listener = begin(role, &file);
            }
        }
        let (killed, said) = sender.kill_if_it_works().unwrap();
        kills += u32::from(killed);
        accepted.extend(said);
        // The next sender begins with the first message that was not said to be accepted; those that were accepted in
        // silence are recognised by their ids.
        next = (0..).find(|n| !accepted.contains(n)).unwrap();
    }
    let rest = Instant::now() + Duration::from_secs(120);
    while ready(&file) > 0 {
        assert!(Instant::now() < rest, "{} commands are left", ready(&file));
        pause(100_000);
    }
    listener.kill().unwrap();
    let handled = std::fs::read_to_string(file.with_extension("handled")).unwrap();
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    // A line that a kill cut short is not a number of its full width.
    for line in handled.lines().filter(|line| line.len() == 10) {
        *times.entry(line.trim().parse().unwrap()).or_default() += 1;
    }
    let again = times.values().filter(|times| **times > 1).count();
    println!(
        "{kills} kills, {} accepted, {} handled, {again} of them more than once",
        accepted.len(),
        times.len()
    );
    let lost: Vec<_> = accepted.iter().filter(|n| !times.contains_key(n)).take(5).collect();
    assert!(lost.is_empty(), "accepted and never handled: {lost:?}");
    assert_eq!(times.len() as u64, MESSAGES, "each was handled, and nothing else was");
    let conn = rusqlite::Connection::open(&file).unwrap();
    let sent: i64 = conn.query_row("SELECT queue_last FROM store", [], |row| row.get(0)).unwrap();
    assert_eq!(sent.cast_unsigned(), MESSAGES, "a repeated send under its id added nothing");
    assert!(kills >= 3, "only {kills} kills: the test was too short to show anything");
}
