//! Runs scenarios on the threads of a bus, each in the schedules that a search chooses.
//!
//! Invariant: this harness is compiled twice, once over the library and once over the copy that contains the mutants
//! (`mutated`).
//! Does not depend on: which of the two it drives.

mod fixture;
mod scenario;
mod tasks;
mod timeline;

use std::rc::Rc;
use std::sync::Arc;

use crate::rig::recorder::beside_others;
use crate::scheduler::{Board, Strategy, explore};
use crate::thread_harness::fixture::Fixture;
use crate::thread_harness::scenario::ThreadScenario;
use crate::thread_harness::tasks::{Caught, TaskScheduler};
use crate::threads::promises::{ANSWERED, PromiseBroken, ThreadCounterexample, ThreadSearch};
use fencepost::error::{Error, Result};
use fencepost::internals::threads::scheduler;

/// The names of all scenarios, and whether all schedules of each are run.
pub(crate) fn scenarios() -> impl Iterator<Item = (&'static str, bool)> {
    scenario::all().map(|scenario| (scenario.name, scenario.whole))
}

/// Searches the schedules of one scenario.
///
/// # Errors
/// If there is no such scenario, or if the store on the simulated disk cannot be opened.
pub(crate) fn search(scenario: &str, search: &Strategy) -> Result<ThreadSearch> {
    let scenario = scenario::by_name(scenario).ok_or(Error::NotFound)?;
    let _beside = beside_others();
    let board = Arc::<Board>::default();
    let tasks = TaskScheduler::new(Arc::clone(&board), scenario.stuck);
    let fixture = Arc::new(Fixture::new(tasks.clone())?);
    let _installed = scheduler::install(Rc::new(tasks.clone()));
    let play = scenario.play;
    let explored = explore(search, &board, move || {
        let tasks = &fixture.tasks;
        tasks.begin();
        fixture.reset();
        match play(&fixture) {
            Ok(played) => {
                tasks.until_tasks_ended();
                drop(played.bus);
                tasks.until_over();
                if let Err(broken) = (played.check)(&fixture) {
                    tasks.caught(broken);
                }
            }
            Err(error) => {
                tasks.caught(PromiseBroken::new(ANSWERED, format!("the scenario could not begin: {error}")));
            }
        }
    });
    let broken = tasks.into_caught().map(|caught| counterexample(scenario, caught));
    Ok(ThreadSearch { explored, broken })
}

fn counterexample(scenario: &ThreadScenario, caught: Caught) -> ThreadCounterexample {
    let explanation = timeline::draw(&caught.lanes, &caught.notes);
    let Caught { violation, choices, .. } = caught;
    ThreadCounterexample { violation, scenario: scenario.name, explanation, choices }
}
