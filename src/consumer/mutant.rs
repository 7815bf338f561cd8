//! The known ways to get a run loop wrong, each a switch at the spot where the mistake would be made.
//!
//! What always holds: without the feature `verify` there is no way to choose one, and [`Strain::is`] is `false` for
//! the compiler. This module decides nothing; which rule each mistake breaks is listed in `verify::consumer`.

use crate::mistakes::mistakes;

mistakes! {
    /// A way to get a run loop wrong.
    Mutant {
        /// A command is acked when its handler begins.
        AckBeforeTheEnd,
        /// The failure policy decides retryable errors as well.
        PolicyDecidesRetryable,
        /// A command is dispatched although its lease ran out on the way.
        CommandsWithoutExpiry,
        /// An event is dispatched although the cursor's lease ran out on the way.
        EventsWithoutExpiry,
        /// As many commands are claimed as there are handlers, free or not.
        ClaimsMoreThanFree,
        /// A handler that panicked has handled its message.
        PanicIsHandled,
        /// A row that could not be decoded is discarded.
        CorruptIsDropped,
        /// Nobody settles a row that could not be decoded.
        CorruptIsLeft,
        /// The delay that a handler asks for is not listened to.
        DelayIsIgnored,
        /// Those that failed together come back together.
        NoJitter,
        /// Leases are not extended.
        NoHeartbeat,
        /// Leases are extended once.
        OneHeartbeat,
        /// A handler is not told that its lease is lost.
        LossIsNotTold,
        /// A settlement is tried although the lease is known to be lost.
        SettlesAlthoughLost,
        /// What a handler settled itself is settled once more.
        SettlesTwice,
        /// What a shutdown cut off is kept until its lease runs out.
        CommandsAreNotReleased,
        /// The cursor is kept until its lease runs out.
        CursorIsNotReleased,
        /// What was given back is not in the report.
        ReleasedIsNotReported,
        /// A busy store ends the run.
        BusyEndsTheRun,
        /// What could not be settled since the store was busy is forgotten.
        SettlementLostOnBusy,
        /// The next event is handled although the one before it was given back.
        GoesOnAfterNack,
        /// The policy to stop acks.
        StopAcks,
        /// The policy to stop gives back and goes on.
        StopGoesOn,
        /// A shutdown is not looked for before a claim.
        ClaimsAfterShutdown,
        /// A shutdown cuts handlers off at once.
        NoGrace,
        /// A drain ends with the first claim that finds nothing, whatever is at work.
        DrainEndsEarly,
        /// A message that is sent from a handler begins a trace of its own.
        TraceIsNotCarriedOn,
    }
}

/// Which mutant a loop is: none, but for those that `verify::consumer` runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strain {
    #[cfg(feature = "unstable-internals")]
    mutant: Option<Mutant>,
}

impl Strain {
    /// The strain of this mutant.
    #[cfg(feature = "unstable-internals")]
    pub const fn of(mutant: Option<Mutant>) -> Self {
        Self { mutant }
    }

    /// Whether this mistake is to be made.
    #[cfg(feature = "unstable-internals")]
    pub fn is(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether this mistake is to be made: never.
    #[cfg(not(feature = "unstable-internals"))]
    pub const fn is(self, _: Mutant) -> bool {
        false
    }
}
