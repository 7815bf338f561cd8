//! The store's single row and the cursors of groups: reading and moving them.
//!
//! Invariant: a damaged number is a typed error.
//! Does not depend on: why a cursor moves.

use fencepost_model::state::CursorLease;
use fencepost_model::vocabulary::{Epoch, Group, Name, Reason, RecordId, Seq, Timestamp, Token};
use rusqlite::{Row, named_params};

use crate::error::{Damage, Error, Result};
use crate::sqlite::rows::{count, int, maybe_number, number, reason, text};
use crate::sqlite::session::Session;
use crate::sqlite::statements::StatementId as Sql;

/// How far a boot moves the token counter on: further than any store mints between two syncs.
const TOKENS_SKIPPED: u64 = 1 << 32;

/// How many tokens an epoch that a restore begins has to itself.
const TOKENS_PER_EPOCH: u64 = 1 << 48;

/// The counters, the bounds of the log and the epoch.
pub(super) struct Counters {
    pub(super) queue_last: Seq,
    pub(super) record_last: RecordId,
    pub(super) token_last: Token,
    pub(super) first: Seq,
    pub(super) head: Seq,
    pub(super) epoch: Epoch,
}

const COMMIT_SEQ: (&str, &str) = ("store", "commit_seq");

/// Reads the store's row.
pub(super) fn store(s: &Session<'_>) -> Result<Counters> {
    let counters = s.first(Sql::StoreRead, &[], |row| {
        // Read for the sake of its damage alone.
        let _: Seq = number(row, 6, COMMIT_SEQ)?;
        Ok(Counters {
            queue_last: number(row, 0, ("store", "queue_last"))?,
            record_last: number(row, 1, ("store", "record_last"))?,
            token_last: number(row, 2, ("store", "token_last"))?,
            first: number(row, 3, ("store", "log_first"))?,
            head: number(row, 4, ("store", "log_head"))?,
            epoch: number(row, 5, ("store", "epoch"))?,
        })
    })?;
    counters.ok_or(Error::row_missing("store"))
}

/// Takes the next number of one of the counters.
fn next<T>(s: &Session<'_>, take: Sql, last: Sql, column: &'static str) -> Result<T>
where
    T: TryFrom<u64, Error = fencepost_model::vocabulary::OutOfRange>,
{
    if !s.changes(take, &[])? {
        return Err(damaged_store(s));
    }
    let number = s.first(last, &[], |row| number(row, 0, ("store", column)))?;
    number.map_or_else(|| Err(damaged_store(s)), Ok)
}

/// Why a counter could not be moved: its column or its row is damaged.
fn damaged_store(s: &Session<'_>) -> Error {
    store(s).err().unwrap_or(Error::row_missing("store"))
}

pub(super) fn next_command(s: &Session<'_>) -> Result<Seq> {
    next(s, Sql::CommandNumber, Sql::CommandNumberLast, "queue_last")
}

pub(super) fn next_event(s: &Session<'_>) -> Result<Seq> {
    next(s, Sql::EventNumber, Sql::EventNumberLast, "log_head")
}

pub(super) fn next_record(s: &Session<'_>) -> Result<RecordId> {
    next(s, Sql::RecordNumber, Sql::RecordNumberLast, "record_last")
}

/// Takes the next commit number, for a transaction that changes something. It is no part of the state of the model, and gives
/// the order in which connections and processes committed.
pub(super) fn next_commit(s: &Session<'_>) -> Result<()> {
    if s.changes(Sql::CommitNumber, &[])? { Ok(()) } else { Err(damaged_store(s)) }
}

/// The number of the last transaction that changed something, or of this one once it has taken its own.
pub(super) fn last_commit(s: &Session<'_>) -> Result<u64> {
    let number = s.first(Sql::CommitNumberLast, &[], |row| number::<Seq>(row, 0, COMMIT_SEQ))?;
    number.map_or_else(|| Err(damaged_store(s)), |seq| Ok(seq.get()))
}

/// Mints this many tokens (G4), and returns the last.
pub(super) fn mint(s: &Session<'_>, count: u32) -> Result<Token> {
    if !s.changes(Sql::TokensMint, named_params! {":count": count})? {
        return Err(damaged_store(s));
    }
    let last = s.first(Sql::TokensLast, &[], |row| number(row, 0, ("store", "token_last")))?;
    last.map_or_else(|| Err(damaged_store(s)), Ok)
}

/// Moves the token counter on past all tokens that may have been lost; after a restore, into the range of the new epoch (G4).
pub(super) fn skip_tokens(s: &Session<'_>, restored: Option<Epoch>) -> Result<()> {
    let skipped = store(s)?.token_last.plus(TOKENS_SKIPPED);
    let range = restored.map_or(0, |epoch| epoch.get().saturating_mul(TOKENS_PER_EPOCH));
    let token_last = skipped.max(Token::ZERO.plus(range));
    s.run(Sql::TokensSkip, named_params! {":token_last": int(token_last)})?;
    Ok(())
}

/// Fails unless the log reaches its recorded head.
pub(super) fn check_log_end(s: &Session<'_>) -> Result<()> {
    let end = s.first(Sql::LogEnd, &[], |row| {
        let head: Seq = number(row, 0, ("store", "log_head"))?;
        // A log whose beginning is not known cannot be checked.
        let _: Seq = number(row, 1, ("store", "log_first"))?;
        Ok((head, row.get::<_, bool>(2)?))
    })?;
    match end {
        None => Err(Error::row_missing("store")),
        Some((_, true)) => Ok(()),
        Some((head, false)) => Err(Damage::LogShort { head: head.get() }.into()),
    }
}

/// A cursor without what hangs on it.
pub(super) struct CursorRow {
    pub(super) due_at: Timestamp,
    pub(super) lease: Option<CursorLease>,
}

/// Reads the columns of a cursor from `first` on.
pub(super) fn cursor_row(row: &Row<'_>, first: usize) -> Result<CursorRow> {
    let due_at = number(row, first, ("cursors", "due_at"))?;
    let lease = match maybe_number(row, first + 1, ("cursors", "token"))? {
        None => None,
        Some(token) => Some(CursorLease {
            token,
            attempts_max: count(row, first + 2, ("cursors", "attempts_max"))?,
            handed_through: number(row, first + 3, ("cursors", "handed_through"))?,
            corrupt: maybe_number(row, first + 4, ("cursors", "corrupt_seq"))?,
        }),
    };
    Ok(CursorRow { due_at, lease })
}

pub(super) fn cursor(s: &Session<'_>, group: &Group) -> Result<Option<CursorRow>> {
    s.first(Sql::CursorRead, named_params! {":group": group.as_str()}, |row| cursor_row(row, 0))
}

/// Puts a cursor under a lease until a time.
pub(super) fn take(s: &Session<'_>, group: &Group, due_at: Timestamp, lease: &CursorLease) -> Result<()> {
    s.run(
        Sql::CursorTake,
        named_params! {
            ":group": group.as_str(),
            ":due_at": int(due_at),
            ":token": int(lease.token),
            ":attempts_max": lease.attempts_max,
            ":handed_through": int(lease.handed_through),
            ":corrupt_seq": lease.corrupt.map(int),
        },
    )?;
    Ok(())
}

/// Ends the lease of a cursor, which may be polled again at a time.
pub(super) fn free(s: &Session<'_>, group: &Group, due_at: Timestamp) -> Result<()> {
    s.run(Sql::CursorFree, named_params! {":group": group.as_str(), ":due_at": int(due_at)})?;
    Ok(())
}

/// Where a group stands in one of its names.
pub(super) struct Front {
    pub(super) name: Name,
    pub(super) position: Seq,
    pub(super) attempts: u32,
    pub(super) counted: Option<Token>,
    pub(super) reason: Option<Reason>,
    /// The lowest event of the name past the position.
    pub(super) next: Option<Seq>,
}

/// Reads where a group stands in each of its names.
pub(super) fn fronts(s: &Session<'_>, group: &Group) -> Result<Vec<Front>> {
    s.all(Sql::SubscriptionsFront, named_params! {":group": group.as_str()}, |row| {
        Ok(Front {
            name: text(row, 0, ("subscriptions", "name"))?,
            position: number(row, 1, ("subscriptions", "position"))?,
            attempts: count(row, 2, ("subscriptions", "attempts"))?,
            counted: maybe_number(row, 3, ("subscriptions", "counted"))?,
            reason: reason(row, 4, ("subscriptions", "reason"))?,
            next: maybe_number(row, 5, ("log", "seq"))?,
        })
    })
}

/// The numbers of events of a name past a position.
pub(super) fn events_of(s: &Session<'_>, name: &Name, position: Seq, max: u32) -> Result<Vec<Seq>> {
    let params = named_params! {":name": name.as_str(), ":position": int(position), ":max": max};
    s.all(Sql::EventsOfName, params, |row| number(row, 0, ("log", "seq")))
}
