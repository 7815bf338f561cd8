//! Mutants of the SQL by the hundred: every small change in every statement, each of which a check must notice.
//!
//! Those of [`sql_mutant`](super::sql_mutant) were chosen by hand, and show what harm a bug does; these are made from
//! the texts, one change at a time, and show how much the checks see.
//!
//! Invariant: a mutant is a statement that SQLite takes; one that survives is listed with the reason why it is
//! equivalent.

pub mod examine;
mod spared;
mod text;

use rusqlite::Connection;

use crate::pool;
use examine::{Noticed, examine};
use fencepost::error::Result;
use fencepost::internals::sqlite::{StatementId, Statements, Store};

/// A statement with one small change in it.
#[derive(Clone, Debug)]
pub struct StatementMutant {
    /// The statement.
    pub statement: StatementId,
    /// The kind of change.
    pub kind: &'static str,
    /// What was changed into what; and which of the places it is, if the same can be changed in several.
    pub what: String,
    /// Its text.
    pub text: String,
}

impl StatementMutant {
    /// All statements, with this one in the place of its own.
    pub fn statements(&self) -> Statements {
        Statements::standard().replaced(self.statement, self.text.clone())
    }

    /// Why nothing notices it, if that is known: the reason why it makes no difference.
    pub fn spared(&self) -> Option<&'static str> {
        spared::reason(self)
    }
}

/// All mutants that SQLite takes, in the order of the statements.
///
/// # Errors
/// If there is no memory for a database.
pub fn all() -> Result<Vec<StatementMutant>> {
    let store = Store::in_memory()?;
    let standard = Statements::standard();
    let mut mutants: Vec<StatementMutant> = Vec::new();
    for statement in StatementId::ALL {
        let mut texts = vec![standard.get(*statement).to_owned()];
        let mut of_statement: Vec<StatementMutant> = Vec::new();
        for change in text::changes(standard.get(*statement)) {
            if !texts.contains(&change.text) && is_sql(store.connection(), &change.text) {
                let text::TextChange { kind, what, text } = change;
                texts.push(text.clone());
                of_statement.push(StatementMutant { statement: *statement, kind, what, text });
            }
        }
        let whats: Vec<String> = of_statement.iter().map(|mutant| mutant.what.clone()).collect();
        for (index, mutant) in of_statement.iter_mut().enumerate() {
            let count = |whats: &[String]| whats.iter().filter(|what| **what == mutant.what).count();
            let (place, places) = (count(&whats[..=index]), count(&whats));
            if places > 1 {
                mutant.what += &format!(" ({place} of {places})");
            }
        }
        mutants.extend(of_statement);
    }
    Ok(mutants)
}

fn is_sql(conn: &Connection, text: &str) -> bool {
    // What is done with savepoints is only known to them when it is run.
    conn.prepare(text).is_ok()
}

/// What became of each mutant.
#[derive(Debug)]
pub struct MutantOutcome {
    /// The mutant.
    pub mutant: StatementMutant,
    /// By what it was noticed; nothing if it was not.
    pub noticed: Option<Noticed>,
}

/// Examines mutants. `begin` is called for each.
pub fn check(
    threads: usize,
    mutants: &[StatementMutant],
    begin: impl FnMut(&StatementMutant) + Send,
) -> Vec<MutantOutcome> {
    let noticed = pool::map(threads, mutants, begin, |mutant| examine(&mutant.statements()).err());
    let checked = mutants.iter().cloned().zip(noticed);
    checked.map(|(mutant, noticed)| MutantOutcome { mutant, noticed }).collect()
}
