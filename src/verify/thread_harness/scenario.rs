//! The scenarios: the tasks that use a fixture, and what must be true when they have ended.
//!
//! Invariant: tasks use the public interface of the bus, or that of its backend.
//! Does not depend on: how schedules are chosen, the mutants.

mod answers;
mod ends;
mod wakes;

use std::sync::Arc;

use crate::thread_harness::fixture::Fixture;
use crate::threads::promises::PromiseBroken;
use fencepost::SqliteBus;
use fencepost::error::Result;

/// A scenario of the threads of a bus.
#[derive(Clone, Copy)]
pub(super) struct ThreadScenario {
    /// Its name.
    pub(super) name: &'static str,
    /// The promise that is broken if a task waits for ever.
    pub(super) stuck: &'static str,
    /// Begins the tasks.
    pub(super) play: Play,
    /// Whether all of its schedules are run.
    pub(super) whole: bool,
}

type Play = fn(&Arc<Fixture>) -> Result<PlayedTasks>;

impl ThreadScenario {
    /// A scenario whose schedules are run within a bound.
    const fn bounded(name: &'static str, stuck: &'static str, play: Play) -> Self {
        Self { name, stuck, play, whole: false }
    }

    /// A scenario of which all schedules are run.
    const fn whole(name: &'static str, stuck: &'static str, play: Play) -> Self {
        Self { name, stuck, play, whole: true }
    }
}

/// What the fixture keeps until all tasks have ended.
pub(super) struct PlayedTasks {
    /// A clone of the bus, which is dropped then.
    pub(super) bus: Option<SqliteBus>,
    /// Checks the run after all threads and tasks have ended.
    pub(super) check: FinalCheck,
}

type FinalCheck = Box<dyn FnOnce(&Fixture) -> std::result::Result<(), PromiseBroken>>;

/// All scenarios.
pub(super) fn all() -> impl Iterator<Item = &'static ThreadScenario> {
    answers::ALL.iter().chain(wakes::ALL).chain(ends::ALL)
}

/// The scenario of this name.
pub(super) fn by_name(name: &str) -> Option<&'static ThreadScenario> {
    all().find(|scenario| scenario.name == name)
}
