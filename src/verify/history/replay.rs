//! A recorded history, checked again and explained.
//!
//! Invariant: the same history has the same verdicts and the same explanation each time.

use std::fmt::Write as _;

use fencepost_model::description;
use fencepost_model::op::Op;
use fencepost_model::state::State;

use crate::history::checkers::{HistoryVerdict, Verdicts, check};
use crate::history::record::{History, HistoryAnswer, HistoryEntry};
use crate::history::timeline::{Span, draw};

/// What came of checking a history again.
#[derive(Debug)]
pub struct HistoryReplay {
    /// What the checkers say.
    pub verdicts: Verdicts,
    /// The explanation of it.
    pub explanation: String,
}

/// Checks a history, and explains it.
pub fn replay(history: &History) -> HistoryReplay {
    let verdicts = check(history);
    let mut explanation = String::new();
    if history.start != State::new() {
        let _ = writeln!(explanation, "from this state on:");
        explanation += &description::state(&history.start);
        explanation.push('\n');
    }
    let lanes = history.entries.iter().map(|entry| entry.lane + 1).max().unwrap_or_default();
    let lanes: Vec<String> = (0..lanes).map(|lane| lane.to_string()).collect();
    let spans: Vec<Span> = history.entries.iter().map(span).collect();
    explanation += &draw(&lanes, &spans);
    let refused = verdicts.refused();
    for refused in &refused {
        let at = refused.entry.map(|index| format!(" (operation {})", index + 1)).unwrap_or_default();
        let _ = writeln!(explanation, "refused: {}{at}\n  {}", refused.checker, refused.why);
    }
    if refused.is_empty() {
        explanation += match verdicts.by_search {
            HistoryVerdict::Inconclusive if history.checker.is_none() => "inconclusive: the search gave up\n",
            _ => "allowed: it may have happened so\n",
        };
    }
    HistoryReplay { verdicts, explanation }
}

fn span(entry: &HistoryEntry) -> Span {
    let HistoryEntry { lane, called_ns, answered_ns, now, op, answer, .. } = entry;
    let what = match op {
        Op::Atomic(ops) => ops.iter().map(description::operation).collect::<Vec<_>>().join(", and "),
        op => description::operation(op),
    };
    let place = entry.place().map(|place| match place.changed {
        true => format!("  [number {}]", place.commit_seq),
        false => format!("  [after number {}]", place.commit_seq),
    });
    let ends = match answer {
        HistoryAnswer::Replied { reply, .. } => description::reply(reply) + &place.unwrap_or_default(),
        HistoryAnswer::Busy => "busy".to_owned(),
        HistoryAnswer::Failed(why) => format!("failed: {why}"),
        HistoryAnswer::Missing | HistoryAnswer::Indeterminate => String::new(),
    };
    let open = if entry.is_open() { "  (no answer)" } else { "" };
    Span {
        lane: *lane as usize,
        from_ns: *called_ns,
        to_ns: *answered_ns,
        begins: format!("at {now} {what}{open}"),
        ends,
    }
}
