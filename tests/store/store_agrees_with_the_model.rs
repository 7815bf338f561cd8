//! A seeded random walk of operations over the store and the model, side by side. After every step the replies and the
//! whole states must be equal.
//!
//! The domains are small (two names, two groups, three ids, a few ticks), so that the steps collide often. Damage is
//! planted into rows on the way and mirrored into the model's state by hand. `FENCEPOST_STEPS` and `FENCEPOST_SEED` ask
//! for a longer walk, or another one.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost::internals::sqlite::{BODY_COLUMNS, BOOKKEEPING_COLUMNS, Store, digest, plant, raw_columns};
use fencepost_model::op::{Lease, Op, Reply, Settlement, Start, Target};
use fencepost_model::state::{Body, LogRow, Origin, State};
use fencepost_model::vocabulary::{
    CAUSATION_ID, Epoch, Group, Kind, Message, MessageId, Name, Names, Raw, RawValue, Reason, RecordId, Seq,
    Timestamp, Token,
};

/// A linear congruential generator with its upper bits mixed down: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.below(of.len() as u64) as usize].clone()) }
    }
}

struct Walk {
    random: Random,
    now: Timestamp,
    seen: BTreeMap<&'static str, u64>,
}

fn name(n: u64) -> Name {
    Name::new(["place.bet", "settle.bet"][n as usize]).unwrap()
}

fn group(n: u64) -> Group {
    Group::new(["risk", "audit"][n as usize]).unwrap()
}

impl Walk {
    fn name(&mut self) -> Name {
        name(self.random.below(2))
    }

    fn group(&mut self) -> Group {
        group(self.random.below(2))
    }

    fn names(&mut self) -> Names {
        match self.random.below(6) {
            0 => [name(0)].into(),
            1 => [name(1)].into(),
            _ => [name(0), name(1)].into(),
        }
    }

    fn message(&mut self, event: bool) -> Arc<Message> {
        let payload: &[u8] = [&b""[..], b"a", b"bb"][self.random.below(3) as usize];
        let event = event != self.random.one_in(60);
        let mut message = if event {
            Message::new(Kind::Event, self.name(), payload)
        } else {
            Message::new(Kind::Command, self.name(), payload)
        };
        if self.random.one_in(2) {
            message = message.with_id(MessageId::new(format!("id-{}", self.random.below(3))).unwrap());
        }
        if self.random.one_in(3) {
            message = message.with_metadata("traceparent", format!("00-\"{}\n", self.random.below(3)));
        }
        if self.random.one_in(5) {
            message = message.with_metadata(CAUSATION_ID, "cause");
        }
        message.into()
    }

    fn reason(&mut self) -> Reason {
        ["", "late", "no\0thing \u{1F600}"][self.random.below(3) as usize].into()
    }

    fn settlement(&mut self) -> Settlement {
        match self.random.below(8) {
            0..=2 => Settlement::Ack,
            3..=4 => Settlement::Nack { delay_ms: self.random.below(4), reason: self.reason() },
            5 => Settlement::DeadLetter { reason: self.reason() },
            6 => Settlement::Park { reason: self.reason() },
            _ => Settlement::Drop,
        }
    }

    fn tick(&mut self) {
        let by = self.random.below(4);
        self.now = match self.random.below(12) {
            0..=5 => self.now,
            6..=9 => self.now.plus(by),
            10 => Timestamp::new(self.now.get().saturating_sub(by)).unwrap(),
            _ => Timestamp::new(self.random.below(40)).unwrap(),
        };
    }

    fn seq(&mut self, of: Vec<Seq>) -> Seq {
        match self.random.pick(&of) {
            Some(seq) if !self.random.one_in(10) => seq,
            _ => Seq::new(self.random.below(12)).unwrap(),
        }
    }

    fn stale(&mut self, token: Option<Token>) -> Token {
        let token = token.unwrap_or_default();
        if self.random.one_in(8) {
            Token::new(token.get().saturating_sub(self.random.below(3))).unwrap()
        } else {
            token
        }
    }

    /// A lease and its token, mostly current.
    fn lease(&mut self, state: &State) -> (Lease, Token) {
        if self.random.one_in(2) {
            let leased = state.queue.iter().filter(|(_, command)| command.lease.is_some());
            let known = leased.map(|(seq, _)| *seq).chain(state.unreadable.keys().copied()).collect();
            let seq = self.seq(known);
            let token = state.queue.get(&seq).and_then(|command| command.lease).map(|lease| lease.token);
            (Lease::Command(seq), self.stale(token))
        } else {
            let group = self.group();
            let token = state.groups.get(&group).and_then(|cursor| cursor.lease).map(|lease| lease.token);
            (Lease::Cursor(group), self.stale(token))
        }
    }

    fn settle(&mut self, state: &State) -> Op {
        let (lease, token) = self.lease(state);
        let target = match lease {
            Lease::Command(seq) => Target::Command(seq),
            Lease::Cursor(group) => {
                let cursor = state.groups.get(&group);
                let entries: Vec<RecordId> =
                    cursor.map(|c| c.entries.keys().copied().collect()).unwrap_or_default();
                match self.random.pick(&entries) {
                    Some(record) if self.random.one_in(2) => Target::Entry { group, record },
                    _ => {
                        let next = cursor.and_then(|cursor| {
                            state.log.iter().find_map(|(seq, row)| {
                                let LogRow::Event(body) = row else { return None };
                                (cursor.names.get(body.name()?)?.position < *seq).then_some(*seq)
                            })
                        });
                        let seq = self.seq(next.into_iter().collect());
                        Target::Event { group, seq }
                    }
                }
            }
        };
        Op::Settle { target, token, how: self.settlement() }
    }

    fn record(&mut self, state: &State) -> RecordId {
        let known: Vec<RecordId> = state.records.keys().copied().collect();
        self.random.pick(&known).filter(|_| !self.random.one_in(12)).unwrap_or(RecordId::new(3).unwrap())
    }

    fn poll(&mut self, state: &State) -> Op {
        let group = self.group();
        let held = state.groups.get(&group).and_then(|cursor| cursor.lease).map(|lease| lease.token);
        let token = if self.random.one_in(2) { held.map(|token| self.stale(Some(token))) } else { None };
        Op::Poll {
            group,
            names: self.names(),
            token,
            max: nonzero(1 + self.random.below(4)),
            lease_ms: self.random.below(5),
            attempts_max: nonzero(1 + self.random.below(3)),
        }
    }

    fn op(&mut self, state: &State, depth: u32) -> Op {
        let epoch = Epoch::new(1 + self.random.below(state.epochs_retired.len() as u64 + 3)).unwrap();
        match self.random.below(100) {
            0..=11 => Op::Send { message: self.message(false), delay_ms: self.random.below(4) },
            12..=25 => Op::Claim {
                names: self.names(),
                max: nonzero(1 + self.random.below(4)),
                lease_ms: self.random.below(5),
                attempts_max: nonzero(1 + self.random.below(3)),
            },
            26..=46 => self.settle(state),
            47..=56 => Op::Publish { message: self.message(true) },
            57..=70 => self.poll(state),
            71..=73 => {
                let start = match self.random.below(4) {
                    0 => Start::Latest,
                    1 => Start::After(self.seq(state.log.keys().copied().collect())),
                    _ => Start::Earliest,
                };
                Op::Subscribe { group: self.group(), name: self.name(), start }
            }
            74 => Op::Unsubscribe { group: self.group(), name: self.name() },
            75..=76 => Op::Seek {
                group: self.group(),
                name: self.name(),
                position: self.seq(state.log.keys().copied().collect()),
            },
            77..=79 => {
                let (lease, token) = self.lease(state);
                Op::Release { lease, token }
            }
            80..=81 => {
                let (lease, token) = self.lease(state);
                Op::Extend { lease, token, lease_ms: self.random.below(5) }
            }
            82 => Op::Cancel {
                seq: self.seq(state.queue.keys().chain(state.unreadable.keys()).copied().collect()),
            },
            83..=87 => Op::Redrive { record: self.record(state) },
            88 => Op::Purge { record: self.record(state) },
            89 => self.repair(state),
            90..=91 => Op::Prune { retention_ms: self.random.below(3) },
            92 => Op::ForgetIds { retention_ms: self.random.below(5) },
            93 if self.random.one_in(3) => {
                let expected = if self.random.one_in(4) { epoch } else { state.epoch };
                Op::Reset { expected, next: epoch }
            }
            94 if self.random.one_in(3) => Op::Reboot,
            95 if self.random.one_in(3) => Op::Restore { next: epoch },
            _ if depth < 2 => {
                let count = self.random.below(4);
                Op::Atomic((0..count).map(|_| self.op(state, depth + 1)).collect())
            }
            _ => self.poll(state),
        }
    }

    fn value(&mut self) -> RawValue {
        match self.random.below(9) {
            0 => RawValue::Null,
            1 => RawValue::Integer(-1),
            2 => RawValue::Integer(1 << 40),
            3 => RawValue::Real(1.5_f64.to_bits()),
            4 => RawValue::Text(b"1".to_vec()),
            5 => RawValue::Text(vec![0xff, 0x80, b'a']),
            6 => RawValue::Text(b"place.bet\0".to_vec()),
            7 => RawValue::Blob(b"place.bet".to_vec()),
            _ => RawValue::Text(Vec::new()),
        }
    }

    /// Repairs a record, more often than not one that needs it, with what mostly fits.
    fn repair(&mut self, state: &State) -> Op {
        let corrupt = state.records.iter().filter(|(_, record)| !record.body.is_sound());
        let corrupt: Vec<RecordId> = corrupt.map(|(id, _)| *id).collect();
        let record = match corrupt.last() {
            Some(last) if !self.random.one_in(4) => *last,
            _ => self.record(state),
        };
        let found = state.records.get(&record);
        let event = found.is_some_and(|record| matches!(record.origin, Origin::Log { .. }));
        let mut message = Arc::unwrap_or_clone(self.message(event));
        if self.random.one_in(2) {
            message.id = None;
        }
        if let Some(name) = found.and_then(|record| record.body.name()).filter(|_| !self.random.one_in(4)) {
            message.name = name.clone();
        }
        Op::Repair { record, message: message.into() }
    }

    /// Plants damage in a row of the queue or the log, and mirrors it into the model.
    fn damage(&mut self, store: &mut Store, state: &mut State) {
        if self.random.one_in(2) {
            let Some(seq) = self.random.pick(&state.queue.keys().copied().collect::<Vec<_>>()) else {
                return;
            };
            let all: Vec<&str> = BODY_COLUMNS.iter().chain(&BOOKKEEPING_COLUMNS).copied().collect();
            let column = self.random.pick(&all).unwrap();
            let value = match column {
                "name" | "token" | "attempts_max" | "due_at" | "attempts" | "corrupt" => {
                    RawValue::Blob(vec![1])
                }
                "reason" => RawValue::Integer(7),
                _ => self.value(),
            };
            if !damages(&state.queue[&seq].body, column, &value) {
                return;
            }
            plant(store.connection_mut(), "queue", seq, column, &value).unwrap();
            if column == "name" || BOOKKEEPING_COLUMNS.contains(&column) {
                state.queue.remove(&seq);
                let raw = raw_columns(store.connection(), "queue", seq, &all).unwrap();
                state.unreadable.insert(seq, raw);
                *self.seen.entry("planted unreadable command").or_default() += 1;
            } else {
                let raw = raw_columns(store.connection(), "queue", seq, &BODY_COLUMNS).unwrap();
                self.corrupt(&mut state.queue.get_mut(&seq).unwrap().body, raw);
            }
        } else {
            let events = state.log.iter().filter(|(_, row)| matches!(row, LogRow::Event(_)));
            let Some(seq) = self.random.pick(&events.map(|(seq, _)| *seq).collect::<Vec<_>>()) else {
                return;
            };
            let column = self.random.pick(&BODY_COLUMNS).unwrap();
            let value = self.value();
            let readable = column == "name" && value == RawValue::Text(b"1".to_vec());
            match &state.log[&seq] {
                LogRow::Event(body) if damages(body, column, &value) && !readable => {}
                _ => return,
            }
            plant(store.connection_mut(), "log", seq, column, &value).unwrap();
            let raw = raw_columns(store.connection(), "log", seq, &BODY_COLUMNS).unwrap();
            let Some(LogRow::Event(body)) = state.log.get_mut(&seq) else { return };
            if column == "name" {
                *body = Body::Unreadable { raw };
                *self.seen.entry("planted unreadable event").or_default() += 1;
            } else {
                self.corrupt(body, raw);
            }
        }
    }

    /// The sound body of a row becomes a corrupt one.
    fn corrupt(&mut self, body: &mut Body, raw: Raw) {
        let name = body.name().cloned().unwrap();
        *body = Body::Corrupt { name, raw };
        *self.seen.entry("planted corrupt body").or_default() += 1;
    }
}

/// Whether a value in this column would damage the message at all: no id is a sound id of a message without one.
fn damages(body: &Body, column: &str, value: &RawValue) -> bool {
    match body {
        Body::Sound { message, .. } => column != "id" || *value != RawValue::Null || message.id.is_some(),
        _ => false,
    }
}

fn nonzero(n: u64) -> NonZeroU32 {
    NonZeroU32::new(u32::try_from(n).unwrap()).unwrap()
}

/// The model's state as a store shows it: ids with digests.
fn digested(state: &State) -> State {
    let mut state = state.clone();
    for known in state.command_ids.values_mut().chain(state.event_ids.values_mut()) {
        known.content = digest(&known.content);
    }
    state
}

/// The lines in which two states differ.
fn difference(store: &State, model: &State) -> String {
    let (store, model) = (format!("{store:#?}"), format!("{model:#?}"));
    let only = |of: &str, not_in: &str, sign| -> Vec<String> {
        let lines = of.lines().filter(|line| !not_in.lines().any(|other| other == *line));
        lines.map(|line| format!("{sign}{line}")).collect()
    };
    let lines = [only(&store, &model, "store "), only(&model, &store, "model ")].concat();
    lines.join("\n")
}

fn outcome(reply: &Reply) -> &'static str {
    use fencepost_model::op::Refusal;
    match reply {
        Reply::Accepted { fresh: true, .. } => "accepted",
        Reply::Accepted { .. } => "accepted again",
        Reply::HandedOut { deliveries, dead_lettered } => match (deliveries.len(), dead_lettered.len()) {
            (0, 0) => "nothing due",
            (_, 1..) => "dead-lettered on the way",
            (1, _) if matches!(deliveries[0].target, Target::Entry { .. }) => "entry handed out",
            (1, _) => "one handed out",
            _ => "several handed out",
        },
        Reply::Settled(settled) => match settled {
            fencepost_model::op::Settled::Acked => "acked",
            fencepost_model::op::Settled::Requeued { .. } => "requeued",
            fencepost_model::op::Settled::DeadLettered { .. } => "dead-lettered",
            fencepost_model::op::Settled::Parked { .. } => "parked",
            fencepost_model::op::Settled::Dropped => "dropped",
        },
        Reply::Released => "released",
        Reply::Extended { .. } => "extended",
        Reply::Cancelled => "cancelled",
        Reply::Subscribed { .. } => "subscribed",
        Reply::Unsubscribed { .. } => "unsubscribed",
        Reply::Sought => "sought",
        Reply::Redriven(Target::Command(_)) => "command redriven",
        Reply::Redriven(_) => "event redriven",
        Reply::Purged => "purged",
        Reply::Repaired { .. } => "repaired",
        Reply::Pruned { removed: 0, .. } => "nothing to prune",
        Reply::Pruned { .. } => "pruned",
        Reply::Forgotten { ids: 0 } => "nothing to forget",
        Reply::Forgotten { .. } => "forgotten",
        Reply::EpochBegun { .. } => "epoch begun",
        Reply::Rebooted => "rebooted",
        Reply::Done(_) => "done",
        Reply::Refused(refusal) => match refusal {
            Refusal::LeaseLost => "refused: lease lost",
            Refusal::Conflict { .. } => "refused: conflict",
            Refusal::NotFound => "refused: not found",
            Refusal::Held { .. } => "refused: held",
            Refusal::NamesMissing { .. } => "refused: names missing",
            Refusal::NotNext { .. } => "refused: not next",
            Refusal::NotSubscribed => "refused: not subscribed",
            Refusal::BeyondHead { .. } => "refused: beyond head",
            Refusal::Pruned { .. } => "refused: pruned",
            Refusal::EpochMismatch { .. } => "refused: epoch mismatch",
            Refusal::EpochRetired => "refused: epoch retired",
            Refusal::Corrupt => "refused: corrupt",
            Refusal::Legible => "refused: legible",
            Refusal::WrongKind => "refused: wrong kind",
            Refusal::Aborted { .. } => "refused: aborted",
        },
    }
}

/// Walks from an empty bus; returns how often each outcome was seen.
fn walk(seed: u64, steps: u64) -> BTreeMap<&'static str, u64> {
    let mut walk = Walk { random: Random(seed), now: Timestamp::new(10).unwrap(), seen: BTreeMap::new() };
    let mut store = Store::in_memory().unwrap();
    let mut state = State::new();
    for step in 0..steps {
        walk.tick();
        if walk.random.one_in(40) {
            walk.damage(&mut store, &mut state);
        }
        let op = walk.op(&state, 0);
        let before = state.clone();
        let expected = fencepost_model::apply(&mut state, walk.now, &op);
        let reply = store.apply(walk.now, &op);
        let place = || format!("seed {seed}, step {step}, now {}, {op:?}\nbefore {before:#?}", walk.now);
        let reply = reply.unwrap_or_else(|error| panic!("{error:?} at {}", place()));
        assert_eq!(reply, expected, "replies (store, model) at {}", place());
        let found = store.snapshot().unwrap_or_else(|error| panic!("{error:?} at {}", place()));
        let expected = digested(&state);
        assert!(found == expected, "states differ: {}\nat {}", difference(&found, &expected), place());
        *walk.seen.entry(outcome(&reply)).or_default() += 1;
    }
    walk.seen
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

#[test]
fn after_every_step_the_store_holds_what_the_model_says() {
    let (first, steps) = (setting("FENCEPOST_SEED", 1), setting("FENCEPOST_STEPS", 8_000));
    let mut seen = BTreeMap::new();
    for seed in first..first + steps.div_ceil(500) {
        for (outcome, count) in walk(seed, 500) {
            *seen.entry(outcome).or_insert(0) += count;
        }
    }
    println!("{seen:#?}");
    // A walk in which an outcome never occurs checks nothing of it.
    assert!(seen.len() >= 47, "only {} outcomes were seen: {seen:#?}", seen.len());
}
