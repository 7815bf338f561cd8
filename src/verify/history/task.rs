//! The task of a client: it works on a real file until it is done or killed.
//!
//! Invariant: a call is written before it begins, its answer after it has ended, at once and in one piece. The client
//! takes the time from the shared clock, moved by an offset of its own that jumps.
//! Does not depend on: when it is killed, and what is allowed.

use std::path::PathBuf;

use fencepost_model::vocabulary::Timestamp;
use serde::{Deserialize, Serialize};

use crate::history::client::{HistoryClient, Theme};
use crate::history::journal::{Journal, pause, run_correctly};
use crate::history::mutant::{HistoryMutant, run_mutant, statements};
use crate::history::record::{HistoryAnswer, HistoryChance, JournalLine, clock_ns};
use crate::rig::recovery::in_words;
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Durability, OpenOptions, Store};

/// What a client has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTask {
    /// The store.
    pub file: PathBuf,
    /// The file that it writes what it does into.
    pub journal: PathBuf,
    /// The seed of the whole history.
    pub seed: u64,
    /// Its seat.
    pub lane: u32,
    /// Which client of this seat it is.
    pub life: u32,
    /// How many operations it does.
    pub operations: u32,
    /// What it is about.
    pub theme: Theme,
    /// How long it waits for a lock, in milliseconds.
    pub patience_ms: u32,
    /// When the history began, in nanoseconds of the shared clock.
    pub began_ns: u64,
    /// The mutant that it makes.
    pub mutant: Option<HistoryMutant>,
}

/// How every client opens the file. No opening is that of another boot, so none changes anything.
pub(super) fn options(part: &ClientTask) -> OpenOptions {
    OpenOptions {
        // Both levels side by side: a killed process may lose nothing at either.
        durability: if part.lane.is_multiple_of(2) {
            Durability::PowerLoss
        } else {
            Durability::ProcessCrash
        },
        busy_timeout_ms: part.patience_ms,
        boot_id: Some("one boot".to_owned()),
        ..OpenOptions::default()
    }
}

/// The time as one client has it.
pub(super) struct ClientClock {
    began_ns: u64,
    chance: HistoryChance,
    offset_ms: u64,
    stands_at: Option<Timestamp>,
}

/// When the histories begin, in milliseconds since the Unix epoch: any time will do.
pub(super) const EPOCH_MS: u64 = 1_000_000;

/// How far apart the clocks of the clients are at most, in milliseconds: several leases.
const SKEW_MS: u64 = 120;

impl ClientClock {
    pub(super) fn new(part: &ClientTask) -> Self {
        let mut chance = HistoryChance::new(part.seed, &[7, u64::from(part.lane), u64::from(part.life)]);
        // Half of the clients agree on the time until one of their clocks jumps.
        let offset_ms = if part.lane.is_multiple_of(2) { SKEW_MS / 2 } else { chance.below(SKEW_MS) };
        Self { began_ns: part.began_ns, chance, offset_ms, stands_at: None }
    }

    /// The time now: it advances, jumps either way, or stands still.
    pub(super) fn now(&mut self) -> Timestamp {
        if self.chance.one_in(24) {
            self.offset_ms = self.chance.below(SKEW_MS);
        }
        let passed_ms = clock_ns().saturating_sub(self.began_ns) / 1_000_000;
        let now = Timestamp::ZERO.plus(EPOCH_MS + passed_ms + self.offset_ms);
        if self.chance.one_in(12) {
            self.stands_at = if self.stands_at.is_some() { None } else { Some(now) };
        }
        self.stands_at.unwrap_or(now)
    }
}

/// How often the opening of a file is tried that others have locked.
const OPENINGS_MAX: u32 = 2_000;

fn open(part: &ClientTask) -> Result<Store> {
    let options = options(part);
    let mut tries = 0;
    let store = loop {
        match Store::open(&part.file, &options) {
            Err(Error::Busy) if tries < OPENINGS_MAX => tries += 1,
            opened => break opened?,
        }
        pause(500);
    };
    // Checkpoints happen often, beside readers and killed clients.
    let pages = if part.lane.is_multiple_of(3) { 4 } else { 200 };
    store.connection().pragma_update(None, "wal_autocheckpoint", pages)?;
    Ok(match part.mutant {
        Some(mutant) => statements(mutant, store),
        None => store,
    })
}

/// Runs a task to its end.
///
/// # Errors
/// If the file cannot be opened, or the journal not written.
pub fn run_task(part: &ClientTask) -> Result<()> {
    let mut journal = Journal::create(&part.journal)?;
    let mut client = HistoryClient::new(part.seed, part.lane, part.life, part.theme);
    let mut watch = ClientClock::new(part);
    let mut chance = HistoryChance::new(part.seed, &[11, u64::from(part.lane), u64::from(part.life)]);
    let mut store = open(part)?;
    for _ in 0..part.operations {
        let op = client.next();
        let now = watch.now();
        journal.write(&JournalLine::Called { at_ns: clock_ns(), now, op: op.clone() })?;
        let done = match part.mutant {
            Some(mutant) => run_mutant(mutant, &mut store, &mut journal, &mut chance, now, &op),
            None => run_correctly(&mut store, now, &op),
        };
        let (answer, lost) = answered(done);
        journal.write(&JournalLine::Answered { at_ns: clock_ns(), answer: answer.clone() })?;
        if let HistoryAnswer::Replied { reply, .. } = &answer {
            client.learn(&op, reply);
        }
        if lost {
            drop(store);
            store = open(part)?;
        }
    }
    store.close()
}

/// What an outcome is in a history, and whether the store is lost with it.
pub(super) fn answered(done: Result<HistoryAnswer>) -> (HistoryAnswer, bool) {
    match done {
        Ok(answer) => (answer, false),
        Err(Error::Busy) => (HistoryAnswer::Busy, false),
        Err(Error::Indeterminate { .. }) => (HistoryAnswer::Indeterminate, true),
        Err(error) => (HistoryAnswer::Failed(in_words(&error)), true),
    }
}
