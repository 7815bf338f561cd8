//! The threads of a bus under a scheduler that decides everything: the writing thread and its requests, the watcher and its
//! looks, signals, the tasks of a run and their heartbeats, and how all of them end.
//!
//! The code under test is the bus's own. It runs as coroutines of one thread, over the one seam by which the bus begins
//! threads, waits and tells the time (`fencepost::internals::threads`). The store is the real one on the simulated
//! [`disk`](crate::disk). The scheduler decides at each point of that seam (before each lock, each shared number and each
//! message) which task goes on. A scenario says which tasks there are and what must come of them, as promises that are
//! sentences. A mutant makes one known mistake; a scenario and a promise are named for it before it runs.
//!
//! One step, and so not looked into: a call of SQLite, and a call of a channel, a signal or a lock of tokio or of the
//! standard library. Time passes only when every task waits, except for a clock that a scenario sets. File system events
//! are not heard: under the scheduler the watcher looks at a fixed interval, as it does where nothing tells of changes.
//!
//! Does not depend on: how the bus keeps its promises.

mod control;

use serde::Serialize;

pub use crate::mutated::ThreadMutant;
pub use control::{ThreadControl, controls};

use crate::plan::Reach;
use crate::pool;
use crate::scheduler::{Explored, Strategy};
use crate::thread_harness;
use fencepost::error::Result;

/// Whoever asks something of an open bus is answered.
pub const ANSWERED: &str = "everyone_who_asks_is_answered";
/// What is answered as done is committed by then, and stays.
pub const BEFORE_COMMIT: &str = "no_answer_comes_before_its_commit";
/// An answer is that of what was asked, and nobody else's.
pub const OWN_ANSWER: &str = "each_answer_is_to_its_own_question";
/// What is answered as not done is not there.
pub const DENIED: &str = "what_was_answered_as_not_done_did_not_happen";
/// A transaction has its limit, so that nobody waits too long.
pub const SMALL: &str = "a_transaction_takes_no_more_than_it_may";
/// A change of interest wakes a sleeper, wherever it falls, and no timer has to.
pub const WOKEN: &str = "a_change_wakes_whoever_waits_for_it";
/// A bus that is closed, or whose last clone goes, and a run that is shut down end, and answer everyone.
pub const SHUTDOWN: &str = "a_shutdown_ends_and_answers_everyone";
/// What a run holds when it ends is settled or given back.
pub const KEPT: &str = "what_a_shutdown_cuts_off_is_given_back";
/// A lease is kept while its handler works, and what is handed out is settled once.
pub const SETTLED: &str = "a_delivery_is_settled_once_however_long_it_takes";
/// When all clones of a bus have gone, so have its threads and tasks.
pub const LEFT_BEHIND: &str = "no_task_is_left_behind";

/// All promises.
pub const PROMISES: &[&str] =
    &[ANSWERED, BEFORE_COMMIT, OWN_ANSWER, DENIED, SMALL, WOKEN, SHUTDOWN, KEPT, SETTLED, LEFT_BEHIND];

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromiseBroken {
    /// The promise.
    pub promise: &'static str,
    /// What was found.
    pub why: String,
}

impl PromiseBroken {
    pub(crate) fn new(promise: &'static str, why: impl Into<String>) -> Self {
        Self { promise, why: why.into() }
    }
}

/// How far a search went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThreadFigures {
    /// How many scenarios were played.
    pub scenarios: usize,
    /// How many schedules of them, all together.
    pub schedules: u64,
    /// At how many points somebody was chosen.
    pub steps: u64,
    /// Of how many scenarios no schedule is left within the bound of preemptions.
    pub exhausted: usize,
    /// Known mistakes.
    pub controls: Controls,
}

/// How many known mistakes were caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Controls {
    /// By the promise that is named for them, and again from the same choices.
    pub caught: usize,
    /// Of how many.
    pub total: usize,
}

/// What a run found.
#[derive(Debug)]
pub struct ThreadsFound {
    /// How far it went.
    pub figures: ThreadFigures,
    /// What is wrong with the search itself.
    pub complaints: Vec<String>,
    /// A promise that was broken.
    pub broken: Option<ThreadCounterexample>,
}

/// A promise that was broken, and the choices that show it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadCounterexample {
    /// The promise, and what was found.
    pub wrong: PromiseBroken,
    /// The scenario.
    pub scenario: &'static str,
    /// What each task did, one lane each.
    pub story: String,
    /// Which task went on, wherever several could. [`replay`] takes them.
    pub choices: Vec<u8>,
}

/// What a search of one scenario found.
#[derive(Clone, Debug)]
pub struct ThreadSearch {
    /// How far it went.
    pub explored: Explored,
    /// A promise that was broken.
    pub broken: Option<ThreadCounterexample>,
}

/// The names of all scenarios.
pub fn scenarios() -> impl Iterator<Item = &'static str> {
    thread_harness::scenarios().map(|(name, _)| name)
}

/// Searches the schedules of one scenario, of the bus as it is or with a mutant of it.
///
/// # Errors
/// There is no such scenario, or no store on the simulated disk; or a mutant is asked for, and this build has none, as a
/// published package has not.
pub fn search(scenario: &str, mutant: Option<ThreadMutant>, search: &Strategy) -> Result<ThreadSearch> {
    match mutant {
        None => thread_harness::search(scenario, search),
        #[cfg(fencepost_source)]
        Some(mutant) => mutant.with(|| crate::mutated::thread_harness::search(scenario, search)),
        #[cfg(not(fencepost_source))]
        Some(_) => Err(std::io::Error::new(std::io::ErrorKind::Unsupported, crate::mutated::ABSENT).into()),
    }
}

/// Runs a scenario once more, by these choices.
///
/// # Errors
/// As [`search`].
pub fn replay(scenario: &str, mutant: Option<ThreadMutant>, choices: &[u8]) -> Result<ThreadSearch> {
    search(scenario, mutant, &Strategy::Replay(choices.to_vec()))
}

/// The same failure from fewer choices, where the rest is what everyone does by itself.
///
/// # Errors
/// As [`search`].
pub fn shorten(broken: ThreadCounterexample, mutant: Option<ThreadMutant>) -> Result<ThreadCounterexample> {
    let (mut shortest, mut least) = (broken, 0);
    // Halving, as if what is enough stayed enough: where it does not, this is only less short.
    while least < shortest.choices.len() {
        let half = usize::midpoint(least, shortest.choices.len());
        let choices = shortest.choices[..half].to_vec();
        let again = replay(shortest.scenario, mutant, &choices)?.broken;
        match again.filter(|again| again.wrong.promise == shortest.wrong.promise) {
            Some(again) => shortest = ThreadCounterexample { choices, ..again },
            None => least = half + 1,
        }
    }
    Ok(shortest)
}

/// A search by this many departures at most.
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

/// Plays all scenarios in their schedules, and makes all known mistakes. `at` is told of each part and how many there
/// are.
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
    let parts: Vec<ThreadPart> = searches.chain(controls().map(ThreadPart::Control)).collect();
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
                    self.complaints.push(format!("{name}: the search ended before its time: {why}"));
                }
                if explored.misfit {
                    self.complaints.push(format!("{name}: the same choices did not lead the same way"));
                }
                self.broken = self.broken.take().or(searched.broken);
            }
            (ThreadPart::Control(control), Done::Caught(caught)) => {
                self.figures.controls.total += 1;
                match caught {
                    Ok(()) => self.figures.controls.caught += 1,
                    Err(why) => self.complaints.push(format!("{:?}: {why}", control.mutant)),
                }
            }
            _ => {}
        }
    }
}
