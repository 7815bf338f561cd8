//! Runs a scenario on a bus in memory, in tokio's paused time, and checks what was seen.
//!
//! Invariant: this harness exists twice, once with the run loop as it is and once with the copy that has the mutants
//! (`mutated`); nothing in it knows which.

mod account;
mod answers;
mod checker;
mod fixture;
mod recording;

use crate::run_loop::scenario::Scenario;
use crate::run_loop::{Ran, RuleBroken};
use crate::run_loop_harness::checker::RunChecker;
use crate::run_loop_harness::fixture::Played;

/// Runs a scenario, and checks it.
///
/// # Errors
/// There is no runtime.
pub(crate) fn run(scenario: &Scenario) -> std::io::Result<Ran> {
    let played = fixture::play(scenario)?;
    let checked = check(scenario, &played);
    Ok(Ran { ended: format!("{:?}", played.ended), notes: played.notes, checked })
}

fn check(scenario: &Scenario, played: &Played) -> Result<(), RuleBroken> {
    let mut checker = RunChecker::new(scenario);
    for note in &played.notes {
        checker.note(note)?;
    }
    checker.close(played)
}
