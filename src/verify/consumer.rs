//! Holding the run loop against the policy of the model: every scenario is played in paused time, and judged by what
//! was seen.
//!
//! The specification is [`fencepost_model::policy`]: how each end of a handler is settled. Beside it stand the rules
//! below, which say when. The loop under test is never told that it is tested; a [`Mutant`] of it makes one known
//! mistake, for which a rule is named here before it is run.

mod account;
mod answers;
mod judge;
pub mod record;
pub mod scenario;
mod stage;

use std::fmt;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::consumer::judge::Judge;
use crate::consumer::scenario::{Scenario, Stop};
pub use crate::consumer::stage::{Played, play};
pub use fencepost::internals::consumer::mutant::Mutant;

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
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

impl std::error::Error for Broken {}

/// Judges a run.
///
/// # Errors
/// The first rule that was broken.
pub fn judge(scenario: &Scenario, played: &Played) -> Result<(), Broken> {
    let mut judge = Judge::new(scenario);
    for note in &played.notes {
        judge.note(note)?;
    }
    judge.close(played)
}

/// The rule that each mutant breaks, named before it was run.
pub const fn breaks(mutant: Mutant) -> Rule {
    match mutant {
        Mutant::AckBeforeTheEnd => Rule::SettlesAfterTheEnd,
        Mutant::PolicyDecidesRetryable
        | Mutant::PanicIsHandled
        | Mutant::CorruptIsDropped
        | Mutant::DelayIsIgnored
        | Mutant::NoJitter
        | Mutant::StopAcks => Rule::SettlesByThePolicy,
        Mutant::CommandsWithoutExpiry | Mutant::EventsWithoutExpiry => Rule::DispatchesInTime,
        Mutant::ClaimsMoreThanFree => Rule::ClaimsForFreeHandlers,
        Mutant::CorruptIsLeft
        | Mutant::CommandsAreNotReleased
        | Mutant::CursorIsNotReleased
        | Mutant::SettlementLostOnBusy => Rule::SettlesEverything,
        Mutant::NoHeartbeat | Mutant::OneHeartbeat => Rule::LeaseKept,
        Mutant::LossIsNotTold => Rule::ToldOfLoss,
        Mutant::SettlesAlthoughLost => Rule::LostIsNotSettled,
        Mutant::SettlesTwice => Rule::SettlesOnce,
        Mutant::ReleasedIsNotReported => Rule::ReportIsTrue,
        Mutant::BusyEndsTheRun => Rule::BusyIsPatient,
        Mutant::GoesOnAfterNack => Rule::EventsInOrder,
        Mutant::StopGoesOn => Rule::StopEnds,
        Mutant::ClaimsAfterShutdown => Rule::NothingAfterShutdown,
        Mutant::NoGrace => Rule::GraceGiven,
        Mutant::DrainEndsEarly => Rule::SettlesEverything,
        Mutant::TraceIsNotCarriedOn => Rule::TraceCarriedOn,
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
pub fn survived(mutant: Mutant, seed: u64, scenarios_max: usize) -> std::io::Result<Option<usize>> {
    for (count, scenario) in scenarios(seed).take(scenarios_max).enumerate() {
        let played = play(&scenario, Some(mutant))?;
        if judge(&scenario, &played).is_err_and(|broken| broken.rule == breaks(mutant)) {
            return Ok(Some(count));
        }
    }
    Ok(None)
}
