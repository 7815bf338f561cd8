//! The phase `model`: every named scope, explored to its end on the model alone.
//!
//! Invariant: outside of the deep run, every scope has its pinned number of states; the standard run reaches every cell
//! of the coverage matrix, and checks every guarantee and every liveness property.
//! Does not depend on: the store.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fencepost_model::check::ScopeSearch;
use fencepost_model::coverage::{Tally, difference, reachable};
use fencepost_model::explanation;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::world::Contract;
use serde::Serialize;

use crate::moves::ScopeMoves;
use crate::plan::{
    Failure, GuaranteeTallies, Phase, PhaseFigures, PhaseOutcome, PhaseParts, Plan, Progress, Reach, grouped,
};
use crate::{pool, scopes};
use fencepost::error::Result;

/// The model alone.
#[derive(Clone, Copy, Debug)]
pub struct ModelPhase;

/// Figures of the phase `model`.
#[derive(Debug, Serialize)]
pub struct ModelFigures {
    /// How many scopes.
    pub scopes: usize,
    /// How many states, all scopes together.
    pub states: usize,
    /// How many transitions.
    pub transitions: usize,
    /// The coverage matrix.
    pub coverage: Coverage,
    /// How long it took.
    pub seconds: f64,
}

/// Cells of the coverage matrix: operation × class of state before × reply.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// How many were reached.
    pub reached: usize,
    /// How many are reachable.
    pub cells: usize,
}

impl Coverage {
    /// The coverage of a tally.
    pub fn of(tally: &Tally) -> Self {
        Self { reached: tally.cells().len(), cells: reachable().len() }
    }
}

impl Phase for ModelPhase {
    type Figures = ModelFigures;
    type Counterexample = ScopeMoves;

    fn name(&self) -> &'static str {
        "model"
    }

    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<ModelFigures, ScopeMoves>> {
        let mut scopes = scopes::of(plan.reach);
        scopes::largest_first(&mut scopes);
        let mut parts = PhaseParts::new(progress, self.name(), scopes.len());
        let runs = pool::map(
            plan.threads,
            &scopes,
            |scope| parts.begin(scope.name),
            |scope| {
                let search = ScopeSearch::new(scope.clone(), Arc::new(Contract));
                let run = search.run(1);
                (search, run)
            },
        );
        let (mut states, mut transitions, mut complaints) = (0, 0, Vec::new());
        let mut tallies = GuaranteeTallies { guarantees: Tally::new(), liveness: [0; LIVENESS.len()] };
        let mut failure: Option<Failure<ScopeMoves>> = None;
        for (scope, (search, run)) in scopes.iter().zip(runs) {
            states += run.states;
            transitions += run.transitions;
            tallies.guarantees.add(&search.tally);
            for (sum, count) in tallies.liveness.iter_mut().zip(search.live.iter()) {
                *sum += count.load(Ordering::Relaxed);
            }
            let (name, pinned) = (scope.name, scope.states);
            if !run.counterexamples.is_empty() {
                let shorter = shortest(&search, name);
                let length = |failure: &Option<Failure<ScopeMoves>>| {
                    failure.as_ref().map(|failure| failure.counterexample.moves.len())
                };
                if failure.is_none() || length(&shorter) < length(&failure) {
                    failure = shorter;
                }
            } else if pinned != 0 && run.states != pinned {
                complaints.push(format!("scope {name} has {} states, and {pinned} are pinned", run.states));
            }
        }
        if plan.reach == Reach::Standard && failure.is_none() {
            complain(&tallies, &mut complaints);
        }
        let coverage = Coverage::of(&tallies.guarantees);
        let figures = ModelFigures { scopes: scopes.len(), states, transitions, coverage, seconds: 0.0 };
        Ok(PhaseOutcome { figures, complaints, failure, tallies: Some(tallies) })
    }
}

fn shortest(search: &ScopeSearch, scope: &str) -> Option<Failure<ScopeMoves>> {
    let (property, moves) = search.shortest().counterexamples.into_iter().next()?;
    let explanation = explanation::explain(&search.scope, &moves, &Contract);
    let counterexample = ScopeMoves { scope: scope.to_owned(), mutant: None, moves };
    Some(Failure { property: property.to_owned(), explanation, counterexample })
}

/// What a complete run must have reached and checked.
fn complain(tallies: &GuaranteeTallies, complaints: &mut Vec<String>) {
    let (missing, unknown) = difference(&tallies.guarantees.cells());
    complaints.extend(missing.into_iter().map(|cell| format!("no scope reaches the cell {cell}")));
    complaints.extend(unknown.into_iter().map(|cell| format!("a cell that was not reviewed: {cell}")));
    let never = |name: &str| format!("{name} was never checked");
    for (index, guarantee) in GUARANTEES.iter().enumerate() {
        if tallies.guarantees.times_checked(index) == 0 {
            complaints.push(never(guarantee.name));
        }
    }
    for (property, count) in LIVENESS.iter().zip(tallies.liveness) {
        if count == 0 {
            complaints.push(never(property.name));
        }
    }
}

impl PhaseFigures for ModelFigures {
    fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    fn lines(&self, text: &mut String) {
        let (states, transitions) = (grouped(self.states), grouped(self.transitions));
        let (reached, cells) = (self.coverage.reached, self.coverage.cells);
        let _ = writeln!(
            text,
            "model     {} scopes, {states} states, {transitions} transitions, {reached} of {cells} cells, {:.1} s",
            self.scopes, self.seconds
        );
    }
}
