//! The report of a run of handlers, and why the run ended.
//!
//! Invariant: a delivery is counted once for each time that it was settled or given up.
//! Does not depend on: the loops.

use std::fmt;

use fencepost_model::op::{Settled, Target};
use fencepost_model::vocabulary::{Reason, RecordId, Seq};

use crate::delivery::{ByHand, Held};
use crate::error::Error;
use crate::telemetry;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// How many messages were handled and acked.
    pub acked: u64,
    /// How many failed attempts were nacked, to come again.
    pub retried: u64,
    /// How many messages were dead-lettered, those that had all their attempts included.
    pub dead_lettered: u64,
    /// How many messages were parked.
    pub parked: u64,
    /// How many messages were discarded, by the policy that says so.
    pub dropped: u64,
    /// How many settlements were refused, since their lease was lost (G3).
    pub stale: u64,
    /// How many handlers panicked.
    pub panicked: u64,
    /// How many operations found the store busy or full, and were asked for again.
    pub busy: u64,
    /// What was released unhandled: at a shutdown, at a stop, by its handler, or because its lease expired before its turn.
    pub released: Vec<Target>,
    /// What could be neither settled nor released; it comes again when its lease expires.
    pub abandoned: Vec<Target>,
}

impl RunReport {
    /// How many deliveries were settled in any way.
    pub fn settled(&self) -> u64 {
        self.acked + self.retried + self.dead_lettered + self.parked + self.dropped
    }

    pub(super) fn count(&mut self, settled: &Settled) {
        match settled {
            Settled::Acked => self.acked += 1,
            Settled::Requeued { .. } => self.retried += 1,
            Settled::DeadLettered { .. } => self.dead_lettered += 1,
            Settled::Parked { .. } => self.parked += 1,
            Settled::Dropped => self.dropped += 1,
        }
    }

    /// Counts a delivery that the run does not settle: its handler did so, or its lease is lost.
    pub(super) fn ended_by_itself(&mut self, held: &Held) {
        match held.by_hand() {
            Some(ByHand::Settled(settled)) => {
                telemetry::settled(telemetry::kind_of(settled));
                self.count(settled);
            }
            Some(ByHand::Released) => self.released.push(held.target.clone()),
            None => {
                telemetry::stale();
                self.stale += 1;
            }
        }
    }

    pub(super) fn buried(&mut self, records: &[RecordId]) {
        self.dead_lettered += records.len() as u64;
    }

    pub(super) fn add(&mut self, other: Self) {
        let Self {
            acked,
            retried,
            dead_lettered,
            parked,
            dropped,
            stale,
            panicked,
            busy,
            released,
            abandoned,
        } = other;
        self.acked += acked;
        self.retried += retried;
        self.dead_lettered += dead_lettered;
        self.parked += parked;
        self.dropped += dropped;
        self.stale += stale;
        self.panicked += panicked;
        self.busy += busy;
        self.released.extend(released);
        self.abandoned.extend(abandoned);
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acked", self.acked)?;
        let rest = [
            (self.retried, "retried"),
            (self.dead_lettered, "dead-lettered"),
            (self.parked, "parked"),
            (self.dropped, "dropped"),
            (self.stale, "settled too late"),
            (self.released.len() as u64, "released"),
            (self.abandoned.len() as u64, "abandoned"),
        ];
        for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

/// Why a run ended before its time. Its report says what was done until then.
#[derive(Debug)]
pub struct RunError {
    /// The cause.
    pub cause: RunCause,
    /// What was done.
    pub report: Box<RunReport>,
}

/// The cause of an early end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunCause {
    /// A message failed permanently, and the failure policy is to stop. The message was released.
    Stopped {
        /// What failed.
        target: Target,
        /// Its number.
        seq: Seq,
        /// Why.
        reason: Reason,
    },
    /// The bus failed with an error that is not retryable, or refused what the run needs.
    Bus(Error),
    /// There are no handlers of the kind that was to be run.
    NoHandlers,
    /// There are handlers of events, and no group that they are for: name them.
    NoGroup,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            RunCause::Stopped { seq, reason, .. } => {
                write!(f, "message {seq} failed for good, and the policy is to stop: {reason}")
            }
            RunCause::Bus(error) => error.fmt(f),
            RunCause::NoHandlers => f.write_str("there are no handlers for this kind of message"),
            RunCause::NoGroup => f.write_str("handlers of events need a group; name them"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            RunCause::Bus(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_did_not_happen_is_not_told_and_what_was_settled_is_the_sum() {
        let report = RunReport {
            acked: 1,
            retried: 2,
            dead_lettered: 4,
            parked: 8,
            dropped: 16,
            ..Default::default()
        };
        assert_eq!(report.settled(), 31);
        assert_eq!(report.to_string(), "1 acked, 2 retried, 4 dead-lettered, 8 parked, 16 dropped");
        assert_eq!(RunReport::default().to_string(), "0 acked");
    }

    #[test]
    fn the_source_of_a_run_that_ended_early_is_what_the_bus_said() {
        let ended = |cause| RunError { cause, report: Box::default() };
        let failed = ended(RunCause::Bus(Error::Busy));
        assert_eq!(failed.source().map(ToString::to_string), Some(Error::Busy.to_string()));
        assert!(ended(RunCause::NoGroup).source().is_none());
    }
}
