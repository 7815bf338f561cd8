//! Trace files: a list of moves that can be run again, byte for byte the same.
//!
//! A file is lines of JSON: a head that says what it is, a line for each move, and an end with the number of moves
//! and a digest of all before it. Whatever was cut, edited or written by another version is refused with one clear
//! sentence, and nothing is run. This module must not know what moves do.

use std::fmt;

use fencepost_model::world::Move;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::crash::case::CrashCase;
use crate::crash::search::Cut;
use crate::history::record::History;
use crate::schedule;

/// The version of the format that this program reads and writes.
pub const VERSION: u32 = 2;

const FORMAT: &str = "fencepost-trace";

/// A trace: where it begins, what plays, and what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What is said at the head.
    pub head: TraceHead,
    /// What happens.
    pub moves: Vec<Move>,
}

/// The head of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceHead {
    format: String,
    version: u32,
    /// The scope in which it begins.
    pub scope: String,
    /// The mutant that played, if it was not the real thing: `model:NAME` or `sql:NAME`.
    pub mutant: Option<String>,
    /// What was found broken.
    pub broken: String,
    /// The cut of the power, if this is the trace of one: then there are no moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Box<PowerCut>>,
    /// The schedule of several connections, if this is the trace of one: then there are no moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Box<Scheduled>>,
    /// Who of the threads of a bus went on when, if this is the trace of that: then its scope is their scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<Vec<u8>>,
    /// The recorded history, if this is the trace of one: then there are no moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Box<History>>,
}

/// What several connections did, and who went on when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheduled {
    /// What was done.
    pub case: schedule::case::ScheduleCase,
    /// Who went on at each point where several could: clients by their numbers from 1.
    pub choices: Vec<u8>,
}

/// What was done before a cut of the power, and what was left by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerCut {
    /// What was done.
    pub case: CrashCase,
    /// What was left.
    pub cut: Cut,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceEnd {
    end: usize,
    sha256: String,
}

/// Why a file is not a trace that can be run.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceError {
    /// Its first line is not the head of a trace.
    NotATrace,
    /// It was written by another version.
    OtherVersion(u32),
    /// It has no end: it was cut.
    Truncated,
    /// Its digest does not match: it was edited or damaged.
    Edited,
    /// A line cannot be read.
    Line {
        /// Which one, counted from 1.
        number: usize,
        /// Why.
        source: serde_json::Error,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATrace => f.write_str("this is not a fencepost trace"),
            Self::OtherVersion(found) => {
                write!(f, "this trace has version {found}, and this program reads version {VERSION}")
            }
            Self::Truncated => f.write_str("this trace is cut: its last line is not an end"),
            Self::Edited => f.write_str("this trace was edited or damaged: its digest does not match"),
            Self::Line { number, .. } => write!(f, "line {number} of this trace cannot be read"),
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Line { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Trace {
    /// A trace of moves in a scope.
    pub fn new(scope: &str, mutant: Option<String>, broken: &str, moves: Vec<Move>) -> Self {
        let (scope, broken) = (scope.to_owned(), broken.to_owned());
        let head = TraceHead {
            format: FORMAT.to_owned(),
            version: VERSION,
            scope,
            mutant,
            broken,
            cut: None,
            schedule: None,
            threads: None,
            history: None,
        };
        Self { head, moves }
    }

    /// A trace of a cut of the power.
    pub fn of_cut(broken: &str, case: CrashCase, cut: Cut) -> Self {
        let scope = case.start.clone().unwrap_or_default();
        let mut trace = Self::new(&scope, None, broken, Vec::new());
        trace.head.cut = Some(Box::new(PowerCut { case, cut }));
        trace
    }

    /// A trace of a schedule.
    pub fn of_schedule(broken: &str, case: schedule::case::ScheduleCase, choices: Vec<u8>) -> Self {
        let mut trace = Self::new(&case.start, None, broken, Vec::new());
        trace.head.schedule = Some(Box::new(Scheduled { case, choices }));
        trace
    }

    /// A trace of the threads of a bus in a scenario.
    pub fn of_threads(broken: &str, scenario: &str, choices: Vec<u8>) -> Self {
        let mut trace = Self::new(scenario, None, broken, Vec::new());
        trace.head.threads = Some(choices);
        trace
    }

    /// A trace of a recorded history.
    pub fn of_history(broken: &str, history: History) -> Self {
        let mut trace = Self::new("", None, broken, Vec::new());
        trace.head.history = Some(Box::new(history));
        trace
    }

    /// The text of the file.
    ///
    /// # Errors
    /// If a move cannot be written, which does not happen to moves of a scope.
    pub fn write(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(&self.head)? + "\n";
        for action in &self.moves {
            text += &serde_json::to_string(action)?;
            text.push('\n');
        }
        let end = TraceEnd { end: self.moves.len(), sha256: sha256(&text) };
        text += &serde_json::to_string(&end)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// A [`TraceError`] that says in one sentence why it is not one.
    pub fn read(text: &str) -> Result<Self, TraceError> {
        #[derive(Deserialize)]
        struct Version {
            format: String,
            version: u32,
        }
        let first = text.lines().next().unwrap_or_default();
        let version: Version = serde_json::from_str(first).map_err(|_| TraceError::NotATrace)?;
        if version.format != FORMAT {
            return Err(TraceError::NotATrace);
        }
        if version.version != VERSION {
            return Err(TraceError::OtherVersion(version.version));
        }
        let body = text.strip_suffix('\n').ok_or(TraceError::Truncated)?;
        let cut = body.rfind('\n').ok_or(TraceError::Truncated)? + 1;
        let end: TraceEnd = serde_json::from_str(&body[cut..]).map_err(|_| TraceError::Truncated)?;
        let before = &text[..cut];
        if end.sha256 != sha256(before) || end.end + 1 != before.lines().count() {
            return Err(TraceError::Edited);
        }
        let at = |number| move |source| TraceError::Line { number, source };
        let head: TraceHead = serde_json::from_str(first).map_err(at(1))?;
        let lines = before.lines().enumerate().skip(1);
        let moves = lines
            .map(|(index, line)| serde_json::from_str(line).map_err(at(index + 1)))
            .collect::<Result<_, _>>()?;
        Ok(Self { head, moves })
    }
}
