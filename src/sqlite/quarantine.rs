//! Dead-lettering a command that cannot be decoded, before its turn.
//!
//! Invariant: the effect is that of the contract's own operations on a queue in which only this command is due: a claim, which
//! mints a token and counts an attempt, and a dead-letter settlement under that token. No other command and no held command
//! is touched.
//! Does not depend on: why the command is moved.

use fencepost_model::op::{Reply, Settled, Settlement};
use fencepost_model::state::Body;
use fencepost_model::vocabulary::{Kind, Reason, RecordId, Seq, Timestamp};
use rusqlite::{Connection, named_params};

use crate::error::{Error, Result};
use crate::sqlite::cursor::{mint, next_commit};
use crate::sqlite::queue::{self, Claim};
use crate::sqlite::rows::{body, int};
use crate::sqlite::session::{Answer, Session, Stop};
use crate::sqlite::statements::{StatementId as Sql, Statements};

/// Moves a command, whose name can be read and whose message cannot, to the dead letters at the time `now`, within the
/// caller's transaction. Returns its record; none, and nothing changed, if there is no such command, if its message is
/// sound, if its bookkeeping cannot be read (the next claim moves it), or if it is held (G2).
///
/// # Errors
/// Errors of SQLite; the caller must take the transaction back then.
pub fn quarantine(
    conn: &Connection,
    sql: &Statements,
    now: Timestamp,
    seq: Seq,
    reason: &Reason,
) -> Result<Option<RecordId>> {
    match bury(&Session::new(conn, sql, now), seq, reason) {
        Ok(record) => Ok(record),
        Err(Stop::Refused(_)) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn bury(s: &Session<'_>, seq: Seq, reason: &Reason) -> Answer<Option<RecordId>> {
    match queue::inspect(s, seq)? {
        Some(held) if held.token.is_none() || held.due_at <= s.now => {}
        _ => return Ok(None),
    }
    let params = named_params! {":seq": int(seq)};
    let body = s.first(Sql::CommandRead, params, |row| body(row, 0, Kind::Command, seq.get()))?;
    if !matches!(body, Some(Body::Corrupt { .. })) {
        return Ok(None);
    }
    let claim = Claim { max: 1, lease_ms: 0, attempts_max: u32::MAX };
    let token = mint(s, 1)?;
    queue::take(s, seq, token, s.now, &claim)?;
    match queue::settle(s, seq, token, &Settlement::DeadLetter { reason: reason.clone() })? {
        Reply::Settled(Settled::DeadLettered { record }) => {
            next_commit(s)?;
            Ok(Some(record))
        }
        _ => Err(Error::row_missing("queue").into()),
    }
}
