//! Runs scenarios on the threads of a bus, each in the schedules that a search chooses.
//!
//! Invariant: this harness exists twice, once with the bus as it is and once with the copy that has the mutants
//! (`mutated`); nothing in it knows which.

mod fixture;
mod scenario;
mod tasks;
mod timeline;

use std::rc::Rc;
use std::sync::Arc;

use crate::rig::recorder::beside_others;
use crate::scheduler::{Board, Strategy, explore};
use crate::thread_harness::fixture::Fixture;
use crate::thread_harness::scenario::Scenario;
use crate::thread_harness::tasks::{Caught, TaskScheduler};
use crate::threads::{ANSWERED, PromiseBroken, ThreadCounterexample, ThreadSearch};
use fencepost::error::{Error, Result};
use fencepost::internals::threads::scheduler;

/// The names of all scenarios, and whether each is so small that all of its schedules are run.
pub(crate) fn scenarios() -> impl Iterator<Item = (&'static str, bool)> {
    scenario::all().map(|scenario| (scenario.name, scenario.whole))
}

/// Searches the schedules of one scenario.
///
/// # Errors
/// There is no such scenario, or no store on the simulated disk.
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
        fixture.set();
        match play(&fixture) {
            Ok(played) => {
                tasks.until_acted();
                drop(played.bus);
                tasks.until_over();
                if let Err(broken) = (played.judge)(&fixture) {
                    tasks.caught(broken);
                }
            }
            Err(error) => {
                tasks.caught(PromiseBroken::new(ANSWERED, format!("nothing can be played: {error}")));
            }
        }
    });
    let broken = tasks.into_caught().map(|caught| told(scenario, caught));
    Ok(ThreadSearch { explored, broken })
}

fn told(scenario: &Scenario, caught: Caught) -> ThreadCounterexample {
    let story = timeline::draw(&caught.lanes, &caught.notes);
    ThreadCounterexample { wrong: caught.wrong, scenario: scenario.name, story, choices: caught.choices }
}
