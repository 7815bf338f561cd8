//! Scopes for power cuts and failing disks: from a few starting points, every operation of the contract.
//!
//! Invariant: a lease lasts longer than one step of the clock and shorter than two.
//! Does not depend on: how the power is cut. These scopes serve short sequences, and are not explored to their ends.

use crate::op::{Op, Settlement, Start, Target};
use crate::scope::build::{
    command, count, dead_letter, event, group, id, nack, names_of, offers, park, publish, repairs, reset,
    seek, send, subscribe, unsubscribe,
};
use crate::scope::{Scope, ScopeLimits};
use crate::vocabulary::{Epoch, RecordId, Seq, Token};
use crate::world::{Row, Wound};

/// The time from one operation to the next, in milliseconds.
pub const STEP_MS: u64 = 10;

/// The length of leases, in milliseconds.
const LEASE_MS: u64 = 15;

fn claim(max: u32) -> Op {
    let names = names_of(&["bet"]);
    Op::Claim { names, max: count(max), lease_ms: LEASE_MS, attempts_max: count(3) }
}

fn poll(max: u32) -> Op {
    let (group, names) = (group("audit"), names_of(&["bet", "pay"]));
    Op::Poll { group, names, token: None, max: count(max), lease_ms: LEASE_MS, attempts_max: count(3) }
}

fn settle(target: Target, token: u32, how: Settlement) -> Op {
    Op::Settle { target, token: Token::from(token), how }
}

fn scope(name: &'static str, about: &'static str, start: Vec<Op>, offered: Vec<Op>) -> Scope {
    Scope {
        name,
        about,
        workers: 1,
        start,
        offers: offers(offered),
        settlements: vec![Settlement::Ack, nack(0), dead_letter(), park(), Settlement::Drop],
        with_ack: vec![publish(event("bet", "done"))],
        release: true,
        extend_ms: Some(LEASE_MS),
        cancel: true,
        redrive: true,
        purge: true,
        limits: ScopeLimits { commands: 99, events: 99, tokens: 99, records: 99, reboots: 9 },
        ..Scope::default()
    }
}

/// The starting points: an empty store, a queue, a log.
pub fn cuts() -> Vec<Scope> {
    let empty = scope(
        "cuts-empty",
        "an empty store: the first command, the first event, the first group",
        vec![],
        vec![
            send(command("bet", "1").with_id(id("x")), 0),
            claim(1),
            publish(event("bet", "1").with_id(id("x"))),
            subscribe("audit", "bet", Start::Earliest),
            Op::Poll {
                group: group("audit"),
                names: names_of(&["bet"]),
                token: None,
                max: count(2),
                lease_ms: LEASE_MS,
                attempts_max: count(3),
            },
            unsubscribe("audit", "bet"),
            reset(1, 2),
            Op::Restore { next: Epoch::from(7) },
        ],
    );
    let queue = scope(
        "cuts-queue",
        "commands that are ready, leased and dead",
        vec![
            send(command("bet", "1"), 0),
            send(command("bet", "2").with_id(id("x")), 0),
            send(command("bet", "3"), 0),
            claim(2),
            settle(Target::Command(Seq::from(1)), 1, dead_letter()),
        ],
        vec![
            send(command("bet", "4").with_id(id("y")), 0),
            claim(2),
            Op::ForgetIds { retention_ms: 0 },
            Op::Atomic(vec![send(command("bet", "5"), 0), publish(event("bet", "5"))]),
        ],
    );
    let log = scope(
        "cuts-log",
        "events that are pruned, read, parked and redriven",
        vec![
            subscribe("audit", "bet", Start::Earliest),
            subscribe("audit", "pay", Start::Earliest),
            publish(event("bet", "1").with_id(id("x"))),
            publish(event("pay", "2")),
            publish(event("bet", "3")),
            publish(event("pay", "4")),
            publish(event("bet", "5")),
            poll(4),
            settle(Target::Event { group: group("audit"), seq: Seq::from(1) }, 1, Settlement::Ack),
            settle(Target::Event { group: group("audit"), seq: Seq::from(2) }, 1, park()),
            settle(Target::Event { group: group("audit"), seq: Seq::from(3) }, 1, dead_letter()),
            Op::Redrive { record: RecordId::from(1) },
        ],
        vec![
            publish(event("bet", "6").with_id(id("y"))),
            poll(3),
            subscribe("stats", "bet", Start::Earliest),
            unsubscribe("audit", "pay"),
            seek("audit", "bet", 1),
            Op::Prune { retention_ms: 0 },
            Op::ForgetIds { retention_ms: 0 },
            reset(1, 2),
            Op::Restore { next: Epoch::from(7) },
        ],
    );
    vec![empty, queue, log]
}

/// A starting point with a damaged row.
pub fn cuts_with_damage() -> Scope {
    let start = vec![send(command("bet", "1").with_id(id("x")), 0), send(command("bet", "2"), 0), claim(2)];
    Scope {
        damaged: vec![(2, Row::Queue(Seq::from(1)), Wound::Name)],
        settlements: vec![Settlement::Ack],
        with_ack: Vec::new(),
        release: false,
        extend_ms: None,
        cancel: false,
        repairs: repairs([command("bet", "1")]),
        ..scope(
            "cuts-damaged",
            "an unreadable command is dead and can be repaired; another command is leased",
            start,
            vec![send(command("bet", "1").with_id(id("x")), 0), claim(1)],
        )
    }
}
