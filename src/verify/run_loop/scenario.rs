//! Scenarios for the run loop: options, messages, what their handlers do, faults of the store, and other consumers.
//!
//! Invariant: the same seed gives the same scenarios.
//! Does not depend on: the run loop, the harness.

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
/// A trace that a handler sets on the message it sends.
pub(crate) const OWN_TRACE: &str = "00-of-its-own";

/// The trace of a message.
pub(crate) fn trace_of(index: usize) -> String {
    format!("00-trace-{index}")
}

/// A fault of one call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// This call and so many more are answered as busy.
    Busy(u8),
    /// From this call on the store is closed.
    Closed,
    /// The answer arrives so many milliseconds after the commit.
    Slow(u16),
}

/// How a handler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerEnd {
    /// It succeeds.
    Handled,
    /// It fails with a retryable error, with or without a delay in milliseconds.
    Retryable(Option<u16>),
    /// It fails with a permanent error.
    Permanent,
    /// It asks to park the delivery.
    Park,
    /// It panics.
    Panic,
    /// It settles in a transaction of its delivery, and then ends like this.
    Transaction(AfterSettling),
    /// It acks within a transaction of the bus that is rolled back, and fails.
    TakenBack,
    /// It nacks the delivery itself, with a delay in milliseconds.
    NackByHand(u16),
    /// It dead-letters the delivery itself.
    DeadLetterByHand,
    /// It releases the delivery itself.
    ReleaseByHand,
}

/// How a handler ends after it has settled its delivery itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSettling {
    /// It succeeds.
    Return,
    /// It fails.
    Fail,
    /// It panics.
    Panic,
}

/// What a handler does in one attempt.
#[derive(Clone, Copy, Debug)]
pub struct HandlerScript {
    /// How long it works, in milliseconds.
    pub work_ms: u16,
    /// If set, it first extends its lease itself by so many milliseconds.
    pub extends_ms: Option<u16>,
    /// If set, it sends a message: with a trace of its own (`true`), or without (`false`).
    pub sends: Option<bool>,
    /// How it ends.
    pub end: HandlerEnd,
}

/// A message that is sent before the run, or during it.
#[derive(Clone, Debug)]
pub struct PlannedMessage {
    /// A command or an event.
    pub kind: Kind,
    /// When it is sent, in milliseconds after the start. 0 means before the run.
    pub at_ms: u16,
    /// Whether it carries a trace.
    pub traced: bool,
    /// Whether its row is damaged.
    pub corrupt: bool,
    /// What its handler does, attempt by attempt. Further attempts succeed.
    pub scripts: Vec<HandlerScript>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStop {
    /// It drains.
    Drained,
    /// Its shutdown is requested after so many milliseconds.
    Shutdown(u16),
    /// It drains. If it still runs after so many milliseconds, its shutdown is requested.
    DrainedOrShutdown(u16),
    /// Its future is dropped after so many milliseconds.
    Dropped(u16),
}

/// An act of another consumer or of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accident {
    /// The lease of a command expires, and another consumer claims the command.
    CommandStolen,
    /// The lease of the cursor expires, and another consumer polls.
    CursorStolen,
    /// Every dead or parked message is redriven.
    Redriven,
}

/// A scenario for the run loop.
#[derive(Clone, Debug)]
pub struct RunScenario {
    /// The messages.
    pub messages: Vec<PlannedMessage>,
    /// The failure policy.
    pub policy: FailurePolicy,
    /// The delays before further attempts.
    pub retry: RetryPolicy,
    /// The maximum number of attempts.
    pub attempts_max: u32,
    /// The maximum number of concurrent command handlers.
    pub concurrency: usize,
    /// The maximum number of messages per claim or poll.
    pub batch: u32,
    /// The length of a lease, in milliseconds.
    pub lease_ms: u16,
    /// Whether leases are extended by the heartbeat.
    pub heartbeat: bool,
    /// The grace period after a shutdown, in milliseconds.
    pub grace_ms: u16,
    /// How the run ends.
    pub stop: RunStop,
    /// The faults, by the number of the call.
    pub faults: Vec<(u16, StoreFault)>,
    /// Acts of other consumers, by their time in milliseconds after the start.
    pub accidents: Vec<(u16, Accident)>,
}

fn end() -> impl Strategy<Value = HandlerEnd> {
    let then =
        prop_oneof![Just(AfterSettling::Return), Just(AfterSettling::Fail), Just(AfterSettling::Panic)];
    prop_oneof![
        4 => Just(HandlerEnd::Handled),
        3 => prop_oneof![Just(None), (0..400_u16).prop_map(Some)].prop_map(HandlerEnd::Retryable),
        3 => Just(HandlerEnd::Permanent),
        1 => Just(HandlerEnd::Park),
        2 => Just(HandlerEnd::Panic),
        2 => then.prop_map(HandlerEnd::Transaction),
        1 => Just(HandlerEnd::TakenBack),
        1 => (0..400_u16).prop_map(HandlerEnd::NackByHand),
        1 => Just(HandlerEnd::DeadLetterByHand),
        1 => Just(HandlerEnd::ReleaseByHand),
    ]
}

fn script() -> impl Strategy<Value = HandlerScript> {
    let work_ms = prop_oneof![3 => Just(0), 3 => 1..60_u16, 2 => 60..400_u16, 1 => 400..3_000_u16];
    let extends_ms = prop_oneof![8 => Just(None), 1 => (1..2_000_u16).prop_map(Some)];
    let sends = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (work_ms, extends_ms, sends, end()).prop_map(|(work_ms, extends_ms, sends, end)| HandlerScript {
        work_ms,
        extends_ms,
        sends,
        end,
    })
}

fn planned() -> impl Strategy<Value = PlannedMessage> {
    let kind = prop_oneof![Just(Kind::Command), Just(Kind::Event)];
    let at_ms = prop_oneof![4 => Just(0), 1 => 1..800_u16];
    let corrupt = prop::bool::weighted(0.12);
    (kind, at_ms, any::<bool>(), corrupt, vec(script(), 1..4)).prop_map(
        |(kind, at_ms, traced, corrupt, scripts)| PlannedMessage { kind, at_ms, traced, corrupt, scripts },
    )
}

fn stop() -> impl Strategy<Value = RunStop> {
    prop_oneof![
        4 => Just(RunStop::Drained),
        4 => (0..1_500_u16).prop_map(RunStop::Shutdown),
        2 => (0..1_500_u16).prop_map(RunStop::DrainedOrShutdown),
        1 => (0..1_500_u16).prop_map(RunStop::Dropped),
    ]
}

fn fault() -> impl Strategy<Value = (u16, StoreFault)> {
    let fault = prop_oneof![
        5 => (0..7_u8).prop_map(StoreFault::Busy),
        1 => Just(StoreFault::Closed),
        4 => (1..500_u16).prop_map(StoreFault::Slow),
    ];
    (0..25_u16, fault)
}

fn accident() -> impl Strategy<Value = (u16, Accident)> {
    let accident =
        prop_oneof![Just(Accident::CommandStolen), Just(Accident::CursorStolen), Just(Accident::Redriven)];
    (0..1_000_u16, accident)
}

/// Any scenario.
pub fn scenario() -> impl Strategy<Value = RunScenario> {
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
            RunScenario {
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
