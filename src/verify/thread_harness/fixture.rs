//! The fixture: a simulated disk, a bus on it, and a second connection that reads the file or commits to it, as another
//! process does.
//!
//! Invariant: the bus is opened with all of its threads, by the library's own builder, and each run begins with the same
//! disk.
//! Does not depend on: the scenarios, how schedules are chosen.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::{Body, State};
use fencepost_model::vocabulary::{Kind, Message as Stored, Name, Seq};

use crate::disk::{Disk, DiskImage, Mounted, Profile};
use crate::rig::recorder::{BOOT, FILE};
use crate::thread_harness::tasks::{TaskClock, TaskScheduler};
use crate::threads::promises::PromiseBroken;
use crate::threads::promises::{ANSWERED, BEFORE_COMMIT, DENIED, OWN_ANSWER};
use fencepost::clock::Clock as _;
use fencepost::error::{Error, Result};
use fencepost::internals::bus::Bus;
use fencepost::internals::bus::sqlite::SqliteBus;
use fencepost::internals::sqlite::{OpenOptions, Store};

/// The name of the commands and events in all scenarios.
pub(super) const NAME: &str = "work";

/// Another name, which no consumer handles.
pub(super) const OTHER: &str = "other";

/// A fixture. It is reset before each run.
pub(super) struct Fixture {
    pub(super) tasks: TaskScheduler,
    pub(super) clock: Arc<TaskClock>,
    /// The connection of another process. It stays open over all runs, and the disk is exchanged under it.
    elsewhere: Mutex<Store>,
    mounted: Mounted,
    empty: DiskImage,
    /// The answer to each command that was sent, by its text.
    answers: Mutex<Vec<(String, SendAnswer)>>,
}

/// The answer to a command that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SendAnswer {
    /// It is stored, under this number.
    Done(Seq),
    /// It is not stored: the bus is closed.
    Closed,
    /// It is unknown whether it is stored.
    Unknown,
}

impl Fixture {
    pub(super) fn new(tasks: TaskScheduler) -> Result<Self> {
        let mounted = Mounted::new(Disk::new(Profile::UNIX)).ok_or(Error::Closed)?;
        let elsewhere = Store::open(Path::new(FILE), &options(&mounted))?;
        let empty = mounted.disk().image();
        let elsewhere = Mutex::new(elsewhere);
        let clock = Arc::new(TaskClock(tasks.clone()));
        Ok(Self { tasks, clock, elsewhere, mounted, empty, answers: Mutex::default() })
    }

    /// Resets the fixture for the next run.
    pub(super) fn reset(&self) {
        self.mounted.disk().exchange(&self.empty);
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Opens a bus on the disk. Its threads have begun, and wait.
    pub(super) fn bus(&self, waiting_max: usize) -> Result<SqliteBus> {
        let options = options(&self.mounted);
        let bus = SqliteBus::builder(FILE)
            .clock(Arc::clone(&self.clock) as _)
            .waiting_max(waiting_max)
            .lease(std::time::Duration::from_millis(30))
            .store_options(|its| *its = options)
            .open_blocking()?;
        self.tasks.until_quiet();
        Ok(bus)
    }

    fn elsewhere(&self) -> MutexGuard<'_, Store> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committed state.
    pub(super) fn committed(&self) -> Result<State> {
        self.elsewhere().snapshot()
    }

    /// The number of transactions that changed something.
    pub(super) fn commits(&self) -> Result<u64> {
        self.elsewhere().commit_seq()
    }

    /// Applies an operation on the second connection, as another process does.
    pub(super) fn commit_elsewhere(&self, op: &Op) -> Result<Reply> {
        self.elsewhere().apply(self.clock.now(), op)
    }

    /// Sends a command with this text, and checks the answer as soon as it arrives.
    pub(super) async fn send(&self, bus: &SqliteBus, text: &str) {
        let sent = bus.backend().apply_all(vec![command(NAME, text)]).await.pop();
        self.answered(text, sent.unwrap_or(Err(Error::Closed)));
    }

    /// Notes and checks the answer to a command with this text.
    pub(super) fn answered(&self, text: &str, answer: Result<Reply>) {
        let answer = match answer {
            Ok(Reply::Accepted { seq, .. }) => SendAnswer::Done(seq),
            Err(Error::Closed) => SendAnswer::Closed,
            Err(Error::Indeterminate { .. }) => SendAnswer::Unknown,
            other => {
                let why = format!("{text} was answered {other:?}");
                return self.tasks.caught(PromiseBroken::new(ANSWERED, why));
            }
        };
        self.tasks.note(match &answer {
            SendAnswer::Done(seq) => format!("is answered: {text} is there, at {seq}"),
            SendAnswer::Closed => format!("is answered: {text} was not sent"),
            SendAnswer::Unknown => format!("is answered: {text} is indeterminate"),
        });
        if let SendAnswer::Done(seq) = &answer {
            match self.committed() {
                Ok(state) => self.check_stored(&state, text, *seq),
                Err(error) => self.tasks.caught(PromiseBroken::new(ANSWERED, error.to_string())),
            }
        }
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push((text.to_owned(), answer));
    }

    /// Checks that the command is stored as answered. (No scenario that sends in this way removes a command.)
    fn check_stored(&self, state: &State, text: &str, seq: Seq) {
        let found = state.queue.get(&seq).map(|command| text_of(&command.body));
        let (promise, found) = match found {
            Some(found) if found == text => return,
            Some(found) => (OWN_ANSWER, format!("{found} is there")),
            None => (BEFORE_COMMIT, "nothing has been committed there".to_owned()),
        };
        self.tasks
            .caught(PromiseBroken::new(promise, format!("{text} was answered with {seq}, and {found}")));
    }

    /// The answers so far.
    pub(super) fn answers(&self) -> Vec<(String, SendAnswer)> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks all answers against the final state. If no task closes the bus, every command must be stored.
    pub(super) fn check_answers(&self, asked: usize, closes: bool) -> std::result::Result<(), PromiseBroken> {
        let answers = self.answers();
        if answers.len() != asked {
            let why = format!("{} of {asked} requests were answered", answers.len());
            return Err(PromiseBroken::new(ANSWERED, why));
        }
        let state = self.committed().map_err(|error| PromiseBroken::new(ANSWERED, error.to_string()))?;
        for (text, answer) in answers {
            let there = state.queue.values().filter(|command| text_of(&command.body) == text).count();
            match answer {
                SendAnswer::Closed | SendAnswer::Unknown if !closes => {
                    let why = format!("{text} was answered with {answer:?}, and no task has closed the bus");
                    return Err(PromiseBroken::new(ANSWERED, why));
                }
                SendAnswer::Done(_) if there != 1 => {
                    let why = format!("{text} was answered as done, and is there {there} times");
                    return Err(PromiseBroken::new(BEFORE_COMMIT, why));
                }
                SendAnswer::Closed if there != 0 => {
                    return Err(PromiseBroken::new(
                        DENIED,
                        format!("{text} was answered as not done, and is there"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Sends a command with this text.
pub(super) fn command(name: &str, text: &str) -> Op {
    Op::Send { message: stored(Kind::Command, name, text), delay_ms: 0 }
}

/// Publishes an event with this text.
pub(super) fn event(name: &str, text: &str) -> Op {
    Op::Publish { message: stored(Kind::Event, name, text) }
}

#[expect(clippy::unwrap_used, reason = "the names in all scenarios are valid")]
fn stored(kind: Kind, name: &str, text: &str) -> Arc<Stored> {
    Arc::new(Stored::new(kind, Name::new(name).unwrap(), text.as_bytes()))
}

fn text_of(body: &Body) -> String {
    match body {
        Body::Sound { message, .. } => String::from_utf8_lossy(&message.payload).into_owned(),
        Body::Corrupt { .. } | Body::Unreadable { .. } => "what cannot be read".to_owned(),
    }
}

fn options(mounted: &Mounted) -> OpenOptions {
    OpenOptions {
        boot_id: Some(BOOT.to_owned()),
        vfs: Some(mounted.name().to_owned()),
        busy_timeout_ms: 0,
        ..OpenOptions::default()
    }
}
