//! Records, page by page and one by one, as a person reads them before a redrive, a repair or a purge.
//!
//! Invariant: the cost of a page depends on its limit alone, unless a name is asked for. A damaged row hides no other: it is
//! listed as it is.
//! Does not depend on: what becomes of the records.

use fencepost_model::state::{Place, Record};
use fencepost_model::vocabulary::{Name, Raw, RecordId, Timestamp};
use rusqlite::{Connection, Row, named_params};

use crate::error::{Damage, Error, Result};
use crate::sqlite::records::{RECORD_COLUMNS, place_word, stored};
use crate::sqlite::rows::{int, number, raw};
use crate::sqlite::session::Session;
use crate::sqlite::statements::{StatementId as Sql, Statements};

/// Which records to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFilter {
    /// Only those in this place. A record whose place cannot be read is in none, so it is listed without this alone.
    pub place: Option<Place>,
    /// Only those whose message has this name, also where nothing else of it can be read.
    pub name: Option<Name>,
    /// Only those past this one: the last of the page before; zero for the first page.
    pub after: RecordId,
    /// How many at most.
    pub limit: u32,
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// What the store knows of the record can be read. Its message may still be damaged, which its body says.
    Sound(Record),
    /// Something that the store itself keeps of the record cannot be read: its origin, place, cause, reason, attempts
    /// or time. All columns as they were found. It can neither be redriven, repaired nor purged; a copy of the file can
    /// help.
    Damaged(Raw),
}

impl Listed {
    /// The record, if what the store knows of it can be read.
    pub fn sound(&self) -> Option<&Record> {
        match self {
            Self::Sound(record) => Some(record),
            Self::Damaged(_) => None,
        }
    }
}

/// Reads a page of records in the order of their numbers, at most `filter.limit`. With no name asked for, its cost
/// depends on that limit alone; with one, it passes over the records of other names too.
///
/// # Errors
/// Errors of SQLite. Damaged rows are no error: see [`Listed`].
pub fn records(
    conn: &Connection,
    sql: &Statements,
    filter: &RecordFilter,
) -> Result<Vec<(RecordId, Listed)>> {
    let s = Session::new(conn, sql, Timestamp::ZERO);
    let (after, limit, place) = (int(filter.after), filter.limit, filter.place.map(place_word));
    match (&filter.name, place) {
        (Some(name), place) => s.all(
            Sql::RecordsPageNamed,
            named_params! {":after": after, ":limit": limit, ":place": place, ":name": name.as_str()},
            listed,
        ),
        (None, Some(place)) => s.all(
            Sql::RecordsPageOfPlace,
            named_params! {":after": after, ":limit": limit, ":place": place},
            listed,
        ),
        (None, None) => s.all(Sql::RecordsPage, named_params! {":after": after, ":limit": limit}, listed),
    }
}

/// Reads one record; none if there is no such one.
///
/// # Errors
/// Errors of SQLite. A damaged row is no error: see [`Listed`].
pub fn record(conn: &Connection, sql: &Statements, record: RecordId) -> Result<Option<Listed>> {
    let s = Session::new(conn, sql, Timestamp::ZERO);
    let found = s.first(Sql::RecordLook, named_params! {":record": int(record)}, listed)?;
    Ok(found.map(|(_, listed)| listed))
}

fn listed(row: &Row<'_>) -> Result<(RecordId, Listed)> {
    let id = number(row, 0, ("records", "record"))?;
    match stored(row) {
        Ok(record) => Ok((id, Listed::Sound(record))),
        Err(Error::Corrupt { what: Damage::Column { .. } }) => {
            Ok((id, Listed::Damaged(raw(row, 0, &RECORD_COLUMNS)?)))
        }
        Err(error) => Err(error),
    }
}
