//! A sync that fails, and a power cut later.
//!
//! What a failed sync should have written is still read by running processes, and is not on the disk.
//!
//! Invariant: nothing that is acknowledged after a failed sync is lost by a later cut.
//! Does not depend on: what an act does.

use std::path::Path;

use rusqlite::config::DbConfig;
use serde::{Deserialize, Serialize};

use crate::disk::{
    CutChoice, Disk, DiskFault, DiskImage, DiskMutant, DurableContent, Event, Fate, FaultKind, Mounted,
    NameFate, Profile,
};
use crate::faults::answers;
use crate::faults::answers::{SAID, WORKS};
use crate::faults::harness::FaultStart;
use crate::faults::reboot::{RebootedProcess, booted, options, which, work};
use crate::rig::act::{Act, Moment, perform};
use crate::rig::promises::{NOTHING_LOST, Violation};
use crate::rig::recorder::{BOOT, FILE};
use crate::rig::recovery::{contents, in_words};
use crate::rig::setting::Level;
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::Store;

/// How the process goes whose sync failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Going {
    /// It closes the store.
    Closed,
    /// It is killed.
    Killed,
}

impl Going {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Closed, Self::Killed];
}

/// A disk for syncs that fail.
#[derive(Debug)]
pub struct Syncs {
    level: Level,
    mounted: Mounted,
    rebooted: RebootedProcess,
    /// A mutant that a check must notice: once a sync has failed, those of the WAL do nothing.
    pub ignored_afterwards: bool,
}

/// More changes than are ever pending.
const PENDING_MAX: usize = 4_096;

/// What a cut leaves if nothing that was pending is kept.
fn nothing_kept(disk: &Disk) -> CutChoice {
    // A file keeps its number for as long as it is in the journal; those without a name by now have one still pending.
    let last = disk.files().map(|(_, file)| file.0).max().unwrap_or_default() + 8;
    let of = |file| (crate::disk::FileId(file), vec![Fate::Lost; PENDING_MAX]);
    CutChoice { files: (0..=last).map(of).collect(), names: vec![NameFate::Lost; PENDING_MAX] }
}

impl Syncs {
    /// # Errors
    /// If SQLite refuses a disk.
    pub fn new(level: Level) -> Result<Self> {
        let mounted = Mounted::new(Disk::new(Profile::UNIX)).ok_or(Error::Closed)?;
        Ok(Self { level, mounted, rebooted: RebootedProcess::new()?, ignored_afterwards: false })
    }

    fn open(&self) -> Result<Store> {
        Store::open(Path::new(FILE), &options(&self.mounted, self.level.durability(), BOOT))
    }

    /// Does an act while the n-th call fails, and cuts the power afterwards. None if no call failed, and otherwise
    /// whether it was a sync.
    ///
    /// # Errors
    /// The broken promise.
    pub fn run(
        &mut self,
        beginning: &FaultStart,
        act: &Act,
        at: u64,
        going: Going,
    ) -> Result<Option<bool>, Violation> {
        let unprepared = |error: Error| Violation { property: WORKS, why: in_words(&error) };
        let before = &beginning.moment;
        self.mounted.disk().exchange(&beginning.left);
        let mut store = self.open().map_err(unprepared)?;
        let mut durable = DurableContent::settled(&self.mounted.disk());
        self.mounted.disk().record();
        self.mounted.disk().set_fault(Some(DiskFault { kind: FaultKind::Io, at, lasting: false }));
        let answers = perform(&mut store, act, before.next_time(), before.next_effect());
        let met = self.mounted.disk().faults_met();
        self.mounted.disk().set_fault(None);
        let events = self.mounted.disk().take_journal();
        if met == 0 {
            return Ok(None);
        }
        if !events.iter().any(|event| matches!(event, Event::SyncFailed { .. })) {
            return Ok(Some(false));
        }
        events.iter().for_each(|event| durable.advance(event));
        let mut moments = answers::possible(before, act, &answers)?;
        self.cut(&durable, before, &moments, SAID)?;

        // The process goes, and another one opens the store in the same boot.
        self.mounted.disk().record();
        if going == Going::Killed {
            // Without its last checkpoint, a store is left as a kill would leave it.
            let left = store.connection().set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            left.map_err(|error| unprepared(error.into()))?;
        }
        drop(store);
        let mut store = self.open().map_err(unprepared)?;
        let found = contents(store.connection(), false).map_err(unprepared)?;
        let mut moment = moments.swap_remove(which(&found, &moments, SAID)?);
        if self.ignored_afterwards {
            self.mounted.disk().set_lie(Some(DiskMutant::NoSyncOfWal));
        }
        let worked = work(&mut store, &mut moment);
        self.mounted.disk().set_lie(None);
        worked?;
        let events = self.mounted.disk().take_journal();
        events.iter().for_each(|event| durable.advance(event));
        drop(store);
        self.cut(&durable, &moment, std::slice::from_ref(&moment), NOTHING_LOST)?;
        Ok(Some(true))
    }

    /// Cuts the power: all that was pending is kept, or nothing of it.
    fn cut(
        &mut self,
        durable: &DurableContent,
        before: &Moment,
        moments: &[Moment],
        property: &'static str,
    ) -> Result<(), Violation> {
        let lost = nothing_kept(&self.mounted.disk());
        for (choice, all_kept) in [(CutChoice::default(), true), (lost, false)] {
            let image: DiskImage = durable.image(&choice);
            let mut may_be: Vec<Moment> = moments.iter().map(booted).collect();
            match self.level {
                // Below `PowerLoss` a cut may take what was acknowledged, and only whole.
                Level::ProcessCrash if property == NOTHING_LOST => {
                    self.rebooted.sound(&image)?;
                    continue;
                }
                Level::ProcessCrash => may_be.push(booted(before)),
                Level::PowerLoss => {}
            }
            self.rebooted.find(&image, &may_be, property).map_err(|violation| Violation {
                why: format!(
                    "with all that was pending {}: {}",
                    if all_kept { "kept" } else { "lost" },
                    violation.why
                ),
                ..violation
            })?;
        }
        Ok(())
    }
}
