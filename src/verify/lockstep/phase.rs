//! The phase `lockstep`: every scope on the model and on the store at once, and long sequences on a file.
//!
//! Invariant: outside of the deep run, every scope has its pinned number of states.
//! Does not depend on: how a pair is compared.

use std::fmt::Write as _;

use fencepost_model::coverage::Tally;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::scope::{self, Scope};
use fencepost_model::world::Move;
use serde::Serialize;

use crate::lockstep::{Lockstep, LockstepResult};
use crate::moves::ScopeMoves;
use crate::plan::{
    Failure, GuaranteeTallies, Phase, PhaseFigures, PhaseOutcome, PhaseParts, Plan, Progress, Reach, grouped,
};
use crate::system::at_stake;
use crate::{pool, scopes, sequence};
use fencepost::error::Result;
use fencepost::internals::sqlite::Statements;

/// The store in lockstep with the model.
#[derive(Clone, Copy, Debug)]
pub struct LockstepPhase;

/// Figures of the phase `lockstep`.
#[derive(Debug, Default, Serialize)]
pub struct LockstepFigures {
    /// How many scopes.
    pub scopes: usize,
    /// How many pairs of a world and an image.
    pub states: usize,
    /// How many transitions of the real store were compared, in scopes.
    pub transitions: u64,
    /// How many long sequences on a file.
    pub sequences: u64,
    /// How many moves those had.
    pub moves: u64,
    /// How many pairs of different images of one state were shown to agree.
    pub twins: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Scopes that are too large for the lockstep except in the deep run, with the tokens that they have elsewhere, and
/// the pinned number of their states with those.
const NARROWED: &[(&str, u64, usize)] = &[
    ("releases", 3, 3_151),
    ("leases", 2, 12_376),
    ("batches", 3, 16_539),
    ("ids", 1, 11_941),
    ("damaged-commands", 1, 8_489),
    // No fewer tokens: what is left of a damaged row, which a repair reports, differs from store to store.
    ("repaired-commands", 3, 3_573),
    ("groups", 2, 4_446),
    ("batches-of-events", 2, 11_414),
    ("names-added", 1, 1_432),
    ("events-set-aside", 1, 222),
    ("entries", 2, 8_703),
    ("entry-settlements", 3, 6_688),
    ("two-entries", 3, 11_996),
    ("damaged-events", 1, 5_237),
    ("exhausted-events", 3, 9_314),
    ("pruning", 1, 5_016),
    ("seeking", 1, 653),
    ("epochs", 1, 9_405),
    ("falling-back", 1, 12_271),
    ("answers-lost", 2, 1_474),
];

fn narrow(scope: &mut Scope) {
    if let Some((_, tokens, states)) = NARROWED.iter().find(|(name, ..)| *name == scope.name) {
        scope.limits.tokens = *tokens;
        scope.states = *states;
    }
}

impl Phase for LockstepPhase {
    type Figures = LockstepFigures;
    type Counterexample = ScopeMoves;

    fn name(&self) -> &'static str {
        "lockstep"
    }

    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<LockstepFigures, ScopeMoves>> {
        let sql = Statements::standard();
        let mut scopes = scopes::of(plan.reach);
        if plan.reach != Reach::Deep {
            scopes.iter_mut().for_each(narrow);
        }
        scopes::largest_first(&mut scopes);
        let mut parts = PhaseParts::new(progress, self.name(), scopes.len() + 1);
        let work = |scope: &Scope| {
            let search = Lockstep::new(scope.clone(), sql.clone());
            let found = search.run();
            let agree = search.images_agree();
            (search, found, agree)
        };
        let runs = pool::map(plan.threads, &scopes, |scope| parts.begin(scope.name), work);
        let tally = Tally::new();
        let mut outcome = PhaseOutcome::of(LockstepFigures::default());
        for (scope, (search, found, agree)) in scopes.iter().zip(runs) {
            outcome.figures.scopes += 1;
            outcome.figures.states += found.states;
            outcome.figures.transitions += found.transitions;
            tally.add(search.tally());
            count(scope, &sql, &found, agree, &mut outcome)?;
        }
        if outcome.failure.is_none() {
            parts.begin("sequences on a file");
            sequences(plan, &sql, &tally, &mut outcome)?;
        }
        outcome.tallies = Some(GuaranteeTallies { guarantees: tally, liveness: [0; LIVENESS.len()] });
        Ok(outcome)
    }
}

type LockstepOutcome = PhaseOutcome<LockstepFigures, ScopeMoves>;

/// Counts what the search of one scope found. Of several failures the shortest is kept.
fn count(
    scope: &Scope,
    sql: &Statements,
    found: &LockstepResult,
    agree: std::result::Result<usize, String>,
    outcome: &mut LockstepOutcome,
) -> Result<()> {
    let name = scope.name;
    if !found.broken.is_empty() {
        let shortest = Lockstep::new(scope.clone(), sql.clone()).shortest();
        let known = outcome.failure.as_ref().map(|failure| failure.counterexample.moves.len());
        if let Some((property, moves)) = shortest.broken.into_iter().next()
            && known.is_none_or(|known| moves.len() < known)
        {
            let difference = shortest.difference.unwrap_or_default();
            outcome.failure = Some(failure(scope, sql, property, moves, &difference)?);
        }
        return Ok(());
    }
    if scope.states != 0 && found.states != scope.states {
        let (states, pinned) = (found.states, scope.states);
        outcome.complaints.push(format!("lockstep of {name} has {states} states, and {pinned} are pinned"));
    }
    match agree {
        Ok(twins) => outcome.figures.twins += twins,
        Err(difference) => {
            outcome.complaints.push(format!("two images of one state of {name} differ: {difference}"));
        }
    }
    Ok(())
}

fn sequences(plan: &Plan, sql: &Statements, tally: &Tally, outcome: &mut LockstepOutcome) -> Result<()> {
    let (sequences, steps) = match plan.reach {
        Reach::Quick => (8, 200),
        Reach::Standard => (32, 400),
        Reach::Deep => (2_000, 1_000),
    };
    let found = sequence::run(sql, plan.seed, sequences, steps, tally)?;
    outcome.figures.sequences = found.sequences;
    outcome.figures.moves = found.moves;
    if let (Some((moves, violation)), Some(scope)) = (found.failure, scope::by_name("wide")) {
        outcome.failure = Some(failure(&scope, sql, violation.property, moves, &violation.why)?);
    }
    Ok(())
}

/// A failure of the lockstep, explained by running it again on a file.
fn failure(
    scope: &Scope,
    sql: &Statements,
    property: &str,
    moves: Vec<Move>,
    difference: &str,
) -> Result<Failure<ScopeMoves>> {
    let (mut explanation, violation) = sequence::replay(scope, sql, &moves)?;
    explanation.push('\n');
    let guarantee = GUARANTEES.iter().find(|guarantee| guarantee.name == property);
    match guarantee {
        Some(guarantee) => explanation += &format!("broken: {} {}\n", guarantee.id, guarantee.name),
        None => explanation += &format!("broken: {property}, at stake: {}\n", at_stake(moves.last())),
    }
    explanation += violation.as_ref().map_or(difference, |violation| &violation.why);
    let counterexample = ScopeMoves { scope: scope.name.to_owned(), mutant: None, moves };
    Ok(Failure { property: property.to_owned(), explanation, counterexample })
}

impl PhaseFigures for LockstepFigures {
    fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    fn lines(&self, text: &mut String) {
        let (states, transitions) = (grouped(self.states), grouped(self.transitions));
        let _ = writeln!(
            text,
            "lockstep  {} scopes, {states} states, {transitions} transitions of the real store; {} sequences, {} moves on a file; {} twins, {:.1} s",
            self.scopes,
            self.sequences,
            grouped(self.moves),
            self.twins,
            self.seconds
        );
    }
}
