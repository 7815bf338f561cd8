//! Positive controls: mutants of the disk and of the store, each of which must be caught by the promise named for it.
//!
//! Invariant: the promise is written down before the search; a control that is missed fails the run.

use crate::crash::case::CrashCase;
use crate::crash::images::{BATCH, COPY, EFFECTS};
use crate::crash::search::{BrokenByCut, CutLimits, CutSearch};
use crate::disk::{Budget, DiskMutant, Profile};
use crate::rig::act::{Act, next};
use crate::rig::promises::{NOTHING_LOST, SOUND, TOKENS};
use crate::rig::recorder::{DiskRecorder, StartPoint, Unrecorded};
use crate::rig::setting::{Level, RigMutant, Setting};
use fencepost::error::Result;

/// A mutant, and the promise that must catch it.
#[derive(Clone, Copy, Debug)]
pub struct CrashControl {
    /// What the mutant does, a sentence.
    pub name: &'static str,
    /// The circumstances.
    pub setting: Setting,
    /// The scope that it begins with; none for a disk without a store.
    start: Option<&'static str>,
    /// The kinds of acts that are done, in this order.
    acts: &'static [&'static str],
    /// The promise that must be found broken.
    pub breaks: &'static str,
}

const QUEUE: Option<&str> = Some("cuts-queue");

const fn of_disk(
    name: &'static str,
    mutant: DiskMutant,
    start: Option<&'static str>,
    acts: &'static [&'static str],
    breaks: &'static str,
) -> CrashControl {
    let setting =
        Setting { level: Level::PowerLoss, profile: Profile::UNIX, mutant: Some(RigMutant::Disk(mutant)) };
    CrashControl { name, setting, start, acts, breaks }
}

const fn of_store(
    name: &'static str,
    mutant: RigMutant,
    level: Level,
    acts: &'static [&'static str],
    breaks: &'static str,
) -> CrashControl {
    let setting = Setting { level, profile: Profile::UNIX, mutant: Some(mutant) };
    CrashControl { name, setting, start: QUEUE, acts, breaks }
}

/// All controls.
pub const ALL: &[CrashControl] = &[
    of_disk("syncs of the WAL are ignored", DiskMutant::NoSyncOfWal, QUEUE, &["send"], NOTHING_LOST),
    of_disk(
        "syncs of the database file are ignored",
        DiskMutant::NoSyncOfDatabase,
        QUEUE,
        &["checkpoint", "send"],
        SOUND,
    ),
    of_disk(
        "syncs of the directory are ignored",
        DiskMutant::NoSyncOfDirectory,
        QUEUE,
        &["reopen", "send"],
        NOTHING_LOST,
    ),
    of_disk("a copy is not synced", DiskMutant::NoSyncOfDatabase, QUEUE, &["backup"], COPY),
    CrashControl {
        name: "a device claims that writes are atomic and in order",
        setting: Setting::honest(Level::PowerLoss, Profile::BOASTFUL),
        start: None,
        acts: &["create"],
        breaks: SOUND,
    },
    of_store(
        "synchronous is OFF",
        RigMutant::SynchronousOff,
        Level::ProcessCrash,
        &["checkpoint", "send"],
        SOUND,
    ),
    of_store(
        "synchronous is NORMAL where PowerLoss is promised",
        RigMutant::SynchronousNormal,
        Level::PowerLoss,
        &["send"],
        NOTHING_LOST,
    ),
    of_store(
        "a rollback journal instead of a WAL",
        RigMutant::DeleteMode,
        Level::PowerLoss,
        &["send"],
        NOTHING_LOST,
    ),
    of_store(
        "an operation is answered before its commit",
        RigMutant::AnswerBeforeCommit,
        Level::PowerLoss,
        &["send"],
        NOTHING_LOST,
    ),
    of_store(
        "a batch is committed in two parts",
        RigMutant::BatchInTwoCommits,
        Level::PowerLoss,
        &["batch"],
        BATCH,
    ),
    of_store(
        "an effect is committed after its settlement",
        RigMutant::EffectAfterwards,
        Level::PowerLoss,
        &["effect"],
        EFFECTS,
    ),
    of_store("a boot is not noticed", RigMutant::BootUnnoticed, Level::ProcessCrash, &["claim"], TOKENS),
];

/// How controls are searched.
const LIMITS: CutLimits = CutLimits {
    depth: 0,
    heavy: 0,
    budget: Budget { subsets: 6, samples: 0, thorough: false, combinations: 64 },
    reboot_in: 1,
    again_in: u64::MAX,
    seed: 1,
};

impl CrashControl {
    /// Looks for what must be found: the first cut that breaks the promise, or what was found instead.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(&self) -> Result<std::result::Result<Box<BrokenByCut>, String>> {
        let mut recorder = DiskRecorder::new(Setting::honest(self.setting.level, self.setting.profile))?;
        if self.setting.mutant == Some(RigMutant::DeleteMode) {
            recorder = DiskRecorder::new(self.setting)?;
        }
        let case =
            CrashCase { start: self.start.map(str::to_owned), setting: self.setting, acts: Vec::new() };
        let start = match recorder.start_of(case.scope().as_ref()) {
            Ok(start) => start,
            Err(Unrecorded::Failed(error)) => return Err(error),
            Err(Unrecorded::Differs(why)) => return Ok(Err(why)),
        };
        drop(recorder);
        let Some(acts) = self.acts(&start) else {
            return Ok(Err("there are no such acts".to_owned()));
        };
        let mut search = CutSearch::new(&start, self.setting, LIMITS)?.until(self.breaks);
        search.look_at(&acts, acts.len() - 1);
        let figures = search.finish();
        if let Some(found) = figures.broken.iter().find(|broken| broken.violation.property == self.breaks) {
            return Ok(Ok(Box::new(found.clone())));
        }
        let mut others: Vec<&str> = figures.broken.iter().map(|broken| broken.violation.property).collect();
        others.dedup();
        let unrecorded = figures.unrecorded.first().cloned().unwrap_or_default();
        Ok(Err(format!(
            "{} images, and {} was not found broken, but {others:?} {unrecorded}",
            figures.images.len(),
            self.breaks
        )))
    }

    /// The acts that its kinds stand for, from where it begins.
    fn acts(&self, start: &StartPoint) -> Option<Vec<Act>> {
        let mut moment = start.moment.clone();
        let mut acts = Vec::new();
        for kind in self.acts {
            let act = match *kind {
                "create" => Act::Create,
                kind => next(&start.scope, self.setting.level, &moment, true)
                    .into_iter()
                    .find(|act| act.kind() == kind)?,
            };
            moment.perform(&act);
            acts.push(act);
        }
        Some(acts)
    }
}
