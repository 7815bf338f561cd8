//! The phase `mutants`: each mutant of the model and of the SQL, which a check must kill.
//!
//! Invariant: a mutant that survives is equivalent, and the reason is written beside it; any other survivor is a
//! complaint.
//! Does not depend on: how a check works.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use fencepost_model::check::ScopeSearch;
use fencepost_model::{mutant, scope};
use serde::Serialize;

use crate::lockstep::Lockstep;
use crate::plan::{Phase, PhaseFigures, PhaseOutcome, PhaseParts, Plan, Progress};
use crate::{pool, sql_mutant};
use fencepost::error::Result;

/// Mutants of the model and of the SQL.
#[derive(Clone, Copy, Debug)]
pub struct MutantsPhase;

/// Figures of the phase `mutants`.
#[derive(Debug, Serialize)]
pub struct MutantsFigures {
    /// Mutants of the model.
    pub model: MutantsLine,
    /// Mutants of the SQL.
    pub sql: MutantsLine,
    /// How long it took.
    pub seconds: f64,
}

/// How many mutants were noticed.
#[derive(Debug, Serialize)]
pub struct MutantsLine {
    /// How many were noticed.
    pub killed: usize,
    /// How many there are.
    pub total: usize,
    /// Those that were not.
    pub survivors: Vec<Survivor>,
}

/// A mutant that was not noticed.
#[derive(Debug, Serialize)]
pub struct Survivor {
    /// Its name.
    pub name: &'static str,
    /// Why it makes no difference, if that is known.
    pub equivalent: Option<&'static str>,
}

impl From<&Killed> for MutantsLine {
    fn from(found: &Killed) -> Self {
        let survivor = |(name, equivalent): &(&'static str, Option<&'static str>)| Survivor {
            name,
            equivalent: *equivalent,
        };
        let survivors = found.survivors.iter().map(survivor).collect();
        Self { killed: found.killed, total: found.total, survivors }
    }
}

impl Phase for MutantsPhase {
    type Figures = MutantsFigures;
    type Counterexample = Infallible;

    fn name(&self) -> &'static str {
        "mutants"
    }

    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<MutantsFigures, Infallible>> {
        let mut parts = PhaseParts::new(progress, self.name(), mutant::all().len() + sql_mutant::ALL.len());
        let model = of_model(plan.threads, |name| parts.begin(name));
        let sql = of_sql(plan.threads, |name| parts.begin(name));
        let figures = MutantsFigures { model: (&model).into(), sql: (&sql).into(), seconds: 0.0 };
        let mut outcome = PhaseOutcome::of(figures);
        for (of, found) in [("model", &model), ("SQL", &sql)] {
            for (name, _) in found.survivors.iter().filter(|(_, reason)| reason.is_none()) {
                outcome.complaints.push(format!("the mutant of the {of} {name} survived every check"));
            }
        }
        Ok(outcome)
    }
}

impl PhaseFigures for MutantsFigures {
    fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    fn lines(&self, text: &mut String) {
        for (of, line) in [("model", &self.model), ("sql", &self.sql)] {
            let _ = writeln!(text, "mutants   {of}: {} of {} killed", line.killed, line.total);
            for survivor in &line.survivors {
                let reason = survivor.equivalent.unwrap_or("NOT KILLED");
                let _ = writeln!(text, "            survives: {} ({reason})", survivor.name);
            }
        }
    }
}

/// What was found about one set of mutants.
#[derive(Clone, Debug, Default)]
pub struct Killed {
    /// How many were noticed.
    pub killed: usize,
    /// How many there are.
    pub total: usize,
    /// Those that were not noticed, each with the reason, if it is known to make no difference.
    pub survivors: Vec<(&'static str, Option<&'static str>)>,
}

impl Killed {
    /// Whether each survivor is known to make no difference.
    pub fn all_accounted_for(&self) -> bool {
        self.survivors.iter().all(|(_, reason)| reason.is_some())
    }
}

/// Runs the mutants of the model: each must break the guarantee that was named for it.
pub fn of_model(threads: usize, mut progress: impl FnMut(&str) + Send) -> Killed {
    let mutants = mutant::all();
    let killed = pool::map(
        threads,
        &mutants,
        |mutant| progress(mutant.name),
        |mutant| {
            let Some(scope) = scope::by_name(mutant.scope) else { return false };
            let run = ScopeSearch::new(scope, Arc::new(*mutant)).shortest_to(mutant.breaks);
            run.counterexamples.iter().any(|(name, _)| *name == mutant.breaks)
        },
    );
    let mut found = Killed { total: mutants.len(), ..Killed::default() };
    for (mutant, killed) in mutants.iter().zip(killed) {
        if killed {
            found.killed += 1;
        } else {
            found.survivors.push((mutant.name, None));
        }
    }
    found
}

/// Runs the mutants of the SQL: the lockstep must notice each, unless it is known to make no difference.
pub fn of_sql(threads: usize, mut progress: impl FnMut(&str) + Send) -> Killed {
    let mutants = sql_mutant::ALL;
    let killed = pool::map(
        threads,
        mutants,
        |mutant| progress(mutant.name),
        |mutant| {
            let both = mutant.statements().zip(scope::by_name(mutant.scope));
            both.is_some_and(|(sql, scope)| !Lockstep::new(scope, sql).shortest().broken.is_empty())
        },
    );
    let mut found = Killed { total: mutants.len(), ..Killed::default() };
    for (mutant, killed) in mutants.iter().zip(killed) {
        match (killed, mutant.equivalent) {
            (true, None) => found.killed += 1,
            (false, reason) => found.survivors.push((mutant.name, reason)),
            (true, Some(_)) => {
                found.killed += 1;
                found.survivors.push(("a mutant that was said to make no difference was noticed", None));
            }
        }
    }
    found
}
