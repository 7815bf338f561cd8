//! Makes a refused history small: to the few answers that contradict each other.
//!
//! It is made smaller in three ways. A beginning for which there is an order is replaced by the state that it leads to.
//! What was called after the contradiction is left out, and what was not answered by then has no answer. And answers
//! are forgotten: an operation without an answer may or may not have happened, so if what is left is still refused, it
//! is refused either way.
//!
//! Invariant: what is left is refused by the same checker, and none of the three ways makes an allowed history a
//! refused one.
//! Does not depend on: how a checker works.

use fencepost_model::state::State;
use fencepost_model::step::apply;

use crate::history::checkers::{Rejection, asks_within};
use crate::history::commit_order::COMMIT_ORDER;
use crate::history::linearizability::LINEARIZABLE;
use crate::history::record::{History, HistoryAnswer, HistoryEntry};
use crate::history::{commit_order, linearizability};

/// How many pairs of operations and state are looked at for each question.
const PAIRS_MAX: usize = 2_000;

fn asks(checker: &str, history: &History) -> Option<Rejection> {
    asks_within(checker, history, PAIRS_MAX)
}

/// How many operations before the contradiction are kept if possible.
const BEFORE: usize = 6;

/// Makes a history that a checker refuses as small as it gets.
pub fn shrink(history: &History, refused: &Rejection) -> History {
    let checker = refused.checker;
    let cut = cut_after(history, refused);
    let mut small = match checker {
        COMMIT_ORDER | LINEARIZABLE => [&cut, history].into_iter().find_map(|whole| window(whole, checker)),
        _ => asks(checker, &cut).map(|_| cut),
    }
    .unwrap_or_else(|| history.clone());
    if checker == LINEARIZABLE {
        // It trusts no number, and where answers are forgotten, numbers are missing.
        small.entries.iter_mut().for_each(without_number);
    }
    History { checker: Some(checker.to_owned()), ..forget(small, checker) }
}

/// The history without most of the beginning for which there is an order, if it is refused without it.
fn window(history: &History, checker: &str) -> Option<History> {
    let order = match checker {
        COMMIT_ORDER => commit_order::replay(history).1,
        _ => linearizability::search(history, linearizability::PAIRS_MAX).order,
    };
    [BEFORE, 1, 0].into_iter().find_map(|before| {
        let window = begun_later(history, &order[..order.len().saturating_sub(before)])?;
        asks(checker, &window).map(|_| window)
    })
}

fn without_number(entry: &mut HistoryEntry) {
    if let HistoryAnswer::Replied { place, .. } = &mut entry.answer {
        *place = None;
    }
}

/// The history up to the answer at which it was refused, or, where numbers count, up to its number.
fn cut_after(history: &History, refused: &Rejection) -> History {
    let Some(last) = refused.entry.map(|index| &history.entries[index]) else { return history.clone() };
    let Some(until) = last.answered_ns else { return history.clone() };
    let mut cut = History { end: None, ..history.clone() };
    // What took an earlier number was called before this was answered.
    cut.entries.retain(|entry| entry.called_ns <= until);
    match (refused.checker, last.place()) {
        (COMMIT_ORDER, Some(last)) => {
            cut.entries.retain(|entry| entry.place().is_none_or(|place| place.commit_seq <= last.commit_seq));
        }
        _ => {
            for entry in cut.entries.iter_mut().filter(|entry| entry.answered_ns.is_some_and(|at| at > until))
            {
                without_answer(entry);
            }
        }
    }
    cut
}

fn without_answer(entry: &mut HistoryEntry) {
    (entry.answer, entry.answered_ns) = (HistoryAnswer::Missing, None);
}

/// The history without a beginning, from the state that it leads to; none if it is not answered so.
fn begun_later(history: &History, beginning: &[usize]) -> Option<History> {
    let mut state: State = history.start.clone();
    let mut start_seq = history.start_seq;
    for index in beginning {
        let entry = &history.entries[*index];
        let reply = apply(&mut state, entry.now, &entry.op);
        if entry.reply().is_some_and(|answered| *answered != reply) {
            return None;
        }
        // What has no answer and happened took a number all the same.
        start_seq = match entry.place() {
            Some(place) => place.commit_seq,
            None => start_seq + u64::from(entry.is_open()),
        };
    }
    let mut later = History { start: state, start_seq, ..history.clone() };
    let mut index = 0;
    later.entries.retain(|entry| {
        let kept = !beginning.contains(&index)
            && !matches!(entry.answer, HistoryAnswer::Busy | HistoryAnswer::Failed(_));
        index += 1;
        kept
    });
    Some(later)
}

/// Forgets as many answers as can be forgotten: half of them at once, then smaller parts. What has no answer then is
/// left out, where the checker does not need it to fill a number.
fn forget(history: History, checker: &str) -> History {
    let mut small = history;
    let mut size = small.entries.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < small.entries.len() {
            let mut other = small.clone();
            let to = (from + size).min(other.entries.len());
            other.entries[from..to].iter_mut().for_each(without_answer);
            if other != small && asks(checker, &other).is_some() {
                small = other;
            }
            from = to;
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    let mut alone = small.clone();
    alone.entries.retain(|entry| !entry.is_open());
    // Without them numbers are missing, which would be another contradiction.
    let same = |refused: Rejection| {
        checker != COMMIT_ORDER || asks(checker, &small).is_some_and(|it| it.why == refused.why)
    };
    if asks(checker, &alone).is_some_and(same) { alone } else { small }
}
