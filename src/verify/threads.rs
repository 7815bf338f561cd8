//! The threads of a bus under a scheduler that decides everything: the writing thread and its line of requests, the
//! watcher and its looks, signals, the tasks of a run and their heartbeats, and how all of them end.
//!
//! What runs is the product's own code, as coroutines of one thread, over the one seam that it begins threads, waits
//! and tells the time by (`fencepost::internals::threads`); the store is the real one on the simulated [`disk`](super::disk). At each
//! point of that seam, before each lock, each shared number and each message, [`explore`] decides who goes on. A
//! scenario says who plays and what must have come of it, by promises that are sentences; a [`Mutant`] of the product
//! makes one known mistake, for which a scenario and a promise are named before it is run. This room must not know how
//! the product keeps its promises.
//!
//! What is taken for one step, and so not looked into: a call of SQLite, and a call of a channel, a signal or a lock of
//! tokio's or of the standard library. Time passes only when everyone waits, but for a clock that a scenario sets.
//! Events of the file system are not heard: on a stage the watcher looks at a fixed interval, as it does where nothing
//! tells of changes.

mod control;
mod director;
mod scenario;
mod scene;
mod timeline;

use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;

pub use control::{Control, controls};
pub use director::Wrong;
pub use fencepost::internals::threads::mutant::Mutant;

use crate::plan::Reach;
use crate::pool;
use crate::rig::recorder::beside_others;
use crate::scheduler::{Board, Explored, Strategy as Search, explore};
use director::{Caught, Director};
use fencepost::error::{Error, Result};
use scenario::Scenario;
use scene::Scene;

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

/// How far a search went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
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
pub struct Found {
    /// How far it went.
    pub figures: Figures,
    /// What is wrong with the search itself.
    pub complaints: Vec<String>,
    /// A promise that was broken.
    pub broken: Option<Broken>,
}

/// A promise that was broken, and how it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The promise, and what was found.
    pub wrong: Wrong,
    /// The scenario.
    pub scenario: &'static str,
    /// What everyone did, one lane each.
    pub story: String,
    /// Who was chosen, wherever several could go on. [`replay`] takes them.
    pub choices: Vec<u8>,
}

/// What a search of one scenario found.
#[derive(Clone, Debug)]
pub struct Searched {
    /// How far it went.
    pub explored: Explored,
    /// A promise that was broken.
    pub broken: Option<Broken>,
}

/// The names of all scenarios.
pub fn scenarios() -> impl Iterator<Item = &'static str> {
    scenario::all().map(|scenario| scenario.name)
}

/// Searches the schedules of one scenario, of the product as it is or with a known mistake.
///
/// # Errors
/// There is no such scenario, or no store on the simulated disk.
pub fn search(scenario: &str, mutant: Option<Mutant>, search: &Search) -> Result<Searched> {
    let scenario = scenario::by_name(scenario).ok_or(Error::NotFound)?;
    let _beside = beside_others();
    let board = Arc::<Board>::default();
    let director = Director::new(Arc::clone(&board), mutant, scenario.stuck);
    let scene = Arc::new(Scene::new(director.clone())?);
    let _up = fencepost::internals::threads::stage::put_up(Rc::new(director.clone()));
    let play = scenario.play;
    let explored = explore(search, &board, move || {
        let director = &scene.director;
        director.begin();
        scene.set();
        match play(&scene) {
            Ok(played) => {
                director.until_acted();
                drop(played.bus);
                director.until_over();
                if let Err(wrong) = (played.judge)(&scene) {
                    director.caught(wrong);
                }
            }
            Err(error) => director.caught(Wrong::new(ANSWERED, format!("nothing can be played: {error}"))),
        }
    });
    let broken = director.into_caught().map(|caught| told(scenario, caught));
    Ok(Searched { explored, broken })
}

fn told(scenario: &Scenario, caught: Caught) -> Broken {
    let story = timeline::draw(&caught.lanes, &caught.notes);
    Broken { wrong: caught.wrong, scenario: scenario.name, story, choices: caught.choices }
}

/// Plays a scenario once more, by these choices.
///
/// # Errors
/// As [`search`].
pub fn replay(scenario: &str, mutant: Option<Mutant>, choices: &[u8]) -> Result<Searched> {
    search(scenario, mutant, &Search::Replay(choices.to_vec()))
}

/// The same failure from fewer choices, where the rest is what everyone does by itself.
///
/// # Errors
/// As [`search`].
pub fn shorten(broken: Broken, mutant: Option<Mutant>) -> Result<Broken> {
    let (mut shortest, mut least) = (broken, 0);
    // Halving, as if what is enough stayed enough: where it does not, this is only less short.
    while least < shortest.choices.len() {
        let half = usize::midpoint(least, shortest.choices.len());
        let choices = shortest.choices[..half].to_vec();
        let again = replay(shortest.scenario, mutant, &choices)?.broken;
        match again.filter(|again| again.wrong.promise == shortest.wrong.promise) {
            Some(again) => shortest = Broken { choices, ..again },
            None => least = half + 1,
        }
    }
    Ok(shortest)
}

/// A search by this many departures at most.
fn departing(departures: u32) -> Search {
    Search::Departing { departures, schedules_max: 1_000_000 }
}

/// The searches of a scenario.
fn searches(scenario: &str, reach: Reach, seed: u64) -> Vec<Search> {
    if scenario::by_name(scenario).is_some_and(|scenario| scenario.whole) {
        return vec![Search::Exhaustive { preemptions: None, schedules_max: 1_000_000 }];
    }
    let by_chance = |schedules| Search::Pct { seed, depth: 3, schedules };
    match reach {
        Reach::Quick => vec![departing(1)],
        Reach::Standard => vec![departing(1), by_chance(200)],
        Reach::Deep => vec![departing(2), by_chance(10_000)],
    }
}

enum Part {
    Search(&'static Scenario, Search),
    Control(Control),
}

enum Outcome {
    Searched(Searched),
    Caught(std::result::Result<(), String>),
}

/// Plays all scenarios in their schedules, and makes all known mistakes. `at` is told of each part and how many there
/// are.
///
/// # Errors
/// If it could not be run.
pub fn run(reach: Reach, seed: u64, threads: usize, mut at: impl FnMut(&str, usize) + Send) -> Result<Found> {
    let searches = scenario::all().flat_map(|scenario| {
        let all = searches(scenario.name, reach, seed).into_iter();
        all.map(move |search| Part::Search(scenario, search))
    });
    let parts: Vec<Part> = searches.chain(controls().map(Part::Control)).collect();
    let begin = |part: &Part| match part {
        Part::Search(scenario, _) => at(scenario.name, parts.len()),
        Part::Control(control) => at(control.scenario, parts.len()),
    };
    let outcomes = pool::map(threads, &parts, begin, |part| match part {
        Part::Search(scenario, how) => search(scenario.name, None, how).map(Outcome::Searched),
        Part::Control(control) => control.run().map(Outcome::Caught),
    });
    let mut found = Found { figures: Figures::default(), complaints: Vec::new(), broken: None };
    found.figures.scenarios = scenario::all().count();
    for (part, outcome) in parts.iter().zip(outcomes) {
        found.add(part, outcome?);
    }
    found.broken = found.broken.map(|broken| shorten(broken, None)).transpose()?;
    Ok(found)
}

impl Found {
    fn add(&mut self, part: &Part, outcome: Outcome) {
        match (part, outcome) {
            (Part::Search(scenario, search), Outcome::Searched(searched)) => {
                let exhaustive = !matches!(search, Search::Pct { .. });
                let explored = searched.explored;
                self.figures.schedules += explored.schedules;
                self.figures.steps += explored.steps;
                self.figures.exhausted += usize::from(exhaustive && explored.exhausted);
                let name = scenario.name;
                if let Some(why) = explored.ended {
                    self.complaints.push(format!("{name}: the search ended before its time: {why}"));
                }
                if explored.misfit {
                    self.complaints.push(format!("{name}: the same choices did not lead the same way"));
                }
                self.broken = self.broken.take().or(searched.broken);
            }
            (Part::Control(control), Outcome::Caught(caught)) => {
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
