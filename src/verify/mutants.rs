//! The phase `mutants`: every known mistake is made, in the model and in the SQL, and must be noticed.

use std::sync::Arc;

use fencepost_model::check::ScopeSearch;
use fencepost_model::mutant;
use fencepost_model::scope;

use crate::lockstep::Lockstep;
use crate::pool;
use crate::sql_mutant;

/// What the phase found about one set of mutants.
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
