//! What a run loop is put through: its options, the messages, how their handlers end, and what goes wrong.
//!
//! Every scenario is drawn from a seed, and plays the same each time. This module knows nothing of loops.

use fencepost_model::policy::{FailurePolicy, RetryPolicy};
use fencepost_model::vocabulary::Kind;
use proptest::collection::vec;
use proptest::prelude::*;

/// The name of the messages that a run handles.
pub(crate) const NAME: &str = "work";
/// The name of the messages that its handlers send.
pub(crate) const ONWARD: &str = "onward";
/// The group that its events are read for.
pub(crate) const GROUP: &str = "service";
/// A trace that a message has of its own.
pub(crate) const OWN_TRACE: &str = "00-of-its-own";

/// The trace of a message.
pub(crate) fn trace_of(index: usize) -> String {
    format!("00-trace-{index}")
}

/// What a call to the store meets with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This and so many more calls find it busy.
    Busy(u8),
    /// From this call on it is closed.
    Closed,
    /// The answer comes this much later than its commit, in milliseconds.
    Slow(u16),
}

/// How a handler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It returns.
    Handled,
    /// It fails, and may succeed later; perhaps it says when, in milliseconds.
    Retryable(Option<u16>),
    /// It fails for good.
    Permanent,
    /// It asks to park.
    Park,
    /// It panics.
    Panic,
    /// It settles in a transaction of its own, and then ends like this.
    Transaction(Then),
    /// It acks within a transaction of the bus that is taken back, and fails.
    TakenBack,
    /// It settles by hand: nacks.
    NackByHand(u16),
    /// It settles by hand: dead-letters.
    DeadLetterByHand,
    /// It gives the delivery back by hand.
    ReleaseByHand,
}

/// How a handler ends that has settled its delivery itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It returns.
    Return,
    /// It fails all the same.
    Fail,
    /// It panics all the same.
    Panic,
}

/// What a handler does.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// How long it works, in milliseconds.
    pub work_ms: u16,
    /// Whether it extends its lease by hand when it begins, by so many milliseconds.
    pub extends_ms: Option<u16>,
    /// Whether it sends a message on: none, one as it is, or one with a trace of its own.
    pub sends: Option<bool>,
    /// How it ends.
    pub end: End,
}

/// A message that is there before the run, or comes later.
#[derive(Clone, Debug)]
pub struct Planned {
    /// A command or an event.
    pub kind: Kind,
    /// When it comes, in milliseconds after the start.
    pub at_ms: u16,
    /// Whether it carries a trace.
    pub traced: bool,
    /// Whether its row is damaged.
    pub corrupt: bool,
    /// What its handler does, attempt by attempt; afterwards it is handled.
    pub scripts: Vec<Script>,
}

/// How a run is brought to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It drains.
    Drained,
    /// It is shut down after so many milliseconds.
    Shutdown(u16),
    /// It drains, and is shut down after so many milliseconds if it still runs.
    DrainedOrShutdown(u16),
    /// Its future is dropped after so many milliseconds.
    Dropped(u16),
}

/// What happens to a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accident {
    /// The lease of a command is taken over by another consumer.
    CommandStolen,
    /// The cursor is taken over by another consumer.
    CursorStolen,
    /// All that was put aside is redriven.
    Redriven,
}

/// What a run loop is put through.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The messages.
    pub messages: Vec<Planned>,
    /// What becomes of those that fail for good.
    pub policy: FailurePolicy,
    /// How failed attempts wait.
    pub retry: RetryPolicy,
    /// How many attempts there are.
    pub attempts_max: u32,
    /// How many handlers there are for commands.
    pub concurrency: usize,
    /// How much is taken at once.
    pub batch: u32,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u16,
    /// Whether it is extended.
    pub heartbeat: bool,
    /// How long handlers may go on after a shutdown, in milliseconds.
    pub grace_ms: u16,
    /// How the run ends.
    pub stop: Stop,
    /// Which calls to the store fail.
    pub faults: Vec<(u16, Fault)>,
    /// What happens from outside, and when, in milliseconds after the start.
    pub accidents: Vec<(u16, Accident)>,
}

fn end() -> impl Strategy<Value = End> {
    let then = prop_oneof![Just(Then::Return), Just(Then::Fail), Just(Then::Panic)];
    prop_oneof![
        4 => Just(End::Handled),
        3 => prop_oneof![Just(None), (0..400_u16).prop_map(Some)].prop_map(End::Retryable),
        3 => Just(End::Permanent),
        1 => Just(End::Park),
        2 => Just(End::Panic),
        2 => then.prop_map(End::Transaction),
        1 => Just(End::TakenBack),
        1 => (0..400_u16).prop_map(End::NackByHand),
        1 => Just(End::DeadLetterByHand),
        1 => Just(End::ReleaseByHand),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let work_ms = prop_oneof![3 => Just(0), 3 => 1..60_u16, 2 => 60..400_u16, 1 => 400..3_000_u16];
    let extends_ms = prop_oneof![8 => Just(None), 1 => (1..2_000_u16).prop_map(Some)];
    let sends = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (work_ms, extends_ms, sends, end()).prop_map(|(work_ms, extends_ms, sends, end)| Script {
        work_ms,
        extends_ms,
        sends,
        end,
    })
}

fn planned() -> impl Strategy<Value = Planned> {
    let kind = prop_oneof![Just(Kind::Command), Just(Kind::Event)];
    let at_ms = prop_oneof![4 => Just(0), 1 => 1..800_u16];
    let corrupt = prop::bool::weighted(0.12);
    (kind, at_ms, any::<bool>(), corrupt, vec(script(), 1..4))
        .prop_map(|(kind, at_ms, traced, corrupt, scripts)| Planned { kind, at_ms, traced, corrupt, scripts })
}

fn stop() -> impl Strategy<Value = Stop> {
    prop_oneof![
        4 => Just(Stop::Drained),
        4 => (0..1_500_u16).prop_map(Stop::Shutdown),
        2 => (0..1_500_u16).prop_map(Stop::DrainedOrShutdown),
        1 => (0..1_500_u16).prop_map(Stop::Dropped),
    ]
}

fn fault() -> impl Strategy<Value = (u16, Fault)> {
    let fault = prop_oneof![
        5 => (0..7_u8).prop_map(Fault::Busy),
        1 => Just(Fault::Closed),
        4 => (1..500_u16).prop_map(Fault::Slow),
    ];
    (0..25_u16, fault)
}

fn accident() -> impl Strategy<Value = (u16, Accident)> {
    let accident =
        prop_oneof![Just(Accident::CommandStolen), Just(Accident::CursorStolen), Just(Accident::Redriven)];
    (0..1_000_u16, accident)
}

/// Any scenario.
pub fn scenario() -> impl Strategy<Value = Scenario> {
    let policy = prop_oneof![
        Just(FailurePolicy::Retry),
        Just(FailurePolicy::DeadLetter),
        Just(FailurePolicy::Park),
        Just(FailurePolicy::Drop),
        Just(FailurePolicy::Stop),
    ];
    let retry = (0..300_u64, 0..600_u64, any::<u64>()).prop_map(|(first_ms, max_ms, seed)| RetryPolicy {
        first_ms,
        max_ms,
        seed,
    });
    let sizes = (1..5_u32, 1..5_usize, 1..6_u32);
    let times = (1..600_u16, prop::bool::weighted(0.7), 0..800_u16);
    let outside = (vec(fault(), 0..3), vec(accident(), 0..3));
    (vec(planned(), 1..7), policy, retry, sizes, times, stop(), outside).prop_map(
        |(messages, policy, retry, sizes, times, stop, (faults, accidents))| {
            let (attempts_max, concurrency, batch) = sizes;
            let (lease_ms, heartbeat, grace_ms) = times;
            Scenario {
                messages,
                policy,
                retry,
                attempts_max,
                concurrency,
                batch,
                lease_ms,
                heartbeat,
                grace_ms,
                stop,
                faults,
                accidents,
            }
        },
    )
}
