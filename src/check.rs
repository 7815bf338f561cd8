//! Checking a file: what is wrong with it, and where.
//!
//! Invariant: a check changes nothing, and damage to the content of the file is a finding and no error.
//! Does not depend on: the operations of the store. The invariants of the model are checked here and nowhere below.

mod repair;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use fencepost_model::invariant::{CheckResult, STATE_INVARIANTS};
use fencepost_model::state::{Body, LogRow, State};
use fencepost_model::vocabulary::{Group, Name, RecordId, Seq};
use serde::Serialize;

use crate::error::{Damage, Result};
use crate::sqlite::{DamagedRow, DamagedWal, Inspection, RowKey, SchemaObject, Survey, inspect, plain};

pub use repair::{RepairReport, repair};

/// How many findings a report names, and how many rows of each table.
pub const NAMED_MAX: usize = 1_000;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// What is wrong, the file itself first, then its rows, then what rows say together.
    pub findings: Vec<Finding>,
    /// How many findings there are beyond those.
    pub findings_left_out: u64,
    /// Each table with its rows; none if the file is too malformed to be read.
    pub tables: Vec<TableReport>,
    /// The names of the caller's own tables, indexes, views and triggers, which do not affect this program.
    pub foreign: Vec<String>,
}

/// The rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableReport {
    /// The table.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them cannot be decoded. Messages that were dead-lettered or parked for that are among the records, which is
    /// no finding.
    pub undecodable: u64,
    /// The keys of these rows, at most [`NAMED_MAX`].
    pub numbers: Vec<RowKey>,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// SQLite finds the file malformed.
    Malformed {
        /// What SQLite says.
        line: String,
    },
    /// A rollback journal of an interrupted transaction lies beside the file, so nothing else was looked at.
    Interrupted,
    /// A frame of the WAL is damaged, and more commits lie behind it than a power cut can have torn. SQLite ignores these
    /// commits.
    WalDamaged {
        /// The frame, counted from 1; 0 for the header of the WAL.
        frame: u64,
        /// How many commits lie there.
        commits: u64,
    },
    /// A part of the schema is missing, or is not as this program makes it.
    SchemaChanged {
        /// `table` or `index`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A foreign trigger or index hangs on one of this program's tables, or a foreign table refers to it.
    ForeignOnOurs {
        /// `trigger`, `index` or `table`.
        kind: String,
        /// Its name.
        name: String,
        /// The table that it hangs on.
        table: String,
    },
    /// A row is damaged outside of what a delivery carries.
    DamagedRow {
        /// Its table.
        table: &'static str,
        /// Its key; none if it is no single row.
        row: Option<RowKey>,
        /// What is wrong with it.
        #[serde(serialize_with = "plain::text::serialize")]
        damage: Damage,
    },
    /// The name or the bookkeeping of a command cannot be read.
    UnreadableCommand {
        /// The command.
        #[serde(with = "plain::number")]
        seq: Seq,
    },
    /// The message of a command cannot be decoded; its name can.
    CorruptCommand {
        /// The command.
        #[serde(with = "plain::number")]
        seq: Seq,
        /// Its name.
        #[serde(with = "plain::text")]
        name: Name,
    },
    /// The name of an event cannot be read.
    UnreadableEvent {
        /// The event.
        #[serde(with = "plain::number")]
        seq: Seq,
    },
    /// An event cannot be decoded; its name can be read.
    CorruptEvent {
        /// The event.
        #[serde(with = "plain::number")]
        seq: Seq,
        /// Its name.
        #[serde(with = "plain::text")]
        name: Name,
    },
    /// A redriven event cannot be decoded.
    CorruptEntry {
        /// The record that was redriven.
        #[serde(with = "plain::number")]
        record: RecordId,
        /// The group that it waits in.
        #[serde(with = "plain::text")]
        group: Group,
    },
    /// Rows that can be read contradict a guarantee together.
    Broken {
        /// The guarantee, such as `G2`.
        guarantee: &'static str,
        /// What should hold, a sentence.
        name: &'static str,
        /// What was seen instead.
        why: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line } => {
                write!(f, "The file is malformed ({line}); restore it from a copy.")
            }
            Self::Interrupted => f.write_str(
                "An interrupted transaction left a journal beside the file; open the store once, and check again.",
            ),
            Self::WalDamaged { frame, commits } => write!(
                f,
                "Frame {frame} of the WAL is damaged, and {commits} commits behind it are lost; keep both files, and \
                 restore a copy, or open the store to go on without them."
            ),
            Self::SchemaChanged { kind, name } => {
                write!(f, "The {kind} {name} is missing or was changed; restore the file from a copy.")
            }
            Self::ForeignOnOurs { kind, name, table } => write!(
                f,
                "The {kind} {name} on the table {table} is not fencepost's, and may change what it does; drop it."
            ),
            Self::DamagedRow { table, row: Some(row), damage } => {
                write!(f, "Row {row} of table {table}: {damage}.")
            }
            Self::DamagedRow { table, row: None, damage } => write!(f, "In table {table}: {damage}."),
            Self::UnreadableCommand { seq } => {
                write!(f, "Command {seq} cannot be read; the next claim or a repair moves it to the dead.")
            }
            Self::CorruptCommand { seq, name } => write!(
                f,
                "Command {seq} ({name}) cannot be decoded; the consumer that claims it, or a repair, moves it to the dead."
            ),
            Self::UnreadableEvent { seq } => {
                write!(f, "Event {seq} cannot be read; the next poll or a repair moves it to the dead.")
            }
            Self::CorruptEvent { seq, name } => write!(
                f,
                "Event {seq} ({name}) cannot be decoded; each group moves it to its dead when its turn comes."
            ),
            Self::CorruptEntry { record, group } => write!(
                f,
                "The redriven event {record} of group {group} cannot be decoded; the group moves it to its dead."
            ),
            Self::Broken { guarantee, name, why } => {
                write!(f, "Guarantee {guarantee} ({}) is broken: {why}.", name.replace('_', " "))
            }
        }
    }
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < NAMED_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_out += 1;
        }
    }

    /// Whether the file can be written to: every finding is about rows.
    fn is_writable(&self) -> bool {
        !self.tables.is_empty()
            && !self.findings.iter().any(|finding| {
                let below = matches!(finding, Finding::Malformed { .. } | Finding::SchemaChanged { .. });
                let before = matches!(finding, Finding::Interrupted | Finding::WalDamaged { .. });
                below || before || matches!(finding, Finding::ForeignOnOurs { .. })
            })
    }
}

/// Checks a file: SQLite's own integrity check, the schema, every row, and the invariants of the model over all rows. The file
/// is read into memory for that. Not a byte of it or of its WAL changes, and if no connection has it open, nothing is put
/// beside it; a store that is open meanwhile goes on.
///
/// # Errors
/// The errors with which opening the file is refused, [`Error::Busy`](crate::Error::Busy), and errors of the operating system.
/// Damage to the content of the file is no error but a finding.
pub fn check(path: impl AsRef<Path>) -> Result<CheckReport> {
    Ok(report(&inspect(path.as_ref())?))
}

/// The report of an inspection.
#[doc(hidden)]
pub fn report(seen: &Inspection) -> CheckReport {
    let mut report = CheckReport::default();
    if seen.interrupted {
        report.find(Finding::Interrupted);
    }
    if let Some(DamagedWal { frame, commits }) = seen.wal {
        report.find(Finding::WalDamaged { frame, commits });
    }
    for line in &seen.malformed {
        report.find(Finding::Malformed { line: line.clone() });
    }
    for SchemaObject { kind, name, .. } in &seen.changed {
        report.find(Finding::SchemaChanged { kind: kind.clone(), name: name.clone() });
    }
    for object in &seen.foreign {
        let SchemaObject { kind, name, table, .. } = object.clone();
        let ours = seen.survey.as_ref().is_some_and(|survey| is_ours(survey, &table));
        match kind.as_str() {
            "index" | "trigger" | "table" if ours => {
                report.find(Finding::ForeignOnOurs { kind, name, table })
            }
            _ => report.foreign.push(name),
        }
    }
    if let Some(survey) = &seen.survey {
        rows(&mut report, survey);
        if survey.damaged.is_empty() {
            together(&mut report, &survey.state);
        }
    }
    report
}

fn is_ours(survey: &Survey, table: &str) -> bool {
    table == "store" || survey.rows.contains_key(table)
}

/// Checks single rows.
fn rows(report: &mut CheckReport, survey: &Survey) {
    let mut numbers: BTreeMap<&'static str, Vec<RowKey>> = BTreeMap::new();
    for DamagedRow { table, row, what } in &survey.damaged {
        numbers.entry(table).or_default().extend(row.clone());
        report.find(Finding::DamagedRow { table, row: row.clone(), damage: *what });
    }
    let mut undecodable = |table, number: u64| {
        let number = RowKey::Number(i64::try_from(number).unwrap_or(i64::MAX));
        numbers.entry(table).or_default().push(number);
    };
    let state = &survey.state;
    for seq in state.unreadable.keys() {
        undecodable("queue", seq.get());
        report.find(Finding::UnreadableCommand { seq: *seq });
    }
    for (seq, name) in corrupt_commands(state) {
        undecodable("queue", seq.get());
        report.find(Finding::CorruptCommand { seq, name: name.clone() });
    }
    for (seq, row) in &state.log {
        let LogRow::Event(body) = row else { continue };
        if !body.is_sound() {
            undecodable("log", seq.get());
            report.find(match body.name() {
                Some(name) => Finding::CorruptEvent { seq: *seq, name: name.clone() },
                None => Finding::UnreadableEvent { seq: *seq },
            });
        }
    }
    for (group, cursor) in &state.groups {
        for (record, _) in cursor.entries.iter().filter(|(_, entry)| !entry.body.is_sound()) {
            undecodable("entries", record.get());
            report.find(Finding::CorruptEntry { record: *record, group: group.clone() });
        }
    }
    for (record, _) in state.records.iter().filter(|(_, record)| !record.body.is_sound()) {
        undecodable("records", record.get());
    }
    for (table, rows) in &survey.rows {
        let mut numbers = numbers.remove(table).unwrap_or_default();
        let undecodable = numbers.len() as u64;
        numbers.sort_unstable();
        numbers.truncate(NAMED_MAX);
        report.tables.push(TableReport { table, rows: *rows, undecodable, numbers });
    }
}

fn corrupt_commands(state: &State) -> impl Iterator<Item = (Seq, &Name)> {
    state.queue.iter().filter_map(|(seq, command)| match &command.body {
        Body::Corrupt { name, .. } => Some((*seq, name)),
        _ => None,
    })
}

/// Checks all rows together.
fn together(report: &mut CheckReport, state: &State) {
    for invariant in STATE_INVARIANTS {
        if let CheckResult::Violated(why) = (invariant.of_state)(state) {
            report.find(Finding::Broken { guarantee: invariant.id, name: invariant.name, why });
        }
    }
}
