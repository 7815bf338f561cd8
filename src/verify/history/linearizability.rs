//! The linearizability search: is there an order of the operations that explains every reply? It trusts no number.
//!
//! A history is linearizable if its operations can be put into one order, in which each takes effect at one moment
//! between its call and its answer and is answered as the model answers. The search is that of Wing and Gong: of the
//! operations that were called before the first answer that is still to come, try each as the next, and go back where
//! none fits. Two memories make it fast: a pair of the operations that have happened and the state that they led to is
//! looked at once (Lowe), and so are pairs that differ in operations that can do nothing any more.
//!
//! An operation without an answer may happen at any time after its call, or never; it is tried where no answered one
//! fits. (Not even the end of its process ends that: what a killed process has written into the WAL can come to life
//! when another process recovers it.)
//!
//! Invariant: a history is allowed only with such an order in hand, and refused only if all were tried; otherwise it is
//! inconclusive. A collision of two hashes could make the search refuse run_mutant, and never allow run_mutant.
//! Does not depend on: the other checkers.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fencepost_model::op::{Lease, Op, Reply};
use fencepost_model::state::State;
use fencepost_model::step::apply;
use fencepost_model::vocabulary::{Seq, Token};

use crate::history::record::{History, HistoryAnswer, HistoryChance, HistoryEntry};
use crate::history::verdict::{HistoryVerdict, Rejection};
use crate::rig::recovery::digested;

/// The name of this check.
pub const LINEARIZABLE: &str = "some_order_explains_every_reply";

/// How many pairs of operations and state are looked at before the search gives up.
pub const PAIRS_MAX: usize = 400_000;

/// What a search found.
#[derive(Clone, Debug)]
pub struct LinearizabilityResult {
    /// Its verdict.
    pub verdict: HistoryVerdict,
    /// The longest order that was found, by the indices of its operations.
    pub order: Vec<usize>,
    /// How many pairs of operations and state were looked at.
    pub pairs: usize,
}

/// Looks for an order.
pub fn check(history: &History) -> HistoryVerdict {
    search(history, PAIRS_MAX).verdict
}

/// Looks for an order, among so many pairs of operations and state at most.
pub fn search(history: &History, pairs_max: usize) -> LinearizabilityResult {
    let mut search = LinearizabilitySearch::new(history, pairs_max);
    let found = search.run();
    let (order, pairs) = (search.longest.clone(), search.seen.len());
    let verdict = match found {
        Some(true) => HistoryVerdict::Allowed,
        None => HistoryVerdict::Inconclusive,
        Some(false) => {
            let stuck = search.answered.iter().find(|index| !order.contains(index)).copied();
            let why = match stuck {
                Some(_) => "no order of what was called by then leads to this answer".to_owned(),
                None => "no order leads to what was found in the end".to_owned(),
            };
            HistoryVerdict::Refused(Rejection { checker: LINEARIZABLE, why, entry: stuck })
        }
    };
    LinearizabilityResult { verdict, order, pairs }
}

struct LinearizabilitySearch<'a> {
    history: &'a History,
    /// Operations with an answer that says what happened, in the order of their calls.
    calls: Vec<usize>,
    /// The same, in the order of their answers.
    answered: Vec<usize>,
    /// Operations that may or may not have happened, in the order of their calls.
    open: Vec<usize>,
    done: Vec<bool>,
    /// The hash of the answered operations that have happened.
    hash: u64,
    hashes: Vec<u64>,
    seen: HashSet<(u64, u64)>,
    pairs_max: usize,
    longest: Vec<usize>,
}

/// A point of the search: a state, and what may happen next.
struct SearchFrame {
    state: State,
    /// How many of the first calls have all happened.
    low: usize,
    next: Vec<usize>,
    tried: usize,
    /// What happened last.
    last: Option<usize>,
}

impl<'a> LinearizabilitySearch<'a> {
    fn new(history: &'a History, pairs_max: usize) -> Self {
        let entries = &history.entries;
        let replied = |index: &usize| entries[*index].reply().is_some();
        let mut calls: Vec<usize> = (0..entries.len()).filter(replied).collect();
        calls.sort_by_key(|index| entries[*index].called_ns);
        let mut answered = calls.clone();
        answered.sort_by_key(|index| entries[*index].answered_ns);
        let open = (0..entries.len()).filter(|index| entries[*index].is_open()).collect();
        let mut chance = HistoryChance::new(1, &[]);
        let hashes = entries.iter().map(|_| chance.number()).collect();
        Self {
            history,
            calls,
            answered,
            open,
            done: vec![false; entries.len()],
            hash: 0,
            hashes,
            seen: HashSet::new(),
            pairs_max,
            longest: Vec::new(),
        }
    }

    fn entry(&self, index: usize) -> &'a HistoryEntry {
        &self.history.entries[index]
    }

    /// Whether there is an order; none if the search gave up.
    fn run(&mut self) -> Option<bool> {
        let first = self.frame(self.history.start.clone(), 0, None);
        let mut path = vec![first];
        while let Some(frame) = path.last_mut() {
            if frame.tried == 0 && self.is_over(frame) {
                return Some(true);
            }
            let Some(index) = frame.next.get(frame.tried).copied() else {
                let last = frame.last;
                path.pop();
                if let Some(last) = last {
                    self.undo(last);
                }
                continue;
            };
            frame.tried += 1;
            let Some(state) = self.after(&frame.state, index) else { continue };
            self.redo(index);
            let low = frame.low;
            if !self.seen.insert((self.key(&state), hash(&state))) {
                self.undo(index);
                continue;
            }
            if self.seen.len() > self.pairs_max {
                return None;
            }
            let frame = self.frame(state, low, Some(index));
            path.push(frame);
            if path.len() > self.longest.len() + 1 {
                self.longest = path.iter().filter_map(|frame| frame.last).collect();
            }
        }
        Some(false)
    }

    fn redo(&mut self, index: usize) {
        self.done[index] = true;
        self.hash ^= if self.entry(index).is_open() { 0 } else { self.hashes[index] };
    }

    fn undo(&mut self, index: usize) {
        self.done[index] = false;
        self.hash ^= if self.entry(index).is_open() { 0 } else { self.hashes[index] };
    }

    /// Whether all that was answered has happened, and led to what was found in the end.
    fn is_over(&self, frame: &SearchFrame) -> bool {
        let all = self.calls[frame.low..].iter().all(|index| self.done[*index]);
        all && self.history.end.as_ref().is_none_or(|end| digested(&frame.state) == end.state)
    }

    /// A point with all that may happen next: what was called before the first answer that is still to come, those that
    /// were answered first at first, and then what has no answer.
    fn frame(&self, state: State, mut low: usize, last: Option<usize>) -> SearchFrame {
        while self.calls.get(low).is_some_and(|index| self.done[*index]) {
            low += 1;
        }
        let mut until = u64::MAX;
        let mut next = Vec::new();
        for index in self.calls[low..].iter().copied().filter(|index| !self.done[*index]) {
            let entry = self.entry(index);
            if entry.called_ns > until {
                break;
            }
            until = until.min(entry.answered_ns.unwrap_or(u64::MAX));
            next.push(index);
        }
        next.sort_by_key(|index| self.entry(*index).answered_ns);
        let is_next = |index: &usize| {
            let entry = self.entry(*index);
            !self.done[*index] && entry.called_ns <= until && !is_over(&state, &entry.op)
        };
        next.extend(self.open.iter().copied().filter(is_next));
        SearchFrame { state, low, next, tried: 0, last }
    }

    /// The state after an operation, if that is answered as it was; of one without an answer, if it changes something.
    fn after(&self, before: &State, index: usize) -> Option<State> {
        let entry = self.entry(index);
        match &entry.answer {
            HistoryAnswer::Replied { reply, .. } => {
                if !may_come(before, &entry.op, reply) {
                    return None;
                }
                let mut state = before.clone();
                (apply(&mut state, entry.now, &entry.op) == *reply).then_some(state)
            }
            _ => {
                let mut state = before.clone();
                let refused = matches!(apply(&mut state, entry.now, &entry.op), Reply::Refused(_));
                (!refused && state != *before).then_some(state)
            }
        }
    }

    /// What can still make a difference: which answered operations have happened, and which of those without an answer
    /// may still do something.
    fn key(&self, state: &State) -> u64 {
        let can = |index: &&usize| !self.done[**index] && !is_over(state, &self.entry(**index).op);
        self.open.iter().filter(can).fold(self.hash, |key, index| key ^ self.hashes[*index])
    }
}

fn hash(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Whether an operation can never do anything any more: the token that it presents is not the current one, and a token
/// that is not current never becomes so again (G4).
fn is_over(state: &State, op: &Op) -> bool {
    let (lease, token) = match op {
        Op::Settle { target, token, .. } => (target.lease(), *token),
        Op::Release { lease, token } | Op::Extend { lease, token, .. } => (lease.clone(), *token),
        Op::Poll { group, token: Some(token), .. } => (Lease::Cursor(group.clone()), *token),
        _ => return false,
    };
    let current = match &lease {
        Lease::Command(seq) => {
            state.queue.get(seq).and_then(|command| command.lease).map(|lease| lease.token)
        }
        Lease::Cursor(group) => {
            state.groups.get(group).and_then(|group| group.lease).map(|lease| lease.token)
        }
    };
    current != Some(token)
}

/// A quick look whether numbers fit, before the model is asked: most operations that are not next are ruled out by it.
/// It can only rule out what the model would rule out.
fn may_come(state: &State, op: &Op, reply: &Reply) -> bool {
    match (op, reply) {
        (Op::Send { .. }, Reply::Accepted { seq, fresh: true }) => *seq == next(state.queue_last),
        (Op::Publish { .. }, Reply::Accepted { seq, fresh: true }) => *seq == next(state.head),
        (Op::Claim { .. }, Reply::HandedOut { deliveries, .. }) => {
            deliveries.first().is_none_or(|first| first.token == minted(state))
        }
        (Op::Poll { token: None, .. }, Reply::HandedOut { deliveries, .. }) => {
            deliveries.first().is_none_or(|first| first.token == minted(state))
        }
        _ => true,
    }
}

fn next(seq: Seq) -> Seq {
    seq.plus(1)
}

fn minted(state: &State) -> Token {
    state.token_last.plus(1)
}
