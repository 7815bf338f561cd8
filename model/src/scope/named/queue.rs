//! The scopes of the queue: leases, batches, ids, setting aside, damage, repairs.

use crate::op::{Op, Settlement, Start};
use crate::scope::build::{
    claim, command, dead_letter, event, id, nack, offers, park, poll, publish, repairs, send, subscribe,
};
use crate::scope::{Scope, ScopeLimits};
use crate::vocabulary::CAUSATION_ID;
use crate::world::Wound;

pub(super) fn leases() -> Scope {
    Scope {
        name: "leases",
        about: "two workers compete for two commands; leases expire, the clock jumps back, workers crash",
        offers: offers([send(command("bet", "1"), 0), claim(&["bet"], 1)]),
        settlements: vec![Settlement::Ack, nack(0), nack(1)],
        clock_max: 3,
        clock_back: true,
        crash: true,
        limits: ScopeLimits { tokens: 3, records: 1, ..ScopeLimits::default() },
        liveness: true,
        states: 79_756,
        ..Scope::default()
    }
}

pub(super) fn releases() -> Scope {
    Scope {
        name: "releases",
        about: "deliveries are released and leases extended, before and after they expire",
        offers: offers([send(command("bet", "1"), 0), claim(&["bet"], 1), claim(&["bet"], 2)]),
        settlements: vec![Settlement::Ack],
        release: true,
        extend_ms: Some(2),
        cancel: true,
        limits: ScopeLimits { tokens: 4, ..ScopeLimits::default() },
        states: 10_527,
        ..Scope::default()
    }
}

pub(super) fn batches() -> Scope {
    Scope {
        name: "batches",
        about: "three commands of two names, with delays, claimed in batches",
        offers: offers([
            send(command("bet", "1"), 1),
            send(command("pay", "2"), 0),
            claim(&["bet"], 2),
            claim(&["bet", "pay"], 3),
        ]),
        settlements: vec![Settlement::Ack, nack(1)],
        limits: ScopeLimits { commands: 3, tokens: 4, records: 2, ..ScopeLimits::default() },
        states: 57_112,
        ..Scope::default()
    }
}

pub(super) fn ids() -> Scope {
    let caused = command("bet", "1").with_metadata(CAUSATION_ID, "cause");
    let traced = command("bet", "1").with_metadata("traceparent", "00-1");
    Scope {
        name: "ids",
        about: "senders retry under an id, with the same and other content, and ids are forgotten",
        start: vec![subscribe("audit", "bet", Start::Earliest)],
        offers: offers([
            send(command("bet", "1").with_id(id("x")), 0),
            send(traced.with_id(id("x")), 1),
            send(caused.with_id(id("x")), 0),
            send(event("bet", "1"), 0),
            publish(event("bet", "1").with_id(id("x"))),
            publish(event("bet", "2").with_id(id("x"))),
            publish(command("bet", "1")),
            claim(&["bet"], 1),
            poll("audit", &["bet"], 1),
            Op::ForgetIds { retention_ms: 1 },
            Op::Prune { retention_ms: 0 },
        ]),
        settlements: vec![Settlement::Ack, dead_letter()],
        cancel: true,
        purge: true,
        workers: 1,
        limits: ScopeLimits { commands: 2, events: 1, tokens: 2, records: 2, reboots: 0 },
        states: 68_661,
        ..Scope::default()
    }
}

pub(super) fn set_aside() -> Scope {
    Scope {
        name: "set-aside",
        about: "commands are dead-lettered, parked and dropped, redriven and purged",
        offers: offers([
            send(command("bet", "1").with_id(id("x")), 0),
            send(event("bet", "1"), 1),
            claim(&["bet"], 1),
        ]),
        settlements: vec![Settlement::Ack, nack(0), dead_letter(), park(), Settlement::Drop],
        redrive: true,
        purge: true,
        crash: true,
        clock_max: 2,
        limits: ScopeLimits { tokens: 4, records: 3, ..ScopeLimits::default() },
        liveness: true,
        states: 1_198,
        ..Scope::default()
    }
}

pub(super) fn damaged_commands() -> Scope {
    Scope {
        name: "damaged-commands",
        about: "rows of the queue are damaged: content, name, bookkeeping",
        offers: offers([
            send(command("bet", "1").with_id(id("x")), 0),
            send(command("bet", "2"), 0),
            claim(&["bet"], 1),
            claim(&["bet"], 2),
        ]),
        settlements: vec![Settlement::Ack, nack(0), dead_letter(), park(), Settlement::Drop],
        release: true,
        extend_ms: Some(1),
        cancel: true,
        redrive: true,
        purge: true,
        clock_max: 1,
        wounds_queue: vec![Wound::Body, Wound::Name, Wound::Bookkeeping],
        workers: 1,
        limits: ScopeLimits { tokens: 2, records: 2, ..ScopeLimits::default() },
        states: 21_211,
        ..Scope::default()
    }
}

pub(super) fn repaired_commands() -> Scope {
    Scope {
        name: "repaired-commands",
        about: "dead damaged commands are repaired, redriven and sent again under their id",
        start: vec![send(command("bet", "1").with_id(id("x")), 0)],
        offers: offers([
            send(command("bet", "1").with_id(id("x")), 0),
            claim(&["bet"], 2),
            claim(&["pay"], 1),
        ]),
        settlements: vec![Settlement::Ack, dead_letter(), park()],
        redrive: true,
        purge: true,
        repairs: repairs([
            command("bet", "1").with_id(id("x")),
            command("pay", "3"),
            command("bet", "4").with_id(id("y")),
            event("bet", "5"),
        ]),
        clock_max: 1,
        wounds_queue: vec![Wound::Body, Wound::Name, Wound::Bookkeeping],
        workers: 1,
        limits: ScopeLimits { commands: 1, tokens: 3, records: 3, ..ScopeLimits::default() },
        states: 2_486,
        ..Scope::default()
    }
}
