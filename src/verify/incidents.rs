//! Incidents: bugs that were made in other queues and event logs, each rebuilt as a mutant of ours.
//!
//! An incident says what happened, where it was reported, which mutant has the same bug, and what must catch it.
//! `docs/incidents.md` is generated from here.
//!
//! Invariant: what must catch an incident is written down before its mutant is run.
//! Does not depend on: what is right or wrong; the checkers of each family of mutants decide that.

mod document;
mod explain;
mod of_copies;
mod of_failures;
mod of_locks;
mod of_loops;
mod of_positions;

use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;

use crate::consumer::Mutant as OfLoop;
use crate::threads::Mutant as OfThreads;

pub use document::document;
pub use explain::{NotShown, explain};

/// A mistake that was really made, and how it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Incident {
    /// What went wrong, a sentence.
    pub title: &'static str,
    /// Where it was made.
    pub project: &'static str,
    /// The title of the thread that tells of it, with its number.
    pub thread: &'static str,
    /// The address of that thread.
    pub url: &'static str,
    /// What was built, how it hurt, and how it was mended where that is known.
    pub explanation: &'static str,
    /// The mutant that makes the same mistake.
    pub shown: ShownBy,
    /// The name of the guarantee, the rule or the promise that must catch it.
    pub breaks: &'static str,
}

/// The mutant that shows an exhibit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownBy {
    /// The mutant of the model of this name: its shortest counterexample, found by exhaustive search.
    Model(&'static str),
    /// A run loop with this mistake: the smallest scenario that was found, played in paused time.
    Loop(OfLoop),
    /// The threads of a bus with this mistake: a schedule.
    Threads(OfThreads),
    /// Clients of a file with the mistake of the control of this name: the smallest schedule.
    Clients(&'static str),
}

/// A room of the museum.
#[derive(Clone, Copy, Debug)]
pub struct IncidentGroup {
    /// What it is about.
    pub title: &'static str,
    /// What the exhibits in it have in common.
    pub about: &'static str,
    /// What is shown there.
    pub incidents: &'static [Incident],
}

/// All rooms, in the order in which to walk through them.
pub const GROUPS: &[IncidentGroup] =
    &[of_locks::GROUP, of_failures::GROUP, of_copies::GROUP, of_positions::GROUP, of_loops::GROUP];

/// All exhibits.
pub fn all() -> impl Iterator<Item = &'static Incident> {
    GROUPS.iter().flat_map(|room| room.incidents)
}

impl Incident {
    /// The number in the contract of the guarantee that catches it, if it is one of the contract.
    pub fn guarantee(&self) -> Option<&'static str> {
        let safety = GUARANTEES.iter().map(|guarantee| (guarantee.name, guarantee.id));
        let liveness = LIVENESS.iter().map(|property| (property.name, property.id));
        safety.chain(liveness).find(|(name, _)| *name == self.breaks).map(|(_, id)| id)
    }
}
