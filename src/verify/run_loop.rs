//! Holding the run loop against the policy of the model: each scenario runs in paused time, and is checked by what was
//! seen.
//!
//! The specification is [`fencepost_model::policy`]: it says how each end of a handler is settled. The rules below say
//! when. A mutant of the loop makes one known mistake, and [`breaks`] names the rule that must notice it.
//!
//! Does not depend on: how the loop is written.

pub mod notes;
pub mod scenario;

use std::{fmt, io};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

pub use crate::mutated::RunLoopMutant;
use crate::run_loop::notes::Note;
use crate::run_loop::scenario::Scenario;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What a run loop keeps to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $name,)+
        }
    };
}

rules! {
    /// Every settlement is what the policy function says of how the handler ended.
    SettlesByThePolicy,
    /// Nothing is settled before its handler has ended.
    SettlesAfterTheEnd,
    /// Under one token there is one settlement, repeated only while the store is busy.
    SettlesOnce,
    /// Whatever is taken is settled, given back, lost, or reported as neither.
    SettlesEverything,
    /// What could not be decoded goes to no handler (G5).
    CorruptToNobody,
    /// Nothing is dispatched once the time of its lease is over (G11).
    DispatchesInTime,
    /// Nothing is dispatched twice under one token.
    DispatchesOnce,
    /// Events go one after the other, each after the store has confirmed the lease (G9, G11).
    EventsInOrder,
    /// Never more handlers are at work than there may be.
    ConcurrencyKept,
    /// Never more is claimed than there are free handlers.
    ClaimsForFreeHandlers,
    /// With the heartbeat, a lease does not run out while its handler works.
    LeaseKept,
    /// With the heartbeat, a handler is told when its lease is lost, and not before.
    ToldOfLoss,
    /// Nothing is settled under a token that is known to be lost.
    LostIsNotSettled,
    /// A busy store never ends a run.
    BusyIsPatient,
    /// An error that time does not cure ends it.
    ErrorsEnd,
    /// After a shutdown nothing is taken or dispatched.
    NothingAfterShutdown,
    /// A run that was dropped asks for nothing any more.
    NothingAfterTheEnd,
    /// Handlers may go on for the time of grace, and no longer.
    GraceGiven,
    /// The policy to stop ends the run with what failed, and nothing else does.
    StopEnds,
    /// A drain returns at once when nothing is due, and not before.
    DrainsExactly,
    /// A run that is to end ends.
    Ends,
    /// The figures of the report are those that were seen.
    ReportIsTrue,
    /// What is sent from a handler carries on the trace of what is handled.
    TraceCarriedOn,
}

/// A rule that was broken, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBroken {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for RuleBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

impl std::error::Error for RuleBroken {}

/// What a run did, and whether that kept the rules.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// How the run ended, in words.
    pub ended: String,
    /// The first rule that was broken, if one was.
    pub checked: Result<(), RuleBroken>,
}

/// Runs a scenario with the run loop as it is, or with a mutant of it.
///
/// # Errors
/// There is no runtime; or a mutant is asked for, and this build has none, as a published package has not.
pub fn run(scenario: &Scenario, mutant: Option<RunLoopMutant>) -> io::Result<Ran> {
    match mutant {
        None => crate::run_loop_harness::run(scenario),
        #[cfg(fencepost_source)]
        Some(mutant) => mutant.with(|| crate::mutated::run_loop_harness::run(scenario)),
        #[cfg(not(fencepost_source))]
        Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, crate::mutated::ABSENT)),
    }
}

/// The rule that each mutant breaks, named before it was run.
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
        RunLoopMutant::LossIsNotTold => Rule::ToldOfLoss,
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
pub fn scenarios(seed: u64) -> impl Iterator<Item = Scenario> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = scenario::scenario();
    std::iter::from_fn(move || strategy.new_tree(&mut runner).ok().map(|tree| tree.current()))
}

/// How many scenarios a mutant survived until the rule that was named for it caught it; nothing if it survived all.
///
/// # Errors
/// There is no runtime.
pub fn survived(mutant: RunLoopMutant, seed: u64, scenarios_max: usize) -> io::Result<Option<usize>> {
    for (count, scenario) in scenarios(seed).take(scenarios_max).enumerate() {
        if run(&scenario, Some(mutant))?.checked.is_err_and(|broken| broken.rule == breaks(mutant)) {
            return Ok(Some(count));
        }
    }
    Ok(None)
}
