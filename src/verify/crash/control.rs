//! Positive controls: mistakes of the disk and of the store, each of which must be caught by the promise named for it.
//!
//! A search that finds nothing says little if it could not find anything. What must be found is written here before it
//! is looked for; a control that passes unnoticed fails the run.

use crate::crash::act::{Act, next};
use crate::crash::case::{Case, Level, Mistake, Setting};
use crate::crash::judge::{BATCH, COPY, EFFECTS, NOTHING_LOST, SOUND, TOKENS};
use crate::crash::recorder::{Recorder, Start, Unrecorded};
use crate::crash::search::{Broken, Limits, Search};
use crate::disk::{Budget, Lie, Profile};
use fencepost::error::Result;

/// A mistake, and what must be said of it.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// What is wrong, a sentence.
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
    lie: Lie,
    start: Option<&'static str>,
    acts: &'static [&'static str],
    breaks: &'static str,
) -> Control {
    let setting =
        Setting { level: Level::PowerLoss, profile: Profile::UNIX, mistake: Some(Mistake::Disk(lie)) };
    Control { name, setting, start, acts, breaks }
}

const fn of_store(
    name: &'static str,
    mistake: Mistake,
    level: Level,
    acts: &'static [&'static str],
    breaks: &'static str,
) -> Control {
    let setting = Setting { level, profile: Profile::UNIX, mistake: Some(mistake) };
    Control { name, setting, start: QUEUE, acts, breaks }
}

/// All controls.
pub const ALL: &[Control] = &[
    of_disk("syncs of the WAL are ignored", Lie::NoSyncOfWal, QUEUE, &["send"], NOTHING_LOST),
    of_disk(
        "syncs of the database file are ignored",
        Lie::NoSyncOfDatabase,
        QUEUE,
        &["checkpoint", "send"],
        SOUND,
    ),
    of_disk(
        "syncs of the directory are ignored",
        Lie::NoSyncOfDirectory,
        QUEUE,
        &["reopen", "send"],
        NOTHING_LOST,
    ),
    of_disk("a copy is not synced", Lie::NoSyncOfDatabase, QUEUE, &["backup"], COPY),
    Control {
        name: "a device claims that writes are atomic and in order",
        setting: Setting::honest(Level::PowerLoss, Profile::BOASTFUL),
        start: None,
        acts: &["create"],
        breaks: SOUND,
    },
    of_store(
        "synchronous is OFF",
        Mistake::SynchronousOff,
        Level::ProcessCrash,
        &["checkpoint", "send"],
        SOUND,
    ),
    of_store(
        "synchronous is NORMAL where PowerLoss is promised",
        Mistake::SynchronousNormal,
        Level::PowerLoss,
        &["send"],
        NOTHING_LOST,
    ),
    of_store(
        "a rollback journal instead of a WAL",
        Mistake::DeleteMode,
        Level::PowerLoss,
        &["send"],
        NOTHING_LOST,
    ),
    of_store(
        "an operation is answered before its commit",
        Mistake::AnswerBeforeCommit,
        Level::PowerLoss,
        &["send"],
        NOTHING_LOST,
    ),
    of_store(
        "a batch is committed in two parts",
        Mistake::BatchInTwoCommits,
        Level::PowerLoss,
        &["batch"],
        BATCH,
    ),
    of_store(
        "an effect is committed after its settlement",
        Mistake::EffectAfterwards,
        Level::PowerLoss,
        &["effect"],
        EFFECTS,
    ),
    of_store("a boot is not noticed", Mistake::BootUnnoticed, Level::ProcessCrash, &["claim"], TOKENS),
];

/// How controls are searched.
const LIMITS: Limits = Limits {
    depth: 0,
    heavy: 0,
    budget: Budget { subsets: 6, samples: 0, thorough: false, combinations: 64 },
    stranger_in: 1,
    again_in: u64::MAX,
    seed: 1,
};

impl Control {
    /// Looks for what must be found: the first cut that breaks the promise, or what was found instead.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(&self) -> Result<std::result::Result<Box<Broken>, String>> {
        let mut recorder = Recorder::new(Setting::honest(self.setting.level, self.setting.profile))?;
        if self.setting.mistake == Some(Mistake::DeleteMode) {
            recorder = Recorder::new(self.setting)?;
        }
        let case = Case { start: self.start.map(str::to_owned), setting: self.setting, acts: Vec::new() };
        let start = match recorder.start_of(&case) {
            Ok(start) => start,
            Err(Unrecorded::Failed(error)) => return Err(error),
            Err(Unrecorded::Differs(why)) => return Ok(Err(why)),
        };
        drop(recorder);
        let Some(acts) = self.acts(&start) else {
            return Ok(Err("there are no such acts".to_owned()));
        };
        let mut search = Search::new(&start, self.setting, LIMITS)?.until(self.breaks);
        search.look_at(&acts, acts.len() - 1);
        let figures = search.finish();
        if let Some(found) = figures.broken.iter().find(|broken| broken.wrong.property == self.breaks) {
            return Ok(Ok(Box::new(found.clone())));
        }
        let mut others: Vec<&str> = figures.broken.iter().map(|broken| broken.wrong.property).collect();
        others.dedup();
        let unrecorded = figures.unrecorded.first().cloned().unwrap_or_default();
        Ok(Err(format!(
            "{} images, and {} was not found broken, but {others:?} {unrecorded}",
            figures.images.len(),
            self.breaks
        )))
    }

    /// The acts that its kinds stand for, from where it begins.
    fn acts(&self, start: &Start) -> Option<Vec<Act>> {
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
