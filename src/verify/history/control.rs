//! Positive controls: mutants of clients, whose histories the checkers named here must refuse.
//!
//! Invariant: the checkers are written down before the search; a control that is missed fails the run.

use std::path::Path;

use crate::history::checkers::{PATIENCE, check};
use crate::history::client::Theme;
use crate::history::commit_order::COMMIT_ORDER;
use crate::history::linearizability::LINEARIZABLE;
use crate::history::log::HOLDERS;
use crate::history::mutant::HistoryMutant;
use crate::history::recording::{ClientKind, RecordedHistory, RecordingPlan, record};
use fencepost::error::Result;

/// A mutant, and the checkers that must refuse its histories.
#[derive(Clone, Copy, Debug)]
pub struct HistoryControl {
    /// What the mutant does, a sentence.
    pub name: &'static str,
    /// The mutant that all clients make.
    pub mutant: HistoryMutant,
    /// What they are about.
    pub theme: Theme,
    /// The checkers that must refuse it.
    pub refused_by: &'static [&'static str],
}

/// All controls.
pub const ALL: &[HistoryControl] = &[
    HistoryControl {
        name: "a transaction begins as a reader (BEGIN in place of BEGIN IMMEDIATE)",
        mutant: HistoryMutant::BeginsAsAReader,
        theme: Theme::Queue,
        refused_by: &[PATIENCE],
    },
    HistoryControl {
        name: "a claim looks in one transaction and takes in another",
        mutant: HistoryMutant::ClaimsInTwo,
        theme: Theme::Queue,
        refused_by: &[COMMIT_ORDER, LINEARIZABLE],
    },
    HistoryControl {
        name: "a settlement does not ask for the token",
        mutant: HistoryMutant::SettlesWithAnyToken,
        theme: Theme::Queue,
        refused_by: &[COMMIT_ORDER, LINEARIZABLE],
    },
    HistoryControl {
        name: "a retry after a busy answer sends twice",
        mutant: HistoryMutant::SendsTwice,
        theme: Theme::Queue,
        refused_by: &[COMMIT_ORDER, LINEARIZABLE],
    },
    HistoryControl {
        name: "an operation is answered before its commit",
        mutant: HistoryMutant::AnswersBeforeTheCommit,
        theme: Theme::Queue,
        refused_by: &[COMMIT_ORDER, LINEARIZABLE],
    },
    HistoryControl {
        name: "a cursor's lease is looked at outside of the transaction",
        mutant: HistoryMutant::LooksAtTheLeaseBefore,
        theme: Theme::Log,
        refused_by: &[COMMIT_ORDER, LINEARIZABLE, HOLDERS],
    },
];

/// How many histories are recorded until one is refused: the machine decides whether a mutant shows.
const TRIES: u64 = 20;

impl HistoryControl {
    /// Records histories until the named checkers refuse one. Returns it, or what was missing.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(&self, seed: u64, program: &Path) -> Result<std::result::Result<RecordedHistory, String>> {
        let mut by: Vec<&str> = Vec::new();
        for tries in 0..TRIES {
            let seed = seed.wrapping_add(tries);
            let (theme, mutant) = (self.theme, Some(self.mutant));
            let (kind, lanes, operations) = (ClientKind::Processes, 6, 50);
            let plan = RecordingPlan { kind, seed, lanes, operations, kills: 2, stalls: 1, theme, mutant };
            let recorded = record(&plan, program)?;
            let verdicts = check(&recorded.history);
            by = verdicts.refused().iter().map(|refused| refused.checker).collect();
            if self.refused_by.iter().all(|checker| by.contains(checker)) {
                return Ok(Ok(recorded));
            }
        }
        by.dedup();
        Ok(Err(format!(
            "{TRIES} histories, the last refused by {by:?} and not by all of {:?}",
            self.refused_by
        )))
    }
}
