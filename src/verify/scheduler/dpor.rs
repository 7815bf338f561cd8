//! Dynamic partial-order reduction (DPOR): one of all schedules that differ only in the order of steps whose footprints
//! do not meet.
//!
//! This is the algorithm of Flanagan and Godefroid (2005) with sleep sets (Godefroid, 1996). A step is what a client
//! does from one choice to the next. After each run the steps are searched for races: two steps of different clients
//! that meet, and that nothing in between has put in this order. For each race, the other order is run as well.
//!
//! Invariant: every schedule does what one does that was run, as far as footprints are complete. Tests hold this
//! against the search of all schedules, here and on the store.
//! Does not depend on: what a footprint stands for.

use std::collections::BTreeSet;

use crate::disk::Footprint;

/// The footprint of one step, and what it means for the order of calls and answers, and for clients that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StepFootprint {
    pub(super) footprint: Footprint,
    /// Something was called in it, and something answered: an answer before a call is another order than one after it.
    pub(super) calls: bool,
    pub(super) answers: bool,
    /// A client fell asleep in it; it is the first of a client that had slept. When all are asleep, all run on.
    pub(super) waits: bool,
    pub(super) wakes: bool,
}

impl StepFootprint {
    /// Whether the order of two steps matters.
    fn meets(&self, other: &Self) -> bool {
        self.footprint.meets(other.footprint)
            || (self.calls && other.answers)
            || (self.answers && other.calls)
            || (self.waits && other.wakes)
            || (self.wakes && other.waits)
    }
}

/// A point at which a client was chosen.
#[derive(Debug)]
struct Node {
    options: Vec<u8>,
    chosen: u8,
    /// What the step did that began here.
    step: StepFootprint,
    /// The clients that were chosen here before, and what the step did then.
    done: Vec<(u8, StepFootprint)>,
    /// The clients that have to be chosen here as well.
    todo: BTreeSet<u8>,
    /// The clients that need not be chosen here: the same was run elsewhere.
    asleep: Vec<(u8, StepFootprint)>,
    /// Whether the run continues from here only to come to its end: all that it does was run elsewhere.
    redundant: bool,
}

/// The search.
#[derive(Debug, Default)]
pub(super) struct Dpor {
    nodes: Vec<Node>,
    at: usize,
}

impl Dpor {
    /// Goes to the next run. False if there is none.
    pub(super) fn begin(&mut self, first: bool) -> bool {
        self.at = 0;
        if first {
            return true;
        }
        while let Some(mut node) = self.nodes.pop() {
            node.done.push((node.chosen, node.step));
            let known = |client: &u8| node.done.iter().chain(&node.asleep).any(|(done, _)| done == client);
            if let Some(next) = node.todo.iter().copied().find(|client| !known(client)) {
                node.chosen = next;
                self.nodes.push(node);
                return true;
            }
        }
        false
    }

    /// Chooses, after a step that did this. False with it if the same choices before had led elsewhere.
    pub(super) fn choose(&mut self, before: StepFootprint, options: &[u8]) -> (u8, bool) {
        self.close(before);
        if let Some(node) = self.nodes.get(self.at) {
            self.at += 1;
            return (node.chosen, node.options == options);
        }
        let mut asleep = Vec::new();
        let mut redundant = false;
        if let Some(parent) = self.nodes.last() {
            redundant = parent.redundant;
            let others = parent.asleep.iter().chain(&parent.done);
            asleep.extend(
                others
                    .filter(|(client, step)| *client != parent.chosen && !step.meets(&parent.step))
                    .copied(),
            );
        }
        let awake = options.iter().find(|client| asleep.iter().all(|(other, _)| other != *client));
        let chosen = awake.copied().unwrap_or(options[0]);
        redundant |= awake.is_none();
        let options = options.to_vec();
        let (done, todo) = (Vec::new(), BTreeSet::new());
        self.nodes.push(Node {
            options,
            chosen,
            step: StepFootprint::default(),
            done,
            todo,
            asleep,
            redundant,
        });
        self.at += 1;
        (chosen, true)
    }

    /// The run has ended, after a step that did this. False if it ended earlier than it had with the same choices.
    pub(super) fn end(&mut self, last: StepFootprint) -> bool {
        self.close(last);
        let whole = self.at == self.nodes.len();
        self.nodes.truncate(self.at);
        self.race();
        whole
    }

    fn close(&mut self, step: StepFootprint) {
        if let Some(node) = self.at.checked_sub(1).and_then(|last| self.nodes.get_mut(last)) {
            node.step = step;
        }
    }

    /// Looks for races in the run, and notes down what their other order needs.
    fn race(&mut self) {
        let length = self.nodes.iter().position(|node| node.redundant).unwrap_or(self.nodes.len());
        let count = self.nodes.iter().map(|node| usize::from(node.chosen) + 1).max().unwrap_or_default();
        // Of each step: how many of the first steps of each client come before it, itself counted.
        let mut clocks: Vec<Vec<usize>> = Vec::with_capacity(length);
        // Where each step stands among those of its client, from 1; and where each client's last one stands.
        let mut own: Vec<usize> = Vec::with_capacity(length);
        let mut last: Vec<Option<usize>> = vec![None; count];
        for next in 0..length {
            let client = usize::from(self.nodes[next].chosen);
            let before = last[client].map_or_else(|| vec![0; count], |step| clocks[step].clone());
            let number = before[client] + 1;
            let mut clock = before.clone();
            clock[client] = number;
            let mut race = None;
            for earlier in (0..next).rev() {
                let other = usize::from(self.nodes[earlier].chosen);
                // It comes before already, by way of what came in between.
                if other == client || clock[other] >= own[earlier] {
                    continue;
                }
                if self.nodes[earlier].step.meets(&self.nodes[next].step) {
                    if race.is_none() && before[other] < own[earlier] {
                        race = Some(earlier);
                    }
                    for (mine, theirs) in clock.iter_mut().zip(&clocks[earlier]) {
                        *mine = (*mine).max(*theirs);
                    }
                }
            }
            clocks.push(clock);
            own.push(number);
            last[client] = Some(next);
            if let Some(earlier) = race {
                self.note(earlier, next, &clocks, &own);
            }
        }
    }

    /// Has another client chosen at `earlier`, from which the step `next` can come first.
    fn note(&mut self, earlier: usize, next: usize, clocks: &[Vec<usize>], own: &[usize]) {
        let client = self.nodes[next].chosen;
        let leads = |option: u8| {
            option == client
                || (earlier + 1..next).any(|between| {
                    let node = &self.nodes[between];
                    node.chosen == option && clocks[next][usize::from(option)] >= own[between]
                })
        };
        let node = &self.nodes[earlier];
        let leading: Vec<u8> = node.options.iter().copied().filter(|option| leads(*option)).collect();
        let chosen = match leading.first() {
            _ if leading.contains(&client) => vec![client],
            Some(first) => vec![*first],
            None => node.options.clone(),
        };
        self.nodes[earlier].todo.extend(chosen);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use crate::disk::Footprint;
    use crate::scheduler::{Board, Explored, Strategy, explore};

    /// Three clients: two add one to the same number in two steps, one works on a number of its own. What came out, and
    /// how often.
    fn counting(search: &Strategy, with_footprints: bool) -> (Explored, BTreeMap<u64, u64>) {
        let board = Arc::<Board>::default();
        let found = Arc::<Mutex<BTreeMap<u64, u64>>>::default();
        let (shared, results) = (Arc::clone(&board), Arc::clone(&found));
        let explored = explore(search, &board, move || {
            let numbers: Arc<[AtomicU64; 2]> = Arc::default();
            let clients: Vec<_> = [0, 0, 1]
                .into_iter()
                .map(|which: usize| {
                    let (numbers, board) = (Arc::clone(&numbers), Arc::clone(&shared));
                    shuttle::thread::spawn(move || {
                        let footprint = |write| {
                            if with_footprints {
                                board.note(Footprint::slots(which..which + 1, write));
                            }
                        };
                        footprint(false);
                        let read = numbers[which].load(Ordering::SeqCst);
                        board.pause();
                        footprint(true);
                        numbers[which].store(read + 1, Ordering::SeqCst);
                    })
                })
                .collect();
            for client in clients {
                client.join().unwrap();
            }
            *results.lock().unwrap().entry(numbers[0].load(Ordering::SeqCst)).or_default() += 1;
        });
        let found = found.lock().unwrap().clone();
        (explored, found)
    }

    #[test]
    fn what_touches_nothing_in_common_is_tried_in_one_order_and_every_outcome_is_found() {
        let reduced = Strategy::Dpor { schedules_max: u64::MAX };
        let all = Strategy::Exhaustive { preemptions: None, schedules_max: u64::MAX };
        let ((whole, outcomes), (less, same)) = (counting(&all, true), counting(&reduced, true));
        assert!(whole.exhausted && less.exhausted);
        // Three clients of two steps each; then two of them, whose reads are in either order alike.
        assert_eq!((whole.schedules, less.schedules), (90, 4));
        assert!(outcomes.keys().eq(same.keys()) && outcomes.keys().eq([1, 2].iter()));
        // If no footprint is given, everything is tried once.
        let (blind, found) = counting(&reduced, false);
        assert_eq!((blind.schedules, found.len()), (1, 1));
    }

    #[test]
    fn a_search_that_was_cut_short_is_not_exhausted() {
        let (explored, _) = counting(&Strategy::Dpor { schedules_max: 2 }, true);
        assert_eq!((explored.schedules, explored.exhausted), (2, false));
    }
}
