//! Whether a crash image is allowed.
//!
//! Under `PowerLoss`, it holds the state after all acts that were answered, or with the one in flight. Under
//! `ProcessCrash`, if a write was lost, it holds the state after some prefix of them.
//!
//! Does not depend on: any disk or store.

use fencepost_model::state::State;

use crate::rig::act::{Act, Moment};
use crate::rig::promises::{NOTHING_LOST, SOUND, Violation, WHOLE};
use crate::rig::recovery::{Contents, Recovered, digested, rebooted};
use crate::rig::setting::Level;
use crate::system::differing_lines;

/// A batch is one commit.
pub const BATCH: &str = "a_batch_is_committed_whole";
/// A copy.
pub const COPY: &str = "a_copy_appears_whole_or_not_at_all";
/// The two ways to recover agree.
pub const BOTH_WAYS: &str = "both_ways_to_recover_find_the_same";
/// G12.
pub const EFFECTS: &str = "effects_settled_in_one_transaction_happen_exactly_once";

/// Everything that a cut of one recording is checked by.
#[derive(Debug)]
pub struct ImageChecker {
    level: Level,
    acts: Vec<Act>,
    /// The contents of the store at each moment.
    contents: Vec<Contents>,
    /// Its state if a batch is cut in the middle: which must not be seen.
    halves: Vec<(usize, State)>,
    boots: Vec<State>,
    /// What lay in it before the first act.
    earlier: Vec<State>,
}

/// How far acts had come at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutProgress {
    /// How many were answered.
    pub answered: usize,
    /// How many were begun.
    pub called: usize,
}

impl ImageChecker {
    /// The checker of acts that led through these moments, and of what came `earlier`.
    pub fn new(level: Level, acts: &[Act], moments: &[Moment], earlier: &[State]) -> Self {
        let contents: Vec<Contents> = moments
            .iter()
            .map(|moment| Contents {
                state: digested(moment.state()),
                effects: moment.effects.clone(),
                migrated: moment.migrated,
                booted: false,
            })
            .collect();
        let boots = contents.iter().map(|contents| rebooted(&contents.state)).collect();
        let mut halves = Vec::new();
        for (index, act) in acts.iter().enumerate() {
            let Act::Batch(ops) = act else { continue };
            for part in 1..ops.len() {
                let mut moment = moments[index].clone();
                moment.perform(&Act::Batch(ops[..part].to_vec()));
                halves.push((index, digested(moment.state())));
            }
        }
        let earlier = earlier.iter().map(digested).collect();
        Self { level, acts: acts.to_vec(), contents, halves, boots, earlier }
    }

    /// The moment that was found: the latest of those that may be. `all_kept`: the process was killed and the disk lost
    /// nothing.
    ///
    /// # Errors
    /// The broken promise.
    pub fn check(
        &self,
        found: &Recovered,
        progress: CutProgress,
        all_kept: bool,
    ) -> Result<usize, Violation> {
        let found = match found {
            Recovered::Sound(found) => found,
            Recovered::Broken(why) => return Err(Violation { property: SOUND, why: why.clone() }),
        };
        // What is created by the opening after the cut has not booted since; it may be if it was not created before.
        let state_at = |index: usize| {
            let exact = self.contents[index].state == found.state;
            let created = index == 0 && matches!(self.acts.first(), Some(Act::Create));
            if found.booted { self.boots[index] == found.state || (exact && created) } else { exact }
        };
        let is_at = |index: &usize| {
            let at = &self.contents[*index];
            state_at(*index) && at.effects == found.effects && (at.migrated == found.migrated || found.booted)
        };
        let first = match self.level {
            Level::ProcessCrash if !all_kept => 0,
            _ => progress.answered,
        };
        if let Some(index) = (first..=progress.called).rev().find(is_at) {
            return Ok(index);
        }
        Err(self.violation(found, progress, &is_at, &state_at))
    }

    fn violation(
        &self,
        found: &Contents,
        progress: CutProgress,
        is_at: &dyn Fn(&usize) -> bool,
        state_at: &dyn Fn(usize) -> bool,
    ) -> Violation {
        let CutProgress { answered, called } = progress;
        if let Some(index) = (0..answered).rev().find(is_at) {
            let lost: Vec<&str> = self.acts[index..answered].iter().map(Act::kind).collect();
            let why = format!("{} was acknowledged, and what is found was before it", lost.join(" and "));
            return Violation { property: NOTHING_LOST, why };
        }
        if let Some(index) = (0..=called).rev().find(|index| state_at(*index)) {
            let (model, effects) = (&self.contents[index].effects, &found.effects);
            let why =
                format!("the bus is as after {index} acts, with effects {model:?}; found are {effects:?}");
            return Violation { property: EFFECTS, why };
        }
        let is_half = |half: &&(usize, State)| {
            half.1 == found.state || (found.booted && rebooted(&half.1) == found.state)
        };
        if self.halves.iter().any(|half| is_half(&half)) {
            return Violation {
                property: BATCH,
                why: "a part of a batch is there, and a part is not".to_owned(),
            };
        }
        let is_earlier =
            |state: &&State| **state == found.state || (found.booted && rebooted(state) == found.state);
        if self.earlier.iter().any(|state| is_earlier(&state)) {
            let why = "what was acknowledged before the first act is gone".to_owned();
            return Violation { property: NOTHING_LOST, why };
        }
        let model = format!("{:#?}", self.contents[called].state);
        let difference = differing_lines(&model, &format!("{:#?}", found.state));
        let why = format!("no moment of the model has this state (- the last one, + found):\n{difference}");
        Violation { property: WHOLE, why }
    }

    /// Whether a copy may be there, and as it is: it is one state of the store, and appears whole or not at all.
    ///
    /// # Errors
    /// The broken promise.
    pub fn check_copy(&self, copy: Option<&Recovered>, progress: CutProgress) -> Result<(), Violation> {
        let Some(act) = self.acts.iter().position(|act| *act == Act::Backup) else { return Ok(()) };
        let why = match copy {
            None if progress.answered <= act => return Ok(()),
            None => {
                let why = "the copy was acknowledged, and is not there".to_owned();
                return Err(Violation { property: NOTHING_LOST, why });
            }
            // The copy remembers no boot, so its first opening is one.
            Some(Recovered::Sound(found)) if found.state == self.boots[act] => return Ok(()),
            Some(Recovered::Sound(found)) => {
                let (store, copy) = (format!("{:#?}", self.boots[act]), format!("{:#?}", found.state));
                format!("the copy holds another state (- store, + copy):\n{}", differing_lines(&store, &copy))
            }
            Some(Recovered::Broken(why)) => why.clone(),
        };
        Err(Violation { property: COPY, why })
    }

    /// Whether the schema is the newer one at some moment.
    pub fn migrates(&self) -> bool {
        self.acts.contains(&Act::Migrate)
    }

    /// The acts.
    pub fn acts(&self) -> &[Act] {
        &self.acts
    }
}
