//! A watcher tells a waiting consumer of the commits of other processes. While no consumer waits, it does not look.
//!
//! Nothing here is timed: what has to happen may take half a minute. The example `wake_up` measures how soon it happens.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use fencepost::internals::sqlite::{Look, OpenOptions, Store, Watcher, Way};
use fencepost_model::op::Op;
use fencepost_model::vocabulary::{Kind, Message, Name, Timestamp};

use crate::role::{self, Role};

const PATIENCE: Duration = Duration::from_secs(30);

/// With this, only an event leads to a second look.
const ONLY_EVENTS: Way = Way {
    listen: true,
    gap_min: Duration::from_millis(1),
    gap_max: Duration::from_secs(3_600),
    gap_percent: u32::MAX,
};

/// A watcher whose looks can be counted, and the number of those who wait.
struct Watched {
    watcher: Watcher,
    waiting: Arc<AtomicUsize>,
    looks: Receiver<()>,
}

impl Watched {
    fn new(way: Way, path: &Path, waiting: usize) -> Self {
        let (look, looks) = channel();
        let waiting = Arc::new(AtomicUsize::new(waiting));
        let watcher = Watcher::start_in(way, path, Arc::clone(&waiting), move || match look.send(()) {
            Ok(()) => Look::Unchanged,
            Err(_) => Look::Gone,
        });
        Self { watcher: watcher.unwrap(), waiting, looks }
    }

    fn wait(&self) {
        self.waiting.store(1, Ordering::SeqCst);
        self.watcher.poke();
    }

    fn expect_a_look(&self, why: &str) {
        self.looks.recv_timeout(PATIENCE).expect(why);
    }

    /// Waits until no looks come any more.
    fn settle(&self) {
        while self.looks.recv_timeout(Duration::from_millis(300)).is_ok() {}
    }
}

fn send(store: &mut Store) {
    let message = Arc::new(Message::new(Kind::Command, Name::new("place.bet").unwrap(), *b"17 on red"));
    store.apply(Timestamp::from(0), &Op::Send { message, delay_ms: 0 }).unwrap();
}

fn file(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("bus.db");
    drop(Store::open(&path, &OpenOptions::default()).unwrap());
    path
}

/// Another process that opens the file, sends so many commands and closes it.
fn other_process(path: &Path, sends: u32) -> Command {
    let mut command = Role::of(the_other_process).command(path);
    command.env("FENCEPOST_TEST_SENDS", sends.to_string());
    command
}

#[test]
#[ignore = "it is what the others start as another process"]
fn the_other_process() {
    let Some(path) = role::file() else { return };
    let sends = std::env::var("FENCEPOST_TEST_SENDS").unwrap().parse().unwrap();
    let mut store = Store::open(path, &OpenOptions::default()).unwrap();
    for _ in 0..sends {
        std::thread::park_timeout(Duration::from_millis(20));
        send(&mut store);
    }
}

/// Waits in this way for commits of another process, as a bus does.
fn woken(way: Way, sends: u32) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let store = Store::open(&path, &OpenOptions::default()).unwrap();
    let version = move || -> i64 {
        store.connection().pragma_query_value(None, "data_version", |row| row.get(0)).unwrap()
    };
    let (mut before, (wake, woken)) = (version(), channel());
    let watcher = Watcher::start_in(way, &path, Arc::new(AtomicUsize::new(1)), move || {
        let changed = std::mem::replace(&mut before, version()) != before;
        if changed && wake.send(()).is_err() {
            return Look::Gone;
        }
        if changed { Look::Changed } else { Look::Unchanged }
    });
    let mut other = other_process(&path, sends).stdout(Stdio::null()).spawn().unwrap();
    let woken = woken.recv_timeout(PATIENCE).is_ok();
    assert!(other.wait().unwrap().success());
    drop(watcher.unwrap());
    woken
}

#[test]
fn one_commit_of_another_process_wakes_whoever_waits() {
    assert!(woken(Way::BEST, 1), "by events");
    assert!(woken(Way::DEAF, 1), "by polling");
}

/// Each event leads to one look, which may come before its commit can be seen; then the next one shows it.
#[test]
#[cfg(target_os = "linux")]
fn events_alone_wake_whoever_waits() {
    assert!(woken(ONLY_EVENTS, 50));
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_was_deleted_and_made_anew_is_still_heard() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let log = directory.path().join("bus.db-wal");
    let watched = Watched::new(ONLY_EVENTS, &path, 1);
    for round in ["made", "made anew"] {
        watched.settle();
        assert!(!log.exists(), "whoever closes the file last deletes the log");
        Role::of(the_other_process).play(&mut other_process(&path, 3));
        watched.expect_a_look(round);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn where_listening_ends_polling_begins() {
    let directory = tempfile::tempdir().unwrap();
    let watched = Watched::new(ONLY_EVENTS, &file(&directory), 1);
    watched.settle();
    directory.close().unwrap();
    for _ in 0..3 {
        watched.expect_a_look("polling needs no event");
    }
}

#[test]
fn while_nobody_waits_nobody_looks() {
    for way in [Way::BEST, Way::DEAF, Way::poll(Duration::from_millis(1))] {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory);
        let watched = Watched::new(way, &path, 0);
        Role::of(the_other_process).play(&mut other_process(&path, 10));
        assert!(watched.looks.try_recv().is_err(), "a look for nobody");
        watched.wait();
        watched.expect_a_look("somebody waits now");
    }
}

/// The frames of a commit may be written while no consumer waits, and the commit be seen only after one does.
#[test]
#[cfg(target_os = "linux")]
fn what_was_written_while_nobody_waited_is_looked_for_when_somebody_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let watched = Watched::new(ONLY_EVENTS, &path, 0);
    watched.wait();
    watched.expect_a_look("the first one needs no event");
    watched.settle();
    watched.waiting.store(0, Ordering::SeqCst);
    Role::of(the_other_process).play(&mut other_process(&path, 3));
    // Long enough for the events to be taken while no consumer waits, and not only at the poke.
    assert!(watched.looks.recv_timeout(Duration::from_millis(300)).is_err(), "a look for nobody");
    watched.wait();
    watched.expect_a_look("the events before the poke were heard");
}

#[test]
fn a_dropped_watcher_has_ended_its_thread() {
    for (way, waiting) in [(Way::BEST, 0), (Way::BEST, 1), (Way::DEAF, 0), (ONLY_EVENTS, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory);
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let watcher = Watcher::start_in(way, &path, Arc::new(AtomicUsize::new(waiting)), move || {
            let _ = &held;
            Look::Unchanged
        });
        let (end, ended) = channel();
        std::thread::spawn(move || {
            // It has gone to sleep by now, so that it is the drop that wakes it.
            std::thread::park_timeout(Duration::from_millis(100));
            drop(watcher.unwrap());
            end.send(())
        });
        ended.recv_timeout(PATIENCE).expect("it stops");
        assert_eq!(Arc::strong_count(&alive), 1, "the thread has let go of its look");
    }
}

fn is_let_go(alive: &Weak<()>) -> bool {
    (0..3_000).any(|_| {
        std::thread::park_timeout(Duration::from_millis(10));
        alive.strong_count() == 0
    })
}

#[test]
fn where_there_is_nothing_to_look_at_any_more_the_thread_ends() {
    let directory = tempfile::tempdir().unwrap();
    let held = Arc::new(());
    let alive = Arc::downgrade(&held);
    let watcher = Watcher::start(&file(&directory), Arc::new(AtomicUsize::new(1)), move || {
        let _ = &held;
        Look::Gone
    });
    assert!(is_let_go(&alive));
    drop(watcher.unwrap());
}

#[test]
fn a_look_may_drop_the_watcher() {
    let directory = tempfile::tempdir().unwrap();
    let held = Arc::new(());
    let alive = Arc::downgrade(&held);
    let place: Arc<Mutex<Option<Watcher>>> = Arc::default();
    let its_place = Arc::clone(&place);
    let watcher = Watcher::start(&file(&directory), Arc::new(AtomicUsize::new(1)), move || {
        let _ = &held;
        drop(its_place.lock().unwrap().take());
        Look::Unchanged
    });
    *place.lock().unwrap() = Some(watcher.unwrap());
    assert!(is_let_go(&alive));
    assert!(place.lock().unwrap().is_none(), "it was the look that dropped it");
}
