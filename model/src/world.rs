//! The system that a search explores: a bus, its workers, its clock and its history.
//!
//! A [`Move`] is one event of that system: an operation, a change of the clock, a crash, a damaged row, a restored
//! copy. The rules of the bus are a parameter, so that mutants are explored in the same way.
//!
//! Invariant: every operation is checked by every guarantee as it happens.
//! Does not depend on: scopes, and how a search chooses moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::coverage::Tally;
use crate::ghost::Ghost;
use crate::invariant::{CheckResult, GUARANTEES, TRANSACTIONS, Transition};
use crate::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Target};
use crate::state::{Body, LogRow, State};
use crate::vocabulary::{Epoch, Group, Raw, RawValue, Seq, Timestamp, Token};

/// The rules of a bus: the contract, a mutant, or a real store.
pub trait Rules: Sync {
    /// Applies one operation and answers it.
    fn apply(&self, state: &mut State, now: Timestamp, op: &Op) -> Reply;

    /// What is left of a damaged row. A real store gives its columns; the model gives a symbol for them.
    fn remains(&self, row: Row, wound: Wound) -> Raw {
        let what = format!("{row:?} {wound:?}");
        Raw(Arc::from([(Arc::from("remains"), RawValue::Text(what.into_bytes()))]))
    }
}

/// The rules of the contract: [`crate::step::apply`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Contract;

impl Rules for Contract {
    fn apply(&self, state: &mut State, now: Timestamp, op: &Op) -> Reply {
        crate::step::apply(state, now, op)
    }
}

/// One event of the system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Move {
    /// A worker requests an operation.
    Do {
        /// Which worker, counted from 0.
        worker: u8,
        /// The operation.
        op: Arc<Op>,
        /// What happens to the request and its answer.
        outcome: OpOutcome,
    },
    /// The clock shows another time from now on, later or earlier than before.
    Clock(Timestamp),
    /// A worker crashes: it forgets what it holds, and a new one takes its place.
    Crash {
        /// Which worker.
        worker: u8,
    },
    /// A row is damaged.
    Damage {
        /// Which row.
        row: Row,
        /// How.
        wound: Wound,
    },
    /// The owner copies the store.
    Copy,
    /// The store falls back to the copy. With an epoch, the owner restored the copy into that epoch. Without one, a
    /// power cut lost every change after the copy, and the machine boots.
    FallBack {
        /// The epoch that the restore begins.
        restore: Option<Epoch>,
    },
    /// The store is closed and opened again. The contract does not see this.
    Reopen,
}

/// What happens to a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum OpOutcome {
    /// The operation happens, and the worker receives the answer.
    Told,
    /// The operation happens, but the answer is lost.
    Unheard,
    /// The request is lost: the operation does not happen, and the worker cannot know.
    Lost,
}

/// A row that can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Row {
    /// A command.
    Queue(Seq),
    /// An event.
    Log(Seq),
}

/// How a row is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Wound {
    /// The content is not what was sent. The name can be read.
    Body,
    /// The name cannot be read.
    Name,
    /// The bookkeeping of a command cannot be read.
    Bookkeeping,
}

/// What a worker believes that it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    /// Deliveries that it has not settled, by the answers that it received.
    pub holds: BTreeSet<(Target, Token)>,
    /// The token of its last poll of each group. It polls with this token after it has settled everything, too.
    pub cursors: BTreeMap<Group, Token>,
}

/// A guarantee that an operation violated, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// Its place in [`GUARANTEES`].
    pub guarantee: usize,
    /// The reason.
    pub why: String,
}

/// A bus, its workers, its clock and its history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The state of the bus.
    pub state: State,
    /// The time of the one clock.
    pub now: Timestamp,
    /// The workers.
    pub workers: Vec<Worker>,
    /// The history.
    pub ghost: Ghost,
    /// A copy of the store, with the history up to that time.
    pub copy: Option<Arc<(State, Ghost)>>,
    /// The guarantees that the last operation violated. A world with violations goes no further.
    pub violations: Vec<Violation>,
}

impl World {
    /// An empty bus at time zero, with this many workers.
    pub fn new(workers: u8) -> Self {
        let state = State::new();
        let ghost = Ghost::new(&state);
        let workers = vec![Worker::default(); usize::from(workers)];
        Self { state, now: Timestamp::ZERO, workers, ghost, copy: None, violations: Vec::new() }
    }

    /// The world after a move, and the reply if the move was an operation that happened.
    pub fn step(&self, action: &Move, rules: &dyn Rules, tally: &Tally) -> (Self, Option<Reply>) {
        let mut next = self.clone();
        let reply = next.perform(action, rules, tally);
        (next, reply)
    }

    /// Performs a move. `None` if no operation took place.
    pub fn perform(&mut self, action: &Move, rules: &dyn Rules, tally: &Tally) -> Option<Reply> {
        match action {
            Move::Do { worker, op, outcome } => {
                if *outcome == OpOutcome::Lost {
                    return None;
                }
                let reply = self.operate(op, rules, tally);
                if *outcome == OpOutcome::Told
                    && let Some(worker) = self.workers.get_mut(usize::from(*worker))
                {
                    worker.hear(op, &reply);
                }
                Some(reply)
            }
            Move::Clock(now) => {
                self.now = *now;
                None
            }
            Move::Crash { worker } => {
                if let Some(worker) = self.workers.get_mut(usize::from(*worker)) {
                    *worker = Worker::default();
                }
                None
            }
            Move::Damage { row, wound } => {
                self.damage(*row, *wound, rules.remains(*row, *wound));
                None
            }
            Move::Copy => {
                self.copy = Some(Arc::new((self.state.clone(), self.ghost.clone())));
                None
            }
            Move::FallBack { restore } => {
                let (state, mut ghost) = (**self.copy.as_ref()?).clone();
                ghost.token_max = self.ghost.token_max;
                ghost.epochs.extend(&self.ghost.epochs);
                (self.state, self.ghost) = (state, ghost);
                let op = restore.map_or(Op::Reboot, |next| Op::Restore { next });
                Some(self.operate(&op, rules, tally))
            }
            Move::Reopen => None,
        }
    }

    fn operate(&mut self, op: &Op, rules: &dyn Rules, tally: &Tally) -> Reply {
        let before = self.state.clone();
        let reply = rules.apply(&mut self.state, self.now, op);
        tally.note(&before, self.now, op, &reply);
        let after = std::mem::take(&mut self.state);
        self.check(&before, op, &reply, &after, rules, tally);
        self.state = after;
        reply
    }

    /// Checks one operation against all guarantees and adds it to the history. An accepted transaction is checked part
    /// by part, and against what its parts do one by one (G12).
    pub fn check(
        &mut self,
        before: &State,
        op: &Op,
        reply: &Reply,
        after: &State,
        rules: &dyn Rules,
        tally: &Tally,
    ) {
        if let (Op::Atomic(ops), Reply::Refused(Refusal::Aborted { index, refusal })) = (op, reply) {
            let mut state = before.clone();
            let answers = ops.iter().map(|op| rules.apply(&mut state, self.now, op));
            let first = answers.zip(0_u32..).find_map(|(reply, index)| match reply {
                Reply::Refused(refusal) => Some((index, refusal)),
                _ => None,
            });
            if first.as_ref() != Some(&(*index, Refusal::clone(refusal))) {
                self.violate(
                    TRANSACTIONS,
                    format!(
                        "a transaction was refused because of part {}, which is not the part that fails",
                        index + 1
                    ),
                );
            }
        }
        let (Op::Atomic(ops), Reply::Done(replies)) = (op, reply) else {
            self.check_one(before, op, reply, after, tally);
            return;
        };
        let mut state = before.clone();
        let mut one_by_one = ops.len() == replies.len();
        for (op, reply) in ops.iter().zip(replies) {
            let before = state.clone();
            one_by_one &= rules.apply(&mut state, self.now, op) == *reply;
            one_by_one &= !matches!(reply, Reply::Refused(_));
            let after = state.clone();
            self.check(&before, op, reply, &after, rules, tally);
        }
        one_by_one &= state == *after;
        if one_by_one {
            tally.checked(TRANSACTIONS);
        } else {
            self.violate(
                TRANSACTIONS,
                "the transaction differs from its parts, applied one by one".to_owned(),
            );
        }
    }

    fn check_one(&mut self, before: &State, op: &Op, reply: &Reply, after: &State, tally: &Tally) {
        let transition = Transition { before, now: self.now, op, reply, after, ghost: &self.ghost };
        let mut results: [CheckResult; GUARANTEES.len()] =
            std::array::from_fn(|index| (GUARANTEES[index].of_transition)(&transition));
        self.ghost.observe(before, op, reply);
        for (index, guarantee) in GUARANTEES.iter().enumerate() {
            let of_state = (guarantee.of_state)(after, &self.ghost);
            match (&results[index], of_state) {
                (CheckResult::Violated(_), _) => {}
                (_, violated @ CheckResult::Violated(_)) => results[index] = violated,
                (CheckResult::Held, _) | (_, CheckResult::Held) => tally.checked(index),
                (CheckResult::Vacuous, CheckResult::Vacuous) => {}
            }
        }
        for (index, result) in results.into_iter().enumerate() {
            if let CheckResult::Violated(why) = result {
                self.violate(index, why);
            }
        }
    }

    fn violate(&mut self, guarantee: usize, why: String) {
        self.violations.push(Violation { guarantee, why });
    }

    /// Whether this row exists and is sound, so that it can be damaged.
    pub fn can_damage(&self, row: Row) -> bool {
        match row {
            Row::Queue(seq) => self.state.queue.get(&seq).is_some_and(|command| command.body.is_sound()),
            Row::Log(seq) => {
                matches!(self.state.log.get(&seq), Some(LogRow::Event(body)) if body.is_sound())
            }
        }
    }

    fn damage(&mut self, row: Row, wound: Wound, raw: Raw) {
        if !self.can_damage(row) {
            return;
        }
        let wounded = |body: &Body| match (wound, body.name()) {
            (Wound::Body, Some(name)) => Body::Corrupt { name: name.clone(), raw: raw.clone() },
            _ => Body::Unreadable { raw: raw.clone() },
        };
        match row {
            Row::Queue(seq) => {
                self.ghost.damaged_commands.insert(seq, raw.clone());
                let Some(command) = self.state.queue.get_mut(&seq) else { return };
                command.body = wounded(&command.body);
                if wound != Wound::Body {
                    self.state.queue.remove(&seq);
                    self.state.unreadable.insert(seq, raw);
                }
            }
            Row::Log(seq) => {
                self.ghost.damaged_events.insert(seq, raw.clone());
                if let Some(LogRow::Event(body)) = self.state.log.get_mut(&seq) {
                    *body = wounded(body);
                }
            }
        }
    }

    /// The same world with its workers in a fixed order. Workers differ only in what they hold, so a search treats
    /// worlds that differ in the order of workers as one.
    #[must_use]
    pub fn representative(&self) -> Self {
        let mut same = self.clone();
        same.workers.sort();
        same
    }
}

impl Worker {
    /// Learns from an answer what it holds, and what it no longer holds.
    fn hear(&mut self, op: &Op, reply: &Reply) {
        match (op, reply) {
            (_, Reply::HandedOut { deliveries, .. }) => {
                for Delivery { target, token, .. } in deliveries {
                    if let Lease::Cursor(group) = target.lease() {
                        self.cursors.insert(group, *token);
                    }
                    self.holds.insert((target.clone(), *token));
                }
            }
            (Op::Atomic(ops), Reply::Done(replies)) => {
                for (op, reply) in ops.iter().zip(replies) {
                    self.hear(op, reply);
                }
            }
            (Op::Atomic(ops), Reply::Refused(Refusal::Aborted { index, refusal })) => {
                if let Some(op) = ops.get(*index as usize) {
                    self.hear(op, &Reply::Refused((**refusal).clone()));
                }
            }
            (Op::Settle { target, token, .. }, reply) => match reply {
                Reply::Settled(Settled::Requeued { .. }) if !matches!(target, Target::Entry { .. }) => {
                    self.forget_lease(&target.lease(), *token);
                }
                Reply::Refused(Refusal::LeaseLost | Refusal::NotSubscribed) => {
                    self.forget_lease(&target.lease(), *token);
                }
                Reply::Settled(_) => {
                    self.holds.remove(&(target.clone(), *token));
                }
                _ => {}
            },
            (Op::Release { lease, token }, Reply::Released)
            | (
                Op::Release { lease, token } | Op::Extend { lease, token, .. },
                Reply::Refused(Refusal::LeaseLost | Refusal::NotSubscribed),
            ) => self.forget_lease(lease, *token),
            (
                Op::Poll { group, token: Some(token), .. },
                Reply::Refused(Refusal::LeaseLost | Refusal::NotSubscribed),
            ) => self.forget_lease(&Lease::Cursor(group.clone()), *token),
            _ => {}
        }
    }

    fn forget_lease(&mut self, lease: &Lease, token: Token) {
        self.holds.retain(|(target, of)| target.lease() != *lease || *of != token);
        self.cursors.retain(|group, of| Lease::Cursor(group.clone()) != *lease || *of != token);
    }
}
