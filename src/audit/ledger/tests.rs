//! The part of a state that a ledger hands out, side by side with the whole of it.

use std::num::NonZeroU32;

use fencepost_model::coverage::{Tally, kind};
use fencepost_model::generate::choose;
use fencepost_model::op::{Delivery, Settlement};
use fencepost_model::scope;
use fencepost_model::vocabulary::{RecordId, Token};
use fencepost_model::world::Contract;

use super::*;
use crate::sqlite::digest;
use fencepost_verify::system::{StoreCall as Call, call};

/// The state of a model as a recording has it.
fn shortened(state: &State) -> State {
    let mut state = state.clone();
    for known in state.command_ids.values_mut().chain(state.event_ids.values_mut()) {
        known.content = digest(&known.content);
    }
    contents::shorten_ids(&mut state);
    state
}

/// Applies an operation to the whole of a state and to the part that a ledger hands out.
fn both(state: &mut State, ledger: &mut Ledger, now: Timestamp, op: &Op) -> Reply {
    let mut messages = Vec::new();
    contents::with_id(op, &mut messages);
    let remembered: Vec<ShortDigest> = messages.iter().map(|message| contents::remembered(message)).collect();
    let before = state.clone();
    let reply = apply(state, now, op);
    let applied = ledger.apply(now, op, &remembered, true);
    assert_eq!(applied.reply, reply, "{op:?}\n{before:#?}");
    assert_eq!(applied.moved, before != *state, "{op:?}");
    reply
}

#[test]
fn the_part_is_answered_as_the_whole_in_every_scope() {
    let mut operations = BTreeMap::new();
    for name in scope::names() {
        let scope = scope::by_name(name).unwrap();
        for seed in 1..=8_u32 {
            let mut world = scope.world();
            let mut ledger = Ledger::new(shortened(&world.state)).unwrap();
            for step in 0..160_u32 {
                let number = step.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
                let Some(action) = choose(&scope, &world, number) else { break };
                match call(&world, &action) {
                    Call::Operation(now, op) => {
                        let mut state = world.state.clone();
                        both(&mut state, &mut ledger, now, &op);
                        world.perform(&action, &Contract, &Tally::new());
                        assert_eq!(world.state, state);
                        *operations.entry(kind(&op)).or_insert(0) += 1;
                    }
                    _ => {
                        world.perform(&action, &Contract, &Tally::new());
                        ledger = Ledger::new(shortened(&world.state)).unwrap();
                    }
                }
                assert_eq!(*ledger.state(), shortened(&world.state), "{name} {seed}: {action:?}");
            }
        }
    }
    assert!(operations.len() >= 39 && operations.values().all(|count| *count > 10), "{operations:?}");
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) % bound
    }
}

fn any_op(dice: &mut Dice, state: &State, held: &[Delivery]) -> Op {
    let name = |dice: &mut Dice| Name::new(["a", "b", "c"][dice.below(3) as usize]).unwrap();
    let group = |dice: &mut Dice| Group::new(["g", "h"][dice.below(2) as usize]).unwrap();
    let some = |n: u64| NonZeroU32::new(u32::try_from(n).unwrap()).unwrap();
    let message = |dice: &mut Dice, kind| {
        let message = Message::new(kind, name(dice), dice.below(2).to_be_bytes());
        let id = (dice.below(2) == 0).then(|| MessageId::new(dice.below(400).to_string()).unwrap());
        Arc::new(Message { id, ..message })
    };
    let seq = |dice: &mut Dice, last: Seq| Seq::ZERO.plus(dice.below(last.get() + 2));
    let record = |dice: &mut Dice| RecordId::ZERO.plus(dice.below(state.record_last.get() + 2));
    let names = |dice: &mut Dice| (0..=dice.below(3)).map(|_| name(dice)).collect::<Names>();
    let all = ["a", "b", "c"].iter().map(|name| Name::new(*name).unwrap()).collect::<Names>();
    let reason: Arc<str> = "why".into();
    match dice.below(40) {
        0..=9 => Op::Send { message: message(dice, Kind::Command), delay_ms: dice.below(3) * 40 },
        10..=14 => Op::Publish { message: message(dice, Kind::Event) },
        15..=18 => Op::Claim {
            names: names(dice),
            max: some(1 + dice.below(6)),
            lease_ms: dice.below(100),
            attempts_max: some(1 + dice.below(4)),
        },
        19 => Op::Subscribe {
            group: group(dice),
            name: name(dice),
            start: [Start::Earliest, Start::Latest, Start::After(seq(dice, state.head))]
                [dice.below(3) as usize],
        },
        20..=22 => {
            let group = group(dice);
            let lease = state.groups.get(&group).and_then(|cursor| cursor.lease);
            let token = lease.map(|lease| lease.token).filter(|_| dice.below(3) > 0);
            let (max, attempts_max) = (some(1 + dice.below(6)), some(1 + dice.below(4)));
            Op::Poll { group, names: all, token, max, lease_ms: dice.below(100), attempts_max }
        }
        23..=33 if !held.is_empty() => {
            let newest = held.len() as u64 - 1 - dice.below(held.len().min(12) as u64);
            let delivery = &held[newest as usize];
            let (target, token) = (delivery.target.clone(), delivery.token);
            match dice.below(10) {
                0 => Op::Release { lease: target.lease(), token },
                1 => Op::Extend { lease: target.lease(), token, lease_ms: dice.below(90) },
                2 => Op::Settle { target, token, how: Settlement::DeadLetter { reason } },
                3 => Op::Settle { target, token, how: Settlement::Park { reason } },
                4 | 5 => {
                    let delay_ms = dice.below(50);
                    Op::Settle { target, token, how: Settlement::Nack { delay_ms, reason } }
                }
                _ => Op::Settle { target, token, how: Settlement::Ack },
            }
        }
        34 => Op::Cancel { seq: seq(dice, state.queue_last) },
        35 => Op::Seek { group: group(dice), name: name(dice), position: seq(dice, state.head) },
        36 => Op::Redrive { record: record(dice) },
        37 if dice.below(2) == 0 => {
            Op::Repair { record: record(dice), message: message(dice, Kind::Command) }
        }
        37 => Op::Purge { record: record(dice) },
        38 => match dice.below(5) {
            0 => Op::Unsubscribe { group: group(dice), name: name(dice) },
            1 => Op::Prune { retention_ms: dice.below(4_000) },
            2 => Op::ForgetIds { retention_ms: dice.below(4_000) },
            3 if dice.below(10) == 0 => Op::Reset { expected: state.epoch, next: state.epoch.plus(1) },
            _ => Op::Reboot,
        },
        _ => Op::Atomic((0..dice.below(4)).map(|_| any_op(dice, state, held)).collect()),
    }
}

#[test]
fn the_part_is_answered_as_the_whole_where_much_waits() {
    for seed in 1..=3 {
        let (mut dice, mut state) = (Dice(seed), State::new());
        let mut ledger = Ledger::new(state.clone()).unwrap();
        let (mut held, mut now, mut refused, mut deepest) = (Vec::new(), 0_u32, 0, 0);
        for step in 0..6_000 {
            now += u32::try_from(dice.below(12)).unwrap();
            let op = any_op(&mut dice, &state, &held);
            match both(&mut state, &mut ledger, Timestamp::from(now), &op) {
                Reply::HandedOut { deliveries, .. } => held.extend(deliveries),
                Reply::Refused(_) => refused += 1,
                _ => {}
            }
            deepest = deepest.max(state.queue.len().min(state.log.len()));
            if step % 64 == 0 {
                assert_eq!(*ledger.state(), shortened(&state), "seed {seed}, step {step}");
                held.retain(|delivery| delivery.token.get() + 400 > state.token_last.get() % (1 << 32));
            }
        }
        assert_eq!(*ledger.state(), shortened(&state), "seed {seed}");
        let tokens: BTreeSet<Token> = held.iter().map(|delivery| delivery.token).collect();
        assert!(refused > 500 && deepest > 30 && tokens.len() > 10, "{refused} {deepest}");
    }
}

#[test]
fn the_same_id_is_recognised_by_its_digest_alone() {
    let message = |payload: &[u8]| {
        let message = Message::new(Kind::Command, Name::new("a").unwrap(), payload);
        Arc::new(message.with_id(MessageId::new("one").unwrap()))
    };
    let mut state = State::new();
    apply(&mut state, Timestamp::ZERO, &Op::Send { message: message(b"x"), delay_ms: 0 });
    let mut ledger = Ledger::new(shortened(&state)).unwrap();
    for (payload, accepted) in [(b"x", true), (b"y", false), (b"x", true)] {
        let mut op = Op::Send { message: message(payload), delay_ms: 0 };
        let remembered = contents::remembered(&message(payload));
        contents::of_op(&mut op);
        let reply = ledger.apply(Timestamp::ZERO, &op, &[remembered], false).reply;
        assert_eq!(matches!(reply, Reply::Accepted { fresh: false, .. }), accepted, "{reply:?}");
        assert_eq!(*ledger.state(), shortened(&state));
    }
}
