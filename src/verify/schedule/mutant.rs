//! Mutants of clients over a store that does everything right; the search must find each.
//!
//! Each is a common bug around a database with one writer: a lock that comes too late, a check in one transaction and
//! the act in the next, a retry of what was done.
//!
//! Does not depend on: which client runs when.

use fencepost_model::op::{Delivery, Op, Reply, Target};
use fencepost_model::vocabulary::{Timestamp, Token};
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Store, execute};

/// A mutant of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientMutant {
    /// `BEGIN` where `BEGIN IMMEDIATE` belongs: what was read may be old when it becomes a write.
    LockTakenLate,
    /// A claim looks what is due in one transaction, and takes it in another.
    ClaimInTwo,
    /// A settlement does not ask for its token.
    SettledWithoutToken,
    /// What was busy half-way is done again from its beginning.
    SentAgainAfterBusy,
    /// The answer is given before the commit.
    AnsweredBeforeCommit,
    /// The cursor's lease is looked at in one transaction, and what it allows is done in another.
    CursorCheckedOutside,
}

/// Observes an operation from within.
pub trait AnswerWatch {
    /// The caller has its answer.
    fn answered(&self);
    /// A statement failed, and nothing was run since.
    fn failed(&self, conn: &Connection);
}

impl ClientMutant {
    /// Does an operation as this mutant does it. `watch` is told when the caller has its answer.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply(self, store: &mut Store, now: Timestamp, op: &Op, watch: &dyn AnswerWatch) -> Result<Reply> {
        match (self, op) {
            (Self::LockTakenLate, op) => {
                let conn = store.connection();
                conn.execute_batch("BEGIN")?;
                let done = execute(conn, store.statements(), now, op);
                if done.is_err() {
                    watch.failed(conn);
                }
                conn.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
                done
            }
            (Self::ClaimInTwo, Op::Claim { lease_ms, attempts_max, .. }) => {
                let seen = store.rehearse(now, op)?;
                let Reply::HandedOut { mut deliveries, dead_lettered } = seen else { return Ok(seen) };
                let conn = store.connection();
                conn.execute_batch("BEGIN IMMEDIATE")?;
                for delivery in &mut deliveries {
                    let until = now.plus(*lease_ms);
                    take(conn, delivery, until, attempts_max.get())?;
                }
                conn.execute_batch("COMMIT")?;
                Ok(Reply::HandedOut { deliveries, dead_lettered })
            }
            (Self::SettledWithoutToken, Op::Settle { target, token, how }) => {
                let token = current(store.connection(), target)?.unwrap_or(*token);
                store.apply(now, &Op::Settle { target: target.clone(), token, how: how.clone() })
            }
            (Self::CursorCheckedOutside, Op::Settle { target, token, how }) => {
                // In a transaction of its own, as any reading is.
                if current(store.connection(), target)? != Some(*token) {
                    return store.apply(now, op);
                }
                let conn = store.connection();
                conn.execute_batch("BEGIN IMMEDIATE")?;
                let token = current(conn, target)?.unwrap_or(*token);
                let op = Op::Settle { target: target.clone(), token, how: how.clone() };
                let reply = execute(conn, store.statements(), now, &op);
                conn.execute_batch("COMMIT")?;
                reply
            }
            (Self::SentAgainAfterBusy, Op::Send { .. }) => {
                let mut tried = 0;
                loop {
                    let reply = store.apply(now, op)?;
                    tried += 1;
                    match empty(store.connection()) {
                        Err(Error::Busy) if tried < 2 => {}
                        Ok(()) | Err(Error::Busy) => return Ok(reply),
                        Err(error) => return Err(error),
                    }
                }
            }
            (Self::AnsweredBeforeCommit, op) => {
                let conn = store.connection();
                conn.execute_batch("BEGIN IMMEDIATE")?;
                let reply = execute(conn, store.statements(), now, op);
                watch.answered();
                conn.execute_batch("COMMIT")?;
                reply
            }
            _ => store.apply(now, op),
        }
    }
}

/// Takes what was found due before, without looking again.
fn take(conn: &Connection, delivery: &mut Delivery, until: Timestamp, attempts_max: u32) -> Result<()> {
    let Target::Command(seq) = delivery.target else { return Ok(()) };
    conn.execute("UPDATE store SET token_last = token_last + 1", [])?;
    let minted: i64 = conn.query_row("SELECT token_last FROM store", [], |row| row.get(0))?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    conn.execute(
        "UPDATE queue SET token = ?1, attempts = ?2, attempts_max = ?3, due_at = ?4 WHERE seq = ?5",
        (minted, delivery.attempt, attempts_max, number(until.get()), number(seq.get())),
    )?;
    delivery.token = Token::ZERO.plus(u64::try_from(minted).unwrap_or_default());
    delivery.lease_until = until;
    Ok(())
}

/// The token under which something is held.
fn current(conn: &Connection, target: &Target) -> Result<Option<Token>> {
    let token: Option<Option<i64>> = match target {
        Target::Command(seq) => {
            let seq = i64::try_from(seq.get()).unwrap_or(i64::MAX);
            conn.query_row("SELECT token FROM queue WHERE seq = ?1", [seq], |row| row.get(0)).optional()?
        }
        Target::Event { group, .. } | Target::Entry { group, .. } => conn
            .query_row("SELECT token FROM cursors WHERE group_name = ?1", [group.as_str()], |row| row.get(0))
            .optional()?,
    };
    Ok(token.flatten().map(|token| Token::ZERO.plus(u64::try_from(token).unwrap_or_default())))
}

/// Copies the WAL into the file and empties it, once no connection reads or writes it.
pub(super) fn empty(conn: &Connection) -> Result<()> {
    checkpoint(conn, "PRAGMA wal_checkpoint(TRUNCATE)")
}

/// Copies the WAL into the file, as far as others allow.
pub(super) fn copy(conn: &Connection) -> Result<()> {
    checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)")
}

fn checkpoint(conn: &Connection, pragma: &str) -> Result<()> {
    let busy: i64 = conn.prepare_cached(pragma)?.query_row([], |row| row.get(0))?;
    if busy == 0 { Ok(()) } else { Err(Error::Busy) }
}
