//! One fault, as a counterexample: a call or an allocation that fails, a sync before a power cut, or a flipped bit.
//!
//! Invariant: the same record gives the same explanation.
//! Does not depend on: how the record was found.

use serde::{Deserialize, Serialize};

use crate::disk::Profile;
use crate::faults::case::FaultCase;
use crate::faults::case::{FaultSetting, Manner};
use crate::faults::flips::{Flip, Flipped};
use crate::faults::harness::{FaultHarness, FaultStart};
use crate::faults::sync::{Going, Syncs};
use crate::rig::act::Act;
use crate::rig::promises::{Replayed, Violation};
use crate::rig::recovery::in_words;
use crate::rig::setting::Level;
use fencepost_model::scope;

/// What failed, and what was done meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultRecord {
    /// A call of the disk or an allocation fails.
    Call(FaultCase),
    /// A sync fails; the store is closed or killed, opened again and worked on; the power is cut.
    Sync {
        /// The scope with which it begins; none for a disk without a store.
        start: Option<String>,
        /// The level that the store is opened with.
        level: Level,
        /// What is done.
        act: Act,
        /// Which call fails, counted from 0.
        at: u64,
        /// How the process ends.
        going: Going,
    },
    /// A bit of a file is flipped while no process has it open.
    Flip {
        /// The scope with which it begins.
        start: String,
        /// Whether the store was closed; if not, its process was killed.
        closed: bool,
        /// The bit.
        flip: Flip,
    },
}

impl FaultRecord {
    /// What happens, and which promise is broken then, if one is.
    pub fn explain(&self, violation: Option<&Violation>) -> String {
        let what = match self {
            Self::Call(case) => case.explanation(),
            Self::Sync { start, level, act, at, going } => format!(
                "from {} at {}\n{act:?}\ncall {at} fails, a sync; the store is {going:?}, opened again and worked \
                 on; the power is cut",
                start.as_deref().unwrap_or("nothing"),
                level.name()
            ),
            Self::Flip { start, flip, .. } => format!("from {start}\n{flip:?}"),
        };
        match violation {
            Some(Violation { property, why }) => format!("{what}\nfound: {why}\nbroken: {property}\n"),
            None => format!("{what}\nheld\n"),
        }
    }

    /// Runs it again.
    ///
    /// # Errors
    /// If it cannot begin, in words.
    pub fn replay(&self) -> Result<Replayed, String> {
        let violation = self.run()?;
        Ok(Replayed { explanation: self.explain(violation.as_ref()), violation })
    }

    fn run(&self) -> Result<Option<Violation>, String> {
        let failed = |error: fencepost::error::Error| in_words(&error);
        let cold = |level| FaultSetting { level, profile: Profile::UNIX, manner: Manner::Cold };
        Ok(match self {
            Self::Call(case) => {
                let start = start(case.start.as_deref(), case.setting)?;
                let mut harness = FaultHarness::new(case.setting, super::prepare()).map_err(failed)?;
                harness.run(&start, case).err()
            }
            Self::Sync { start: name, level, act, at, going } => {
                let start = start(name.as_deref(), cold(*level))?;
                Syncs::new(*level).map_err(failed)?.run(&start, act, *at, *going).err()
            }
            Self::Flip { start: name, closed, flip } => {
                let start = start(Some(name), cold(Level::PowerLoss))?;
                let image = if *closed { &start.shut } else { &start.left };
                Flipped::new().map_err(failed)?.run(&start, image, flip).err()
            }
        })
    }
}

fn start(name: Option<&str>, setting: FaultSetting) -> Result<FaultStart, String> {
    let Some(name) = name else { return Ok(FaultStart::nothing()) };
    let scope = scope::by_name(name).ok_or_else(|| format!("there is no scope {name:?}"))?;
    FaultStart::new(&scope, setting)
}
