//! The wide scope: every operation and every fault, with limits that no walk reaches. It serves long walks, and is not
//! explored to its end.

use crate::op::{Op, Settlement, Start};
use crate::scope::build::{
    command, count, dead_letter, event, group, id, nack, names_of, offers, park, publish, repairs, reset,
    seek, send, subscribe, unsubscribe,
};
use crate::scope::{Scope, ScopeLimits};
use crate::vocabulary::{CAUSATION_ID, Epoch, Seq};
use crate::world::Wound;

fn claim(of: &[&str], max: u32, lease_ms: u64, attempts_max: u32) -> Op {
    Op::Claim { names: names_of(of), max: count(max), lease_ms, attempts_max: count(attempts_max) }
}

fn poll(by: &str, of: &[&str], max: u32, lease_ms: u64, attempts_max: u32) -> Op {
    let (group, names) = (group(by), names_of(of));
    Op::Poll { group, names, token: None, max: count(max), lease_ms, attempts_max: count(attempts_max) }
}

fn sends() -> Vec<Op> {
    let caused = command("bet", "4").with_metadata(CAUSATION_ID, "cause");
    vec![
        send(command("bet", "1"), 0),
        send(command("bet", "2").with_metadata("traceparent", "00-1"), 3),
        send(command("pay", "3").with_id(id("x")), 0),
        send(command("pay", "other").with_id(id("x")), 1),
        send(caused.with_id(id("y")), 2),
        send(event("bet", "1"), 0),
        publish(event("bet", "5")),
        publish(event("pay", "6").with_id(id("x"))),
        publish(event("pay", "other").with_id(id("x"))),
        publish(event("mail", "")),
        publish(command("bet", "1")),
    ]
}

fn reads() -> Vec<Op> {
    vec![
        claim(&["bet"], 1, 2, 3),
        claim(&["bet", "pay"], 3, 5, 2),
        claim(&["pay", "mail"], 2, 0, 1),
        poll("audit", &["bet", "pay", "mail"], 3, 4, 2),
        poll("audit", &["bet"], 1, 1, 1),
        poll("stats", &["bet", "pay"], 2, 3, 3),
        poll("nobody", &["bet"], 1, 1, 1),
    ]
}

fn owns() -> Vec<Op> {
    vec![
        subscribe("audit", "bet", Start::Earliest),
        subscribe("audit", "pay", Start::Latest),
        subscribe("audit", "mail", Start::After(Seq::from(2))),
        subscribe("stats", "bet", Start::Earliest),
        subscribe("stats", "pay", Start::After(Seq::from(1))),
        unsubscribe("audit", "pay"),
        unsubscribe("stats", "bet"),
        seek("audit", "bet", 1),
        seek("stats", "bet", 0),
        Op::Prune { retention_ms: 2 },
        Op::Prune { retention_ms: 20 },
        Op::ForgetIds { retention_ms: 3 },
        reset(1, 2),
        reset(2, 5),
        Op::Restore { next: Epoch::from(7) },
        Op::Reboot,
    ]
}

fn transactions() -> Vec<Op> {
    let mut all = vec![Op::Atomic(vec![publish(event("bet", "7")), send(command("pay", "8"), 0)])];
    all.push(Op::Atomic(vec![send(command("bet", "9"), 1), seek("audit", "mail", 0)]));
    all.push(Op::Atomic(vec![claim(&["bet"], 2, 3, 2), Op::Atomic(vec![Op::ForgetIds { retention_ms: 9 }])]));
    all
}

pub(super) fn wide() -> Scope {
    Scope {
        name: "wide",
        about: "every operation and every fault; for long walks, never explored to its end",
        workers: 3,
        offers: offers([sends(), reads(), owns(), transactions()].concat()),
        settlements: vec![Settlement::Ack, nack(0), nack(2), dead_letter(), park(), Settlement::Drop],
        with_ack: vec![publish(event("mail", "done")), send(command("mail", "next"), 0)],
        release: true,
        extend_ms: Some(3),
        cancel: true,
        redrive: true,
        purge: true,
        repairs: repairs([
            command("bet", "repaired"),
            command("pay", "repaired").with_id(id("x")),
            event("bet", "repaired"),
            event("mail", ""),
        ]),
        clock_max: 100_000,
        clock_back: true,
        crash: true,
        unheard: true,
        wounds_queue: vec![Wound::Body, Wound::Name, Wound::Bookkeeping],
        wounds_log: vec![Wound::Body, Wound::Name],
        reopen: true,
        limits: ScopeLimits {
            commands: 99_999,
            events: 99_999,
            tokens: 99_999,
            records: 99_999,
            reboots: 99,
        },
        ..Scope::default()
    }
}
