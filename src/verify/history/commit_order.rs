//! The check in commit order: the order of the numbers that transactions took is the order in which they happened.
//!
//! Each transaction that changes something takes the next number inside itself; one that changes nothing saw the number
//! of the last one before it. So the history is replayed in the model in that order, in linear time. A number that no
//! client was told belongs to an operation without an answer: there is at most one for each killed client, and all that
//! fit are tried.
//!
//! Invariant: a history is allowed only if every reply is the model's, every number is accounted for, the order
//! contradicts no answer that came before a call, and the state at the end is the model's.
//! Does not depend on: the other checkers.

use std::collections::BTreeMap;

use fencepost_model::op::Reply;
use fencepost_model::state::State;
use fencepost_model::step::apply;

use crate::history::record::{History, HistoryAnswer, HistoryEntry};
use crate::history::verdict::{HistoryVerdict, Rejection};
use crate::rig::recovery::digested;

/// The name of this check.
pub const COMMIT_ORDER: &str = "replies_are_those_of_the_order_of_the_numbers";

/// After how many replayed operations the search for what filled the gaps gives up.
const REPLAYED_MAX: u64 = 200_000;

/// How many operations without an answer it can distinguish.
const OPEN_MAX: usize = 128;

fn refused(why: String, entry: Option<usize>) -> HistoryVerdict {
    HistoryVerdict::Refused(Rejection { checker: COMMIT_ORDER, why, entry })
}

/// Checks a history by its numbers. Without numbers it is inconclusive.
pub fn check(history: &History) -> HistoryVerdict {
    replay(history).0
}

/// Checks a history by its numbers, and returns how far its operations could be replayed, by their indices in order.
pub fn replay(history: &History) -> (HistoryVerdict, Vec<usize>) {
    let places = history.entries.iter().filter_map(HistoryEntry::place);
    let last_known = places.map(|place| place.commit_seq).max().unwrap_or(history.start_seq);
    match CommitOrder::of(history, history.end.as_ref().map_or(last_known, |end| end.commit_seq)) {
        Err(verdict) => (verdict, Vec::new()),
        Ok(order) => match order.real_time(history) {
            Some((why, entry)) => (refused(why, Some(entry)), Vec::new()),
            None => order.replay(history),
        },
    }
}

/// Which operation took which number, and which ones only saw it.
struct CommitOrder {
    last: u64,
    changes: BTreeMap<u64, usize>,
    /// What changed nothing, by the number that it saw.
    looks: BTreeMap<u64, Vec<usize>>,
    /// The operations that may or may not have happened, and the number that each comes after.
    open: Vec<(usize, u64)>,
}

impl CommitOrder {
    fn of(history: &History, last: u64) -> Result<Self, HistoryVerdict> {
        let mut order = Self { last, changes: BTreeMap::new(), looks: BTreeMap::new(), open: Vec::new() };
        for (index, entry) in history.entries.iter().enumerate() {
            let HistoryAnswer::Replied { reply, place } = &entry.answer else { continue };
            let Some(place) = place else { return Err(HistoryVerdict::Inconclusive) };
            let number = place.commit_seq;
            if number > last || number < history.start_seq + u64::from(place.changed) {
                let why = format!("number {number} is none of {} to {last}", history.start_seq);
                return Err(refused(why, Some(index)));
            }
            if !place.changed {
                order.looks.entry(number).or_default().push(index);
                continue;
            }
            if matches!(reply, Reply::Refused(_)) {
                return Err(refused(format!("a refusal took the number {number}"), Some(index)));
            }
            if order.changes.insert(number, index).is_some() {
                return Err(refused(format!("two transactions took the number {number}"), Some(index)));
            }
        }
        let open = history.entries.iter().enumerate().filter(|(_, entry)| entry.is_open());
        let open: Vec<_> = open.map(|(index, entry)| (index, order.lowest(history, entry))).collect();
        order.open = open;
        if order.open.len() > OPEN_MAX { Err(HistoryVerdict::Inconclusive) } else { Ok(order) }
    }

    /// The number that an operation without an answer comes after: that of the last one that was answered before its
    /// call.
    fn lowest(&self, history: &History, open: &HistoryEntry) -> u64 {
        let before = |index: usize| history.entries[index].answered_ns.is_some_and(|at| at < open.called_ns);
        let change = self.changes.iter().rev().find(|(_, index)| before(**index));
        let look = self.looks.iter().rev().find(|(_, all)| all.iter().any(|index| before(*index)));
        let (change, look) = (change.map(|(number, _)| *number), look.map(|(number, _)| *number));
        change.max(look).unwrap_or(history.start_seq)
    }

    /// An operation that was answered before another was called, and yet comes after it.
    fn real_time(&self, history: &History) -> Option<(String, usize)> {
        let mut earliest: Option<(u64, u64, usize)> = None;
        let mut numbers: Vec<u64> = self.changes.keys().chain(self.looks.keys()).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers.into_iter().rev() {
            // Looks come after the change whose number they saw, and have no order among themselves.
            let looks = self.looks.get(&number).cloned().unwrap_or_default();
            let change = self.changes.get(&number).copied();
            for group in [looks, change.into_iter().collect()] {
                for index in &group {
                    let called = history.entries[*index].called_ns;
                    if let Some((answered, later, other)) = earliest
                        && answered < called
                    {
                        let why = format!(
                            "it stands at {number} and was called after the operation of client {}, which stands \
                             at {later}, was answered",
                            history.entries[other].lane
                        );
                        return Some((why, *index));
                    }
                }
                for index in group {
                    if let Some(answered) = history.entries[index].answered_ns
                        && earliest.is_none_or(|(known, ..)| answered < known)
                    {
                        earliest = Some((answered, number, index));
                    }
                }
            }
        }
        None
    }

    fn replay(&self, history: &History) -> (HistoryVerdict, Vec<usize>) {
        let mut choices: Vec<GapChoice> = Vec::new();
        let mut at = GapChoice {
            number: history.start_seq,
            state: history.start.clone(),
            used: 0,
            next: 0,
            replayed: 0,
        };
        let mut way = ReplayPath::default();
        let mut deepest: Option<(u64, HistoryVerdict, Vec<usize>)> = None;
        loop {
            let Some(failed) = self.replay_on(history, &mut at, &mut choices, &mut way) else {
                return (HistoryVerdict::Allowed, way.order);
            };
            if way.steps > REPLAYED_MAX {
                return (HistoryVerdict::Inconclusive, way.order);
            }
            if deepest.as_ref().is_none_or(|(number, ..)| at.number > *number) {
                deepest = Some((at.number, failed, way.order.clone()));
            }
            match choices.pop() {
                Some(choice) => at = choice,
                None => {
                    let (_, verdict, order) =
                        deepest.unwrap_or((0, HistoryVerdict::Inconclusive, Vec::new()));
                    return (verdict, order);
                }
            }
            way.order.truncate(at.replayed);
        }
    }

    /// Replays on from a number up to the end, or to where it fails. At a gap it takes the first operation that may
    /// fill it, and leaves the others to be tried.
    fn replay_on(
        &self,
        history: &History,
        at: &mut GapChoice,
        choices: &mut Vec<GapChoice>,
        way: &mut ReplayPath,
    ) -> Option<HistoryVerdict> {
        loop {
            if at.next == 0
                && let Some(failed) = self.look(history, at, way)
            {
                return Some(failed);
            }
            if at.number == self.last {
                let same = history.end.as_ref().is_none_or(|end| digested(&at.state) == end.state);
                return (!same).then(|| {
                    refused("what was found in the end is not what the model comes to".to_owned(), None)
                });
            }
            let number = at.number + 1;
            if let Some(index) = self.changes.get(&number) {
                let failed = compare(&mut at.state, history, *index);
                if failed.is_some() {
                    return failed;
                }
                way.step(*index);
                at.number = number;
                continue;
            }
            if let Some(failed) = self.fill(history, at, choices, way) {
                return Some(failed);
            }
        }
    }

    /// Fills the next number with the first operation without an answer that was not tried.
    fn fill(
        &self,
        history: &History,
        at: &mut GapChoice,
        choices: &mut Vec<GapChoice>,
        way: &mut ReplayPath,
    ) -> Option<HistoryVerdict> {
        let number = at.number + 1;
        let mut fits = self.open.iter().enumerate().skip(at.next);
        let fits = fits.find(|(which, (_, lowest))| at.used & (1 << which) == 0 && *lowest < number);
        let after = self.changes.range(number..).next().map(|(_, index)| *index);
        let Some((which, (index, _))) = fits else {
            let why =
                format!("no client was told the number {number}, and no operation without an answer fits");
            return Some(refused(why, after));
        };
        choices.push(GapChoice { next: which + 1, replayed: way.order.len(), ..at.clone() });
        let entry = &history.entries[*index];
        let reply = apply(&mut at.state, entry.now, &entry.op);
        way.step(*index);
        (at.number, at.used, at.next) = (number, at.used | (1 << which), 0);
        let refusal = matches!(reply, Reply::Refused(_));
        refusal.then(|| refused(format!("no client was told the number {number}"), after))
    }

    /// What changed nothing must be answered as the model answers at its number.
    fn look(&self, history: &History, at: &GapChoice, way: &mut ReplayPath) -> Option<HistoryVerdict> {
        let looks = self.looks.get(&at.number)?;
        looks.iter().find_map(|index| {
            let mut state = at.state.clone();
            let failed = compare(&mut state, history, *index);
            let changed = || refused("it took no number, and changes something".to_owned(), Some(*index));
            let failed = failed.or_else(|| (state != at.state).then(changed));
            if failed.is_none() {
                way.step(*index);
            }
            failed
        })
    }
}

/// A place in the replay, at which another operation may be taken for the next number.
#[derive(Clone)]
struct GapChoice {
    number: u64,
    state: State,
    /// Which of the operations without an answer have happened, one bit for each.
    used: u128,
    /// Which of them is tried next.
    next: usize,
    /// How many operations were replayed by then.
    replayed: usize,
}

/// How far the replay is.
#[derive(Default)]
struct ReplayPath {
    order: Vec<usize>,
    /// How many operations were ever replayed, on this way or another.
    steps: u64,
}

impl ReplayPath {
    fn step(&mut self, index: usize) {
        self.order.push(index);
        self.steps += 1;
    }
}

/// Applies an operation in the model, and says if that answers otherwise.
fn compare(state: &mut State, history: &History, index: usize) -> Option<HistoryVerdict> {
    let entry = &history.entries[index];
    let expected = apply(state, entry.now, &entry.op);
    let actual = entry.reply()?;
    (*actual != expected).then(|| {
        refused(format!("it was answered {actual:?}, and the model answers {expected:?}"), Some(index))
    })
}
