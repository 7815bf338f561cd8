//! The whole store as a state of the model.
//!
//! Invariant: every row is in the snapshot, or the snapshot fails; a survey names the damaged rows instead. Ids come with the
//! digest of their content.
//! Does not depend on: operations. Nothing is written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fmt;
use std::ops::Range;

use fencepost_model::state::{Command, CommandLease, Cursor, Entry, LogRow, Progress, Remembered, State};
use fencepost_model::vocabulary::{Content, Group, Kind, MessageId, Seq, Timestamp, Token};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::Serialize;

use crate::error::{Damage, Error, Result};
use crate::sqlite::cursor::{cursor_row, last_commit, store};
use crate::sqlite::records::stored;
use crate::sqlite::rows::{BODY_COLUMNS, body, count, maybe_number, number, reason, text, unreadable};
use crate::sqlite::session::{Session, reading};
use crate::sqlite::statements::{StatementId as Sql, Statements};

/// Reads all tables. Equal to the model's state, but for [`Remembered::content`], which holds the digest alone.
///
/// # Errors
/// [`Error::Corrupt`] if a row outside of what a delivery carries is damaged, and errors of SQLite.
pub fn snapshot(conn: &Connection) -> Result<State> {
    snapshot_by(conn, &Statements::standard())
}

/// As [`snapshot`], with other statements: for tests that show that a wrong one is noticed.
///
/// # Errors
/// As there.
#[doc(hidden)]
pub fn snapshot_by(conn: &Connection, sql: &Statements) -> Result<State> {
    Ok(read(conn, sql, true)?.state)
}

/// Reads all tables as [`snapshot`] does, and the number of the last transaction that is in them.
///
/// # Errors
/// As [`snapshot`].
pub fn numbered_snapshot(conn: &Connection) -> Result<(State, u64)> {
    let sql = Statements::standard();
    reading(conn, &sql, || Ok((snapshot(conn)?, last_commit(&Session::new(conn, &sql, Timestamp::ZERO))?)))
}

/// What can be read of a store, and what cannot.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// All that can be read. It is a state of the model only if nothing is damaged.
    pub state: State,
    /// What is damaged outside of what a delivery carries, table by table.
    pub damaged: Vec<DamagedRow>,
    /// How many rows each table has.
    pub rows: BTreeMap<&'static str, u64>,
}

/// A row that is not what this program writes, outside of what a delivery carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRow {
    /// Its table.
    pub table: &'static str,
    /// Its key; none if what is damaged is no single row.
    pub row: Option<RowKey>,
    /// What is wrong with it.
    pub what: Damage,
}

/// The key of a row, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum RowKey {
    /// The number of a command, an event or a record.
    Number(i64),
    /// The key of any other row.
    Text(String),
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Reads all tables as [`snapshot`] does, past what is damaged.
///
/// # Errors
/// Errors of SQLite, a malformed file included. Damaged rows are no error: see [`Survey::damaged`].
pub fn survey(conn: &Connection) -> Result<Survey> {
    survey_by(conn, &Statements::standard())
}

pub(super) fn survey_by(conn: &Connection, sql: &Statements) -> Result<Survey> {
    read(conn, sql, false)
}

fn read(conn: &Connection, sql: &Statements, strict: bool) -> Result<Survey> {
    let s = Session::new(conn, sql, Timestamp::ZERO);
    let mut reader = Reader { s, strict, left: u64::MAX, survey: Survey::default() };
    if !strict {
        let bytes = reader.s.first(Sql::FileBytes, &[], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or_default();
        reader.left = bytes.unsigned_abs().saturating_mul(READ_FACTOR);
    }
    let counters = store(&reader.s);
    let known = reader.pass("store", Some(RowKey::Number(1)), counters)?;
    let known_counters = known.is_some();
    if let Some(counters) = known {
        reader.survey.state = State {
            queue_last: counters.queue_last,
            record_last: counters.record_last,
            token_last: counters.token_last,
            first: counters.first,
            head: counters.head,
            epoch: counters.epoch,
            ..State::default()
        };
    }
    reader.each(Sql::ListEpochs, "epochs_retired", 0..1, |state, row| {
        state.epochs_retired.insert(number(row, 0, ("epochs_retired", "epoch"))?);
        Ok(())
    })?;
    reader.each(Sql::ListQueue, "queue", 0..1, command)?;
    reader.each(Sql::ListIds, "ids", 0..2, id)?;
    reader.each(Sql::ListLog, "log", 0..1, event)?;
    reader.each(Sql::ListTombstones, "tombstones", 0..1, tombstone)?;
    if known_counters {
        let complete = check_complete(&reader.survey.state);
        reader.pass("log", None, complete)?;
    }
    reader.each(Sql::ListCursors, "cursors", 0..1, cursor)?;
    reader.each(Sql::ListSubscriptions, "subscriptions", 0..2, subscription)?;
    reader.each(Sql::ListEntries, "entries", 0..1, entry)?;
    reader.each(Sql::ListRecords, "records", 0..1, record)?;
    Ok(reader.survey)
}

/// How many times the bytes of its file a survey reads: each is in one row, and short values take fewer than are counted.
const READ_FACTOR: u64 = 16;

/// How many bytes the values of a row have, at least one for each.
fn bytes_of(row: &Row<'_>) -> Result<u64> {
    let mut bytes = 0;
    for index in 0..row.as_ref().column_count() {
        bytes += match row.get_ref(index)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
            _ => 1,
        };
    }
    Ok(bytes)
}

/// Reads table after table into a survey.
struct Reader<'a> {
    s: Session<'a>,
    /// Whether the first damage is the end.
    strict: bool,
    /// How many bytes may still be read.
    left: u64,
    survey: Survey,
}

impl Reader<'_> {
    /// Reads a table, whose key is in these columns of the statement.
    fn each(
        &mut self,
        id: Sql,
        table: &'static str,
        key: Range<usize>,
        read: fn(&mut State, &Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self { s, strict, left, survey } = self;
        let rows = s.all(id, &[], |row| {
            if !*strict {
                *left = left.checked_sub(bytes_of(row)?).ok_or(Damage::Endless)?;
            }
            match read(&mut survey.state, row) {
                Err(Error::Corrupt { what }) if !*strict && what != Damage::File => {
                    survey.damaged.push(DamagedRow { table, row: Some(row_key(row, key.clone())?), what });
                    Ok(())
                }
                other => other,
            }
        })?;
        survey.rows.insert(table, rows.len() as u64);
        Ok(())
    }

    /// Lets damage pass as a part of the survey, unless the first is the end.
    fn pass<T>(&mut self, table: &'static str, row: Option<RowKey>, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(Error::Corrupt { what }) if !self.strict && what != Damage::File => {
                self.survey.damaged.push(DamagedRow { table, row, what });
                Ok(None)
            }
            other => other.map(Some),
        }
    }
}

/// The key of a row, whose parts stand in these columns.
fn row_key(row: &Row<'_>, columns: Range<usize>) -> Result<RowKey> {
    let mut parts = Vec::new();
    for index in columns {
        match row.get_ref(index)? {
            ValueRef::Integer(number) if parts.is_empty() => return Ok(RowKey::Number(number)),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                parts.push(String::from_utf8_lossy(bytes).into_owned())
            }
            other => parts.push(format!("{other:?}")),
        }
    }
    Ok(RowKey::Text(parts.join(" ")))
}

fn command(state: &mut State, row: &Row<'_>) -> Result<()> {
    let seq: Seq = number(row, 0, ("queue", "seq"))?;
    let first = 2;
    let rest = first + BODY_COLUMNS.len();
    if row.get(1)? {
        let raw = unreadable(row, first, rest)?;
        state.unreadable.insert(seq, raw);
        return Ok(());
    }
    let lease = match maybe_number::<Token>(row, rest + 2, ("queue", "token"))? {
        None => None,
        Some(token) => Some(CommandLease {
            token,
            attempts_max: count(row, rest + 3, ("queue", "attempts_max"))?,
            corrupt: row.get(rest + 4)?,
        }),
    };
    let command = Command {
        body: body(row, first, Kind::Command, seq.get())?,
        due_at: number(row, rest, ("queue", "due_at"))?,
        attempts: count(row, rest + 1, ("queue", "attempts"))?,
        lease,
        reason: reason(row, rest + 5, ("queue", "reason"))?,
    };
    state.queue.insert(seq, command);
    Ok(())
}

fn id(state: &mut State, row: &Row<'_>) -> Result<()> {
    let ids = match row.get_ref(0)? {
        ValueRef::Text(b"command") => &mut state.command_ids,
        ValueRef::Text(b"event") => &mut state.event_ids,
        _ => return Err(Error::column("ids", "kind")),
    };
    let id: MessageId = text(row, 1, ("ids", "id"))?;
    let digest = row.get_ref(3)?.as_blob().map_err(|_| Error::column("ids", "digest"))?;
    let remembered = Remembered {
        seq: number(row, 2, ("ids", "seq"))?,
        content: Content(digest.into()),
        ended_at: maybe_number(row, 4, ("ids", "ended_at"))?,
    };
    ids.insert(id, remembered);
    Ok(())
}

fn event(state: &mut State, row: &Row<'_>) -> Result<()> {
    let seq: Seq = number(row, 0, ("log", "seq"))?;
    state.log.insert(seq, LogRow::Event(body(row, 1, Kind::Event, seq.get())?));
    Ok(())
}

fn tombstone(state: &mut State, row: &Row<'_>) -> Result<()> {
    match state.log.entry(number(row, 0, ("tombstones", "seq"))?) {
        Slot::Vacant(slot) => slot.insert(LogRow::Tombstone),
        Slot::Occupied(_) => return Err(Damage::Contradiction.into()),
    };
    Ok(())
}

/// The log is complete from its first number to its head, or fails closed.
fn check_complete(state: &State) -> Result<()> {
    let end = state.head.plus(1).get();
    let expected = end.checked_sub(state.first.get()).ok_or(Damage::Contradiction)?;
    let inside = state.log.range(state.first..).take_while(|(seq, _)| **seq <= state.head).count();
    if inside as u64 == expected && inside == state.log.len() {
        return Ok(());
    }
    match state.log.contains_key(&state.head) || expected == 0 {
        true => Err(Damage::LogIncomplete.into()),
        false => Err(Damage::LogShort { head: state.head.get() }.into()),
    }
}

fn cursor(state: &mut State, row: &Row<'_>) -> Result<()> {
    let group: Group = text(row, 0, ("cursors", "group_name"))?;
    let found = cursor_row(row, 1)?;
    state.groups.insert(group, Cursor { due_at: found.due_at, lease: found.lease, ..Cursor::default() });
    Ok(())
}

/// The group that a row belongs to.
fn group<'a>(
    state: &'a mut State,
    row: &Row<'_>,
    index: usize,
    table: &'static str,
) -> Result<&'a mut Cursor> {
    let group: Group = text(row, index, (table, "group_name"))?;
    state.groups.get_mut(&group).ok_or(Error::row_missing("cursors"))
}

fn subscription(state: &mut State, row: &Row<'_>) -> Result<()> {
    let cursor = group(state, row, 0, "subscriptions")?;
    let progress = Progress {
        position: number(row, 2, ("subscriptions", "position"))?,
        attempts: count(row, 3, ("subscriptions", "attempts"))?,
        counted: maybe_number(row, 4, ("subscriptions", "counted"))?,
        reason: reason(row, 5, ("subscriptions", "reason"))?,
    };
    cursor.names.insert(text(row, 1, ("subscriptions", "name"))?, progress);
    Ok(())
}

fn entry(state: &mut State, row: &Row<'_>) -> Result<()> {
    let cursor = group(state, row, 1, "entries")?;
    let seq: Seq = number(row, 2, ("entries", "seq"))?;
    let entry = Entry {
        seq,
        body: body(row, 7, Kind::Event, seq.get())?,
        due_at: number(row, 3, ("entries", "due_at"))?,
        attempts: count(row, 4, ("entries", "attempts"))?,
        counted: maybe_number(row, 5, ("entries", "counted"))?,
        reason: reason(row, 6, ("entries", "reason"))?,
    };
    cursor.entries.insert(number(row, 0, ("entries", "record"))?, entry);
    Ok(())
}

fn record(state: &mut State, row: &Row<'_>) -> Result<()> {
    state.records.insert(number(row, 0, ("records", "record"))?, stored(row)?);
    Ok(())
}
