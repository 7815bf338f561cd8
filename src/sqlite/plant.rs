//! Planted damage, for tests: a value that this program never writes, in a column of one row.
//!
//! Invariant: only the checks of the table are off, so the indexes agree with the planted value. Every column is `ANY`, so the
//! value keeps its storage class.
//! Does not depend on: the rest of the store, and nothing in this crate uses it.

use fencepost_model::vocabulary::{Raw, RawValue, Seq};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use crate::error::{Error, Result};
use crate::sqlite::rows::{int, raw};

/// A raw value as a parameter.
struct Planted<'a>(&'a RawValue);

impl ToSql for Planted<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            RawValue::Null => ValueRef::Null,
            RawValue::Integer(value) => ValueRef::Integer(*value),
            RawValue::Real(bits) => ValueRef::Real(f64::from_bits(*bits)),
            RawValue::Text(bytes) => ValueRef::Text(bytes),
            RawValue::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Puts a value into a column of the row with this number, past all checks.
///
/// # Errors
/// [`Error::Corrupt`] if there is no such row, and errors of SQLite.
#[doc(hidden)]
pub fn plant(conn: &mut Connection, table: &str, seq: Seq, column: &str, value: &RawValue) -> Result<()> {
    conn.pragma_update(None, "ignore_check_constraints", true)?;
    let planted = conn.execute(
        &format!("UPDATE \"{table}\" SET \"{column}\" = ?1 WHERE rowid = ?2"),
        rusqlite::params![Planted(value), int(seq)],
    );
    conn.pragma_update(None, "ignore_check_constraints", false)?;
    match planted? {
        1 => Ok(()),
        _ => Err(Error::row_missing("planted")),
    }
}

/// The columns of the row with this number, as they are.
///
/// # Errors
/// [`Error::Corrupt`] if there is no such row, and errors of SQLite.
#[doc(hidden)]
pub fn raw_columns(conn: &Connection, table: &str, seq: Seq, columns: &[&str]) -> Result<Raw> {
    let list = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    let mut statement = conn.prepare_cached(&format!("SELECT {list} FROM \"{table}\" WHERE rowid = ?1"))?;
    let mut rows = statement.query([int(seq)])?;
    match rows.next()? {
        Some(row) => raw(row, 0, columns),
        None => Err(Error::row_missing("planted")),
    }
}
