//! The contract of a verification: what a phase is given, what it reports on the way, and what it returns.
//!
//! Invariant: every phase is run through [`Phase`]; its figures, complaints and failure are what the report is made of.
//! Does not depend on: any phase.

use std::path::PathBuf;

use fencepost_model::coverage::Tally;
use fencepost_model::liveness::LIVENESS;
use serde::Serialize;

use fencepost::error::Result;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A part of the scopes and of the cuts, for every commit.
    Quick,
    /// All scopes.
    Standard,
    /// All scopes with wider limits.
    Deep,
}

impl Reach {
    /// Its name, as the report has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Deep => "deep",
        }
    }
}

/// The phases there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseId {
    /// The model alone.
    Model,
    /// The store in lockstep with the model.
    Lockstep,
    /// Mutants of the model and of the SQL.
    Mutants,
    /// Power cuts.
    Crash,
    /// Faults other than crashes.
    Faults,
    /// Schedules of several connections, and of the threads of a bus.
    Schedule,
    /// Real clients on a real file.
    History,
}

/// What to verify.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How far to go.
    pub reach: Reach,
    /// Which phases.
    pub phases: Vec<PhaseId>,
    /// The seed of everything random.
    pub seed: u64,
    /// How many threads.
    pub threads: usize,
    /// This program. The phase `history` starts it as a client.
    pub program: PathBuf,
}

/// Hears how far a verification is.
pub trait Progress {
    /// A part of a phase has begun; `done` of `total` parts are done.
    fn at(&mut self, phase: &str, part: &str, done: usize, total: usize);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn at(&mut self, _: &str, _: &str, _: usize, _: usize) {}
}

/// Counts the parts of a phase as they begin.
pub struct PhaseParts<'a> {
    progress: &'a mut (dyn Progress + Send),
    phase: &'static str,
    done: usize,
    total: usize,
}

impl std::fmt::Debug for PhaseParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { phase, done, total, .. } = self;
        f.debug_struct("PhaseParts").field("phase", phase).field("done", done).field("total", total).finish()
    }
}

impl<'a> PhaseParts<'a> {
    /// A list of so many parts.
    pub fn new(progress: &'a mut (dyn Progress + Send), phase: &'static str, total: usize) -> Self {
        Self { progress, phase, done: 0, total }
    }

    /// The next part has begun.
    pub fn begin(&mut self, part: &str) {
        self.progress.at(self.phase, part, self.done, self.total);
        self.done += 1;
    }
}

/// Positive controls: checks that must fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Controls {
    /// How many were caught, by the promise that was named for each.
    pub caught: usize,
    /// How many there are.
    pub total: usize,
    /// The names of those that were missed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
}

impl Controls {
    /// One more was run. The complaint, if it was missed.
    pub fn count<T>(&mut self, name: &str, caught: std::result::Result<T, String>) -> Option<String> {
        self.total += 1;
        match caught {
            Ok(_) => {
                self.caught += 1;
                None
            }
            Err(why) => {
                self.missed.push(name.to_owned());
                Some(format!("a positive control was missed ({name}): {why}"))
            }
        }
    }

    /// Adds other controls.
    pub fn add(&mut self, other: Self) {
        self.caught += other.caught;
        self.total += other.total;
        self.missed.extend(other.missed);
    }
}

/// How often each guarantee and each liveness property of the contract was checked.
#[derive(Debug)]
pub struct GuaranteeTallies {
    /// The guarantees.
    pub guarantees: Tally,
    /// The liveness properties, in their order.
    pub liveness: [u64; LIVENESS.len()],
}

/// A promise that was found broken, with what replays it.
#[derive(Clone, Debug)]
pub struct Failure<C> {
    /// The promise.
    pub property: String,
    /// What happened, for people.
    pub explanation: String,
    /// What replays it.
    pub counterexample: C,
}

/// The figures of a phase: JSON for machines, and text for people.
pub trait PhaseFigures: Serialize {
    /// The phase took so long.
    fn set_seconds(&mut self, seconds: f64);

    /// Adds the lines of the table for people.
    fn lines(&self, text: &mut String);

    /// A table of its own, before all lines.
    fn table(&self) -> Option<String> {
        None
    }
}

/// What a phase returns.
#[derive(Debug)]
pub struct PhaseOutcome<F, C> {
    /// Its figures.
    pub figures: F,
    /// What is wrong with the search itself: pinned numbers, missed controls, checks that never ran.
    pub complaints: Vec<String>,
    /// The smallest failure that was found.
    pub failure: Option<Failure<C>>,
    /// How often the guarantees were checked, in phases that count it.
    pub tallies: Option<GuaranteeTallies>,
}

impl<F, C> PhaseOutcome<F, C> {
    /// Figures without a complaint or failure.
    pub const fn of(figures: F) -> Self {
        Self { figures, complaints: Vec::new(), failure: None, tallies: None }
    }
}

/// One phase of a verification.
pub trait Phase {
    /// Its figures.
    type Figures: PhaseFigures;
    /// What its failures are replayed from.
    type Counterexample;

    /// Its name, on the command line and in the report.
    fn name(&self) -> &'static str;

    /// Runs it.
    ///
    /// # Errors
    /// If it could not be run: no temporary directory, no memory for a database.
    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<Self::Figures, Self::Counterexample>>;
}

/// A number with separators, for people.
pub fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
