//! Bytes become operations, on the model and on the store in lockstep.
//!
//! There are two ways: numbers for the generator of moves, so that every mutation of the bytes is a walk through the
//! scope `wide`; and operations with numbers at the edges of what fits, which no scope has. The reply and the whole
//! state are compared after each, and the guarantees are checked. All of it happens in one transaction that is taken
//! back, so that an input costs no file.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::generate::choose;
use fencepost_model::op::{Lease, Op, Settlement, Start, Target};
use fencepost_model::scope;
use fencepost_model::vocabulary::{
    Epoch, Group, Kind, Message, MessageId, NUMBER_MAX, Name, RecordId, Seq, Timestamp, Token,
};
use fencepost_model::world::{Move, OpOutcome};

use super::bytes::{ByteSource, ByteWriter};
use super::furnished::{group, name, names};
use crate::system::in_step;
use fencepost::internals::sqlite::{Store, execute};

/// How far an input goes: what comes after shows nothing that a shorter one could not.
const STEPS_MAX: usize = 400;

thread_local! {
    static STORE: RefCell<Option<Store>> = const { RefCell::new(None) };
}

/// Runs work on an empty store and takes back what it did.
fn on_empty(work: impl FnOnce(&mut Store)) {
    STORE.with_borrow_mut(|kept| {
        let store = kept.get_or_insert_with(|| match Store::in_memory() {
            Ok(store) => store,
            Err(error) => panic!("no store in memory: {error:?}"),
        });
        execute_sql(store, "BEGIN IMMEDIATE");
        work(store);
        execute_sql(store, "ROLLBACK");
    });
}

fn execute_sql(store: &Store, sql: &str) {
    if let Err(error) = store.connection().execute_batch(sql) {
        panic!("{sql}: {error}");
    }
}

/// Runs on bytes: after an even byte they are numbers for the generator, after an odd one operations at the edges.
pub(super) fn run(data: &[u8]) {
    let mut bytes = ByteSource(data);
    let at_the_edges = bytes.u8() % 2 == 1;
    let Some(scope) = scope::by_name("wide") else { panic!("there is no wide scope") };
    on_empty(|store| {
        let mut world = scope.world();
        for _ in 0..STEPS_MAX {
            if bytes.is_empty() || world.now == Timestamp::MAX && !at_the_edges {
                break;
            }
            let action = match at_the_edges {
                true => Some(edge(&mut bytes)),
                false => choose(&scope, &world, bytes.u32()),
            };
            let Some(action) = action else { break };
            let done = in_step(store, &mut world, &action, |store, now, op| {
                execute(store.connection(), store.statements(), now, op)
            });
            if let Err(why) = done {
                panic!("{why}");
            }
        }
    });
}

/// Numbers at the edges of what fits.
const EDGES: [u64; 12] =
    [0, 1, 2, 3, 5, 1 << 31, u32::MAX as u64, 1 << 32, 1 << 48, NUMBER_MAX - 1, NUMBER_MAX, u64::MAX];

/// A move with numbers at the edges.
fn edge(bytes: &mut ByteSource<'_>) -> Move {
    let kind = bytes.u8();
    let any = bytes.one_of(&EDGES);
    let number = any.min(NUMBER_MAX);
    if kind.is_multiple_of(8) {
        return Move::Clock(Timestamp::ZERO.plus(number));
    }
    let op = operation(kind, any, bytes);
    Move::Do { worker: 0, op: Arc::new(op), outcome: OpOutcome::Told }
}

fn operation(kind: u8, any: u64, bytes: &mut ByteSource<'_>) -> Op {
    let number = any.min(NUMBER_MAX);
    let small = u64::from(bytes.u8() % 8);
    let (seq, record) = (Seq::ZERO.plus(small), RecordId::ZERO.plus(small));
    // Tokens are small until a boot or a restore moves them on.
    let token = Token::ZERO.plus(if small == 0 { number } else { u64::from(bytes.u8()) });
    let (lease_ms, delay_ms, retention_ms) = (any, any, any);
    let limit = |of: u64| NonZeroU32::new(u32::try_from(of).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
    let attempts_max = limit(any);
    let which = bytes.u8();
    let (by, of) = (group(which), name(which >> 1));
    let max = limit(u64::from(which % 5));
    match kind % 20 {
        0..=2 => Op::Send { message: message(Kind::Command, of, bytes), delay_ms },
        3 => Op::Publish { message: message(Kind::Event, of, bytes) },
        4 | 5 => Op::Claim { names: names(), max, lease_ms, attempts_max },
        6 => Op::Subscribe { group: by, name: of, start: start(number, small) },
        7 => Op::Unsubscribe { group: by, name: of },
        8 | 9 => {
            let token = (small > 4).then_some(token);
            Op::Poll { group: by, names: names(), token, max, lease_ms, attempts_max }
        }
        10 | 11 => Op::Settle { target: target(which, by, seq, record), token, how: how(which, delay_ms) },
        12 => Op::Release { lease: lease(which, by, seq), token },
        13 => Op::Extend { lease: lease(which, by, seq), token, lease_ms },
        14 => Op::Cancel { seq },
        15 => Op::Seek { group: by, name: of, position: Seq::ZERO.plus(number) },
        16 => Op::Redrive { record },
        17 if which.is_multiple_of(3) => Op::Purge { record },
        17 if which % 3 == 1 => {
            let kind = if which.is_multiple_of(2) { Kind::Command } else { Kind::Event };
            Op::Repair { record, message: message(kind, of, bytes) }
        }
        17 => Op::ForgetIds { retention_ms },
        18 => Op::Prune { retention_ms },
        _ => epochs(which, number),
    }
}

fn epochs(which: u8, number: u64) -> Op {
    let next = Epoch::ZERO.plus(number);
    match which % 3 {
        0 => Op::Reset { expected: Epoch::from(1), next },
        1 => Op::Restore { next },
        _ => Op::Reboot,
    }
}

fn message(kind: Kind, of: Name, bytes: &mut ByteSource<'_>) -> Arc<Message> {
    let how = bytes.u8();
    let mut message = Message::new(kind, of, bytes.some(usize::from(how % 16)));
    if let Ok(id) = MessageId::new(format!("id-{}", how % 3))
        && how & 0x20 != 0
    {
        message = message.with_id(id);
    }
    if how & 0x40 != 0 {
        message = message.with_metadata("causation_id", if how & 0x80 != 0 { "one" } else { "" });
    }
    Arc::new(message)
}

fn start(number: u64, small: u64) -> Start {
    match small {
        0..=3 => Start::Earliest,
        4 | 5 => Start::Latest,
        6 => Start::After(Seq::ZERO.plus(small)),
        _ => Start::After(Seq::ZERO.plus(number)),
    }
}

fn target(which: u8, group: Group, seq: Seq, record: RecordId) -> Target {
    match which % 3 {
        0 => Target::Command(seq),
        1 => Target::Event { group, seq },
        _ => Target::Entry { group, record },
    }
}

fn lease(which: u8, group: Group, seq: Seq) -> Lease {
    if which.is_multiple_of(2) { Lease::Command(seq) } else { Lease::Cursor(group) }
}

fn how(which: u8, delay_ms: u64) -> Settlement {
    let reason = || Arc::from("why");
    match which >> 2 & 7 {
        0 | 1 => Settlement::Ack,
        2 | 3 => Settlement::Nack { delay_ms, reason: reason() },
        4 => Settlement::DeadLetter { reason: reason() },
        5 => Settlement::Park { reason: reason() },
        _ => Settlement::Drop,
    }
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let walk = |seed: u32, steps: u32| {
        (0..steps).fold(ByteWriter::default().u8(0), |to, step| {
            to.u32(step.wrapping_mul(2_654_435_761).wrapping_add(seed))
        })
    };
    let edges = |seed: u32, steps: u32| {
        (0..steps).fold(ByteWriter::default().u8(1), |to, step| {
            to.u32(step.wrapping_mul(2_246_822_519).wrapping_add(seed).rotate_left(11))
        })
    };
    vec![
        ("walk-short".to_owned(), walk(7, 40).0),
        ("walk-long".to_owned(), walk(11, 200).0),
        ("edges-short".to_owned(), edges(3, 40).0),
        ("edges-long".to_owned(), edges(5, 200).0),
    ]
}
