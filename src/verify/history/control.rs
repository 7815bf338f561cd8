//! Positive controls: clients with a mistake, whose histories the judges named here must refuse.
//!
//! Judges that refuse nothing say little if they could not refuse anything. What must be refused, and by whom, is written
//! here before it is looked for; a control that passes unnoticed fails the run.

use std::path::Path;

use crate::history::client::Theme;
use crate::history::judge::{PATIENCE, judge};
use crate::history::log::HOLDERS;
use crate::history::mistake::Mistake;
use crate::history::numbers::NUMBERS;
use crate::history::search::SEARCH;
use crate::history::stage::{Kind, Plan, Recorded, record};
use fencepost::error::Result;

/// A mistake, and who must refuse what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// What is wrong, a sentence.
    pub name: &'static str,
    /// The mistake that all clients make.
    pub mistake: Mistake,
    /// What they are about.
    pub theme: Theme,
    /// The judges that must refuse it.
    pub refused_by: &'static [&'static str],
}

/// All controls.
pub const ALL: &[Control] = &[
    Control {
        name: "a transaction begins as a reader (BEGIN in place of BEGIN IMMEDIATE)",
        mistake: Mistake::BeginsAsAReader,
        theme: Theme::Queue,
        refused_by: &[PATIENCE],
    },
    Control {
        name: "a claim looks in one transaction and takes in another",
        mistake: Mistake::ClaimsInTwo,
        theme: Theme::Queue,
        refused_by: &[NUMBERS, SEARCH],
    },
    Control {
        name: "a settlement does not ask for the token",
        mistake: Mistake::SettlesWithAnyToken,
        theme: Theme::Queue,
        refused_by: &[NUMBERS, SEARCH],
    },
    Control {
        name: "a retry after a busy answer sends twice",
        mistake: Mistake::SendsTwice,
        theme: Theme::Queue,
        refused_by: &[NUMBERS, SEARCH],
    },
    Control {
        name: "an operation is answered before its commit",
        mistake: Mistake::AnswersBeforeTheCommit,
        theme: Theme::Queue,
        refused_by: &[NUMBERS, SEARCH],
    },
    Control {
        name: "a cursor's lease is looked at outside of the transaction",
        mistake: Mistake::LooksAtTheLeaseBefore,
        theme: Theme::Log,
        refused_by: &[NUMBERS, SEARCH, HOLDERS],
    },
];

/// How many histories are recorded until one is refused: the machine decides whether a mistake shows.
const TRIES: u64 = 20;

impl Control {
    /// Records histories until the named judges refuse one. Returns it, or what was missing.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(&self, seed: u64, program: &Path) -> Result<std::result::Result<Recorded, String>> {
        let mut by: Vec<&str> = Vec::new();
        for tries in 0..TRIES {
            let seed = seed.wrapping_add(tries);
            let (theme, mistake) = (self.theme, Some(self.mistake));
            let (kind, lanes, operations) = (Kind::Processes, 6, 50);
            let plan = Plan { kind, seed, lanes, operations, kills: 2, stalls: 1, theme, mistake };
            let recorded = record(&plan, program)?;
            let opinion = judge(&recorded.history);
            by = opinion.refused().iter().map(|refused| refused.judge).collect();
            if self.refused_by.iter().all(|judge| by.contains(judge)) {
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
