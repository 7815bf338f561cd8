//! The scenarios: who plays on a fixture, and what must have come of it.
//!
//! What always holds: those who play use the bus as anyone does. This module must not know how schedules are chosen,
//! nor which mistakes are looked for.

mod answers;
mod ends;
mod wakes;

use std::sync::Arc;

use crate::thread_harness::fixture::Fixture;
use crate::threads::PromiseBroken;
use fencepost::SqliteBus;
use fencepost::error::Result;

/// What is played, and judged.
#[derive(Clone, Copy)]
pub(super) struct Scenario {
    /// What it is called.
    pub(super) name: &'static str,
    /// What is broken if somebody waits for ever.
    pub(super) stuck: &'static str,
    /// Sets those who play to work.
    pub(super) play: Play,
    /// Whether it is so small that all of its schedules are run.
    pub(super) whole: bool,
}

type Play = fn(&Arc<Fixture>) -> Result<Played>;

impl Scenario {
    /// One whose schedules are run within a bound.
    const fn bounded(name: &'static str, stuck: &'static str, play: Play) -> Self {
        Self { name, stuck, play, whole: false }
    }

    /// One of which all schedules are run.
    const fn whole(name: &'static str, stuck: &'static str, play: Play) -> Self {
        Self { name, stuck, play, whole: true }
    }
}

/// What is left when those who play have ended.
pub(super) struct Played {
    /// A clone of the bus that is dropped then.
    pub(super) bus: Option<SqliteBus>,
    /// What must be true when everyone has ended.
    pub(super) judge: Judge,
}

type Judge = Box<dyn FnOnce(&Fixture) -> std::result::Result<(), PromiseBroken>>;

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Scenario> {
    answers::ALL.iter().chain(wakes::ALL).chain(ends::ALL)
}

/// The scenario of this name.
pub(super) fn by_name(name: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.name == name)
}
