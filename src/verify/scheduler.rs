//! A scheduler that decides which of a few clients runs at each point: exhaustively, at random, or from given choices.
//!
//! Clients run one at a time as coroutines of Shuttle, on one thread of the operating system.
//!
//! Invariant: the same choices give the same run; a search that says it is exhausted made every choice at every point,
//! within its bound of preemptions; no run is left unfinished, so that no client is left inside of C.
//! Does not depend on: what clients do.

mod dpor;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Footprint;
use dpor::{Dpor, StepFootprint};
use shuttle::scheduler::{PctScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Which schedules are run.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// All of them, or all with so many preemptions at most, up to a number.
    Exhaustive {
        /// How often a client that could run has to stand back for another, at most. None: as often as can be.
        preemptions: Option<u32>,
        /// After how many schedules to give up; then the search is not exhausted.
        schedules_max: u64,
    },
    /// Of schedules that differ only in the order of steps whose footprints do not meet, one; up to a number.
    Dpor {
        /// After how many schedules to give up; then the search is not exhausted.
        schedules_max: u64,
    },
    /// All that depart so often at most from the order in which each runs until it waits, and then the one of the
    /// lowest number: fewer than with as many preemptions, since it counts as well which client runs where another
    /// waits.
    Departing {
        /// How often, at most.
        departures: u32,
        /// After how many schedules to give up; then the search is not exhausted.
        schedules_max: u64,
    },
    /// So many by probabilistic concurrency testing: random priorities that change at a few random points.
    Pct {
        /// The seed.
        seed: u64,
        /// How many changes of priority, and one.
        depth: usize,
        /// How many schedules.
        schedules: u64,
    },
    /// One, from its choices.
    Replay(Vec<u8>),
}

/// What a search did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// How many schedules were run.
    pub schedules: u64,
    /// How many choices were made, all schedules together.
    pub steps: u64,
    /// Whether no schedule is left, within the bound of preemptions.
    pub exhausted: bool,
    /// Why a run ended before its time: a deadlock, or a panic. Then the last choices led there.
    pub ended: Option<String>,
    /// Whether choices of a replay did not fit what could be chosen.
    pub misfit: bool,
}

/// After so many points of one run no client stands back for another any more.
const STEPS_MAX: u64 = 100_000;

/// What clients and the scheduler share. Clients are numbered from 1; 0 is the task that starts them and waits.
#[derive(Debug, Default)]
pub struct Board(Mutex<BoardState>);

#[derive(Debug, Default)]
struct BoardState {
    /// The client that runs.
    running: usize,
    /// What each client was refused last.
    refused: BTreeMap<usize, RefusedLock>,
    /// The clients that sleep until something changes for what it was refused.
    asleep: BTreeSet<usize>,
    choices: Vec<u8>,
    /// The footprint of what was done since the last choice.
    step: StepFootprint,
    steps: u64,
    stop: bool,
    /// Whether this run is left as it is.
    abandoned: bool,
    misfit: bool,
    schedules: u64,
    steps_total: u64,
    exhausted: bool,
}

/// A lock that a client was refused.
#[derive(Debug)]
struct RefusedLock {
    lock: Footprint,
    /// Whether others have released it since, or changed shared memory. If not, to ask again is to be
    /// refused again.
    changed: bool,
}

impl BoardState {
    /// Notes what the running client did, for those that wait for it.
    fn change(&mut self, whether: impl Fn(&RefusedLock) -> bool) {
        let running = self.running;
        for (client, refused) in &mut self.refused {
            refused.changed |= *client != running && whether(refused);
        }
    }

    /// Puts the running client to sleep, if asking again is to be refused again.
    fn fall_asleep(&mut self, whether: impl Fn(&RefusedLock) -> bool) {
        let running = self.running;
        let again = self.refused.get(&running).filter(|refused| !refused.changed && whether(refused));
        let read = Footprint::read_memory(again.map(|refused| refused.lock));
        if again.is_some() {
            self.step.waits = true;
            self.asleep.insert(running);
        }
        self.note(read);
    }

    fn note(&mut self, footprint: Footprint) {
        self.step.footprint = self.step.footprint.and(footprint);
        self.change(|refused| footprint.is_news_to(refused.lock));
    }

    /// Whether a client is not waiting, or need not any more.
    fn is_awake(&self, client: usize) -> bool {
        !self.asleep.contains(&client) || self.refused.get(&client).is_none_or(|refused| refused.changed)
    }
}

impl Board {
    fn inner(&self) -> MutexGuard<'_, BoardState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client that runs now.
    pub fn running(&self) -> usize {
        self.inner().running
    }

    /// At which point of this run we are: a number that grows.
    pub fn step(&self) -> u64 {
        self.inner().steps
    }

    /// The choices of this run so far.
    pub fn choices(&self) -> Vec<u8> {
        self.inner().choices.clone()
    }

    /// Ends the search with this run.
    pub fn stop(&self) {
        self.inner().stop = true;
    }

    /// Ends the search at once: this run is left as it is, with the clients that wait in it, and what they hold is
    /// lost. For a run that cannot end, of clients that are not inside of C.
    pub fn abandon(&self) {
        let mut inner = self.inner();
        (inner.stop, inner.abandoned) = (true, true);
    }

    /// The running client read or wrote this.
    pub fn note(&self, footprint: Footprint) {
        self.inner().note(footprint);
    }

    /// The running client was called, and it matters which others had been answered by then.
    pub fn called(&self) {
        self.inner().step.calls = true;
    }

    /// The running client was answered, and it matters which others are called after that.
    pub fn answered(&self) {
        self.inner().step.answers = true;
    }

    /// The running client was refused this lock.
    pub fn refused(&self, lock: Footprint) {
        let mut inner = self.inner();
        let running = inner.running;
        inner.note(lock.in_vain());
        inner.refused.insert(running, RefusedLock { lock, changed: false });
    }

    /// The running client released a lock.
    pub fn released(&self, lock: Footprint) {
        self.inner().change(|refused| refused.lock.meets(lock));
    }

    /// Lets another run, if it is chosen.
    pub fn pause(&self) {
        shuttle::thread::yield_now();
    }

    /// Lets another client run before this is read or written. A client that asks for what it was just refused sleeps
    /// as in [`Board::sleep`].
    pub fn pause_before(&self, next: Footprint) {
        self.inner().fall_asleep(|refused| refused.lock == next);
        shuttle::thread::yield_now();
    }

    /// The running client does no more.
    pub fn settle(&self) {
        self.inner().note(Footprint::read_memory(None));
    }

    /// Sleeps until the lock that was refused last is released, or shared memory changes, or all sleep.
    pub fn sleep(&self) {
        self.inner().fall_asleep(|_| true);
        shuttle::thread::yield_now();
    }
}

/// Where a choice was made, on the way through all of them.
#[derive(Debug)]
struct Fork {
    options: Vec<u8>,
    chosen: usize,
}

/// What an exhaustive search leaves out.
#[derive(Clone, Copy, Debug)]
enum Bound {
    Nothing,
    Preemptions(u32),
    Departures(u32),
}

impl Bound {
    /// Whether a choice other than the first counts, where the first is the one that would run on by itself, if
    /// `goes_on`.
    const fn counts(self, goes_on: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Preemptions(_) => goes_on,
            Self::Departures(_) => true,
        }
    }

    const fn is_used_up(self, used: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Preemptions(most) | Self::Departures(most) => used >= most,
        }
    }
}

enum StrategyState {
    Exhaustive { bound: Bound, schedules_max: u64, forks: Vec<Fork>, at: usize, used: u32 },
    Dpor { schedules_max: u64, dpor: Dpor },
    Pct(Box<PctScheduler>),
    Replay { choices: Vec<u8>, at: usize, done: bool },
}

struct Chooser {
    board: Arc<Board>,
    how: StrategyState,
    last: Option<usize>,
}

impl Chooser {
    fn new(search: &Strategy, board: Arc<Board>) -> Self {
        let how = match search {
            Strategy::Dpor { schedules_max } => {
                StrategyState::Dpor { schedules_max: *schedules_max, dpor: Dpor::default() }
            }
            Strategy::Exhaustive { preemptions, schedules_max } => {
                StrategyState::all(preemptions.map_or(Bound::Nothing, Bound::Preemptions), *schedules_max)
            }
            Strategy::Departing { departures, schedules_max } => {
                StrategyState::all(Bound::Departures(*departures), *schedules_max)
            }
            Strategy::Pct { seed, depth, schedules } => {
                let schedules = usize::try_from(*schedules).unwrap_or(usize::MAX);
                StrategyState::Pct(Box::new(PctScheduler::new_from_seed(*seed, (*depth).max(1), schedules)))
            }
            Strategy::Replay(choices) => {
                StrategyState::Replay { choices: choices.clone(), at: 0, done: false }
            }
        };
        Self { board, how, last: None }
    }
}

impl StrategyState {
    const fn all(bound: Bound, schedules_max: u64) -> Self {
        Self::Exhaustive { bound, schedules_max, forks: Vec::new(), at: 0, used: 0 }
    }

    /// Whether there is another schedule; the search is exhausted if it ran out of them by itself.
    fn begin(&mut self, schedules: u64) -> (bool, bool) {
        match self {
            Self::Exhaustive { schedules_max, forks, at, used, .. } => {
                (*at, *used) = (0, 0);
                if schedules == 0 {
                    return (true, false);
                }
                while forks.last().is_some_and(|fork| fork.chosen + 1 >= fork.options.len()) {
                    forks.pop();
                }
                let Some(fork) = forks.last_mut() else { return (false, true) };
                if schedules >= *schedules_max {
                    return (false, false);
                }
                fork.chosen += 1;
                (true, false)
            }
            Self::Dpor { schedules_max, dpor } => {
                let more = dpor.begin(schedules == 0);
                (more && schedules < *schedules_max, !more)
            }
            Self::Pct(pct) => (pct.new_execution().is_some(), false),
            Self::Replay { at, done, .. } => {
                *at = 0;
                (!std::mem::replace(done, true), false)
            }
        }
    }

    /// Chooses among several, of which the first is the one that would run on by itself, if `goes_on`.
    fn choose(&mut self, options: &[u8], goes_on: bool, misfit: &mut bool) -> u8 {
        match self {
            Self::Exhaustive { bound, forks, at, used, .. } => {
                let bounded = bound.counts(goes_on) && bound.is_used_up(*used);
                let options = if bounded { &options[..1] } else { options };
                if forks.len() == *at {
                    forks.push(Fork { options: options.to_vec(), chosen: 0 });
                }
                let fork = &forks[*at];
                // The same choices before make the same options now, or else the run depends on something else.
                *misfit |= fork.options != options;
                let chosen = fork.options[fork.chosen];
                *used += u32::from(bound.counts(goes_on) && fork.chosen > 0);
                *at += 1;
                if options.contains(&chosen) { chosen } else { options[0] }
            }
            Self::Replay { choices, at, .. } => {
                let chosen = choices.get(*at).copied();
                *at += 1;
                match chosen {
                    Some(chosen) if options.contains(&chosen) => chosen,
                    // After the last choice each client runs until it waits.
                    None => options[0],
                    Some(_) => {
                        *misfit = true;
                        options[0]
                    }
                }
            }
            Self::Dpor { .. } | Self::Pct(_) => options[0],
        }
    }
}

impl Scheduler for Chooser {
    fn new_execution(&mut self) -> Option<Schedule> {
        let mut inner = self.board.inner();
        let step = std::mem::take(&mut inner.step);
        if let StrategyState::Dpor { dpor, .. } = &mut self.how
            && inner.schedules > 0
        {
            inner.misfit |= !dpor.end(step);
        }
        let (more, exhausted) = if inner.stop { (false, false) } else { self.how.begin(inner.schedules) };
        inner.exhausted = exhausted;
        if !more {
            return None;
        }
        self.last = None;
        inner.schedules += 1;
        inner.steps = 0;
        inner.choices.clear();
        inner.refused.clear();
        inner.asleep.clear();
        Some(Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        let mut guard = self.board.inner();
        let inner = &mut *guard;
        if inner.abandoned {
            return None;
        }
        inner.steps += 1;
        inner.steps_total += 1;
        // The task that starts the others and waits for them takes no part.
        if let Some(task) = runnable.iter().find(|task| usize::from(task.id()) == 0) {
            inner.running = 0;
            return Some(task.id());
        }
        let awake = |task: &&&Task| inner.is_awake(usize::from(task.id()));
        let mut open: Vec<&Task> = runnable.iter().filter(awake).copied().collect();
        // If all sleep, time passes.
        if open.is_empty() {
            open = runnable.to_vec();
        }
        let last = self.last;
        open.sort_by_key(|task| (Some(usize::from(task.id())) != last, usize::from(task.id())));
        let goes_on = open.first().is_some_and(|task| Some(usize::from(task.id())) == last);
        let options: Vec<u8> =
            open.iter().map(|task| u8::try_from(usize::from(task.id())).unwrap_or(u8::MAX)).collect();
        let chosen = match &mut self.how {
            StrategyState::Dpor { dpor, .. } if inner.steps <= STEPS_MAX => {
                let (chosen, fits) = dpor.choose(std::mem::take(&mut inner.step), &options);
                inner.misfit |= !fits;
                let found = open.iter().find(|task| usize::from(task.id()) == usize::from(chosen));
                inner.misfit |= found.is_none();
                found.map_or(open[0].id(), |task| task.id())
            }
            _ if open.len() == 1 || inner.steps > STEPS_MAX => open[0].id(),
            StrategyState::Pct(pct) => pct.next_task(&open, last.map(TaskId::from), false)?,
            how => {
                let chosen = how.choose(&options, goes_on, &mut inner.misfit);
                TaskId::from(usize::from(chosen))
            }
        };
        let chosen_number = usize::from(chosen);
        if open.len() > 1 && inner.steps <= STEPS_MAX {
            inner.choices.push(u8::try_from(chosen_number).unwrap_or(u8::MAX));
        }
        inner.step.wakes |= inner.asleep.remove(&chosen_number);
        inner.running = chosen_number;
        self.last = Some(chosen_number);
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// What a client's stack holds, in bytes: SQLite's is deep.
const STACK_BYTES: usize = 1 << 20;

/// Runs a body once for each schedule. The body starts its clients with `shuttle::thread::spawn` (or
/// `shuttle::future::spawn`), in the same order each time, and waits for them; it must do the same each time but for
/// what the schedule decides.
pub fn explore(search: &Strategy, board: &Arc<Board>, body: impl Fn() + Send + Sync + 'static) -> Explored {
    *board.inner() = BoardState::default();
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None;
    config.silence_warnings = true;
    let chooser = Chooser::new(search, Arc::clone(board));
    let ended =
        catch_unwind(AssertUnwindSafe(|| Runner::new(chooser, config).run(body))).err().map(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic".to_owned())
        });
    let inner = board.inner();
    Explored {
        schedules: inner.schedules,
        steps: inner.steps_total,
        exhausted: inner.exhausted && ended.is_none() && !inner.misfit,
        ended,
        misfit: inner.misfit,
    }
}

#[cfg(test)]
mod tests;
