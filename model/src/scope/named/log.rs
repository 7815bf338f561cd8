//! The scopes of the log and its groups: positions, names, entries, damage, repairs.

use crate::op::{Op, Settlement, Start, Target};
use crate::scope::build::{
    command, dead_letter, event, group, id, nack, offers, park, poll, publish, repairs, reset, subscribe,
    unsubscribe,
};
use crate::scope::{Scope, ScopeLimits};
use crate::vocabulary::{RecordId, Seq, Token};
use crate::world::Wound;

pub(super) fn groups() -> Scope {
    Scope {
        name: "groups",
        about: "two groups with two replicas each read two names; leases expire and workers crash",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            subscribe("audit", "pay", Start::Earliest),
            subscribe("stats", "bet", Start::Latest),
        ],
        offers: offers([
            publish(event("bet", "1")),
            publish(event("pay", "2")),
            poll("audit", &["bet", "pay"], 1),
            poll("stats", &["bet"], 2),
        ]),
        settlements: vec![Settlement::Ack, nack(1)],
        crash: true,
        clock_max: 1,
        limits: ScopeLimits { events: 2, tokens: 3, records: 1, ..ScopeLimits::default() },
        liveness: true,
        states: 26_249,
        ..Scope::default()
    }
}

pub(super) fn batches_of_events() -> Scope {
    Scope {
        name: "batches-of-events",
        about: "three events are polled in batches and settled in order and out of order",
        start: vec![subscribe("audit", "bet", Start::Earliest), subscribe("audit", "pay", Start::Earliest)],
        offers: offers([
            publish(event("bet", "1")),
            publish(event("pay", "2")),
            poll("audit", &["bet", "pay"], 2),
            poll("audit", &["bet", "pay"], 3),
        ]),
        settlements: vec![Settlement::Ack, nack(0), Settlement::Drop],
        release: true,
        extend_ms: Some(2),
        workers: 1,
        clock_max: 1,
        limits: ScopeLimits { events: 3, tokens: 3, records: 2, ..ScopeLimits::default() },
        states: 34_206,
        ..Scope::default()
    }
}

pub(super) fn names_added() -> Scope {
    Scope {
        name: "names-added",
        about: "a name is added to a group and removed again, while replicas with and without it poll",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            publish(event("bet", "1")),
            publish(event("pay", "2")),
            publish(event("bet", "3")),
        ],
        offers: offers([
            subscribe("audit", "pay", Start::Earliest),
            subscribe("audit", "pay", Start::Latest),
            subscribe("audit", "pay", Start::After(Seq::from(2))),
            subscribe("stats", "pay", Start::After(Seq::from(9))),
            subscribe("stats", "bet", Start::Earliest),
            unsubscribe("audit", "pay"),
            unsubscribe("audit", "bet"),
            poll("audit", &["bet"], 2),
            poll("audit", &["bet", "pay"], 3),
            poll("stats", &["bet"], 1),
        ]),
        settlements: vec![Settlement::Ack, nack(0)],
        clock_max: 1,
        limits: ScopeLimits { events: 3, tokens: 2, records: 1, ..ScopeLimits::default() },
        states: 34_550,
        ..Scope::default()
    }
}

pub(super) fn events_set_aside() -> Scope {
    Scope {
        name: "events-set-aside",
        about: "events are dead-lettered and parked for one of two groups, and the records purged",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            subscribe("stats", "bet", Start::Earliest),
            publish(event("bet", "1").with_id(id("x"))),
        ],
        offers: offers([
            publish(event("bet", "2")),
            publish(event("bet", "1").with_id(id("x"))),
            poll("audit", &["bet"], 1),
            poll("stats", &["bet"], 1),
            Op::Prune { retention_ms: 0 },
            Op::ForgetIds { retention_ms: 0 },
        ]),
        settlements: vec![Settlement::Ack, dead_letter(), park()],
        purge: true,
        redrive: true,
        extend_ms: Some(2),
        clock_max: 0,
        workers: 1,
        limits: ScopeLimits { events: 2, tokens: 3, records: 2, ..ScopeLimits::default() },
        states: 21_446,
        ..Scope::default()
    }
}

pub(super) fn entries() -> Scope {
    Scope {
        name: "entries",
        about: "a redriven event is an entry of its group: nacked, set aside again, unsubscribed, ended by a reset",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            subscribe("audit", "pay", Start::Earliest),
            publish(event("bet", "1")),
            publish(event("pay", "2")),
        ],
        offers: offers([
            poll("audit", &["bet", "pay"], 2),
            unsubscribe("audit", "bet"),
            subscribe("audit", "bet", Start::Latest),
            reset(1, 2),
        ]),
        settlements: vec![Settlement::Ack, nack(1), dead_letter()],
        redrive: true,
        clock_max: 2,
        workers: 1,
        limits: ScopeLimits { tokens: 3, records: 1, ..ScopeLimits::default() },
        liveness: true,
        states: 14_630,
        ..Scope::default()
    }
}

pub(super) fn entry_settlements() -> Scope {
    Scope {
        name: "entry-settlements",
        about: "a redriven event is settled in every way, under current and stale tokens",
        start: vec![subscribe("audit", "bet", Start::Earliest), publish(event("bet", "1"))],
        offers: offers([poll("audit", &["bet"], 1), unsubscribe("audit", "bet")]),
        settlements: vec![Settlement::Ack, nack(0), dead_letter(), park(), Settlement::Drop],
        release: true,
        extend_ms: Some(1),
        redrive: true,
        clock_max: 3,
        workers: 1,
        limits: ScopeLimits { events: 1, tokens: 4, records: 1, ..ScopeLimits::default() },
        states: 12_788,
        ..Scope::default()
    }
}

pub(super) fn two_entries() -> Scope {
    let dead_letter_event = |seq: u32| {
        let target = Target::Event { group: group("audit"), seq: Seq::from(seq) };
        Op::Settle { target, token: Token::from(1), how: dead_letter() }
    };
    let redrive = |record: u32| Op::Redrive { record: RecordId::from(record) };
    Scope {
        name: "two-entries",
        about: "a replica that holds one entry polls another one with exhausted attempts, and the event behind it",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            publish(event("bet", "1")),
            publish(event("bet", "2")),
            poll("audit", &["bet"], 2),
            dead_letter_event(1),
            dead_letter_event(2),
            redrive(1),
            redrive(2),
            publish(event("bet", "3")),
        ],
        offers: offers([poll("audit", &["bet"], 2)]),
        settlements: vec![Settlement::Ack, nack(2)],
        clock_max: 4,
        workers: 1,
        limits: ScopeLimits { events: 3, tokens: 5, records: 2, ..ScopeLimits::default() },
        liveness: true,
        states: 19_721,
        ..Scope::default()
    }
}

pub(super) fn damaged_events() -> Scope {
    Scope {
        name: "damaged-events",
        about: "rows of the log are damaged, polled by two groups and pruned",
        start: vec![subscribe("audit", "bet", Start::Earliest), subscribe("stats", "bet", Start::Earliest)],
        offers: offers([
            publish(event("bet", "1").with_id(id("x"))),
            publish(event("bet", "2")),
            poll("audit", &["bet"], 2),
            poll("stats", &["bet"], 1),
            Op::Prune { retention_ms: 0 },
        ]),
        settlements: vec![Settlement::Ack, dead_letter()],
        purge: true,
        clock_max: 0,
        workers: 1,
        wounds_log: vec![Wound::Body, Wound::Name],
        limits: ScopeLimits { events: 2, tokens: 2, records: 2, ..ScopeLimits::default() },
        states: 79_056,
        ..Scope::default()
    }
}

pub(super) fn one_damaged_event() -> Scope {
    Scope {
        name: "one-damaged-event",
        about: "one event is damaged while it is held, and settled in every way; its group is unsubscribed and subscribed",
        start: vec![subscribe("audit", "bet", Start::Earliest), publish(event("bet", "1"))],
        offers: offers([
            poll("audit", &["bet"], 1),
            unsubscribe("audit", "bet"),
            subscribe("audit", "bet", Start::Earliest),
            Op::Prune { retention_ms: 1 },
        ]),
        settlements: vec![Settlement::Ack, nack(0), dead_letter(), park(), Settlement::Drop],
        extend_ms: Some(1),
        clock_max: 0,
        workers: 1,
        wounds_log: vec![Wound::Body, Wound::Name],
        limits: ScopeLimits { events: 1, tokens: 3, records: 2, ..ScopeLimits::default() },
        states: 2_591,
        ..Scope::default()
    }
}

pub(super) fn repaired_events() -> Scope {
    Scope {
        name: "repaired-events",
        about: "one of two groups repairs its copy of a damaged event and redrives it; the log keeps the damaged row",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            subscribe("stats", "bet", Start::Earliest),
            publish(event("bet", "1").with_id(id("x"))),
        ],
        offers: offers([
            poll("audit", &["bet"], 1),
            poll("stats", &["bet"], 1),
            Op::Prune { retention_ms: 0 },
            reset(1, 2),
        ]),
        settlements: vec![Settlement::Ack, dead_letter()],
        redrive: true,
        purge: true,
        repairs: repairs([
            event("bet", "1").with_id(id("x")),
            event("bet", "2"),
            event("pay", "3"),
            event("bet", "4").with_id(id("y")),
            command("bet", "5"),
        ]),
        clock_max: 0,
        workers: 1,
        wounds_log: vec![Wound::Body, Wound::Name],
        limits: ScopeLimits { events: 1, tokens: 3, records: 2, ..ScopeLimits::default() },
        states: 9_276,
        ..Scope::default()
    }
}

pub(super) fn exhausted_events() -> Scope {
    Scope {
        name: "exhausted-events",
        about: "events that no worker settles are dead-lettered one by one, with a batch behind them",
        start: vec![
            subscribe("audit", "bet", Start::Earliest),
            publish(event("bet", "1")),
            publish(event("bet", "2")),
        ],
        offers: offers([poll("audit", &["bet"], 1), poll("audit", &["bet"], 3)]),
        settlements: vec![Settlement::Ack, nack(0)],
        redrive: true,
        clock_max: 3,
        workers: 1,
        limits: ScopeLimits { tokens: 4, records: 1, ..ScopeLimits::default() },
        liveness: true,
        states: 19_094,
        ..Scope::default()
    }
}
