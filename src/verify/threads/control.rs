//! Known mistakes, each of which must be found in the scenario that is named for it, by the promise that it breaks.
//!
//! What must be found is written here before it is looked for; a mistake that passes unnoticed fails the run. Each is
//! found a second time from the choices that led to it.

use crate::plan::Reach;
use crate::threads::{
    ANSWERED, BEFORE_COMMIT, DENIED, KEPT, LEFT_BEHIND, OWN_ANSWER, SETTLED, SHUTDOWN, SMALL, ThreadMutant,
    WOKEN, replay, search, searches,
};
use fencepost::error::Result;

/// A mistake, where it shows, and what must be said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadControl {
    /// The mistake.
    pub mutant: ThreadMutant,
    /// The scenario in which it shows.
    pub scenario: &'static str,
    /// The promise that must be found broken.
    pub breaks: &'static str,
}

/// All of them.
pub fn controls() -> impl Iterator<Item = ThreadControl> {
    ThreadMutant::ALL.iter().map(|mutant| {
        let (scenario, breaks) = shows(*mutant);
        ThreadControl { mutant: *mutant, scenario, breaks }
    })
}

/// Where a mistake shows, and what it breaks.
const fn shows(mutant: ThreadMutant) -> (&'static str, &'static str) {
    match mutant {
        ThreadMutant::SignalsAreNotKept => ("one who waits and one who tells", WOKEN),
        ThreadMutant::ListensAfterTheLook => ("a consumer and a sender", WOKEN),
        ThreadMutant::PokesBeforeItSleeps | ThreadMutant::ALookTellsNobody => {
            ("a consumer and a stranger", WOKEN)
        }
        ThreadMutant::OwnCommitsHideOthers => ("a stranger among senders", WOKEN),
        ThreadMutant::AnswersBeforeTheCommit => ("two who send", BEFORE_COMMIT),
        ThreadMutant::ClosedAlthoughDone => ("a close among senders", DENIED),
        ThreadMutant::LateOnesAreKept => ("a close among senders", SHUTDOWN),
        ThreadMutant::TheCloseIsNotTold => ("a close while a consumer sleeps", SHUTDOWN),
        ThreadMutant::AnswersEndWithAGoneCaller => ("one who goes away", ANSWERED),
        ThreadMutant::AnswersSlip => ("one who goes away", OWN_ANSWER),
        ThreadMutant::LooksWithoutEnd | ThreadMutant::WaitsForRoomWithoutEnd => {
            ("the last clone in the writing thread", SHUTDOWN)
        }
        ThreadMutant::TheWatcherHoldsTheLastSender | ThreadMutant::TheWatcherIsNotStopped => {
            ("two who send", LEFT_BEHIND)
        }
        ThreadMutant::BatchesWithoutEnd => ("more than a transaction takes", SMALL),
        ThreadMutant::LeasesAreExtendedTooLate => ("a handler that outlasts its lease", SETTLED),
        ThreadMutant::TasksAreLeftBehind => ("a run that is dropped", LEFT_BEHIND),
        ThreadMutant::TheEndDoesNotWait => ("a shutdown with a handler at work", KEPT),
    }
}

/// The seed of what is looked for by chance.
const SEED: u64 = 1;

impl ThreadControl {
    /// Looks for what must be found, within the bounds of the standard run; says what was found instead, if it was not.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(&self) -> Result<std::result::Result<(), String>> {
        let mut found = None;
        for how in searches(self.scenario, Reach::Standard, SEED) {
            found = search(self.scenario, Some(self.mutant), &how)?.broken;
            if found.is_some() {
                break;
            }
        }
        let Some(broken) = found else {
            return Ok(Err("nothing noticed it".to_owned()));
        };
        if broken.wrong.promise != self.breaks {
            return Ok(Err(format!("{} was not found broken, but {:?}", self.breaks, broken.wrong)));
        }
        let again = replay(self.scenario, Some(self.mutant), &broken.choices)?;
        if again.broken.as_ref() != Some(&broken) {
            return Ok(Err(format!("it was found, and not again: {:?}, {:?}", broken.wrong, again.broken)));
        }
        Ok(Ok(()))
    }
}
