//! The dispatch: one operation inside an open transaction.
//!
//! Invariant: a refused operation has changed nothing, since every operation checks before it writes, and several in one are
//! rolled back to a savepoint (G12).
//! Does not depend on: who began the transaction. Only the dispatch is here; each operation is in a module of its own.

use fencepost_model::op::{Lease, Op, Refusal, Reply, Target};
use fencepost_model::vocabulary::Timestamp;
use rusqlite::Connection;

use crate::error::Result;
use crate::sqlite::session::{Answer, Session, Stop};
use crate::sqlite::statements::{StatementId as Sql, Statements};
use crate::sqlite::{cursor, ids, log, poll, queue, records, settle};

/// Applies one operation at the time `now` within the caller's transaction.
///
/// A refusal is a reply, and has changed nothing.
///
/// # Errors
/// Any [`Error`](crate::Error); the caller must take the transaction back then.
pub fn execute(conn: &Connection, sql: &Statements, now: Timestamp, op: &Op) -> Result<Reply> {
    match run(&Session::new(conn, sql, now), op) {
        Ok(reply) => Ok(reply),
        Err(Stop::Refused(refusal)) => Ok(Reply::Refused(refusal)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Applies one operation as [`execute`] does, within a transaction that the caller commits: an operation that changed something
/// takes a commit number for itself (see [`Store::commit_seq`](crate::sqlite::Store::commit_seq)).
///
/// # Errors
/// As [`execute`].
pub fn execute_within(conn: &Connection, sql: &Statements, now: Timestamp, op: &Op) -> Result<Reply> {
    let before = conn.total_changes();
    let reply = execute(conn, sql, now, op)?;
    if conn.total_changes() != before {
        cursor::next_commit(&Session::new(conn, sql, now))?;
    }
    Ok(reply)
}

fn run(s: &Session<'_>, op: &Op) -> Answer<Reply> {
    match op {
        Op::Send { message, delay_ms } => queue::send(s, message, *delay_ms),
        Op::Claim { names, max, lease_ms, attempts_max } => {
            let lease =
                queue::Claim { max: max.get(), lease_ms: *lease_ms, attempts_max: attempts_max.get() };
            Ok(queue::claim(s, names, &lease)?)
        }
        Op::Cancel { seq } => queue::cancel(s, *seq),
        Op::Publish { message } => log::publish(s, message),
        Op::Subscribe { group, name, start } => log::subscribe(s, group, name, *start),
        Op::Unsubscribe { group, name } => log::unsubscribe(s, group, name),
        Op::Poll { group, names, token, max, lease_ms, attempts_max } => {
            let replica = poll::Replica {
                names,
                token: *token,
                max: max.get(),
                lease_ms: *lease_ms,
                attempts_max: attempts_max.get(),
            };
            poll::poll(s, group, &replica)
        }
        Op::Seek { group, name, position } => log::seek(s, group, name, *position),
        Op::Settle { target, token, how } => match target {
            Target::Command(seq) => queue::settle(s, *seq, *token, how),
            Target::Event { group, seq } => settle::event(s, group, *seq, *token, how),
            Target::Entry { group, record } => settle::entry(s, group, *record, *token, how),
        },
        Op::Release { lease, token } => match lease {
            Lease::Command(seq) => queue::release(s, *seq, *token),
            Lease::Cursor(group) => settle::release(s, group, *token),
        },
        Op::Extend { lease, token, lease_ms } => match lease {
            Lease::Command(seq) => queue::extend(s, *seq, *token, *lease_ms),
            Lease::Cursor(group) => settle::extend(s, group, *token, *lease_ms),
        },
        Op::Redrive { record } => records::redrive(s, *record),
        Op::Purge { record } => records::purge(s, *record),
        Op::Repair { record, message } => records::repair(s, *record, message),
        Op::Prune { retention_ms } => Ok(log::prune(s, *retention_ms)?),
        Op::ForgetIds { retention_ms } => Ok(ids::forget(s, *retention_ms)?),
        Op::Reset { expected, next } => log::reset(s, *expected, *next),
        Op::Reboot => {
            cursor::skip_tokens(s, None)?;
            Ok(Reply::Rebooted)
        }
        Op::Restore { next } => log::restore(s, *next),
        Op::Atomic(ops) => atomic(s, ops),
    }
}

/// All operations or none (G12): the first refusal takes back what the ones before it did.
fn atomic(s: &Session<'_>, ops: &[Op]) -> Answer<Reply> {
    s.run(Sql::AtomicBegin, &[])?;
    let mut replies = Vec::with_capacity(ops.len());
    for (index, op) in (0..).zip(ops) {
        match run(s, op) {
            Ok(reply) => replies.push(reply),
            Err(stop) => {
                s.run(Sql::AtomicUndo, &[])?;
                s.run(Sql::AtomicKeep, &[])?;
                return Err(match stop {
                    Stop::Refused(refusal) => Refusal::Aborted { index, refusal: Box::new(refusal) }.into(),
                    Stop::Failed(error) => error.into(),
                });
            }
        }
    }
    s.run(Sql::AtomicKeep, &[])?;
    Ok(Reply::Done(replies))
}
