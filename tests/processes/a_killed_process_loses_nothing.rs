//! Processes that work on one file are killed with SIGKILL at random moments, again and again.
//!
//! Effects that are settled in one transaction happen exactly once (G12); what was acknowledged to a sender is handled
//! at least once (G1), and what was not may be there or not, but never half. The processes are this program again, in
//! the role of an ignored test.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fencepost::{
    Bus, BusConsumer, Delivery, HandlerError, Handlers, Message, RetryPolicy, RunOptions, SqliteBus,
    TransactionError,
};

const FILE: &str = "FENCEPOST_TEST_FILE";
const FROM: &str = "FENCEPOST_TEST_FROM";
const TO: &str = "FENCEPOST_TEST_TO";

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

/// The file that this process was told to work on. The roles are run by the tests below alone.
fn told_file() -> PathBuf {
    std::env::var_os(FILE).expect("this is a role of another test, which names the file").into()
}

#[test]
#[ignore = "a role: run by the test below, in processes that are killed"]
fn role_of_a_worker_with_effects() {
    runtime().block_on(async {
        let bus = SqliteBus::open(told_file()).await.unwrap();
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
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (from, to) = (number(FROM), number(TO));
    runtime().block_on(async {
        let bus = SqliteBus::open(told_file()).await.unwrap();
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
    println!("accepted {n}");
}

#[test]
#[ignore = "a role: run by the test below, in processes that are killed"]
fn role_of_a_listener() {
    let file = told_file();
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

fn play(role: &str, file: &Path, more: &[(&str, String)], out: Stdio) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("a_killed_process_loses_nothing::{role}"), "--nocapture"])
        .env(FILE, file)
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdout(out)
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// A pinned source of chance: the moments differ from run to run all the same, as the machine's do.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn ready(file: &Path) -> u64 {
    let conn = rusqlite::Connection::open(file).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    conn.query_row("SELECT count(*) FROM queue", [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

fn pause(ms: u64) {
    let until = Instant::now() + Duration::from_millis(ms);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
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
    let role = "role_of_a_worker_with_effects";
    let mut workers: Vec<Child> = (0..2).map(|_| play(role, &file, &[], Stdio::null())).collect();
    let (mut chance, mut kills) = (Chance(17), 0);
    let rest = Instant::now() + Duration::from_secs(180);
    while ready(&file) > 0 {
        assert!(Instant::now() < rest, "{} commands are left", ready(&file));
        pause(30 + chance.below(300));
        let worker = &mut workers[usize::try_from(chance.below(2)).unwrap()];
        kill(worker);
        kills += 1;
        *worker = play(role, &file, &[], Stdio::null());
    }
    workers.iter_mut().for_each(kill);
    let conn = rusqlite::Connection::open(&file).unwrap();
    let count = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned();
    let effects = count("SELECT count(*) FROM effects");
    let distinct = count("SELECT count(DISTINCT seq) FROM effects");
    println!("{kills} kills, {effects} effects of {distinct} commands");
    assert_eq!((effects, distinct), (COMMANDS, COMMANDS));
    assert_eq!(count("SELECT count(*) FROM records"), 0, "nobody's death made a message poisonous");
    assert!(kills >= 3, "only {kills} kills: the test was too short to show anything");
}

#[test]
fn a_hundred_thousand_messages_survive_the_deaths_of_their_senders_and_listeners() {
    const MESSAGES: u64 = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bus.db");
    runtime().block_on(async { SqliteBus::open(&file).await.unwrap().close().await.unwrap() });
    let (mut chance, mut kills) = (Chance(42), 0_u32);
    let mut listener = play("role_of_a_listener", &file, &[], Stdio::null());
    let mut accepted = BTreeSet::new();
    let mut next = 0;
    while next < MESSAGES {
        let range = [(FROM, next.to_string()), (TO, MESSAGES.to_string())];
        let mut sender = play("role_of_a_sender", &file, &range, Stdio::piped());
        let lines = BufReader::new(sender.stdout.take().unwrap()).lines();
        let reading = std::thread::spawn(move || {
            let number = |line: String| line.split("accepted ").nth(1)?.trim().parse::<u64>().ok();
            lines.map_while(Result::ok).filter_map(number).collect::<Vec<u64>>()
        });
        // Sooner or later one of them gets far enough for what is left.
        let patience = 200 + chance.below(1_500);
        let until = Instant::now() + Duration::from_millis(patience);
        while Instant::now() < until && sender.try_wait().unwrap().is_none() {
            pause(50 + chance.below(200));
            if chance.below(4) == 0 {
                kill(&mut listener);
                kills += 1;
                listener = play("role_of_a_listener", &file, &[], Stdio::null());
            }
        }
        if sender.try_wait().unwrap().is_none() {
            kill(&mut sender);
            kills += 1;
        }
        accepted.extend(reading.join().unwrap());
        // The next sender begins with the first message that nobody said was accepted; those that were accepted in
        // silence are recognised by their ids.
        next = (0..).find(|n| !accepted.contains(n)).unwrap();
    }
    let rest = Instant::now() + Duration::from_secs(120);
    while ready(&file) > 0 {
        assert!(Instant::now() < rest, "{} commands are left", ready(&file));
        pause(100);
    }
    kill(&mut listener);
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
