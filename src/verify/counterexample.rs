//! A counterexample: what a phase found broken, in a form that can be written down and run again.
//!
//! Invariant: the same counterexample gives the same explanation, as far as threads of the operating system do not
//! decide.
//! Does not depend on: how a counterexample was found. Its file format is [`trace`](crate::trace).

use std::convert::Infallible;
use std::fmt;

use crate::crash::replay::PowerCut;
use crate::faults::replay::FaultRecord;
use crate::history::record::History;
use crate::moves::{NotMoved, ScopeMoves};
use crate::schedule::phase::{BrokenSchedule, ThreadSchedule};
use crate::schedule::replay::ConnectionSchedule;
use crate::{crash, history, schedule};
use fencepost::error::Error;

/// A counterexample.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a verification ends with the first counterexample, so there is one"
)]
pub enum Counterexample {
    /// Moves of a scope, of the model or of the store.
    Moves(ScopeMoves),
    /// A power cut.
    Cut(PowerCut),
    /// A fault.
    Fault(FaultRecord),
    /// A schedule of several connections.
    Connections(ConnectionSchedule),
    /// A schedule of the threads of a bus.
    Threads(ThreadSchedule),
    /// A recorded history of real clients.
    History(History),
}

/// What came of running a counterexample again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterexampleReplay {
    /// Whether a promise is broken this time as well.
    pub broken: bool,
    /// What happened, for people.
    pub explanation: String,
}

/// Why a counterexample could not be run again.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotReplayed {
    /// Its moves could not be run.
    Moves(NotMoved),
    /// What comes before the failure could not be done again.
    Before(String),
    /// The store failed.
    Store(Error),
}

impl fmt::Display for NotReplayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moves(why) => why.fmt(f),
            Self::Before(why) => write!(f, "what came before the failure cannot be done again: {why}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotReplayed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Moves(why) => why.source(),
            Self::Before(_) => None,
            Self::Store(error) => error.source(),
        }
    }
}

impl Counterexample {
    /// What it is, for people.
    pub fn title(&self) -> String {
        match self {
            Self::Moves(moves) => format!("in scope {}", moves.scope),
            Self::Cut(_) => "a power cut".to_owned(),
            Self::Fault(_) => "a fault".to_owned(),
            Self::Connections(_) => "a schedule of several connections".to_owned(),
            Self::Threads(_) => "a schedule of the threads of a bus".to_owned(),
            Self::History(_) => "a history".to_owned(),
        }
    }

    /// Runs it again, and explains what happens.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn replay(&self) -> Result<CounterexampleReplay, NotReplayed> {
        let (broken, explanation) = match self {
            Self::Moves(moves) => moves.replay().map_err(NotReplayed::Moves)?,
            Self::Cut(PowerCut { case, cut }) => {
                let replayed = crash::replay::replay(case, cut).map_err(NotReplayed::Before)?;
                (replayed.violation.is_some(), replayed.explanation)
            }
            Self::Fault(record) => {
                let replayed = record.replay().map_err(NotReplayed::Before)?;
                (replayed.violation.is_some(), replayed.explanation)
            }
            Self::Connections(ConnectionSchedule { case, choices }) => {
                let replayed = schedule::replay::replay(case, choices).map_err(NotReplayed::Before)?;
                (replayed.violation.is_some(), replayed.explanation)
            }
            Self::Threads(schedule) => schedule.replay().map_err(NotReplayed::Store)?,
            Self::History(history) => {
                let replayed = history::replay::replay(history);
                (!replayed.verdicts.refused().is_empty(), replayed.explanation)
            }
        };
        Ok(CounterexampleReplay { broken, explanation })
    }
}

impl From<ScopeMoves> for Counterexample {
    fn from(moves: ScopeMoves) -> Self {
        Self::Moves(moves)
    }
}

impl From<Infallible> for Counterexample {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<PowerCut> for Counterexample {
    fn from(cut: PowerCut) -> Self {
        Self::Cut(cut)
    }
}

impl From<FaultRecord> for Counterexample {
    fn from(record: FaultRecord) -> Self {
        Self::Fault(record)
    }
}

impl From<BrokenSchedule> for Counterexample {
    fn from(schedule: BrokenSchedule) -> Self {
        match schedule {
            BrokenSchedule::Connections(schedule) => Self::Connections(schedule),
            BrokenSchedule::Threads(schedule) => Self::Threads(schedule),
        }
    }
}

impl From<History> for Counterexample {
    fn from(history: History) -> Self {
        Self::History(history)
    }
}
