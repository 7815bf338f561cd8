//! What a client asks for next, from the answers that it had.
//!
//! A client knows what any client of the contract knows: numbers, tokens and records from its own answers, also old
//! ones, which it now and then presents on purpose. Messages name their sender, so that each differs from every other.
//!
//! Invariant: the seed and the answers alone decide the next operation.
//! Does not depend on: whether an answer was right.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Settlement, Start, Target};
use fencepost_model::vocabulary::{
    Epoch, Group, Kind, Message, MessageId, Name, Names, Reason, RecordId, Seq, Token,
};
use serde::{Deserialize, Serialize};

use crate::history::record::HistoryChance;

/// What the clients of a history are mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Theme {
    /// Everything that the contract has.
    Everything,
    /// Commands: sent, claimed and settled in all ways.
    Queue,
    /// Events that groups read, and nothing that moves a position or an epoch but settlements.
    Log,
}

const COMMANDS: [&str; 3] = ["bet", "pay", "mail"];
const EVENTS: [&str; 3] = ["won", "lost", "drawn"];
const GROUPS: [&str; 3] = ["audit", "score", "tax"];

/// How many ids there are for all clients together: few, so that they meet.
const IDS: u64 = 24;

/// How many old leases a client remembers.
const PAST_MAX: usize = 24;

/// A client.
#[derive(Debug)]
pub(super) struct HistoryClient {
    chance: HistoryChance,
    theme: Theme,
    /// Its name, which its messages carry.
    name: String,
    sent: u64,
    /// What it was handed and has not settled.
    held: Vec<(Target, Token)>,
    /// What it settled or lost.
    past: Vec<(Target, Token)>,
    cursors: BTreeMap<Group, Token>,
    commands: Vec<Seq>,
    records: Vec<RecordId>,
    head: Seq,
    epoch: Epoch,
}

fn names(of: &[&str]) -> Names {
    of.iter().filter_map(|name| Name::new(*name).ok()).collect()
}

fn count(number: u64) -> NonZeroU32 {
    u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

impl HistoryClient {
    pub(super) fn new(seed: u64, lane: u32, life: u32, theme: Theme) -> Self {
        Self {
            chance: HistoryChance::new(seed, &[u64::from(lane), u64::from(life)]),
            theme,
            name: format!("{lane}.{life}"),
            sent: 0,
            held: Vec::new(),
            past: Vec::new(),
            cursors: BTreeMap::new(),
            commands: Vec::new(),
            records: Vec::new(),
            head: Seq::ZERO,
            epoch: Epoch::from(1),
        }
    }

    /// What it asks for next.
    pub(super) fn next(&mut self) -> Op {
        let op = match self.theme {
            Theme::Queue => self.of_queue(),
            Theme::Log => self.of_log(),
            Theme::Everything => match self.chance.below(100) {
                0..=46 => self.of_queue(),
                47..=86 => self.of_log(),
                87..=93 => self.of_owner(),
                _ => self.atomic(),
            },
        };
        op.unwrap_or_else(|| self.send())
    }

    fn of_queue(&mut self) -> Option<Op> {
        match self.chance.below(100) {
            0..=24 => Some(self.send()),
            25..=56 => Some(self.claim()),
            57..=84 => self.settle(|target| matches!(target, Target::Command(_))),
            85..=87 => self.settle_again(),
            88..=91 => self.give_back_or_keep(),
            92..=94 => Some(Op::Cancel { seq: *self.chance.pick(&self.commands)? }),
            _ => self.of_records(),
        }
    }

    fn of_log(&mut self) -> Option<Op> {
        match self.chance.below(100) {
            0..=22 => Some(self.publish()),
            23..=52 => self.poll(),
            53..=84 => self.settle(|target| !matches!(target, Target::Command(_))),
            85..=87 => self.settle_again(),
            88..=91 => self.give_back_or_keep(),
            92..=96 => self.subscribe(),
            _ => self.of_records(),
        }
    }

    fn of_owner(&mut self) -> Option<Op> {
        let retention_ms = self.chance.below(60);
        Some(match self.chance.below(40) {
            0..=9 => Op::Prune { retention_ms },
            10..=19 => Op::ForgetIds { retention_ms },
            20..=29 => {
                let (group, name) = (self.group()?, self.event_name()?);
                let position = Seq::ZERO.plus(self.chance.below(self.head.get() + 2));
                Op::Seek { group, name, position }
            }
            30..=35 => Op::Unsubscribe { group: self.group()?, name: self.event_name()? },
            36..=37 => {
                let next = Epoch::ZERO.plus(self.epoch.get() + self.chance.below(3));
                Op::Reset { expected: self.epoch, next }
            }
            38 => Op::Restore { next: Epoch::ZERO.plus(self.epoch.get() + 1) },
            _ => Op::Reboot,
        })
    }

    /// Several at once: mostly a settlement and what follows from it.
    fn atomic(&mut self) -> Option<Op> {
        let settlement = self.settle(|_| true)?;
        let next = if self.chance.one_in(2) { self.send() } else { self.publish() };
        Some(Op::Atomic(vec![next, settlement]))
    }

    fn group(&mut self) -> Option<Group> {
        Group::new(*self.chance.pick(&GROUPS)?).ok()
    }

    fn event_name(&mut self) -> Option<Name> {
        Name::new(*self.chance.pick(&EVENTS)?).ok()
    }

    fn message(&mut self, kind: Kind, names: &[&str]) -> Option<Message> {
        let name = Name::new(*self.chance.pick(names)?).ok()?;
        self.sent += 1;
        if self.chance.one_in(3) {
            // Most clients send the same message under an id; some do not.
            let id = self.chance.below(IDS);
            let name = Name::new(names[usize::try_from(id).ok()? % names.len()]).ok()?;
            let text =
                if self.chance.one_in(6) { format!("other {}", self.name) } else { format!("id {id}") };
            let message = Message::new(kind, name, text.into_bytes());
            return Some(message.with_id(MessageId::new(format!("id-{id}")).ok()?));
        }
        Some(Message::new(kind, name, format!("{}.{}", self.name, self.sent).into_bytes()))
    }

    fn send(&mut self) -> Op {
        let delay_ms = if self.chance.one_in(4) { self.chance.below(12) } else { 0 };
        match self.message(Kind::Command, &COMMANDS) {
            Some(message) => Op::Send { message: Arc::new(message), delay_ms },
            None => Op::Reboot,
        }
    }

    fn publish(&mut self) -> Op {
        match self.message(Kind::Event, &EVENTS) {
            Some(message) => Op::Publish { message: Arc::new(message) },
            None => Op::Reboot,
        }
    }

    fn claim(&mut self) -> Op {
        let wanted = match self.chance.below(4) {
            0 => names(&COMMANDS[..1]),
            1 => names(&COMMANDS[1..]),
            _ => names(&COMMANDS),
        };
        Op::Claim {
            names: wanted,
            max: count(1 + self.chance.below(3)),
            lease_ms: 3 + self.chance.below(40),
            attempts_max: count(3 + self.chance.below(4)),
        }
    }

    fn poll(&mut self) -> Option<Op> {
        let group = self.group()?;
        let token = self.cursors.get(&group).copied().filter(|_| !self.chance.one_in(8));
        let handled = if self.chance.one_in(20) { &EVENTS[..2] } else { &EVENTS[..] };
        // The log alone is read without a limit that matters, so that nothing may pass an event but a settlement.
        let attempts_max = if self.theme == Theme::Log { 1_000_000 } else { 3 + self.chance.below(6) };
        Some(Op::Poll {
            group,
            names: names(handled),
            token,
            max: count(1 + self.chance.below(4)),
            lease_ms: 3 + self.chance.below(40),
            attempts_max: count(attempts_max),
        })
    }

    fn subscribe(&mut self) -> Option<Op> {
        let start = match self.chance.below(6) {
            0 => Start::Latest,
            1 => Start::After(self.head),
            _ => Start::Earliest,
        };
        Some(Op::Subscribe { group: self.group()?, name: self.event_name()?, start })
    }

    /// Settles something that it holds: of a group, the first.
    fn settle(&mut self, of: impl Fn(&Target) -> bool) -> Option<Op> {
        let index = self.held.iter().position(|(target, _)| of(target))?;
        let (target, token) = self.held[index].clone();
        Some(Op::Settle { target, token, how: self.how() })
    }

    /// Settles once more what it settled or lost.
    fn settle_again(&mut self) -> Option<Op> {
        let (target, token) = self.chance.pick(&self.past)?.clone();
        Some(Op::Settle { target, token, how: self.how() })
    }

    fn how(&mut self) -> Settlement {
        let reason = Reason::from("because");
        let delay_ms = self.chance.below(10);
        match self.chance.below(if self.theme == Theme::Log { 18 } else { 24 }) {
            0..=13 => Settlement::Ack,
            14..=17 => Settlement::Nack { delay_ms, reason },
            18..=20 => Settlement::DeadLetter { reason },
            21..=22 => Settlement::Park { reason },
            _ => Settlement::Drop,
        }
    }

    fn give_back_or_keep(&mut self) -> Option<Op> {
        let known = if self.chance.one_in(4) { &self.past } else { &self.held };
        let (target, token) = self.chance.pick(known)?.clone();
        let lease = target.lease();
        Some(match self.chance.below(2) {
            0 => Op::Release { lease, token },
            _ => Op::Extend { lease, token, lease_ms: 3 + self.chance.below(40) },
        })
    }

    fn of_records(&mut self) -> Option<Op> {
        let record = *self.chance.pick(&self.records)?;
        Some(if self.chance.one_in(4) { Op::Purge { record } } else { Op::Redrive { record } })
    }

    /// Takes note of an answer.
    pub(super) fn learn(&mut self, op: &Op, reply: &Reply) {
        match (op, reply) {
            (Op::Atomic(ops), Reply::Done(replies)) => {
                for (op, reply) in ops.iter().zip(replies) {
                    self.learn(op, reply);
                }
            }
            (Op::Atomic(ops), Reply::Refused(Refusal::Aborted { index, refusal })) => {
                let index = usize::try_from(*index).unwrap_or_default();
                if let Some(op) = ops.get(index) {
                    self.learn(op, &Reply::Refused(refusal.as_ref().clone()));
                }
            }
            (Op::Send { .. }, Reply::Accepted { seq, .. }) => self.commands.push(*seq),
            (Op::Publish { .. }, Reply::Accepted { seq, .. }) => self.head = self.head.max(*seq),
            (_, Reply::HandedOut { deliveries, dead_lettered }) => {
                self.handed(deliveries);
                self.records.extend(dead_lettered);
            }
            (Op::Settle { target, token, .. }, Reply::Settled(settled)) => {
                if let Settled::DeadLettered { record } | Settled::Parked { record } = settled {
                    self.records.push(*record);
                }
                self.let_go(|held, under| held == target && under == *token);
                if matches!(settled, Settled::Requeued { .. }) && matches!(target, Target::Event { .. }) {
                    self.lease_ended(&target.lease(), *token);
                }
            }
            (Op::Settle { target, token, .. }, Reply::Refused(Refusal::NotNext { .. })) => {
                self.let_go(|held, under| held == target && under == *token);
            }
            (Op::Settle { target, token, .. }, Reply::Refused(_)) => {
                self.lease_ended(&target.lease(), *token);
            }
            (Op::Release { lease, token }, _) => self.lease_ended(lease, *token),
            (Op::Extend { lease, token, .. }, Reply::Refused(_)) => self.lease_ended(lease, *token),
            (Op::Poll { group, token: Some(token), .. }, Reply::Refused(Refusal::LeaseLost)) => {
                self.lease_ended(&Lease::Cursor(group.clone()), *token);
            }
            (Op::Reset { next, .. } | Op::Restore { next }, Reply::EpochBegun { .. }) => self.epoch = *next,
            (_, Reply::Refused(Refusal::EpochMismatch { current })) => self.epoch = *current,
            _ => {}
        }
    }

    fn handed(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            if let Lease::Cursor(group) = delivery.target.lease() {
                self.cursors.insert(group, delivery.token);
                self.head = self.head.max(delivery.seq);
            } else {
                self.commands.push(delivery.seq);
            }
            let new = (delivery.target.clone(), delivery.token);
            if !self.held.contains(&new) {
                self.held.push(new);
            }
        }
    }

    fn let_go(&mut self, which: impl Fn(&Target, Token) -> bool) {
        let (gone, held) =
            std::mem::take(&mut self.held).into_iter().partition(|(target, token)| which(target, *token));
        self.held = held;
        let gone: Vec<_> = gone;
        self.past.extend(gone);
        let over = self.past.len().saturating_sub(PAST_MAX);
        self.past.drain(..over);
    }

    fn lease_ended(&mut self, lease: &Lease, token: Token) {
        self.let_go(|target, under| target.lease() == *lease && under == token);
        if let Lease::Cursor(group) = lease {
            self.cursors.retain(|known, under| known != group || *under != token);
        }
    }
}
