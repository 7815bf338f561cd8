//! The known ways to get threads wrong, each a switch at the spot where the mistake would be made.
//!
//! What always holds: without a stage none is made. This module decides nothing; which promise each mistake breaks is
//! listed in `verify::threads`.

use crate::mistakes::mistakes;

mistakes! {
    /// A way to get threads wrong.
    Mutant {
        /// A signal that nobody waits for yet is not kept: a wake-up is lost between check and sleep.
        SignalsAreNotKept,
        /// A consumer begins to listen for signals after its last look.
        ListensAfterTheLook,
        /// A sleeper tells the watcher of itself before it counts as asleep.
        PokesBeforeItSleeps,
        /// What another connection has committed passes for seen with a commit of one's own.
        OwnCommitsHideOthers,
        /// A look that finds a change tells nobody.
        ALookTellsNobody,
        /// Operations are answered before their commit.
        AnswersBeforeTheCommit,
        /// What waits for its commit when the bus is closed is told that nothing was done.
        ClosedAlthoughDone,
        /// What comes after the end is kept and never answered.
        LateOnesAreKept,
        /// Those who sleep are not told that the bus is closed.
        TheCloseIsNotTold,
        /// What a caller who has gone away does not need goes to the next.
        AnswersSlip,
        /// Nobody is answered after a caller who has gone away.
        AnswersEndWithAGoneCaller,
        /// A look waits for its answer without an end.
        LooksWithoutEnd,
        /// A look waits for room in the line without an end.
        WaitsForRoomWithoutEnd,
        /// The watcher is not stopped with its bus, and has a sender of its own.
        TheWatcherHoldsTheLastSender,
        /// Nobody waits for the end of the watcher's thread, and it is not told to end.
        TheWatcherIsNotStopped,
        /// A transaction takes all that waits.
        BatchesWithoutEnd,
        /// A lease is extended when all of it has passed.
        LeasesAreExtendedTooLate,
        /// The handlers of a run that ends go on.
        TasksAreLeftBehind,
        /// The end of a run does not wait for the handlers at work.
        TheEndDoesNotWait,
    }
}
