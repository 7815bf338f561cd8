//! Positive controls: each mutant of the threads must be caught in the scenario named for it, by the promise named for it.
//!
//! Invariant: a mutant that is not caught, or not caught again from the same choices, is a complaint of the phase.
//! Does not depend on: how a mutant is made.

use crate::plan::Reach;
use crate::threads::{
    ANSWERED, BEFORE_COMMIT, DENIED, KEPT, LEFT_BEHIND, OWN_ANSWER, SETTLED, SHUTDOWN, SMALL, ThreadMutant,
    WOKEN, replay, search, searches,
};
use fencepost::error::Result;

/// A mutant, and the scenario and promise by which it must be caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadControl {
    /// The mutant.
    pub mutant: ThreadMutant,
    /// The scenario in which it must be caught.
    pub scenario: &'static str,
    /// The promise that must be broken.
    pub breaks: &'static str,
}

/// All controls.
pub fn controls() -> impl Iterator<Item = ThreadControl> {
    ThreadMutant::ALL.iter().map(|mutant| {
        let (scenario, breaks) = shows(*mutant);
        ThreadControl { mutant: *mutant, scenario, breaks }
    })
}

/// The scenario in which a mutant is caught, and the promise it breaks.
const fn shows(mutant: ThreadMutant) -> (&'static str, &'static str) {
    match mutant {
        ThreadMutant::SignalsAreNotKept => ("a waiter and an announcer", WOKEN),
        ThreadMutant::ListensAfterTheLook => ("a consumer and a sender", WOKEN),
        ThreadMutant::PokesBeforeItSleeps | ThreadMutant::ALookAnnouncesNothing => {
            ("a consumer and another process", WOKEN)
        }
        ThreadMutant::OwnCommitsHideOthers => ("another process among senders", WOKEN),
        ThreadMutant::AnswersBeforeTheCommit => ("two senders", BEFORE_COMMIT),
        ThreadMutant::ClosedAlthoughDone => ("a close among senders", DENIED),
        ThreadMutant::LateOnesAreKept => ("a close among senders", SHUTDOWN),
        ThreadMutant::TheCloseIsNotAnnounced => ("a close while a consumer sleeps", SHUTDOWN),
        ThreadMutant::AnswersEndWithAGoneCaller => ("a caller that goes away", ANSWERED),
        ThreadMutant::AnswersSlip => ("a caller that goes away", OWN_ANSWER),
        ThreadMutant::LooksWithoutEnd | ThreadMutant::WaitsForRoomWithoutEnd => {
            ("the last clone in the writing thread", SHUTDOWN)
        }
        ThreadMutant::TheWatcherHoldsTheLastSender | ThreadMutant::TheWatcherIsNotStopped => {
            ("two senders", LEFT_BEHIND)
        }
        ThreadMutant::BatchesWithoutEnd => ("more than a transaction takes", SMALL),
        ThreadMutant::LeasesAreExtendedTooLate => ("a handler that outlasts its lease", SETTLED),
        ThreadMutant::TasksAreLeftBehind => ("a run that is dropped", LEFT_BEHIND),
        ThreadMutant::TheEndDoesNotWait => ("a shutdown with a handler at work", KEPT),
    }
}

/// The seed of the random searches.
const SEED: u64 = 1;

impl ThreadControl {
    /// Searches for the violation within the bounds of the standard run. The inner error says why the mutant was not
    /// caught.
    ///
    /// # Errors
    /// If the search could not be run.
    pub fn run(&self) -> Result<std::result::Result<(), String>> {
        let mut found = None;
        for how in searches(self.scenario, Reach::Standard, SEED) {
            found = search(self.scenario, Some(self.mutant), &how)?.broken;
            if found.is_some() {
                break;
            }
        }
        let Some(broken) = found else {
            return Ok(Err("no promise was broken".to_owned()));
        };
        if broken.violation.promise != self.breaks {
            return Ok(Err(format!("{} was not found broken, but {:?}", self.breaks, broken.violation)));
        }
        let again = replay(self.scenario, Some(self.mutant), &broken.choices)?;
        if again.broken.as_ref() != Some(&broken) {
            return Ok(Err(format!(
                "it was found, and not again: {:?}, {:?}",
                broken.violation, again.broken
            )));
        }
        Ok(Ok(()))
    }
}
