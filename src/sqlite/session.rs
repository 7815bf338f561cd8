//! One transaction at work: the connection, the statements and the time, and the ways to run a statement.
//!
//! Invariant: every statement goes through the registry and the cache of prepared statements.
//! Does not depend on: what the statements do.

use fencepost_model::op::Refusal;
use fencepost_model::vocabulary::Timestamp;
use rusqlite::{CachedStatement, Connection, Row, ToSql};

use crate::error::{Error, Result};
use crate::sqlite::statements::{StatementId, Statements};

/// The named parameters of a statement.
pub(super) type Params<'a> = &'a [(&'a str, &'a dyn ToSql)];

/// Why an operation has no plain reply.
pub(super) enum Stop {
    /// The operation was refused, and has changed nothing.
    Refused(Refusal),
    /// The operation failed; the transaction must be rolled back.
    Failed(Error),
}

/// The result of an operation.
pub(super) type Answer<T> = std::result::Result<T, Stop>;

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Rolls a transaction back unless it was committed.
pub(super) struct Guard<'a>(pub(super) &'a Connection, pub(super) &'a Statements);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // A failure cannot be handled here; SQLite rolls the transaction back when the connection closes.
            let _ = self.0.execute_batch(self.1.get(StatementId::Rollback));
        }
    }
}

/// Reads one state of the file, although others commit meanwhile: within the open transaction, or else within a transaction of
/// its own.
pub(super) fn reading<T>(conn: &Connection, sql: &Statements, read: impl FnOnce() -> Result<T>) -> Result<T> {
    if !conn.is_autocommit() {
        return read();
    }
    let _guard = Guard(conn, sql);
    conn.execute_batch(sql.get(StatementId::BeginRead))?;
    read()
}

/// A connection within a transaction, at one time.
pub(super) struct Session<'a> {
    conn: &'a Connection,
    sql: &'a Statements,
    /// The time of the operation.
    pub(super) now: Timestamp,
}

impl<'a> Session<'a> {
    pub(super) fn new(conn: &'a Connection, sql: &'a Statements, now: Timestamp) -> Self {
        Self { conn, sql, now }
    }

    fn prepare(&self, id: StatementId) -> Result<CachedStatement<'a>> {
        Ok(self.conn.prepare_cached(self.sql.get(id))?)
    }

    /// Runs a statement that returns no rows; returns how many rows it changed.
    pub(super) fn run(&self, id: StatementId, params: Params<'_>) -> Result<usize> {
        Ok(self.prepare(id)?.execute(params)?)
    }

    /// Whether a statement that returns no rows changes any.
    pub(super) fn changes(&self, id: StatementId, params: Params<'_>) -> Result<bool> {
        Ok(self.run(id, params)? > 0)
    }

    /// Runs a statement to its first row, if there is one.
    pub(super) fn first<T>(
        &self,
        id: StatementId,
        params: Params<'_>,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.prepare(id)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    /// Runs a statement to its end.
    pub(super) fn all<T>(
        &self,
        id: StatementId,
        params: Params<'_>,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.prepare(id)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Runs a statement that returns one boolean; false without a row.
    pub(super) fn holds(&self, id: StatementId, params: Params<'_>) -> Result<bool> {
        Ok(self.first(id, params, |row| Ok(row.get::<_, bool>(0)?))?.unwrap_or(false))
    }

    /// Whether a statement finds or changes a row, whose first column it returns.
    pub(super) fn any(&self, id: StatementId, params: Params<'_>) -> Result<bool> {
        Ok(self.first(id, params, |_| Ok(()))?.is_some())
    }
}
