//! Checks the run loop: each scenario runs in paused time, and its notes are checked against the rules below.
//!
//! [`fencepost_model::policy`] specifies how a delivery is settled after each outcome of its handler. The rules add when.
//! A mutant of the run loop has one known bug, and [`breaks`] names the rule that must reject it.
//!
//! Invariant: the same scenario gives the same notes and the same result.
//! Does not depend on: the code of the run loop.

pub mod notes;
pub mod scenario;

use std::{fmt, io};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

pub use crate::mutated::RunLoopMutant;
use crate::run_loop::notes::Note;
use crate::run_loop::scenario::RunScenario;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A rule that the run loop must keep.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $name,)+
        }
    };
}

rules! {
    /// Every settlement is the one that the policy function gives for the outcome of the handler.
    SettlesByThePolicy,
    /// No delivery is settled before its handler has ended.
    SettlesAfterTheEnd,
    /// A delivery is settled once under one token. The run loop repeats the request only while the store is busy.
    SettlesOnce,
    /// Every delivery is settled, released or lost, or the report says that none of these happened.
    SettlesEverything,
    /// A message that cannot be decoded goes to no handler (G5).
    CorruptIsNotDispatched,
    /// No delivery is dispatched after its lease has expired (G11).
    DispatchesInTime,
    /// No delivery is dispatched twice under one token.
    DispatchesOnce,
    /// Events are handled one after the other, each after the store has confirmed the lease (G9, G11).
    EventsInOrder,
    /// The number of running handlers never exceeds the configured concurrency.
    ConcurrencyKept,
    /// No claim asks for more commands than there are free handlers.
    ClaimsForFreeHandlers,
    /// With the heartbeat, a lease does not expire while its handler works.
    LeaseKept,
    /// With the heartbeat, a handler learns that its lease is lost within one lease, and not before it is lost.
    LossIsReported,
    /// The run loop does not settle under a token that it knows to be lost.
    LostIsNotSettled,
    /// A busy store never ends a run.
    BusyIsPatient,
    /// An error that is not retryable ends the run.
    ErrorsEnd,
    /// After a shutdown nothing is claimed or dispatched.
    NothingAfterShutdown,
    /// A run that was dropped sends no more requests.
    NothingAfterTheEnd,
    /// After a shutdown, handlers continue for the grace period, and no longer.
    GraceGiven,
    /// A run ends as stopped, and names the failed delivery, exactly if the policy decided to stop.
    StopEnds,
    /// A drain returns as soon as nothing is due, and not before.
    DrainsExactly,
    /// Every run ends after its reason to end.
    Ends,
    /// The figures of the report are equal to those counted from the notes.
    ReportIsTrue,
    /// A message that a handler sends continues the trace of the handled message.
    TraceCarriedOn,
}

/// A broken rule, and what broke it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBroken {
    /// The rule.
    pub rule: Rule,
    /// What happened.
    pub what: String,
}

impl fmt::Display for RuleBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

impl std::error::Error for RuleBroken {}

/// The notes of a run, and the result of the check.
#[derive(Clone, Debug)]
pub struct CheckedRun {
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// How the run ended, in words.
    pub ended: String,
    /// The first broken rule, if there is one.
    pub checked: Result<(), RuleBroken>,
}

/// Runs a scenario with the run loop, or with a mutant of it.
///
/// # Errors
/// If no runtime can be built, or if a mutant is requested in a build without the library's source (a published package).
pub fn run(scenario: &RunScenario, mutant: Option<RunLoopMutant>) -> io::Result<CheckedRun> {
    match mutant {
        None => crate::run_loop_harness::run(scenario),
        #[cfg(fencepost_source)]
        Some(mutant) => mutant.with(|| crate::mutated::run_loop_harness::run(scenario)),
        #[cfg(not(fencepost_source))]
        Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, crate::mutated::ABSENT)),
    }
}

/// The rule that each mutant must break, named before the mutant ran.
pub const fn breaks(mutant: RunLoopMutant) -> Rule {
    match mutant {
        RunLoopMutant::AckBeforeTheEnd => Rule::SettlesAfterTheEnd,
        RunLoopMutant::PolicyDecidesRetryable
        | RunLoopMutant::PanicIsHandled
        | RunLoopMutant::CorruptIsDropped
        | RunLoopMutant::DelayIsIgnored
        | RunLoopMutant::NoJitter
        | RunLoopMutant::StopAcks => Rule::SettlesByThePolicy,
        RunLoopMutant::CommandsWithoutExpiry | RunLoopMutant::EventsWithoutExpiry => Rule::DispatchesInTime,
        RunLoopMutant::ClaimsMoreThanFree => Rule::ClaimsForFreeHandlers,
        RunLoopMutant::CorruptIsLeft
        | RunLoopMutant::CommandsAreNotReleased
        | RunLoopMutant::CursorIsNotReleased
        | RunLoopMutant::SettlementLostOnBusy => Rule::SettlesEverything,
        RunLoopMutant::NoHeartbeat | RunLoopMutant::OneHeartbeat => Rule::LeaseKept,
        RunLoopMutant::LossIsNotReported => Rule::LossIsReported,
        RunLoopMutant::SettlesAlthoughLost => Rule::LostIsNotSettled,
        RunLoopMutant::SettlesTwice => Rule::SettlesOnce,
        RunLoopMutant::ReleasedIsNotReported => Rule::ReportIsTrue,
        RunLoopMutant::BusyEndsTheRun => Rule::BusyIsPatient,
        RunLoopMutant::GoesOnAfterNack => Rule::EventsInOrder,
        RunLoopMutant::StopGoesOn => Rule::StopEnds,
        RunLoopMutant::ClaimsAfterShutdown => Rule::NothingAfterShutdown,
        RunLoopMutant::NoGrace => Rule::GraceGiven,
        RunLoopMutant::DrainEndsEarly => Rule::SettlesEverything,
        RunLoopMutant::TraceIsNotCarriedOn => Rule::TraceCarriedOn,
    }
}

/// Scenarios, the same for the same seed.
pub fn scenarios(seed: u64) -> impl Iterator<Item = RunScenario> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = scenario::scenario();
    std::iter::from_fn(move || strategy.new_tree(&mut runner).ok().map(|tree| tree.current()))
}

/// How many scenarios a mutant survived until its rule rejected it; `None` if it survived all.
///
/// # Errors
/// As [`run`].
pub fn survived(mutant: RunLoopMutant, seed: u64, scenarios_max: usize) -> io::Result<Option<usize>> {
    for (count, scenario) in scenarios(seed).take(scenarios_max).enumerate() {
        if run(&scenario, Some(mutant))?.checked.is_err_and(|broken| broken.rule == breaks(mutant)) {
            return Ok(Some(count));
        }
    }
    Ok(None)
}
