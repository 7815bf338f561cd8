//! Positive controls: mistakes of a store, each of which must be caught by the promise named for it.
//!
//! What must be found is written here before it is looked for; a control that passes unnoticed fails the run.

use fencepost_model::scope;

use crate::crash::act::{Act, next};
use crate::crash::case::Level;
use crate::crash::judge::{NOTHING_LOST, Wrong};
use crate::disk::{Fault, FaultKind, Profile};
use crate::faults::case::{Case, Deed, Lie, Manner, Setting, Trouble};
use crate::faults::flips::{Flipped, flips};
use crate::faults::judge::{CLOSED, LEASES, PANIC, SAID, SENT, SUCCESS, WORKS};
use crate::faults::stage::{Beginning, Stage};
use crate::faults::sync::{Going, Syncs};
use fencepost::error::{Error, Result};

/// A mistake, and what must be said of it.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// What is wrong, a sentence.
    pub name: &'static str,
    mistake: Mistake,
    /// The promise that must be found broken.
    pub breaks: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Mistake {
    /// The store lies, on this disk, while something of this kind fails in a send.
    Lie(Option<Lie>, Profile, FaultKind),
    /// A payload is changed.
    Payload,
    /// Syncs of the WAL do nothing, once one of them has failed.
    SyncsIgnored,
}

const fn of_store(name: &'static str, lie: Lie, breaks: &'static str) -> Control {
    Control { name, mistake: Mistake::Lie(Some(lie), Profile::UNIX, FaultKind::Io), breaks }
}

/// All controls.
pub const ALL: &[Control] = &[
    of_store("an error is answered, and the commit took effect", Lie::BusyAfterCommit, SAID),
    of_store("a success is answered, and the commit failed", Lie::FailedCommitIgnored, SUCCESS),
    of_store("a store goes on after an unknown effect", Lie::GoesOnAfterIndeterminate, CLOSED),
    of_store("a store is busy for ever after an error", Lie::BusyForEver, WORKS),
    of_store("a lease has no end after an error", Lie::LeaseWithoutEnd, LEASES),
    of_store("a store panics after an error", Lie::Panics, PANIC),
    Control {
        // SQLite fills the sector after a commit up then. If there is no room for that, it says that the disk is full,
        // and the commit is there.
        name: "the disk is one on which an overwrite may harm the bytes beside it",
        mistake: Mistake::Lie(None, Profile::PLAIN, FaultKind::Full),
        breaks: SAID,
    },
    Control { name: "a payload is changed before it is delivered", mistake: Mistake::Payload, breaks: SENT },
    Control {
        name: "syncs of the WAL are ignored after one has failed",
        mistake: Mistake::SyncsIgnored,
        breaks: NOTHING_LOST,
    },
];

/// How many calls a send has, and more.
const CALLS_MAX: u64 = 64;

impl Control {
    /// Looks for what must be found; says what was found instead, if it was not.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(&self) -> Result<std::result::Result<Wrong, String>> {
        let (lie, profile, kind) = match self.mistake {
            Mistake::Lie(lie, profile, kind) => (lie, profile, kind),
            Mistake::Payload | Mistake::SyncsIgnored => (None, Profile::UNIX, FaultKind::Io),
        };
        let setting = Setting { level: Level::PowerLoss, profile, manner: Manner::Cold };
        let scope = scope::by_name("cuts-queue").ok_or(Error::NotFound)?;
        let beginning = match Beginning::new(&scope, setting) {
            Ok(beginning) => beginning,
            Err(why) => return Ok(Err(why)),
        };
        let acts = next(&beginning.scope, setting.level, &beginning.moment, false);
        let send = acts.into_iter().find(|act| act.kind() == "send").ok_or(Error::NotFound)?;
        let mut others = Vec::new();
        let mut found = |outcome: std::result::Result<(), Wrong>| match outcome {
            Err(wrong) if wrong.property == self.breaks => Some(wrong),
            Err(wrong) => {
                others.push(wrong.property);
                None
            }
            Ok(()) => None,
        };
        let caught = match self.mistake {
            Mistake::Lie(..) => {
                let mut stage = Stage::new(setting, None)?;
                let deed = Deed::Act(send);
                (0..CALLS_MAX).find_map(|at| {
                    let trouble = Trouble::Call(Fault { kind, at, lasting: false });
                    let start = beginning.name.map(str::to_owned);
                    let case = Case { start, setting, deed: deed.clone(), trouble, lie };
                    found(stage.play(&beginning, &case).map(drop))
                })
            }
            Mistake::Payload => {
                let mut flipped = Flipped::new()?;
                flipped.changes_a_payload = true;
                let all = flips(&beginning.left, 1, 1);
                all.iter().find_map(|flip| found(flipped.play(&beginning, &beginning.left, flip).map(drop)))
            }
            Mistake::SyncsIgnored => self.syncs(&beginning, &send, &mut found)?,
        };
        Ok(caught.ok_or_else(|| format!("{} was not found broken, but {others:?}", self.breaks)))
    }

    fn syncs(
        &self,
        beginning: &Beginning,
        act: &Act,
        found: &mut dyn FnMut(std::result::Result<(), Wrong>) -> Option<Wrong>,
    ) -> Result<Option<Wrong>> {
        let mut syncs = Syncs::new(Level::PowerLoss)?;
        syncs.ignored_afterwards = true;
        let play = |at| found(syncs.play(beginning, act, at, Going::Closed).map(drop));
        Ok((0..CALLS_MAX).find_map(play))
    }
}
