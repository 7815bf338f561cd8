//! Trace files: the file format of a [`Counterexample`].
//!
//! A file is lines of JSON: a head that says what it is, a line for each move, and an end with the number of moves and
//! a digest of all before it.
//!
//! Invariant: the same counterexample gives the same bytes. A file that was cut, edited or written by another version
//! is refused with one sentence, and nothing is run.
//! Does not depend on: what a counterexample does.

use std::fmt;

use fencepost_model::world::Move;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::counterexample::Counterexample;
use crate::crash::replay::PowerCut;
use crate::faults::replay::FaultRecord;
use crate::history::record::History;
use crate::moves::ScopeMoves;
use crate::schedule::phase::ThreadSchedule;
use crate::schedule::replay::ConnectionSchedule;

/// The version of the format that this program reads and writes.
pub const VERSION: u32 = 2;

const FORMAT: &str = "fencepost-trace";

/// A counterexample with what it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What was found broken.
    pub broken: String,
    /// The counterexample.
    pub counterexample: Counterexample,
}

/// The first line of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceHead {
    format: String,
    version: u32,
    /// The scope of moves, or the scenario of threads.
    scope: String,
    /// The mutant of moves.
    mutant: Option<String>,
    broken: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Box<PowerCut>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<Box<FaultRecord>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<Box<ConnectionSchedule>>,
    /// The choices of threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threads: Option<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history: Option<Box<History>>,
}

impl TraceHead {
    fn of(trace: &Trace) -> Self {
        let mut head = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            scope: String::new(),
            mutant: None,
            broken: trace.broken.clone(),
            cut: None,
            fault: None,
            schedule: None,
            threads: None,
            history: None,
        };
        match &trace.counterexample {
            Counterexample::Moves(moves) => {
                head.scope.clone_from(&moves.scope);
                head.mutant.clone_from(&moves.mutant);
            }
            Counterexample::Cut(cut) => {
                head.scope = cut.case.start.clone().unwrap_or_default();
                head.cut = Some(Box::new(cut.clone()));
            }
            Counterexample::Fault(record) => head.fault = Some(Box::new(record.clone())),
            Counterexample::Connections(schedule) => {
                head.scope.clone_from(&schedule.case.start);
                head.schedule = Some(Box::new(schedule.clone()));
            }
            Counterexample::Threads(schedule) => {
                head.scope.clone_from(&schedule.scenario);
                head.threads = Some(schedule.choices.clone());
            }
            Counterexample::History(history) => head.history = Some(Box::new(history.clone())),
        }
        head
    }

    /// The counterexample of a head and the moves after it. None if there is more than one.
    fn counterexample(self, moves: Vec<Move>) -> Option<Counterexample> {
        let mut found = Vec::new();
        found.extend(self.cut.map(|cut| Counterexample::Cut(*cut)));
        found.extend(self.fault.map(|record| Counterexample::Fault(*record)));
        found.extend(self.schedule.map(|schedule| Counterexample::Connections(*schedule)));
        if let Some(choices) = self.threads {
            found.push(Counterexample::Threads(ThreadSchedule { scenario: self.scope.clone(), choices }));
        }
        found.extend(self.history.map(|history| Counterexample::History(*history)));
        if found.is_empty() || !moves.is_empty() {
            let (scope, mutant) = (self.scope, self.mutant);
            found.push(Counterexample::Moves(ScopeMoves { scope, mutant, moves }));
        }
        let first = found.pop();
        first.filter(|_| found.is_empty())
    }
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
    /// Its head names more than one counterexample, or there are moves after the head of another.
    SeveralCounterexamples,
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
            Self::SeveralCounterexamples => f.write_str("this trace holds more than one counterexample"),
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
    /// A counterexample, with what it breaks.
    pub fn new(broken: &str, counterexample: impl Into<Counterexample>) -> Self {
        Self { broken: broken.to_owned(), counterexample: counterexample.into() }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// If a move cannot be written, which does not happen to moves of a scope.
    pub fn write(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(&TraceHead::of(self))? + "\n";
        let moves = match &self.counterexample {
            Counterexample::Moves(moves) => &moves.moves[..],
            _ => &[],
        };
        for action in moves {
            text += &serde_json::to_string(action)?;
            text.push('\n');
        }
        let end = TraceEnd { end: moves.len(), sha256: sha256(&text) };
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
        let broken = head.broken.clone();
        let counterexample = head.counterexample(moves).ok_or(TraceError::SeveralCounterexamples)?;
        Ok(Self { broken, counterexample })
    }
}

#[cfg(test)]
mod tests {
    use fencepost_model::state::State;

    use super::*;
    use crate::disk::{DiskFault, FaultKind, Profile};
    use crate::faults::case::{Deed, FaultCase, FaultSetting, Manner, Trouble};
    use crate::faults::flips::Flip;
    use crate::faults::sync::Going;
    use crate::rig::act::Act;
    use crate::rig::setting::Level;

    /// A file of one head, as an earlier program wrote it.
    fn file(rest: &str) -> String {
        let head = format!(
            "{{\"format\":\"fencepost-trace\",\"version\":2,\"scope\":\"cuts-queue\",\"mutant\":null,\
             \"broken\":\"nothing_acknowledged_is_lost\"{rest}}}\n"
        );
        let end = format!("{{\"end\":0,\"sha256\":\"{}\"}}\n", sha256(&head));
        head + &end
    }

    const CUT: &str = r#","cut":{"case":{"start":"cuts-queue","setting":{"level":"power-loss","profile":{"characteristics":4096,"sector_bytes":4096},"mistake":{"disk":"NoSyncOfWal"}},"acts":["checkpoint","boot"]},"cut":{"events":3,"choice":{"files":[[1,["kept","lost",{"torn":5}]]],"names":["lost"]},"again":null}}"#;
    const SCHEDULE: &str = r#","schedule":{"case":{"start":"cuts-queue","wal":"full","clients":[{"late_ms":0,"acts":["read","reopen"],"patience_ms":5000,"mistake":"claim-in-two"},{"late_ms":20,"acts":["empty"],"patience_ms":0}]},"choices":[1,2,1]}"#;
    const THREADS: &str = r#","threads":[1,1,2]"#;

    fn history() -> String {
        let state = serde_json::to_string(&State::new()).unwrap();
        format!(
            r#","history":{{"start":{state},"start_seq":0,"entries":[],"end":null,"judge":"no_operation_fails"}}"#
        )
    }

    #[test]
    fn files_of_earlier_programs_are_read_and_written_again_byte_for_byte() {
        for rest in [CUT, SCHEDULE, THREADS] {
            let text = file(rest);
            let trace = Trace::read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(trace.write().unwrap(), text);
        }
        let text = file(&history());
        let trace = Trace::read(&text).unwrap();
        let Counterexample::History(history) = &trace.counterexample else { panic!("{trace:?}") };
        assert_eq!(history.checker.as_deref(), Some("no_operation_fails"));
        // A history had no scope, and a head keeps none for it.
        let without = trace.write().unwrap();
        assert_eq!(Trace::read(&without).unwrap(), trace);
    }

    #[test]
    fn a_file_of_several_counterexamples_is_refused() {
        for rest in
            [format!("{CUT}{SCHEDULE}"), format!("{SCHEDULE}{THREADS}"), format!("{THREADS}{}", history())]
        {
            assert!(matches!(Trace::read(&file(&rest)), Err(TraceError::SeveralCounterexamples)));
        }
    }

    #[test]
    fn each_kind_of_fault_can_be_written_down() {
        let setting = FaultSetting { level: Level::PowerLoss, profile: Profile::UNIX, manner: Manner::Cold };
        let start = Some("cuts-queue".to_owned());
        let trouble = Trouble::Call(DiskFault { kind: FaultKind::Io, at: 3, lasting: false });
        let deed = Deed::Act(Act::Checkpoint);
        let flip = Flip { file: "/bus.db".into(), byte: 17, bit: 3 };
        for record in [
            FaultRecord::Call(FaultCase { start: start.clone(), setting, deed, trouble, mutant: None }),
            FaultRecord::Sync {
                start,
                level: Level::PowerLoss,
                act: Act::Checkpoint,
                at: 2,
                going: Going::Killed,
            },
            FaultRecord::Flip { start: "cuts-log".to_owned(), closed: true, flip },
        ] {
            let trace = Trace::new("the_file_is_sound_after_a_fault", record.clone());
            let read = Trace::read(&trace.write().unwrap()).unwrap();
            assert_eq!(read, trace);
            // The product is sound, so nothing is broken when it is run again.
            let replayed = read.counterexample.replay().unwrap();
            assert!(!replayed.broken, "{}", replayed.explanation);
        }
    }
}
