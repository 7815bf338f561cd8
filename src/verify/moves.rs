//! Moves of a scope, as a counterexample of the model or of the store.
//!
//! Invariant: the same moves give the same explanation.
//! Does not depend on: how the moves were found.

use std::fmt;

use fencepost_model::invariant::GUARANTEES;
use fencepost_model::world::Move;
use fencepost_model::{explanation, mutant, scope};

use crate::{sequence, sql_mutant};
use fencepost::error::Error;
use fencepost::internals::sqlite::Statements;

/// Moves from the start of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeMoves {
    /// The scope.
    pub scope: String,
    /// The mutant that ran, if one did: `model:NAME` or `sql:NAME`.
    pub mutant: Option<String>,
    /// The moves.
    pub moves: Vec<Move>,
}

/// Why moves could not be run.
#[derive(Debug)]
pub enum NotMoved {
    /// There is no such scope.
    UnknownScope(String),
    /// There is no such mutant.
    UnknownMutant(String),
    /// The store could not be opened.
    Store(Error),
}

impl fmt::Display for NotMoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScope(name) => {
                let names = scope::names().join(", ");
                write!(f, "there is no scope {name:?}; there are {names}")
            }
            Self::UnknownMutant(name) => write!(f, "there is no mutant {name:?} in this version"),
            Self::Store(_) => f.write_str("the store could not be opened"),
        }
    }
}

impl std::error::Error for NotMoved {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl ScopeMoves {
    /// Runs the moves again. Says whether something is broken, and explains it.
    ///
    /// # Errors
    /// If there is no such scope or mutant, or the store cannot be opened.
    pub fn replay(&self) -> Result<(bool, String), NotMoved> {
        let name = &self.scope;
        let scope = scope::by_name(name).ok_or_else(|| NotMoved::UnknownScope(name.clone()))?;
        let mut sql = Statements::standard();
        if let Some(name) = &self.mutant {
            let unknown = || NotMoved::UnknownMutant(name.clone());
            if let Some(name) = name.strip_prefix("model:") {
                let mutant = mutant::by_name(name).ok_or_else(unknown)?;
                let explanation = explanation::explain(&scope, &self.moves, &mutant);
                return Ok((explanation.contains("broken: "), explanation));
            }
            let mutant = name.strip_prefix("sql:").and_then(sql_mutant::by_name).ok_or_else(unknown)?;
            sql = mutant.statements().ok_or_else(unknown)?;
        }
        let (mut explanation, violation) =
            sequence::replay(&scope, &sql, &self.moves).map_err(NotMoved::Store)?;
        let Some(violation) = violation else {
            let count = self.moves.len();
            explanation += &format!("\nheld: {count} moves, and the store and the model agree\n");
            return Ok((false, explanation));
        };
        let id = GUARANTEES.iter().find(|guarantee| guarantee.name == violation.property);
        let id = id.map(|guarantee| format!("{} ", guarantee.id)).unwrap_or_default();
        explanation += &format!("\nbroken: {id}{}\n{}\n", violation.property, violation.why);
        Ok((true, explanation))
    }
}
