//! Searches the schedules of the bus's own threads: the writing thread, the watcher, the signals, the tasks of a run and
//! their heartbeats, and the end of each.
//!
//! The system under test is the library's own code. It runs as coroutines of one thread, over the seam by which the bus
//! begins threads, waits and reads the time (`fencepost::internals::threads`). The store is the real one on the simulated
//! [`disk`](crate::disk). At each point of that seam (before each lock, each shared number and each message) the scheduler
//! chooses which task continues. A scenario names its tasks and checks the promises below. For each mutant a scenario and
//! a promise are named before it runs.
//!
//! Limits: a call of SQLite, and a call of a channel, a signal or a lock of tokio or of the standard library, is one step.
//! Time passes only when all tasks wait, except where a scenario sets a clock. Under the scheduler the watcher gets no
//! file system events and looks at a fixed interval.
//!
//! Invariant: the same scenario and the same choices give the same run.
//! Does not depend on: how the bus keeps its promises.

mod control;
pub mod promises;

use serde::Serialize;

pub use crate::mutated::ThreadMutant;
pub use control::{ThreadControl, controls};
pub use promises::*;

use crate::plan::{Controls, Reach};
use crate::scheduler::Strategy;
use crate::{mutated, pool, thread_harness};
use fencepost::error::Result;

/// How far the searches went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThreadFigures {
    /// How many scenarios were run.
    pub scenarios: usize,
    /// How many schedules were run, all scenarios together.
    pub schedules: u64,
    /// At how many points the scheduler chose a task.
    pub steps: u64,
    /// How many scenarios were exhausted: no schedule is left within the bound of their search.
    pub exhausted: usize,
    /// The positive controls: mutants that were caught by the promise named for them, and again from the same choices.
    pub controls: Controls,
    /// Why the controls were skipped, if they were: the mutants need the source of the library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controls_skipped: Option<&'static str>,
}

/// What a run of all searches and controls found.
#[derive(Debug)]
pub struct ThreadsFound {
    /// How far it went.
    pub figures: ThreadFigures,
    /// What is wrong with the search itself.
    pub complaints: Vec<String>,
    /// A counterexample, if a promise was broken.
    pub broken: Option<ThreadCounterexample>,
}

/// The names of all scenarios.
pub fn scenarios() -> impl Iterator<Item = &'static str> {
    thread_harness::scenarios().map(|(name, _)| name)
}

/// Searches the schedules of one scenario, with the bus or with a mutant of it.
///
/// # Errors
/// If there is no such scenario, if the store on the simulated disk cannot be opened, or if a mutant is requested in a
/// build without the library's source (a published package).
pub fn search(scenario: &str, mutant: Option<ThreadMutant>, search: &Strategy) -> Result<ThreadSearch> {
    match mutant {
        None => thread_harness::search(scenario, search),
        #[cfg(fencepost_source)]
        Some(mutant) => mutant.with(|| crate::mutated::thread_harness::search(scenario, search)),
        #[cfg(not(fencepost_source))]
        Some(_) => Err(std::io::Error::new(std::io::ErrorKind::Unsupported, crate::mutated::ABSENT).into()),
    }
}

/// Runs a scenario again by these choices.
///
/// # Errors
/// As [`search`].
pub fn replay(scenario: &str, mutant: Option<ThreadMutant>, choices: &[u8]) -> Result<ThreadSearch> {
    search(scenario, mutant, &Strategy::Replay(choices.to_vec()))
}

/// Finds the same failure with fewer choices. After them each task continues until it waits.
///
/// # Errors
/// As [`search`].
pub fn shorten(broken: ThreadCounterexample, mutant: Option<ThreadMutant>) -> Result<ThreadCounterexample> {
    let (mut shortest, mut least) = (broken, 0);
    // A binary search for the shortest prefix. If a longer prefix can fail to show it, the result is only longer.
    while least < shortest.choices.len() {
        let half = usize::midpoint(least, shortest.choices.len());
        let choices = shortest.choices[..half].to_vec();
        let again = replay(shortest.scenario, mutant, &choices)?.broken;
        match again.filter(|again| again.violation.promise == shortest.violation.promise) {
            Some(again) => shortest = ThreadCounterexample { choices, ..again },
            None => least = half + 1,
        }
    }
    Ok(shortest)
}

/// A search of all schedules that depart at most so often from the default order.
fn departing(departures: u32) -> Strategy {
    Strategy::Departing { departures, schedules_max: 1_000_000 }
}

/// The searches of a scenario.
fn searches(scenario: &str, reach: Reach, seed: u64) -> Vec<Strategy> {
    if thread_harness::scenarios().any(|(name, whole)| whole && name == scenario) {
        return vec![Strategy::Exhaustive { preemptions: None, schedules_max: 1_000_000 }];
    }
    let by_chance = |schedules| Strategy::Pct { seed, depth: 3, schedules };
    match reach {
        Reach::Quick => vec![departing(1)],
        Reach::Standard => vec![departing(1), by_chance(200)],
        Reach::Deep => vec![departing(2), by_chance(10_000)],
    }
}

enum ThreadPart {
    Search(&'static str, Strategy),
    Control(ThreadControl),
}

enum Done {
    Searched(ThreadSearch),
    Caught(std::result::Result<(), String>),
}

/// Runs all searches and all controls. `at` is called with the name of each part when it begins, and with the number of
/// parts. A build without the library's source has no mutants: there the controls are skipped, and the figures say so.
///
/// # Errors
/// If it could not be run.
pub fn run(
    reach: Reach,
    seed: u64,
    threads: usize,
    mut at: impl FnMut(&str, usize) + Send,
) -> Result<ThreadsFound> {
    let searches = scenarios().flat_map(|scenario| {
        let all = searches(scenario, reach, seed).into_iter();
        all.map(move |search| ThreadPart::Search(scenario, search))
    });
    let skipped = mutated::skipped();
    let controls = controls().filter(|_| skipped.is_none()).map(ThreadPart::Control);
    let parts: Vec<ThreadPart> = searches.chain(controls).collect();
    let begin = |part: &ThreadPart| match part {
        ThreadPart::Search(scenario, _) => at(scenario, parts.len()),
        ThreadPart::Control(control) => at(control.scenario, parts.len()),
    };
    let outcomes = pool::map(threads, &parts, begin, |part| match part {
        ThreadPart::Search(scenario, how) => search(scenario, None, how).map(Done::Searched),
        ThreadPart::Control(control) => control.run().map(Done::Caught),
    });
    let mut found = ThreadsFound { figures: ThreadFigures::default(), complaints: Vec::new(), broken: None };
    found.figures.scenarios = scenarios().count();
    found.figures.controls_skipped = skipped;
    for (part, outcome) in parts.iter().zip(outcomes) {
        found.add(part, outcome?);
    }
    found.broken = found.broken.map(|broken| shorten(broken, None)).transpose()?;
    Ok(found)
}

impl ThreadsFound {
    fn add(&mut self, part: &ThreadPart, outcome: Done) {
        match (part, outcome) {
            (ThreadPart::Search(scenario, search), Done::Searched(searched)) => {
                let exhaustive = !matches!(search, Strategy::Pct { .. });
                let explored = searched.explored;
                self.figures.schedules += explored.schedules;
                self.figures.steps += explored.steps;
                self.figures.exhausted += usize::from(exhaustive && explored.exhausted);
                let name = scenario;
                if let Some(why) = explored.ended {
                    self.complaints.push(format!("{name}: the search ended early: {why}"));
                }
                if explored.misfit {
                    self.complaints.push(format!("{name}: the same choices did not lead the same way"));
                }
                self.broken = self.broken.take().or(searched.broken);
            }
            (ThreadPart::Control(control), Done::Caught(caught)) => {
                let name = format!("{:?}", control.mutant);
                self.complaints.extend(self.figures.controls.count(&name, caught));
            }
            _ => {}
        }
    }
}
