//! Positive controls: mutants of a store, each of which must be caught by the promise named for it.
//!
//! Invariant: the promise is written down before the search; a control that is missed fails the run.

use fencepost_model::scope;

use crate::disk::{DiskFault, FaultKind, Profile};
use crate::faults::answers::{CLOSED, LEASES, PANIC, SAID, SENT, SUCCESS, WORKS};
use crate::faults::case::{Deed, FaultCase, FaultMutant, FaultSetting, Manner, Trouble};
use crate::faults::flips::{Flipped, flips};
use crate::faults::harness::{FaultHarness, FaultStart};
use crate::faults::sync::{Going, Syncs};
use crate::rig::act::{Act, next};
use crate::rig::promises::{NOTHING_LOST, Violation};
use crate::rig::setting::Level;
use fencepost::error::{Error, Result};

/// A mutant, and the promise that must catch it.
#[derive(Clone, Copy, Debug)]
pub struct FaultControl {
    /// What the mutant does, a sentence.
    pub name: &'static str,
    mutant: FaultControlKind,
    /// The promise that must be found broken.
    pub breaks: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum FaultControlKind {
    /// A mutant of the store, or none, on this disk, while something of this kind fails in a send.
    Lie(Option<FaultMutant>, Profile, FaultKind),
    /// A payload is changed.
    Payload,
    /// Syncs of the WAL do nothing, once one of them has failed.
    SyncsIgnored,
}

const fn of_store(name: &'static str, mutant: FaultMutant, breaks: &'static str) -> FaultControl {
    FaultControl { name, mutant: FaultControlKind::Lie(Some(mutant), Profile::UNIX, FaultKind::Io), breaks }
}

/// All controls.
pub const ALL: &[FaultControl] = &[
    of_store("an error is answered, and the commit took effect", FaultMutant::BusyAfterCommit, SAID),
    of_store("a success is answered, and the commit failed", FaultMutant::FailedCommitIgnored, SUCCESS),
    of_store("a store goes on after an unknown effect", FaultMutant::GoesOnAfterIndeterminate, CLOSED),
    of_store("a store is busy for ever after an error", FaultMutant::BusyForEver, WORKS),
    of_store("a lease has no end after an error", FaultMutant::LeaseWithoutEnd, LEASES),
    of_store("a store panics after an error", FaultMutant::Panics, PANIC),
    FaultControl {
        // SQLite fills the sector after a commit up then. If there is no room for that, it says that the disk is full,
        // and the commit is there.
        name: "the disk is one on which an overwrite may harm the bytes beside it",
        mutant: FaultControlKind::Lie(None, Profile::PLAIN, FaultKind::Full),
        breaks: SAID,
    },
    FaultControl {
        name: "a payload is changed before it is delivered",
        mutant: FaultControlKind::Payload,
        breaks: SENT,
    },
    FaultControl {
        name: "syncs of the WAL are ignored after one has failed",
        mutant: FaultControlKind::SyncsIgnored,
        breaks: NOTHING_LOST,
    },
];

/// How many calls a send has, and more.
const CALLS_MAX: u64 = 64;

impl FaultControl {
    /// Looks for what must be found; says what was found instead, if it was not.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(&self) -> Result<std::result::Result<Violation, String>> {
        let (mutant, profile, kind) = match self.mutant {
            FaultControlKind::Lie(mutant, profile, kind) => (mutant, profile, kind),
            FaultControlKind::Payload | FaultControlKind::SyncsIgnored => {
                (None, Profile::UNIX, FaultKind::Io)
            }
        };
        let setting = FaultSetting { level: Level::PowerLoss, profile, manner: Manner::Cold };
        let scope = scope::by_name("cuts-queue").ok_or(Error::NotFound)?;
        let beginning = match FaultStart::new(&scope, setting) {
            Ok(beginning) => beginning,
            Err(why) => return Ok(Err(why)),
        };
        let acts = next(&beginning.scope, setting.level, &beginning.moment, false);
        let send = acts.into_iter().find(|act| act.kind() == "send").ok_or(Error::NotFound)?;
        let mut others = Vec::new();
        let mut found = |outcome: std::result::Result<(), Violation>| match outcome {
            Err(violation) if violation.property == self.breaks => Some(violation),
            Err(violation) => {
                others.push(violation.property);
                None
            }
            Ok(()) => None,
        };
        let caught = match self.mutant {
            FaultControlKind::Lie(..) => {
                let mut harness = FaultHarness::new(setting, None)?;
                let deed = Deed::Act(send);
                (0..CALLS_MAX).find_map(|at| {
                    let trouble = Trouble::Call(DiskFault { kind, at, lasting: false });
                    let start = beginning.name.map(str::to_owned);
                    let case = FaultCase { start, setting, deed: deed.clone(), trouble, mutant };
                    found(harness.run(&beginning, &case).map(drop))
                })
            }
            FaultControlKind::Payload => {
                let mut flipped = Flipped::new()?;
                flipped.changes_a_payload = true;
                let all = flips(&beginning.left, 1, 1);
                all.iter().find_map(|flip| found(flipped.run(&beginning, &beginning.left, flip).map(drop)))
            }
            FaultControlKind::SyncsIgnored => self.syncs(&beginning, &send, &mut found)?,
        };
        Ok(caught.ok_or_else(|| format!("{} was not found broken, but {others:?}", self.breaks)))
    }

    fn syncs(
        &self,
        beginning: &FaultStart,
        act: &Act,
        found: &mut dyn FnMut(std::result::Result<(), Violation>) -> Option<Violation>,
    ) -> Result<Option<Violation>> {
        let mut syncs = Syncs::new(Level::PowerLoss)?;
        syncs.ignored_afterwards = true;
        let run = |at| found(syncs.run(beginning, act, at, Going::Closed).map(drop));
        Ok((0..CALLS_MAX).find_map(run))
    }
}
