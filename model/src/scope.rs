//! Scopes: which operations a search offers, which faults may happen, and where the search ends.
//!
//! A small scope is explored to its end, and covers a few rules of the contract. Worlds beyond its limits are not
//! explored. Together the scopes reach every cell of the coverage matrix.
//!
//! Invariant: a scope offers the same moves in the same order for the same world.
//! Does not depend on: how a search is done.

mod build;
mod cuts;
mod named;
mod wide;

use std::sync::Arc;

use crate::coverage::Tally;
use crate::op::{Lease, Op, Settlement, Target};
use crate::state::State;
use crate::vocabulary::{Epoch, Group, Message, RecordId, Seq, Timestamp, Token};
use crate::world::{Contract, Move, OpOutcome, Row, World, Wound};

pub use cuts::{STEP_MS, cuts, cuts_with_damage};
pub use named::all;

/// The scope of this name: a named one, one for power cuts, or `wide`.
pub fn by_name(name: &str) -> Option<Scope> {
    let others = [cuts_with_damage(), wide::wide()];
    all().into_iter().chain(cuts()).chain(others).find(|scope| scope.name == name)
}

/// The names of all scopes that are explored to their ends.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|scope| scope.name).collect()
}

/// A part of the state space: where it begins, the moves that it offers, and its limits.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The name.
    pub name: &'static str,
    /// What it covers, in one line.
    pub about: &'static str,
    /// The number of workers. Each may claim, and poll for every group: with two workers, each group has two replicas.
    pub workers: u8,
    /// Operations that are applied before the search begins, at time zero.
    pub start: Vec<Op>,
    /// Rows that are damaged before the search begins, each after this many operations of `start`. Only the scopes for
    /// power cuts use this; in other scopes damage is a move.
    pub damaged: Vec<(usize, Row, Wound)>,
    /// Operations that are offered in every state.
    pub offers: Vec<Arc<Op>>,
    /// How workers may settle the deliveries that they believe they hold.
    pub settlements: Vec<Settlement>,
    /// Operations that are applied together with the ack of a command, in one transaction.
    pub with_ack: Vec<Op>,
    /// Whether workers may release their leases.
    pub release: bool,
    /// Whether workers may extend their leases, and for how long.
    pub extend_ms: Option<u64>,
    /// Whether commands may be cancelled.
    pub cancel: bool,
    /// Whether records may be redriven.
    pub redrive: bool,
    /// Whether records may be purged.
    pub purge: bool,
    /// The messages that records may be repaired with.
    pub repairs: Vec<Arc<Message>>,
    /// The last time of the clock, in milliseconds. Each step of the clock is one millisecond.
    pub clock_max: u32,
    /// Whether the clock may jump back to zero.
    pub clock_back: bool,
    /// Whether workers crash.
    pub crash: bool,
    /// Whether requests and answers may be lost.
    pub unheard: bool,
    /// How rows of the queue may be damaged.
    pub wounds_queue: Vec<Wound>,
    /// How rows of the log may be damaged.
    pub wounds_log: Vec<Wound>,
    /// Whether the store may be copied and fall back to the copy: by a power cut (`None`), or restored into an epoch.
    pub fall_back: Option<Vec<Option<Epoch>>>,
    /// Whether the store may be closed and opened again.
    pub reopen: bool,
    /// Where the scope ends.
    pub limits: ScopeLimits,
    /// Whether the liveness properties are checked in each state.
    pub liveness: bool,
    /// The pinned number of states, up to the order of workers. A search that finds another number fails.
    pub states: usize,
}

/// The limits of a scope. Worlds beyond them are not explored.
#[derive(Clone, Copy, Debug)]
pub struct ScopeLimits {
    /// The largest number of a command.
    pub commands: u64,
    /// The largest number of an event.
    pub events: u64,
    /// How many tokens may be minted.
    pub tokens: u64,
    /// How many records may be made.
    pub records: u64,
    /// How many reboots may skip tokens.
    pub reboots: u64,
}

impl Default for ScopeLimits {
    fn default() -> Self {
        Self { commands: 2, events: 2, tokens: 3, records: 2, reboots: 0 }
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            name: "",
            about: "",
            workers: 2,
            start: Vec::new(),
            damaged: Vec::new(),
            offers: Vec::new(),
            settlements: vec![Settlement::Ack],
            with_ack: Vec::new(),
            release: false,
            extend_ms: None,
            cancel: false,
            redrive: false,
            purge: false,
            repairs: Vec::new(),
            clock_max: 2,
            clock_back: false,
            crash: false,
            unheard: false,
            wounds_queue: Vec::new(),
            wounds_log: Vec::new(),
            fall_back: None,
            reopen: false,
            limits: ScopeLimits::default(),
            liveness: false,
            states: 0,
        }
    }
}

impl Scope {
    /// The world in which the scope begins.
    pub fn world(&self) -> World {
        let mut world = World::new(self.workers);
        for (done, op) in self.start.iter().enumerate() {
            for (row, wound) in self.damaged_after(done) {
                world.perform(&damage(row, wound), &Contract, &Tally::new());
            }
            let action = answered(0, op.clone());
            world.perform(&action, &Contract, &Tally::new());
        }
        world
    }

    /// The rows that are damaged after this many operations of `start`. None is damaged after the last one.
    pub fn damaged_after(&self, done: usize) -> impl Iterator<Item = (Row, Wound)> {
        let of = move |(after, row, wound): &(usize, Row, Wound)| (*after == done).then_some((*row, *wound));
        self.damaged.iter().filter_map(of)
    }

    /// Whether a world lies within the limits.
    pub fn contains(&self, world: &World) -> bool {
        let (state, limits) = (&world.state, &self.limits);
        let token = state.token_last.get();
        state.queue_last.get() <= limits.commands
            && state.head.get() <= limits.events
            && token & 0xffff_ffff <= limits.tokens
            && (token >> 32) & 0xffff <= limits.reboots
            && state.record_last.get() <= limits.records
    }

    /// Every move that can happen next, in a fixed order.
    pub fn moves(&self, world: &World, moves: &mut Vec<Move>) {
        if !world.violations.is_empty() {
            return;
        }
        self.offered(world, moves);
        for worker in 0..self.workers {
            self.by_worker(world, worker, moves);
        }
        self.by_owner(world, moves);
        self.by_environment(world, moves);
    }

    fn offered(&self, world: &World, moves: &mut Vec<Move>) {
        // The worker that holds the least comes first: of two counterexamples of one length, the one with two workers
        // is found first.
        let mut workers: Vec<u8> = (0..self.workers).collect();
        workers.sort_by_key(|worker| world.workers[usize::from(*worker)].holds.len());
        for op in &self.offers {
            match **op {
                Op::Claim { .. } | Op::Poll { .. } => {
                    for worker in &workers {
                        self.with_outcomes(*worker, op, moves);
                    }
                }
                _ => self.with_outcomes(0, op, moves),
            }
            let Op::Poll { group, names, max, lease_ms, attempts_max, .. } = &**op else { continue };
            for worker in 0..self.workers {
                for token in cursor_tokens(world, worker, group) {
                    let names = names.clone();
                    let (max, lease_ms, attempts_max) = (*max, *lease_ms, *attempts_max);
                    let (group, token) = (group.clone(), Some(token));
                    moves.push(answered(
                        worker,
                        Op::Poll { group, names, token, max, lease_ms, attempts_max },
                    ));
                }
            }
        }
    }

    fn with_outcomes(&self, worker: u8, op: &Arc<Op>, moves: &mut Vec<Move>) {
        let mut add = |outcome| moves.push(Move::Do { worker, op: Arc::clone(op), outcome });
        add(OpOutcome::Told);
        if self.unheard {
            add(OpOutcome::Unheard);
            add(OpOutcome::Lost);
        }
    }

    /// What a worker may do with the deliveries that it believes it holds.
    fn by_worker(&self, world: &World, worker: u8, moves: &mut Vec<Move>) {
        let mut leases: Vec<(Lease, Token)> = Vec::new();
        for (target, token) in &world.workers[usize::from(worker)].holds {
            let token = *token;
            for how in &self.settlements {
                let op = Arc::new(Op::Settle { target: target.clone(), token, how: how.clone() });
                self.with_outcomes(worker, &op, moves);
            }
            if matches!(target, Target::Command(_)) {
                for effect in &self.with_ack {
                    let ack = Op::Settle { target: target.clone(), token, how: Settlement::Ack };
                    moves.push(answered(worker, Op::Atomic(vec![effect.clone(), ack])));
                }
            }
            leases.push((target.lease(), token));
        }
        leases.dedup();
        self.mixed_up(world, worker, moves);
        for (lease, token) in leases {
            if self.release {
                moves.push(answered(worker, Op::Release { lease: lease.clone(), token }));
            }
            if let Some(lease_ms) = self.extend_ms {
                moves.push(answered(worker, Op::Extend { lease, token, lease_ms }));
            }
        }
        if self.crash && !world.workers[usize::from(worker)].holds.is_empty() {
            moves.push(Move::Crash { worker });
        }
    }

    /// A worker that polled twice may ack a delivery of the first poll under the token of the second.
    fn mixed_up(&self, world: &World, worker: u8, moves: &mut Vec<Move>) {
        for (target, own) in &world.workers[usize::from(worker)].holds {
            let Target::Event { group, .. } = target else { continue };
            for token in cursor_tokens(world, worker, group) {
                let known = world.workers[usize::from(worker)].holds.contains(&(target.clone(), token));
                if token != *own && !known {
                    moves.push(answered(
                        worker,
                        Op::Settle { target: target.clone(), token, how: Settlement::Ack },
                    ));
                }
            }
        }
    }

    /// What the owner of the store may do.
    fn by_owner(&self, world: &World, moves: &mut Vec<Move>) {
        if self.cancel {
            let last = world.state.queue_last.get();
            let seqs = (1..=last).filter_map(|seq| Seq::new(seq).ok());
            moves.extend(seqs.map(|seq| answered(0, Op::Cancel { seq })));
        }
        let records = 1..=world.state.record_last.get();
        for record in records.filter_map(|id| RecordId::new(id).ok()) {
            if self.redrive {
                moves.push(answered(0, Op::Redrive { record }));
            }
            if self.purge {
                moves.push(answered(0, Op::Purge { record }));
            }
            for message in &self.repairs {
                moves.push(answered(0, Op::Repair { record, message: Arc::clone(message) }));
            }
        }
    }

    fn by_environment(&self, world: &World, moves: &mut Vec<Move>) {
        if world.now.get() < u64::from(self.clock_max) {
            moves.push(Move::Clock(world.now.plus(1)));
        }
        if self.clock_back && world.now > Timestamp::ZERO {
            moves.push(Move::Clock(Timestamp::ZERO));
        }
        if self.reopen {
            moves.push(Move::Reopen);
        }
        for wound in &self.wounds_queue {
            let rows = world.state.queue.keys().map(|seq| Row::Queue(*seq));
            moves.extend(rows.filter(|row| world.can_damage(*row)).map(|row| damage(row, *wound)));
        }
        for wound in &self.wounds_log {
            let rows = world.state.log.keys().map(|seq| Row::Log(*seq));
            moves.extend(rows.filter(|row| world.can_damage(*row)).map(|row| damage(row, *wound)));
        }
        if let Some(restores) = &self.fall_back {
            match &world.copy {
                None => moves.push(Move::Copy),
                Some(copy) => {
                    let may = |restore: &&Option<Epoch>| may_fall_back(world, &copy.0, **restore);
                    let fall_back = |restore: &Option<Epoch>| Move::FallBack { restore: *restore };
                    moves.extend(restores.iter().filter(may).map(fall_back));
                }
            }
        }
    }
}

/// A power cut loses no change from before the last boot, which was durable. A restore names an epoch that is later than
/// every epoch that the store or a copy of it ever had; its owner must know that.
fn may_fall_back(world: &World, copy: &State, restore: Option<Epoch>) -> bool {
    match restore {
        None => copy.token_last.get() >> 32 == world.state.token_last.get() >> 32,
        Some(next) => world.ghost.epochs.iter().all(|used| *used < next),
    }
}

fn answered(worker: u8, op: Op) -> Move {
    Move::Do { worker, op: Arc::new(op), outcome: OpOutcome::Told }
}

fn damage(row: Row, wound: Wound) -> Move {
    Move::Damage { row, wound }
}

/// The tokens under which a worker believes that it holds a group's cursor.
fn cursor_tokens(world: &World, worker: u8, group: &Group) -> Vec<Token> {
    let lease = Lease::Cursor(group.clone());
    let worker = &world.workers[usize::from(worker)];
    let held = worker.holds.iter().filter(|(target, _)| target.lease() == lease).map(|(_, token)| *token);
    let mut tokens: Vec<Token> = held.chain(worker.cursors.get(group).copied()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}
