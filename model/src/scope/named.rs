//! The named scopes. Each says in one line what it is about; the numbers of states are pinned.

use std::sync::Arc;

use crate::op::{Op, Settlement, Start, Target};
use crate::scope::{Limits, Scope, count};
use crate::vocabulary::{
    CAUSATION_ID, Epoch, Group, Kind, Message, MessageId, Name, Names, Reason, RecordId, Seq, Token,
};
use crate::world::Wound;

/// All named scopes.
pub fn all() -> Vec<Scope> {
    vec![
        leases(),
        releases(),
        batches(),
        ids(),
        aside(),
        damaged_commands(),
        groups(),
        batches_of_events(),
        names_added(),
        events_aside(),
        entries(),
        entry_settlements(),
        two_entries(),
        damaged_events(),
        one_damaged_event(),
        exhausted_events(),
        pruning(),
        seeking(),
        epochs(),
        transactions(),
        falling_back(),
        answers_lost(),
    ]
}

/// The scope of this name; `wide`, which is walked and never explored to its end, is one.
pub fn by_name(name: &str) -> Option<Scope> {
    all().into_iter().chain([super::wide::wide()]).find(|scope| scope.name == name)
}

/// The names of all scopes.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|scope| scope.name).collect()
}

/// A name from a text that is one.
pub(super) fn name(text: &str) -> Name {
    match Name::new(text) {
        Ok(name) => name,
        Err(rule) => unreachable!("{text} {rule}"),
    }
}

pub(super) fn group(text: &str) -> Group {
    match Group::new(text) {
        Ok(group) => group,
        Err(rule) => unreachable!("{text} {rule}"),
    }
}

pub(super) fn id(text: &str) -> MessageId {
    match MessageId::new(text) {
        Ok(id) => id,
        Err(rule) => unreachable!("{text} {rule}"),
    }
}

pub(super) fn names_of(texts: &[&str]) -> Names {
    texts.iter().map(|text| name(text)).collect()
}

pub(super) fn command(of: &str, payload: &str) -> Message {
    Message::new(Kind::Command, name(of), payload.as_bytes())
}

pub(super) fn event(of: &str, payload: &str) -> Message {
    Message::new(Kind::Event, name(of), payload.as_bytes())
}

pub(super) fn send(message: Message, delay_ms: u64) -> Op {
    Op::Send { message: Arc::new(message), delay_ms }
}

pub(super) fn publish(message: Message) -> Op {
    Op::Publish { message: Arc::new(message) }
}

fn claim(of: &[&str], max: u32) -> Op {
    Op::Claim { names: names_of(of), max: count(max), lease_ms: 1, attempts_max: count(2) }
}

fn poll(by: &str, of: &[&str], max: u32) -> Op {
    Op::Poll {
        group: group(by),
        names: names_of(of),
        token: None,
        max: count(max),
        lease_ms: 1,
        attempts_max: count(2),
    }
}

pub(super) fn subscribe(by: &str, of: &str, start: Start) -> Op {
    Op::Subscribe { group: group(by), name: name(of), start }
}

pub(super) fn unsubscribe(by: &str, of: &str) -> Op {
    Op::Unsubscribe { group: group(by), name: name(of) }
}

pub(super) fn seek(by: &str, of: &str, position: u32) -> Op {
    Op::Seek { group: group(by), name: name(of), position: Seq::from(position) }
}

pub(super) fn reset(expected: u32, next: u32) -> Op {
    Op::Reset { expected: Epoch::from(expected), next: Epoch::from(next) }
}

pub(super) fn nack(delay_ms: u64) -> Settlement {
    Settlement::Nack { delay_ms, reason: Reason::from("failed") }
}

pub(super) fn dead_letter() -> Settlement {
    Settlement::DeadLetter { reason: Reason::from("poison") }
}

pub(super) fn park() -> Settlement {
    Settlement::Park { reason: Reason::from("later") }
}

pub(super) fn offers(ops: impl IntoIterator<Item = Op>) -> Vec<Arc<Op>> {
    ops.into_iter().map(Arc::new).collect()
}

fn leases() -> Scope {
    Scope {
        name: "leases",
        about: "two workers compete for two commands; leases run out, the clock jumps back, workers crash",
        offers: offers([send(command("bet", "1"), 0), claim(&["bet"], 1)]),
        settlements: vec![Settlement::Ack, nack(0), nack(1)],
        clock_max: 3,
        clock_back: true,
        crash: true,
        limits: Limits { tokens: 3, records: 1, ..Limits::default() },
        liveness: true,
        states: 79_756,
        ..Scope::default()
    }
}

fn releases() -> Scope {
    Scope {
        name: "releases",
        about: "deliveries are released and leases extended, before and after their time ran out",
        offers: offers([send(command("bet", "1"), 0), claim(&["bet"], 1), claim(&["bet"], 2)]),
        settlements: vec![Settlement::Ack],
        release: true,
        extend_ms: Some(2),
        cancel: true,
        limits: Limits { tokens: 4, ..Limits::default() },
        states: 10_527,
        ..Scope::default()
    }
}

fn batches() -> Scope {
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
        limits: Limits { commands: 3, tokens: 4, records: 2, ..Limits::default() },
        states: 57_112,
        ..Scope::default()
    }
}

fn ids() -> Scope {
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
        limits: Limits { commands: 2, events: 1, tokens: 2, records: 2, reboots: 0 },
        states: 68_661,
        ..Scope::default()
    }
}

fn aside() -> Scope {
    Scope {
        name: "aside",
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
        limits: Limits { tokens: 4, records: 3, ..Limits::default() },
        liveness: true,
        states: 1_198,
        ..Scope::default()
    }
}

fn damaged_commands() -> Scope {
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
        limits: Limits { tokens: 2, records: 2, ..Limits::default() },
        states: 21_211,
        ..Scope::default()
    }
}

fn groups() -> Scope {
    Scope {
        name: "groups",
        about: "two groups with two replicas each read two names; leases run out and workers crash",
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
        limits: Limits { events: 2, tokens: 3, records: 1, ..Limits::default() },
        liveness: true,
        states: 26_249,
        ..Scope::default()
    }
}

fn batches_of_events() -> Scope {
    Scope {
        name: "batches-of-events",
        about: "three events are polled in batches and settled in order, out of order, and by a kill",
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
        limits: Limits { events: 3, tokens: 3, records: 2, ..Limits::default() },
        states: 34_206,
        ..Scope::default()
    }
}

fn names_added() -> Scope {
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
        limits: Limits { events: 3, tokens: 2, records: 1, ..Limits::default() },
        states: 34_550,
        ..Scope::default()
    }
}

fn events_aside() -> Scope {
    Scope {
        name: "events-aside",
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
        limits: Limits { events: 2, tokens: 3, records: 2, ..Limits::default() },
        states: 21_446,
        ..Scope::default()
    }
}

fn entries() -> Scope {
    Scope {
        name: "entries",
        about: "a redriven event is a group's own entry: nacked, killed, moved aside again, left behind, ended by a reset",
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
        limits: Limits { tokens: 3, records: 1, ..Limits::default() },
        liveness: true,
        states: 14_630,
        ..Scope::default()
    }
}

fn entry_settlements() -> Scope {
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
        limits: Limits { events: 1, tokens: 4, records: 1, ..Limits::default() },
        states: 12_788,
        ..Scope::default()
    }
}

fn two_entries() -> Scope {
    let dead_letter_event = |seq: u32| {
        let target = Target::Event { group: group("audit"), seq: Seq::from(seq) };
        Op::Settle { target, token: Token::from(1), how: dead_letter() }
    };
    let redrive = |record: u32| Op::Redrive { record: RecordId::from(record) };
    Scope {
        name: "two-entries",
        about: "the holder of one redriven event meets another that has used up its attempts, and the event behind",
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
        limits: Limits { events: 3, tokens: 5, records: 2, ..Limits::default() },
        liveness: true,
        states: 19_721,
        ..Scope::default()
    }
}

fn damaged_events() -> Scope {
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
        limits: Limits { events: 2, tokens: 2, records: 2, ..Limits::default() },
        states: 79_056,
        ..Scope::default()
    }
}

fn one_damaged_event() -> Scope {
    Scope {
        name: "one-damaged-event",
        about: "one event is damaged under its holder and settled in every way, while its group comes and goes",
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
        limits: Limits { events: 1, tokens: 3, records: 2, ..Limits::default() },
        states: 2_591,
        ..Scope::default()
    }
}

fn exhausted_events() -> Scope {
    Scope {
        name: "exhausted-events",
        about: "events that nobody settles come to rest, one by one, with the batch behind them",
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
        limits: Limits { tokens: 4, records: 1, ..Limits::default() },
        liveness: true,
        states: 19_094,
        ..Scope::default()
    }
}

fn pruning() -> Scope {
    Scope {
        name: "pruning",
        about: "the log is pruned beside two groups, positions lie before and behind what is kept",
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
        limits: Limits { events: 2, tokens: 2, ..Limits::default() },
        states: 42_760,
        ..Scope::default()
    }
}

fn seeking() -> Scope {
    Scope {
        name: "seeking",
        about: "a group seeks back and forth under its holder",
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
        limits: Limits { tokens: 2, records: 1, ..Limits::default() },
        states: 16_505,
        ..Scope::default()
    }
}

fn epochs() -> Scope {
    Scope {
        name: "epochs",
        about: "the log is reset under its holders, to fresh, used and unexpected epochs",
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
        limits: Limits { events: 2, tokens: 2, records: 2, reboots: 1, ..Limits::default() },
        states: 41_468,
        ..Scope::default()
    }
}

fn transactions() -> Scope {
    Scope {
        name: "transactions",
        about: "a command's ack and its effects happen together or not at all; a stale token takes them back",
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
        limits: Limits { commands: 4, events: 2, tokens: 4, ..Limits::default() },
        states: 5_486,
        ..Scope::default()
    }
}

fn falling_back() -> Scope {
    Scope {
        name: "falling-back",
        about: "power cuts and restored copies, also of one copy twice: the store falls back, but tokens never do",
        offers: offers([send(command("bet", "1").with_id(id("x")), 0), claim(&["bet"], 1), Op::Reboot]),
        settlements: vec![Settlement::Ack],
        clock_max: 1,
        workers: 1,
        fall_back: Some(vec![None, Some(Epoch::from(2)), Some(Epoch::from(3))]),
        limits: Limits { commands: 1, events: 1, tokens: 2, records: 1, reboots: 2 },
        states: 32_479,
        ..Scope::default()
    }
}

fn answers_lost() -> Scope {
    Scope {
        name: "answers-lost",
        about: "workers do not hear what became of their operations, and do them again",
        start: vec![subscribe("audit", "bet", Start::Earliest), publish(event("bet", "1"))],
        offers: offers([
            send(command("bet", "1").with_id(id("x")), 0),
            claim(&["bet"], 1),
            poll("audit", &["bet"], 1),
        ]),
        settlements: vec![Settlement::Ack, nack(0), dead_letter()],
        unheard: true,
        clock_max: 1,
        limits: Limits { commands: 1, events: 1, tokens: 3, records: 1, reboots: 0 },
        states: 10_781,
        ..Scope::default()
    }
}
