//! The contract of a verification: what a phase is given, what it tells on the way, and what it returns.
//!
//! Does not depend on: any phase.

use std::path::PathBuf;

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

/// The phases there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseId {
    /// The model alone.
    Model,
    /// The store held against the model.
    Lockstep,
    /// Known mistakes.
    Mutants,
    /// Cuts of the power.
    Crash,
    /// Faults besides crashes.
    Faults,
    /// Several connections, in every order.
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
    /// This program, which plays the clients of the phase `history`.
    pub program: PathBuf,
}

/// What happens on the way.
pub trait Progress {
    /// A phase or a part of it has begun; `done` of `total` parts lie behind.
    fn at(&mut self, phase: &str, part: &str, done: usize, total: usize);
}
