//! The scopes of the store as a whole: pruning, seeking, epochs, transactions, reboots and copies.

use crate::op::{Op, Settlement, Start};
use crate::scope::build::{
    claim, command, dead_letter, event, id, nack, offers, park, poll, publish, reset, seek, send, subscribe,
};
use crate::scope::{Scope, ScopeLimits};
use crate::vocabulary::{Epoch, Seq};

pub(super) fn pruning() -> Scope {
    Scope {
        name: "pruning",
        about: "the log is pruned while two groups read it, and positions lie before and behind its first event",
        start: vec![subscribe("audit", "bet", Start::Earliest), publish(event("bet", "1").with_id(id("x")))],
        offers: offers([
            publish(event("bet", "1").with_id(id("x"))),
            publish(event("bet", "2")),
            publish(event("pay", "3")),
            subscribe("stats", "bet", Start::Earliest),
            subscribe("stats", "pay", Start::After(Seq::ZERO)),
            seek("audit", "bet", 0),
            seek("audit", "bet", 2),
            poll("audit", &["bet"], 1),
            poll("stats", &["bet", "pay"], 1),
            Op::Prune { retention_ms: 1 },
            Op::ForgetIds { retention_ms: 1 },
        ]),
        settlements: vec![Settlement::Ack],
        clock_max: 2,
        workers: 1,
        limits: ScopeLimits { events: 2, tokens: 2, ..ScopeLimits::default() },
        states: 42_760,
        ..Scope::default()
    }
}

pub(super) fn seeking() -> Scope {
    Scope {
        name: "seeking",
        about: "a group seeks back and forth while a replica holds its cursor",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            publish(event("bet", "1")),
            publish(event("bet", "2")),
        ],
        offers: offers([
            seek("audit", "bet", 0),
            seek("audit", "bet", 1),
            seek("audit", "bet", 9),
            seek("audit", "pay", 0),
            seek("stats", "bet", 0),
            poll("audit", &["bet"], 1),
            poll("audit", &["bet"], 2),
            poll("stats", &["bet"], 1),
        ]),
        settlements: vec![Settlement::Ack, nack(1), dead_letter()],
        redrive: true,
        clock_max: 1,
        limits: ScopeLimits { tokens: 2, records: 1, ..ScopeLimits::default() },
        states: 16_505,
        ..Scope::default()
    }
}

pub(super) fn epochs() -> Scope {
    Scope {
        name: "epochs",
        about: "the log is reset while replicas hold cursors, to fresh, used and unexpected epochs",
        start: vec![subscribe("audit", "bet", Start::Earliest)],
        offers: offers([
            publish(event("bet", "1").with_id(id("x"))),
            poll("audit", &["bet"], 2),
            reset(1, 2),
            reset(2, 3),
            reset(2, 1),
            Op::Restore { next: Epoch::from(2) },
            Op::Restore { next: Epoch::from(4) },
        ]),
        settlements: vec![Settlement::Ack, dead_letter(), park()],
        redrive: true,
        clock_max: 1,
        workers: 1,
        limits: ScopeLimits { events: 2, tokens: 2, records: 2, reboots: 1, ..ScopeLimits::default() },
        states: 41_468,
        ..Scope::default()
    }
}

pub(super) fn transactions() -> Scope {
    Scope {
        name: "transactions",
        about: "a command's ack and its effects happen together or not at all; a stale token undoes both",
        start: vec![send(command("bet", "1").with_id(id("x")), 0), send(command("bet", "2"), 0)],
        offers: offers([
            claim(&["bet"], 1),
            Op::Atomic(vec![publish(event("bet", "3")), send(command("bet", "other").with_id(id("x")), 0)]),
            Op::Atomic(vec![
                send(command("pay", "4"), 0),
                Op::Atomic(vec![publish(event("bet", "5")), send(command("pay", "6"), 0)]),
            ]),
        ]),
        with_ack: vec![publish(event("bet", "done")), send(command("pay", "next"), 0)],
        settlements: vec![Settlement::Ack],
        clock_max: 2,
        crash: true,
        limits: ScopeLimits { commands: 4, events: 2, tokens: 4, ..ScopeLimits::default() },
        states: 5_486,
        ..Scope::default()
    }
}

pub(super) fn falling_back() -> Scope {
    Scope {
        name: "falling-back",
        about: "power cuts and restored copies, also of one copy twice: the store falls back, and tokens never do",
        offers: offers([send(command("bet", "1").with_id(id("x")), 0), claim(&["bet"], 1), Op::Reboot]),
        settlements: vec![Settlement::Ack],
        clock_max: 1,
        workers: 1,
        fall_back: Some(vec![None, Some(Epoch::from(2)), Some(Epoch::from(3))]),
        limits: ScopeLimits { commands: 1, events: 1, tokens: 2, records: 1, reboots: 2 },
        states: 32_479,
        ..Scope::default()
    }
}

pub(super) fn answers_lost() -> Scope {
    Scope {
        name: "answers-lost",
        about: "requests and answers are lost, and workers repeat their operations",
        start: vec![subscribe("audit", "bet", Start::Earliest), publish(event("bet", "1"))],
        offers: offers([
            send(command("bet", "1").with_id(id("x")), 0),
            claim(&["bet"], 1),
            poll("audit", &["bet"], 1),
        ]),
        settlements: vec![Settlement::Ack, nack(0), dead_letter()],
        unheard: true,
        clock_max: 1,
        limits: ScopeLimits { commands: 1, events: 1, tokens: 3, records: 1, reboots: 0 },
        states: 10_781,
        ..Scope::default()
    }
}
