//! Auditing recordings: whether the model allows what a bus did.
//!
//! Invariant: the answer is yes only if every operation from the first commit number to the last was replayed in the model,
//! each reply was the model's, and every recording has its end. Otherwise the answer says how far the check reaches.
//! Does not depend on: how the store works. Nothing is changed.

mod difference;
mod doubt;
mod explain;
mod ledger;
mod merge;
mod replay;

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::record::contents;
use crate::sqlite::{OpenOptions, numbered_snapshot, open_reader};

use difference::difference;
pub use doubt::Doubt;
pub use explain::Violation;
use explain::explain;
use replay::{Mismatch, MismatchKind, Replay};

/// The result of an audit.
#[derive(Debug)]
#[non_exhaustive]
pub struct Audit {
    /// Whether the model allows it.
    pub verdict: Verdict,
    /// How many operations were checked.
    pub operations: u64,
    /// How many transactions they were in.
    pub transactions: u64,
    /// How many recorded operations came before the state that the check begins with, and are part of it.
    pub before: u64,
    /// The commit numbers that were checked without a gap: pairs of the number of the state at the beginning and the last
    /// number.
    pub stretches: Vec<(u64, u64)>,
    /// Whether the last state was compared with that of a store.
    pub compared: bool,
}

/// Whether the model allows what was recorded.
#[derive(Debug)]
pub enum Verdict {
    /// The model allows all of it.
    Allowed,
    /// The model does not allow this.
    NotAllowed(Box<Violation>),
    /// The model allows what was checked, but not everything could be checked, for these reasons.
    NotChecked(Vec<Doubt>),
}

/// Checks recordings of one store together, in any order, and compares the last state with the store, if it is given.
///
/// # Errors
/// Those of the store. A recording that cannot be read is no error, but a [`Doubt`].
pub fn audit(paths: &[PathBuf], store: Option<&Path>) -> Result<Audit> {
    let mut replay = Replay::new(paths);
    let mut mismatch = replay.run(None);
    replay.merge.finish();
    let mut compared = false;
    if mismatch.is_none()
        && let (Some(store), Some(at)) = (store, replay.merge.at())
    {
        let reader = open_reader(store, &OpenOptions { create: false, ..OpenOptions::default() })?;
        let (mut state, number) = numbered_snapshot(&reader)?;
        contents::shorten_ids(&mut state);
        if !replay.merge.whole_contents {
            contents::of_state(&mut state);
        }
        compared = number == at;
        if !compared {
            replay.merge.doubts.push(Doubt::Elsewhere { store: number, recorded: at });
        } else if state != *replay.ledger.state() {
            mismatch = Some(Mismatch {
                path: store.to_owned(),
                number,
                what: MismatchKind::State(difference(&state, replay.ledger.state())),
            });
        }
    }
    let verdict = match mismatch {
        Some(mismatch) => Verdict::NotAllowed(Box::new(explain(paths, mismatch, replay.operations))),
        None if replay.merge.doubts.is_empty() => Verdict::Allowed,
        None => Verdict::NotChecked(std::mem::take(&mut replay.merge.doubts)),
    };
    let Replay { operations, transactions, stretches, merge, .. } = replay;
    Ok(Audit { verdict, operations, transactions, before: merge.before, stretches, compared })
}

#[cfg(test)]
mod tests;
