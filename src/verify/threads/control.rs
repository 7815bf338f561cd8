//! Known mistakes, each of which must be found in the scenario that is named for it, by the promise that it breaks.
//!
//! What must be found is written here before it is looked for; a mistake that passes unnoticed fails the run. Each is
//! found a second time from the choices that led to it.

use crate::plan::Reach;
use crate::threads::{
    ANSWERED, BEFORE_COMMIT, DENIED, KEPT, LEFT_BEHIND, OWN_ANSWER, SETTLED, SHUTDOWN, SMALL, WOKEN, replay,
    search, searches,
};
use fencepost::error::Result;
use fencepost::internals::threads::mutant::Mutant;

/// A mistake, where it shows, and what must be said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The mistake.
    pub mutant: Mutant,
    /// The scenario in which it shows.
    pub scenario: &'static str,
    /// The promise that must be found broken.
    pub breaks: &'static str,
}

/// All of them.
pub fn controls() -> impl Iterator<Item = Control> {
    Mutant::ALL.iter().map(|mutant| {
        let (scenario, breaks) = shows(*mutant);
        Control { mutant: *mutant, scenario, breaks }
    })
}

/// Where a mistake shows, and what it breaks.
const fn shows(mutant: Mutant) -> (&'static str, &'static str) {
    match mutant {
        Mutant::SignalsAreNotKept => ("one who waits and one who tells", WOKEN),
        Mutant::ListensAfterTheLook => ("a consumer and a sender", WOKEN),
        Mutant::PokesBeforeItSleeps | Mutant::ALookTellsNobody => ("a consumer and a stranger", WOKEN),
        Mutant::OwnCommitsHideOthers => ("a stranger among senders", WOKEN),
        Mutant::AnswersBeforeTheCommit => ("two who send", BEFORE_COMMIT),
        Mutant::ClosedAlthoughDone => ("a close among senders", DENIED),
        Mutant::LateOnesAreKept => ("a close among senders", SHUTDOWN),
        Mutant::TheCloseIsNotTold => ("a close while a consumer sleeps", SHUTDOWN),
        Mutant::AnswersEndWithAGoneCaller => ("one who goes away", ANSWERED),
        Mutant::AnswersSlip => ("one who goes away", OWN_ANSWER),
        Mutant::LooksWithoutEnd | Mutant::WaitsForRoomWithoutEnd => {
            ("the last clone in the writing thread", SHUTDOWN)
        }
        Mutant::TheWatcherHoldsTheLastSender | Mutant::TheWatcherIsNotStopped => {
            ("two who send", LEFT_BEHIND)
        }
        Mutant::BatchesWithoutEnd => ("more than a transaction takes", SMALL),
        Mutant::LeasesAreExtendedTooLate => ("a handler that outlasts its lease", SETTLED),
        Mutant::TasksAreLeftBehind => ("a run that is dropped", LEFT_BEHIND),
        Mutant::TheEndDoesNotWait => ("a shutdown with a handler at work", KEPT),
    }
}

/// The seed of what is looked for by chance.
const SEED: u64 = 1;

impl Control {
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
