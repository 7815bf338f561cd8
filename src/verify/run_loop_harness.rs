//! Runs a scenario on a bus in memory, in tokio's paused time, and checks its notes.
//!
//! Invariant: this harness is compiled twice, once over the library and once over the copy that contains the mutants
//! (`mutated`).
//! Does not depend on: which of the two it drives.

mod account;
mod answers;
mod checker;
mod fixture;
mod recording;

use crate::run_loop::scenario::RunScenario;
use crate::run_loop::{CheckedRun, RuleBroken};
use crate::run_loop_harness::checker::RunChecker;
use crate::run_loop_harness::fixture::PlayedRun;

/// Runs a scenario, and checks it.
///
/// # Errors
/// If no runtime can be built.
pub(crate) fn run(scenario: &RunScenario) -> std::io::Result<CheckedRun> {
    let played = fixture::play(scenario)?;
    let checked = check(scenario, &played);
    Ok(CheckedRun { ended: format!("{:?}", played.ended), notes: played.notes, checked })
}

fn check(scenario: &RunScenario, played: &PlayedRun) -> Result<(), RuleBroken> {
    let mut checker = RunChecker::new(scenario);
    for note in &played.notes {
        checker.note(note)?;
    }
    checker.close(played)
}
