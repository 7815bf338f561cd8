//! One connection to one file, and one transaction for each operation.
//!
//! What always holds: an operation is committed before it is answered, and one whose effect is not known closes the
//! store. This module must not know what operations do.

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

/// An open store. It knows no clock: every operation is given its time.
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
    /// The number that the boot took which this opening was the first of, if it was.
    booted: Option<u64>,
    /// Whether each transaction reads its number, and tells of its end.
    numbering: bool,
    /// The number of the last transaction that ended as it was meant to, and whether it changed something.
    last: Option<(u64, bool)>,
    ended: Vec<Ended>,
}

/// A reply, and where its transaction stands among all that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The reply.
    pub reply: Reply,
    /// The number that the transaction took if it changed something, or else that of the last one before it that did.
    pub commit_seq: u64,
    /// Whether it changed something.
    pub changed: bool,
}

/// A transaction that ended as it was meant to, for whoever records what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// As [`Numbered::commit_seq`].
    pub commit_seq: u64,
    /// As [`Numbered::changed`].
    pub changed: bool,
    /// Which operations were answered in it, by their place among those that were applied together, and when.
    pub ops: Vec<(usize, Timestamp)>,
}

/// How a transaction is to end.
pub(super) enum End<T> {
    /// With a commit.
    Commit(T),
    /// With nothing changed.
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
        let (steps, booted, last, ended) = (None, None, None, Vec::new());
        Self { conn, sql, version, steps, failed: false, booted, numbering: false, last, ended }
    }

    /// A store in memory, in rollback mode, so that its image can be copied.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn in_memory() -> Result<Self> {
        Self::over(Connection::open_in_memory()?)
    }

    /// A store over an empty database that the caller opened in its own way: for tests of what operations do, which
    /// have no use for durability.
    ///
    /// # Errors
    /// Whatever SQLite reports.
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
        self.apply_at(0, now, op)
    }

    /// Applies an operation that has this place among others.
    pub(super) fn apply_at(&mut self, index: usize, now: Timestamp, op: &Op) -> Result<Reply> {
        let reply = self.transaction(|conn, sql| {
            let reply = execute(conn, sql, now, op)?;
            Ok(if matches!(reply, Reply::Refused(_)) { End::Undo(reply) } else { End::Commit(reply) })
        })?;
        self.tell(|| vec![(index, now)]);
        Ok(reply)
    }

    /// Applies one operation as [`Store::apply`] does, and says which number it took or found, read inside its
    /// transaction.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply_numbered(&mut self, now: Timestamp, op: &Op) -> Result<Numbered> {
        let numbering = std::mem::replace(&mut self.numbering, true);
        let reply = self.apply(now, op);
        self.numbering = numbering;
        let reply = reply?;
        let ended = if numbering { self.ended.last().cloned() } else { self.ended.pop() };
        let (commit_seq, changed) = ended.map(|ended| (ended.commit_seq, ended.changed)).unwrap_or_default();
        Ok(Numbered { reply, commit_seq, changed })
    }

    /// Whether to remember from now on how each transaction ended, until that is asked for.
    pub fn number_all(&mut self, numbering: bool) {
        self.numbering = numbering;
    }

    /// How the transactions ended since this was asked the last time.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Whether it is to be told how transactions end.
    pub(super) fn is_numbering(&self) -> bool {
        self.numbering
    }

    /// Tells which operations were answered in the transaction that ended last.
    pub(super) fn tell(&mut self, ops: impl FnOnce() -> Vec<(usize, Timestamp)>) {
        if let Some((commit_seq, changed)) = self.last.take() {
            self.ended.push(Ended { commit_seq, changed, ops: ops() });
        }
    }

    /// The number that a boot took at this opening, if this was the first one after it.
    pub fn booted(&self) -> Option<u64> {
        self.booted
    }

    /// Says what an operation would answer at the time `now`, and changes nothing.
    ///
    /// # Errors
    /// Those of the operation; nothing changed.
    pub fn rehearse(&mut self, now: Timestamp, op: &Op) -> Result<Reply> {
        self.transaction(|conn, sql| Ok(End::Undo(execute(conn, sql, now, op)?)))
    }

    /// Runs work in a transaction, and ends it as the work says; an error takes it back.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &Statements) -> Result<End<T>>,
    ) -> Result<T> {
        if self.failed {
            return Err(Error::Closed);
        }
        if let Some(steps) = &self.steps {
            steps.begin();
        }
        let ended = self.within(work);
        match &self.steps {
            Some(steps) => ended.map_err(|error| steps.judge(error)),
            None => ended,
        }
    }

    fn within<T>(&mut self, work: impl FnOnce(&Connection, &Statements) -> Result<End<T>>) -> Result<T> {
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
        let number = || if self.numbering { Ok::<_, Error>(Some(last_commit(&s)?)) } else { Ok(None) };
        let done = match ended {
            End::Commit(done) => done,
            End::Undo(done) => {
                let found = number()?;
                s.run(Sql::Rollback, &[])?;
                self.last = found.map(|found| (found, false));
                return Ok(done);
            }
        };
        let changed = self.conn.total_changes() != before;
        if changed {
            next_commit(&s)?;
        }
        let number = number()?;
        let committed = s.run(Sql::Commit, &[]);
        drop(guard);
        match committed {
            Ok(_) => {
                self.last = number.map(|number| (number, changed));
                Ok(done)
            }
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
    /// Whatever SQLite reports.
    pub fn data_version(&self) -> Result<i64> {
        let s = Session::new(&self.conn, &self.sql, Timestamp::ZERO);
        Ok(s.first(Sql::DataVersion, &[], |row| Ok(row.get(0)?))?.unwrap_or_default())
    }

    /// How many transactions changed something, whoever committed them. Within a transaction that is the number of the
    /// last one before it, until it takes its own just before its commit.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the number is damaged, and whatever SQLite reports.
    pub fn commit_seq(&self) -> Result<u64> {
        last_commit(&Session::new(&self.conn, &self.sql, Timestamp::ZERO))
    }

    /// The whole store as a state of the model.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a row outside of what a delivery carries is damaged, and whatever SQLite reports.
    pub fn snapshot(&self) -> Result<State> {
        let read = || snapshot(&self.conn);
        match &self.steps {
            Some(steps) => {
                steps.begin();
                read().map_err(|error| steps.judge(error))
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
    /// Whatever SQLite reports; the file is closed all the same.
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
