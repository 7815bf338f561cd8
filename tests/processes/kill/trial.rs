//! One file after the other, one process at a time. Each is killed at a random moment, and what it leaves is checked
//! against what it said.
//!
//! Invariant: the file holds the state after all that was acknowledged, or that with the one operation that was in
//! flight.
//!
//! Does not depend on: any rule of the bus (the course has them).

use std::path::Path;

use fencepost::Error;
use fencepost::check::{Finding, check};
use fencepost::internals::sqlite::Store;
use fencepost_model::state::State;
use rusqlite::config::DbConfig;

use crate::kill::course::{Course, Fate, Progress};
use crate::kill::writer::{Line, Part, options};
use crate::kill::{Actor, Broken, Chance, Failure, Fault, HALF, pause};
use crate::role::Role;

/// What is tried.
pub(crate) struct Trial {
    pub(crate) role: Role,
    /// Whether each commit is synced.
    pub(crate) synced: bool,
    pub(crate) seed: u64,
    pub(crate) kills: u32,
    pub(crate) fault: Option<Fault>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) kills: u32,
    pub(crate) files: u32,
    /// Operations that were written into a pipe as done.
    pub(crate) acknowledged: usize,
    /// Kills before the file was open: at its creation, its recovery, or earlier.
    pub(crate) while_opening: u32,
    /// Kills between two operations.
    pub(crate) between: u32,
    /// Kills while an operation was in flight that was found done, ...
    pub(crate) in_flight_done: u32,
    /// ... that was found not done, ...
    pub(crate) in_flight_undone: u32,
    /// ... or that would have left no trace.
    pub(crate) in_flight_traceless: u32,
    /// Kills after which the test did not look, so that the next process recovered the file.
    pub(crate) unseen: u32,
}

impl Figures {
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight_done + self.in_flight_undone + self.in_flight_traceless
    }
}

/// How many processes work on one file, one after the other.
const LIVES: u32 = 40;
/// How much each is told to do; it is killed long before the end.
const TASKS: usize = 64;

impl Trial {
    /// Kills until something is wrong, or it was done often enough.
    pub(crate) fn run(&self) -> Result<Figures, Box<Failure>> {
        let mut figures = Figures::default();
        let mut moments = Chance(self.seed);
        while figures.kills < self.kills {
            let played = self.play_file(&mut moments, &mut figures);
            played.map_err(|broken| Box::new(Failure { broken, seed: self.seed, kill: figures.kills }))?;
        }
        Ok(figures)
    }

    /// One file, from its creation on.
    fn play_file(&self, moments: &mut Chance, figures: &mut Figures) -> Result<(), Broken> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bus.db");
        figures.files += 1;
        let mut course = Course::new(self.seed.wrapping_add(u64::from(figures.files) << 32));
        let mut created = false;
        for life in 0..LIVES {
            if figures.kills == self.kills {
                break;
            }
            // With few pages the WAL is copied into the file, and begun anew, all the time.
            let checkpoint_pages = [4, 30, 1_000][moments.below(3) as usize];
            let (synced, fault, tasks) = (self.synced, self.fault, course.next(TASKS));
            let part = Part { synced, checkpoint_pages, tasks, fault, life };
            let mut actor = Actor::begin(self.role, &file, &part);
            wait(&mut actor, moments, life == 0);
            figures.kills += 1;
            let heard = actor.kill()?;
            let progress = progress(&heard);
            figures.acknowledged += progress.acknowledged.len();
            let opened = heard.contains(&Line::Opened);
            created |= opened;
            // Where it is certain what the file holds, the next process may be the one that recovers it.
            if life + 1 < LIVES && moments.one_in(3) && course.believe(&progress) {
                figures.unseen += 1;
                *(if opened { &mut figures.between } else { &mut figures.while_opening }) += 1;
                continue;
            }
            if moments.one_in(4) {
                check_as_left(&file, created)?;
            }
            let found = look(&file, self.synced, moments.one_in(2))?;
            *match course.check(&progress, &found)? {
                Fate::None if opened => &mut figures.between,
                Fate::None => &mut figures.while_opening,
                Fate::Done => &mut figures.in_flight_done,
                Fate::Undone => &mut figures.in_flight_undone,
                Fate::Traceless => &mut figures.in_flight_traceless,
            } += 1;
        }
        Ok(())
    }
}

/// Waits for the moment of the kill: any time after the beginning of the process, or shortly after it has done
/// something.
fn wait(actor: &mut Actor<Line>, moments: &mut Chance, creates: bool) {
    if moments.one_in(if creates { 2 } else { 4 }) {
        pause(moments.below(if creates { 12_000 } else { 6_000 }));
        return;
    }
    actor.listen(1, |line| *line == Line::Opened);
    actor.listen(moments.below(16), |line| matches!(line, Line::Done(_)));
    pause(moments.below(1_500));
}

fn progress(heard: &[Line]) -> Progress {
    let mut progress = Progress::default();
    for line in heard {
        match line {
            Line::Opened => {}
            Line::Begins => progress.in_flight = true,
            Line::Done(gist) => {
                progress.in_flight = false;
                progress.acknowledged.push(*gist);
            }
        }
    }
    progress
}

/// Checks the file as the kill left it, before any recovery. One that was perhaps never created may be none.
pub(crate) fn check_as_left(file: &Path, created: bool) -> Result<(), Broken> {
    let not_yet = |finding: &Finding| !created && *finding == Finding::Interrupted;
    let why = match check(file) {
        Ok(report) => match report.findings.iter().find(|finding| !not_yet(finding)) {
            Some(finding) => format!("a check of what the kill left finds: {finding}"),
            None => return Ok(()),
        },
        Err(Error::NotFound) if !created => return Ok(()),
        Err(error) => format!("what the kill left cannot be checked: {error} ({error:?})"),
    };
    Err(Broken::new(HALF, why))
}

/// Opens the file, which recovers it, and reads all of it. If the WAL is left, the next process recovers once more.
pub(crate) fn look(file: &Path, synced: bool, leave_wal: bool) -> Result<State, Broken> {
    let looked = || -> fencepost::Result<(String, State)> {
        let store = Store::open(file, &options(synced))?;
        let conn = store.connection();
        let sound = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave_wal)?;
        let found = store.snapshot()?;
        store.close()?;
        Ok((sound, found))
    };
    match looked() {
        Ok((sound, found)) if sound == "ok" => Ok(found),
        Ok((lines, _)) => Err(Broken::new(HALF, format!("SQLite finds the file malformed: {lines}"))),
        Err(error) => Err(Broken::new(HALF, format!("the file cannot be read: {error} ({error:?})"))),
    }
}
