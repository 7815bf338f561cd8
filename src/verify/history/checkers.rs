//! The checkers together, and their verdicts on a history.
//!
//! Invariant: a history is allowed if no checker refuses it and at least the search found an order.
//! Does not depend on: how the other checkers work. Two short ones are here: no operation fails, and a client that
//! waits for a lock is not refused before its time.

use crate::history::commit_order::COMMIT_ORDER;
use crate::history::linearizability::LINEARIZABLE;
use crate::history::record::{History, HistoryAnswer, HistoryEntry};
pub use crate::history::verdict::{HistoryVerdict, Rejection};
use crate::history::{commit_order, linearizability, log};

/// A client that waits for a lock gets the busy answer when the wait is over, and not before.
pub const PATIENCE: &str = "who_waits_gets_the_lock";
/// An operation is answered by the contract, or not at all.
pub const ANSWERS: &str = "no_operation_fails";

/// What all checkers say.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// In commit order.
    pub by_commit_order: HistoryVerdict,
    /// By the linearizability search.
    pub by_search: HistoryVerdict,
    /// How many pairs of operations and state were looked at for that.
    pub pairs: usize,
    /// What can be seen without a model.
    pub seen: Vec<Rejection>,
}

/// Runs all checkers, or the one that the history is for.
pub fn check(history: &History) -> Verdicts {
    if let Some(checker) = &history.checker {
        let seen = asks(checker, history).into_iter().collect();
        return Verdicts {
            by_commit_order: HistoryVerdict::Inconclusive,
            by_search: HistoryVerdict::Inconclusive,
            pairs: 0,
            seen,
        };
    }
    let mut seen = log::check(history);
    seen.extend(answers(history));
    let searched = linearizability::search(history, linearizability::PAIRS_MAX);
    let (order, pairs) = (searched.verdict, searched.pairs);
    Verdicts { by_commit_order: commit_order::check(history), by_search: order, pairs, seen }
}

/// Runs one checker.
pub fn asks(checker: &str, history: &History) -> Option<Rejection> {
    asks_within(checker, history, linearizability::PAIRS_MAX)
}

/// Runs one checker; a search looks at so many pairs at most.
pub(super) fn asks_within(checker: &str, history: &History, pairs_max: usize) -> Option<Rejection> {
    let verdict = match checker {
        COMMIT_ORDER => commit_order::check(history),
        LINEARIZABLE => linearizability::search(history, pairs_max).verdict,
        _ => {
            let seen = log::check(history).into_iter().chain(answers(history));
            return seen.into_iter().find(|refused| refused.checker == checker);
        }
    };
    match verdict {
        HistoryVerdict::Refused(refused) => Some(refused),
        HistoryVerdict::Allowed | HistoryVerdict::Inconclusive => None,
    }
}

impl Verdicts {
    /// All that is refused, what is easiest to understand first.
    pub fn refused(&self) -> Vec<&Rejection> {
        let both = [&self.by_commit_order, &self.by_search].into_iter().filter_map(|verdict| match verdict {
            HistoryVerdict::Refused(refused) => Some(refused),
            HistoryVerdict::Allowed | HistoryVerdict::Inconclusive => None,
        });
        self.seen.iter().chain(both).collect()
    }

    /// Whether no checker refuses it, and an order was not found either.
    pub fn is_inconclusive(&self) -> bool {
        self.refused().is_empty() && self.by_search == HistoryVerdict::Inconclusive
    }
}

/// Errors that should not be.
fn answers(history: &History) -> Vec<Rejection> {
    let mut known: Vec<&str> = Vec::new();
    let violation = |(index, entry): (usize, &HistoryEntry)| match &entry.answer {
        HistoryAnswer::Failed(why) => {
            Some(Rejection { checker: ANSWERS, why: format!("it failed: {why}"), entry: Some(index) })
        }
        HistoryAnswer::Busy => {
            let waited_ms = entry.answered_ns?.saturating_sub(entry.called_ns) / 1_000_000;
            (waited_ms + 1 < u64::from(entry.patience_ms)).then(|| Rejection {
                checker: PATIENCE,
                why: format!(
                    "it got the busy answer after {waited_ms} ms, and would have waited for {} ms",
                    entry.patience_ms
                ),
                entry: Some(index),
            })
        }
        _ => None,
    };
    let mut all: Vec<Rejection> = history.entries.iter().enumerate().filter_map(violation).collect();
    // The first of each kind is enough.
    all.retain(|refused| {
        let first = !known.contains(&refused.checker);
        known.push(refused.checker);
        first
    });
    all
}
