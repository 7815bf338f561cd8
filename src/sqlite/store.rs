//! The store: one connection to one file, and one transaction for each operation.
//!
//! Invariant: an operation is committed before it is answered, and one whose effect is not known closes the store.
//! Does not depend on: what operations do.

use std::path::Path;

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::State;
use fencepost_model::vocabulary::Timestamp;
use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::sqlite::cursor::{last_commit, next_commit};
use crate::sqlite::execute::execute;
use crate::sqlite::migrate::newest;
use crate::sqlite::open::{self, OpenOptions, Opened};
use crate::sqlite::session::{Guard, Session};
use crate::sqlite::snapshot::snapshot;
use crate::sqlite::statements::{StatementId as Sql, Statements};
use crate::sqlite::steps::Steps;

/// An open store. It reads no clock: every operation comes with its time.
#[derive(Debug)]
pub struct Store {
    conn: Connection,
    sql: Statements,
    /// The version of the schema that it was opened at.
    version: i64,
    /// Bounds how long one transaction may take; none for a store in memory.
    pub(super) steps: Option<Steps>,
    /// Whether a commit failed in a way that leaves its effect unknown.
    failed: bool,
    /// The commit number that this opening took for a boot, if it was the first opening after one.
    booted: Option<u64>,
}

/// A reply, and the commit of its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The reply.
    pub reply: Reply,
    /// As [`CommitNumber::commit_seq`].
    pub commit_seq: u64,
    /// As [`CommitNumber::changed`].
    pub changed: bool,
}

/// Where a transaction stands in the order of all transactions that changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitNumber {
    /// The number that the transaction took if it changed something, or else the number of the last transaction before it
    /// that did.
    pub(crate) commit_seq: u64,
    /// Whether the transaction changed something.
    pub(crate) changed: bool,
}

/// Whether a transaction reads its commit number, which costs one more statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// It does.
    On,
    /// It does not, since nothing observes the commits.
    Off,
}

/// How a transaction is to end.
pub(super) enum End<T> {
    /// With a commit.
    Commit(T),
    /// With a rollback.
    Undo(T),
}

impl Store {
    /// Opens a file, creates it if that is wanted, and brings it to this program's version.
    ///
    /// # Errors
    /// A typed [`Error`] that says what to do. A file that is refused is left as it was.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        Self::open_by(path, options, Statements::standard())
    }

    /// As [`Store::open`], with other statements: for tests that show that a wrong one is noticed.
    ///
    /// # Errors
    /// As there.
    #[doc(hidden)]
    pub fn open_by(path: impl AsRef<Path>, options: &OpenOptions, sql: Statements) -> Result<Self> {
        let Opened { conn, steps, booted } = open::open(path.as_ref(), options, &sql)?;
        Ok(Self { booted, steps: Some(steps), ..Self::new(conn, sql, newest(options.next_version)) })
    }

    fn new(conn: Connection, sql: Statements, version: i64) -> Self {
        Self { conn, sql, version, steps: None, failed: false, booted: None }
    }

    /// A store in memory, in rollback mode, so that its image can be copied.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn in_memory() -> Result<Self> {
        Self::over(Connection::open_in_memory()?)
    }

    /// A store over an empty database that the caller opened: for tests of what operations do, which need no durability.
    ///
    /// # Errors
    /// An error of SQLite.
    #[doc(hidden)]
    pub fn over(conn: Connection) -> Result<Self> {
        let conn = open::over(conn)?;
        Ok(Self::new(conn, Statements::standard(), newest(None)))
    }

    /// The same store, running other statements: for tests that show that a wrong one is noticed.
    #[must_use]
    pub fn with_statements(mut self, sql: Statements) -> Self {
        self.sql = sql;
        self
    }

    /// The statements that it runs.
    pub fn statements(&self) -> &Statements {
        &self.sql
    }

    /// Applies one operation at the time `now`, as one transaction. A refused one changes nothing.
    ///
    /// # Errors
    /// Nothing changed, unless it is [`Error::Indeterminate`]: then the store is closed.
    pub fn apply(&mut self, now: Timestamp, op: &Op) -> Result<Reply> {
        Ok(self.apply_one(now, op, Numbering::Off)?.0)
    }

    /// Applies one operation as [`Store::apply`] does, with the commit number if it is asked for.
    pub(super) fn apply_one(
        &mut self,
        now: Timestamp,
        op: &Op,
        numbering: Numbering,
    ) -> Result<(Reply, Option<CommitNumber>)> {
        self.transaction(numbering, |conn, sql| {
            let reply = execute(conn, sql, now, op)?;
            Ok(if matches!(reply, Reply::Refused(_)) { End::Undo(reply) } else { End::Commit(reply) })
        })
    }

    /// Applies one operation as [`Store::apply`] does, and returns its commit number, read inside its transaction.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply_numbered(&mut self, now: Timestamp, op: &Op) -> Result<Numbered> {
        let (reply, number) = self.apply_one(now, op, Numbering::On)?;
        let CommitNumber { commit_seq, changed } = number.unwrap_or_else(|| unreachable!("it was asked for"));
        Ok(Numbered { reply, commit_seq, changed })
    }

    /// The commit number that this opening took for a boot, if it was the first opening after one.
    pub fn booted(&self) -> Option<u64> {
        self.booted
    }

    /// Returns what an operation would answer at the time `now`, and changes nothing.
    ///
    /// # Errors
    /// Those of the operation; nothing changed.
    pub fn rehearse(&mut self, now: Timestamp, op: &Op) -> Result<Reply> {
        Ok(self.transaction(Numbering::Off, |conn, sql| Ok(End::Undo(execute(conn, sql, now, op)?)))?.0)
    }

    /// Runs work in a transaction, and ends it as the work says; an error rolls it back. The commit number is there if it
    /// is asked for.
    pub(super) fn transaction<T>(
        &mut self,
        numbering: Numbering,
        work: impl FnOnce(&Connection, &Statements) -> Result<End<T>>,
    ) -> Result<(T, Option<CommitNumber>)> {
        if self.failed {
            return Err(Error::Closed);
        }
        if let Some(steps) = &self.steps {
            steps.begin();
        }
        let ended = self.within(numbering, work);
        match &self.steps {
            Some(steps) => ended.map_err(|error| steps.classify(error)),
            None => ended,
        }
    }

    fn within<T>(
        &mut self,
        numbering: Numbering,
        work: impl FnOnce(&Connection, &Statements) -> Result<End<T>>,
    ) -> Result<(T, Option<CommitNumber>)> {
        let guard = Guard(&self.conn, &self.sql);
        let s = Session::new(&self.conn, &self.sql, Timestamp::ZERO);
        s.run(Sql::Begin, &[])?;
        let found = s.first(Sql::SchemaVersion, &[], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or_default();
        if found != self.version {
            return Err(Error::NewerVersion { found, supported: self.version });
        }
        let before = self.conn.total_changes();
        let ended = work(&self.conn, &self.sql)?;
        if self.conn.is_autocommit() {
            return Err(Error::TransactionEnded);
        }
        let number = |changed| match numbering {
            Numbering::On => Ok::<_, Error>(Some(CommitNumber { commit_seq: last_commit(&s)?, changed })),
            Numbering::Off => Ok(None),
        };
        let done = match ended {
            End::Commit(done) => done,
            End::Undo(done) => {
                let number = number(false)?;
                s.run(Sql::Rollback, &[])?;
                return Ok((done, number));
            }
        };
        let changed = self.conn.total_changes() != before;
        if changed {
            next_commit(&s)?;
        }
        let number = number(changed)?;
        let committed = s.run(Sql::Commit, &[]);
        drop(guard);
        match committed {
            Ok(_) => Ok((done, number)),
            Err(error) if is_certain(&error) => Err(error),
            Err(error) => {
                self.failed = true;
                Err(Error::Indeterminate { source: Box::new(error) })
            }
        }
    }

    /// A number that changes when another connection, in this or another process, has committed something.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn data_version(&self) -> Result<i64> {
        let s = Session::new(&self.conn, &self.sql, Timestamp::ZERO);
        Ok(s.first(Sql::DataVersion, &[], |row| Ok(row.get(0)?))?.unwrap_or_default())
    }

    /// How many transactions changed something, in any process. Within a transaction this is the number of the last one before
    /// it, until it takes its own just before its commit.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the number is damaged, and errors of SQLite.
    pub fn commit_seq(&self) -> Result<u64> {
        last_commit(&Session::new(&self.conn, &self.sql, Timestamp::ZERO))
    }

    /// The whole store as a state of the model.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a row outside of what a delivery carries is damaged, and errors of SQLite.
    pub fn snapshot(&self) -> Result<State> {
        let read = || snapshot(&self.conn);
        match &self.steps {
            Some(steps) => {
                steps.begin();
                read().map_err(|error| steps.classify(error))
            }
            None => read(),
        }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// The connection, to begin transactions with.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.conn
    }

    /// Closes the file.
    ///
    /// # Errors
    /// An error of SQLite; the file is closed all the same.
    pub fn close(self) -> Result<()> {
        self.conn.close().map_err(|(_, error)| error.into())
    }
}

/// Whether a commit that failed like this surely did not take effect: no lock, or no room for its last page. A failed
/// write or sync may have reached the disk or not. (That the last page is the last write holds on every file system of
/// SQLite's own: only on one whose overwrites harm the bytes beside them does it fill the sector up after the commit.)
const fn is_certain(error: &Error) -> bool {
    matches!(error, Error::Busy | Error::Full | Error::ReadOnly)
}
