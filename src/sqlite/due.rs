//! When a consumer has something to do next, and whether a lease is still current.
//!
//! The answers are hints: the claim, poll or settlement that follows decides.
//!
//! Invariant: nothing changes, and each answer costs a few seeks in an index. A row that cannot be read is due at once, so
//! that no consumer sleeps through it (G5).
//! Does not depend on: consumers.

use fencepost_model::op::Lease;
use fencepost_model::vocabulary::{Group, Names, Seq, Timestamp, Token};
use rusqlite::Connection;
use rusqlite::named_params;
use rusqlite::types::ValueRef;

use crate::error::Result;
use crate::sqlite::cursor::cursor;
use crate::sqlite::rows::{int, maybe_number, number};
use crate::sqlite::session::Session;
use crate::sqlite::statements::{StatementId as Sql, Statements};

/// The time at which the first command of these names is due, in milliseconds since the Unix epoch, past or future;
/// none if there is none. [`Timestamp::ZERO`] if there is a command that cannot be read, of any name: the next
/// claim moves it to the dead letters. One seek for each name.
///
/// # Errors
/// Errors of SQLite.
pub fn next_due_commands(conn: &Connection, sql: &Statements, names: &Names) -> Result<Option<Timestamp>> {
    let s = Session::new(conn, sql, Timestamp::ZERO);
    if s.any(Sql::CommandsUnreadable, named_params! {":max": 1})? {
        return Ok(Some(Timestamp::ZERO));
    }
    let mut next = None;
    for name in names {
        let due_at = s.first(Sql::CommandNextDue, named_params! {":name": name.as_str()}, |row| {
            number::<Timestamp>(row, 0, ("queue", "due_at"))
        })?;
        next = next.into_iter().chain(due_at).min();
    }
    Ok(next)
}

/// The time at which a group has something to do by the clock alone, in milliseconds since the Unix epoch: the end of
/// its cursor's lease or back-off if that lies after `now`; else the time at which the first of its entries is due,
/// past or future. None if it waits for nothing but new events, or does not exist.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt) if the group's cursor is damaged, and errors of SQLite.
pub fn next_due_group(
    conn: &Connection,
    sql: &Statements,
    group: &Group,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let s = Session::new(conn, sql, now);
    match cursor(&s, group)? {
        None => Ok(None),
        Some(cursor) if cursor.due_at > now => Ok(Some(cursor.due_at)),
        Some(_) => {
            let due_at = s.first(Sql::EntryNextDue, named_params! {":group": group.as_str()}, |row| {
                maybe_number(row, 0, ("entries", "due_at"))
            })?;
            Ok(due_at.flatten())
        }
    }
}

/// Whether this token is the current one of a lease, so that a settlement under it would not be `LeaseLost` (G3). The
/// time of the lease does not matter: a current token settles also after the lease expired, until another consumer takes the
/// lease. False if the command or the cursor is gone or cannot be read.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt) if the cursor of the group is damaged, and errors of SQLite.
pub fn lease_is_current(conn: &Connection, sql: &Statements, lease: &Lease, token: Token) -> Result<bool> {
    let s = Session::new(conn, sql, Timestamp::ZERO);
    match lease {
        Lease::Command(seq) => command_is_held(&s, *seq, token),
        Lease::Cursor(group) => {
            let lease = cursor(&s, group)?.and_then(|cursor| cursor.lease);
            Ok(lease.is_some_and(|lease| lease.token == token))
        }
    }
}

fn command_is_held(s: &Session<'_>, seq: Seq, token: Token) -> Result<bool> {
    let held = s.first(Sql::CommandInspect, named_params! {":seq": int(seq)}, |row| {
        let current = row.get_ref(1)?;
        Ok(!row.get::<_, bool>(0)? && matches!(current, ValueRef::Integer(current) if current == int(token)))
    })?;
    Ok(held.unwrap_or(false))
}
