//! An inspection of a file: what SQLite says of it, whether its tables are ours, and every row.
//!
//! Invariant: not a byte of the file or of its WAL changes (the index of a WAL in use notes each reader, this one too), and
//! the result belongs to one state of the file.
//! Does not depend on: what the findings mean.

use std::path::Path;

use fencepost_model::vocabulary::Timestamp;
use rusqlite::{Connection, Row};

use crate::error::{Damage, Error, Result};
use crate::sqlite::files::beside;
use crate::sqlite::migrate::migrate;
use crate::sqlite::open::still;
use crate::sqlite::session::{Session, reading};
use crate::sqlite::snapshot::{Survey, survey_by};
use crate::sqlite::statements::{StatementId as Sql, Statements};
use crate::sqlite::trust::hangs_on;
use crate::sqlite::wal::{self, DamagedWal, Wal};

/// What a file holds besides rows: a table, an index, a view or a trigger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaObject {
    /// `table`, `index`, `view` or `trigger`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The table that it is, or belongs to.
    pub table: String,
    /// The SQL that made it.
    pub sql: String,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// An interrupted transaction left a journal that must be played back first. Nothing else was looked at.
    pub interrupted: bool,
    /// Commits that lie behind damage in the WAL: what is read of the file is as if they had never been.
    pub wal: Option<DamagedWal>,
    /// What SQLite finds malformed, a line for each, at most a hundred.
    pub malformed: Vec<String>,
    /// What of the schema is missing or is not as this program makes it.
    pub changed: Vec<SchemaObject>,
    /// What is in the file and not of the schema: the caller's own tables, and what hangs on ours.
    pub foreign: Vec<SchemaObject>,
    /// All rows; none if the file is too malformed to be read.
    pub survey: Option<Survey>,
}

/// Inspects a file. If no connection has it open, nothing is put beside it either. If a WAL lies beside it without its index,
/// as when only these two were copied, SQLite makes an index and leaves it there.
///
/// # Errors
/// The errors with which opening the file is refused, [`Error::Busy`], and errors of SQLite. A malformed file is
/// no error.
pub fn inspect(path: &Path) -> Result<Inspection> {
    inspect_by(path, &Statements::standard())
}

/// As [`inspect`], with other statements: for tests that show that a wrong one is noticed.
///
/// # Errors
/// As there.
#[doc(hidden)]
pub fn inspect_by(path: &Path, sql: &Statements) -> Result<Inspection> {
    if beside(path, "-journal").is_some_and(|bytes| bytes > 0) {
        return Ok(Inspection { interrupted: true, ..Inspection::default() });
    }
    let Wal { damaged, .. } = wal::look(path)?;
    let seen = look_at(path, sql, || {})?;
    Ok(Inspection { wal: damaged, ..seen })
}

/// Looks through the file. `meanwhile` is what others do between the look and the question whether it holds.
fn look_at(path: &Path, sql: &Statements, meanwhile: impl FnOnce()) -> Result<Inspection> {
    // If no WAL lies beside it, or one that holds nothing, the file is looked at as it lies there. If another
    // process wrote meanwhile, the result is discarded. (SQLite cannot read, without writing an index, a WAL in which it finds no
    // commit, as a process leaves it that is killed in between, or damage to its header: it tries for ten seconds and
    // gives up.)
    let holds_nothing = || Ok::<_, Error>(wal::look(path)?.commits == 0);
    if holds_nothing()? {
        let stamp =
            || Ok::<_, Error>(std::fs::metadata(path).map(|found| (found.len(), found.modified().ok()))?);
        let before = std::fs::metadata(path).ok().map(|found| (found.len(), found.modified().ok()));
        let seen = look_through(path, sql, true)?;
        meanwhile();
        if holds_nothing()? && before == Some(stamp()?) {
            return Ok(seen);
        }
    }
    look_through(path, sql, false)
}

fn look_through(path: &Path, sql: &Statements, alone: bool) -> Result<Inspection> {
    let mut seen = Inspection::default();
    let looked = still(path, alone)
        .and_then(|(conn, steps)| read(&conn, sql, &mut seen).map_err(|error| steps.classify(error)));
    match looked {
        Err(Error::Corrupt { what: what @ (Damage::File | Damage::Endless) }) => {
            if what == Damage::Endless || seen.malformed.is_empty() {
                seen.malformed.push(what.to_string());
            }
        }
        looked => looked?,
    }
    Ok(seen)
}

fn read(conn: &Connection, sql: &Statements, seen: &mut Inspection) -> Result<()> {
    reading(conn, sql, || {
        let s = Session::new(conn, sql, Timestamp::ZERO);
        // A connection that only reads does not load the checks of tables, so SQLite judges the file and no values: what
        // a row holds against them is damage to that row, and the survey finds it.
        let lines: Vec<String> = s.all(Sql::IntegrityCheck, &[], |row| Ok(row.get(0)?))?;
        seen.malformed = lines.into_iter().filter(|line| line != "ok").collect();
        let (ours, theirs) = (schema(&reference()?, sql)?, schema(conn, sql)?);
        seen.changed = ours.iter().filter(|object| !theirs.contains(object)).cloned().collect();
        let is_ours = |object: &SchemaObject| ours.iter().any(|our| our.name == object.name);
        seen.foreign = theirs.into_iter().filter(|object| !is_ours(object)).collect();
        for object in &mut seen.foreign {
            // What a trigger says of its table is not what it hangs on.
            let tables = ours.iter().filter(|our| our.kind == "table").map(|our| our.name.as_str());
            if let Some(table) = hangs_on(&object.kind, &object.table, &object.sql, tables) {
                object.table = table.to_owned();
            }
        }
        if seen.changed.is_empty() {
            seen.survey = Some(survey_by(conn, sql)?);
        }
        Ok(())
    })
}

/// An empty store, to compare with.
fn reference() -> Result<Connection> {
    let conn = Connection::open_in_memory()?;
    migrate(&conn, 0, None)?;
    Ok(conn)
}

fn schema(conn: &Connection, sql: &Statements) -> Result<Vec<SchemaObject>> {
    let s = Session::new(conn, sql, Timestamp::ZERO);
    let text =
        |row: &Row<'_>, index| Ok::<_, Error>(row.get::<_, Option<String>>(index)?.unwrap_or_default());
    s.all(Sql::ListSchema, &[], |row| {
        Ok(SchemaObject {
            kind: text(row, 0)?,
            name: text(row, 1)?,
            table: text(row, 2)?,
            sql: text(row, 3)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use fencepost_model::op::Op;
    use fencepost_model::vocabulary::{Kind, Message, Name};

    use super::*;
    use crate::sqlite::open::OpenOptions;
    use crate::sqlite::store::Store;

    #[test]
    fn what_is_written_during_the_look_is_seen_whether_it_stays_in_the_wal_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.db");
        let commands = |seen: &Inspection| seen.survey.as_ref().unwrap().rows["queue"];
        let mut sent = 0;
        for stays in [true, false, true] {
            let (mut store, before) = (None, sent);
            Store::open(&path, &OpenOptions::default()).unwrap().close().unwrap();
            let seen = look_at(&path, &Statements::standard(), || {
                let mut other = Store::open(&path, &OpenOptions::default()).unwrap();
                let message = Message::new(Kind::Command, Name::new("a").unwrap(), *b"x").into();
                other.apply(Timestamp::ZERO, &Op::Send { message, delay_ms: 0 }).unwrap();
                sent += 1;
                if stays {
                    store = Some(other);
                } else {
                    other.close().unwrap();
                }
            });
            let seen = seen.unwrap();
            assert_eq!((commands(&seen), sent), (before + 1, before + 1), "stays in the WAL: {stays}");
        }
    }
}
