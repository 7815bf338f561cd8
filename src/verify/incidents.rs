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

use crate::run_loop::RunLoopMutant as OfLoop;
use crate::threads::ThreadMutant as OfThreads;

pub use document::document;
pub use explain::{NotShown, explain};

/// A bug that was made elsewhere, and how it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Incident {
    /// What went wrong, a sentence.
    pub title: &'static str,
    /// Where it was made.
    pub project: &'static str,
    /// The title of the thread that reports it, with its number.
    pub thread: &'static str,
    /// The address of that thread.
    pub url: &'static str,
    /// What was built, how it hurt, and how it was mended where that is known.
    pub explanation: &'static str,
    /// The mutant that has the same bug.
    pub shown: ShownBy,
    /// The name of the guarantee, the rule or the promise that must catch it.
    pub breaks: &'static str,
}

/// The mutant that shows an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownBy {
    /// The mutant of the model of this name: its shortest counterexample, found by exhaustive search.
    Model(&'static str),
    /// A run loop with this mutant: the smallest scenario that was found, run in paused time.
    Loop(OfLoop),
    /// The threads of a bus with this mutant: a schedule.
    Threads(OfThreads),
    /// Clients of a file with the mutant of the control of this name: the smallest schedule.
    Clients(&'static str),
}

/// A group of incidents.
#[derive(Clone, Copy, Debug)]
pub struct IncidentGroup {
    /// What it is about.
    pub title: &'static str,
    /// What the incidents in it have in common.
    pub about: &'static str,
    /// The incidents of the group.
    pub incidents: &'static [Incident],
}

/// All groups, in their order in the document.
pub const GROUPS: &[IncidentGroup] =
    &[of_locks::GROUP, of_failures::GROUP, of_copies::GROUP, of_positions::GROUP, of_loops::GROUP];

/// All incidents.
pub fn all() -> impl Iterator<Item = &'static Incident> {
    GROUPS.iter().flat_map(|group| group.incidents)
}

impl Incident {
    /// The number in the contract of the guarantee that catches it, if it is one of the contract.
    pub fn guarantee(&self) -> Option<&'static str> {
        let safety = GUARANTEES.iter().map(|guarantee| (guarantee.name, guarantee.id));
        let liveness = LIVENESS.iter().map(|property| (property.name, property.id));
        safety.chain(liveness).find(|(name, _)| *name == self.breaks).map(|(_, id)| id)
    }
}
