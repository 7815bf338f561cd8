//! The whole store as a state of the model, to be compared and looked at.
//!
//! What always holds: every row is accounted for or the snapshot fails; nothing is skipped. Ids come with the digest
//! of their content. This module only reads.

use std::collections::btree_map::Entry as Slot;

use fencepost_model::state::{Command, CommandLease, Cursor, Entry, LogRow, Progress, Remembered, State};
use fencepost_model::vocabulary::{Content, Group, Kind, MessageId, Seq, Timestamp, Token};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::error::{Damage, Error, Result};
use crate::sqlite::cursor::{cursor_row, store};
use crate::sqlite::records::stored;
use crate::sqlite::rows::{BODY_COLUMNS, body, count, maybe_number, number, reason, text, unreadable};
use crate::sqlite::session::Session;
use crate::sqlite::statements::{StatementId as Sql, Statements};

/// Reads all tables. Equal to the model's state, but for [`Remembered::content`], which holds the digest alone.
///
/// # Errors
/// [`Error::Corrupt`] if a row outside of what a delivery carries is damaged, and whatever SQLite reports.
pub fn snapshot(conn: &Connection) -> Result<State> {
    let sql = Statements::standard();
    let s = Session::new(conn, &sql, Timestamp::ZERO);
    let counters = store(&s)?;
    let mut state = State {
        queue_last: counters.queue_last,
        record_last: counters.record_last,
        token_last: counters.token_last,
        first: counters.first,
        head: counters.head,
        epoch: counters.epoch,
        ..State::default()
    };
    state.epochs_retired =
        s.all(Sql::ListEpochs, &[], |row| number(row, 0, ("epochs_retired", "epoch")))?.into_iter().collect();
    s.all(Sql::ListQueue, &[], |row| command(&mut state, row))?;
    s.all(Sql::ListIds, &[], |row| id(&mut state, row))?;
    s.all(Sql::ListLog, &[], |row| event(&mut state, row))?;
    s.all(Sql::ListTombstones, &[], |row| tombstone(&mut state, row))?;
    check_complete(&state)?;
    s.all(Sql::ListCursors, &[], |row| cursor(&mut state, row))?;
    s.all(Sql::ListSubscriptions, &[], |row| subscription(&mut state, row))?;
    s.all(Sql::ListEntries, &[], |row| entry(&mut state, row))?;
    s.all(Sql::ListRecords, &[], |row| record(&mut state, row))?;
    Ok(state)
}

fn command(state: &mut State, row: &Row<'_>) -> Result<()> {
    let seq: Seq = number(row, 0, ("queue", "seq"))?;
    let first = 2;
    let rest = first + BODY_COLUMNS.len();
    if row.get(1)? {
        let raw = unreadable(row, first, rest)?;
        state.unreadable.insert(seq, raw);
        return Ok(());
    }
    let lease = match maybe_number::<Token>(row, rest + 2, ("queue", "token"))? {
        None => None,
        Some(token) => Some(CommandLease {
            token,
            attempts_max: count(row, rest + 3, ("queue", "attempts_max"))?,
            corrupt: row.get(rest + 4)?,
        }),
    };
    let command = Command {
        body: body(row, first, Kind::Command, seq.get())?,
        due_at: number(row, rest, ("queue", "due_at"))?,
        attempts: count(row, rest + 1, ("queue", "attempts"))?,
        lease,
        reason: reason(row, rest + 5, ("queue", "reason"))?,
    };
    state.queue.insert(seq, command);
    Ok(())
}

fn id(state: &mut State, row: &Row<'_>) -> Result<()> {
    let ids = match row.get_ref(0)? {
        ValueRef::Text(b"command") => &mut state.command_ids,
        ValueRef::Text(b"event") => &mut state.event_ids,
        _ => return Err(Error::column("ids", "kind")),
    };
    let id: MessageId = text(row, 1, ("ids", "id"))?;
    let digest = row.get_ref(3)?.as_blob().map_err(|_| Error::column("ids", "digest"))?;
    let remembered = Remembered {
        seq: number(row, 2, ("ids", "seq"))?,
        content: Content(digest.into()),
        ended_at: maybe_number(row, 4, ("ids", "ended_at"))?,
    };
    ids.insert(id, remembered);
    Ok(())
}

fn event(state: &mut State, row: &Row<'_>) -> Result<()> {
    let seq: Seq = number(row, 0, ("log", "seq"))?;
    state.log.insert(seq, LogRow::Event(body(row, 1, Kind::Event, seq.get())?));
    Ok(())
}

fn tombstone(state: &mut State, row: &Row<'_>) -> Result<()> {
    match state.log.entry(number(row, 0, ("tombstones", "seq"))?) {
        Slot::Vacant(slot) => slot.insert(LogRow::Tombstone),
        Slot::Occupied(_) => return Err(Damage::Contradiction.into()),
    };
    Ok(())
}

/// The log is complete from its first number to its head, or fails closed.
fn check_complete(state: &State) -> Result<()> {
    let expected = state.head.get() + 1 - state.first.get();
    let inside = state.log.range(state.first..).take_while(|(seq, _)| **seq <= state.head).count();
    if inside as u64 == expected && inside == state.log.len() {
        return Ok(());
    }
    match state.log.contains_key(&state.head) || expected == 0 {
        true => Err(Damage::LogIncomplete.into()),
        false => Err(Damage::LogShort { head: state.head.get() }.into()),
    }
}

fn cursor(state: &mut State, row: &Row<'_>) -> Result<()> {
    let group: Group = text(row, 0, ("cursors", "group_name"))?;
    let found = cursor_row(row, 1)?;
    state.groups.insert(group, Cursor { due_at: found.due_at, lease: found.lease, ..Cursor::default() });
    Ok(())
}

/// The group that a row belongs to.
fn group<'a>(
    state: &'a mut State,
    row: &Row<'_>,
    index: usize,
    table: &'static str,
) -> Result<&'a mut Cursor> {
    let group: Group = text(row, index, (table, "group_name"))?;
    state.groups.get_mut(&group).ok_or(Error::row_missing("cursors"))
}

fn subscription(state: &mut State, row: &Row<'_>) -> Result<()> {
    let cursor = group(state, row, 0, "subscriptions")?;
    let progress = Progress {
        position: number(row, 2, ("subscriptions", "position"))?,
        attempts: count(row, 3, ("subscriptions", "attempts"))?,
        counted: maybe_number(row, 4, ("subscriptions", "counted"))?,
        reason: reason(row, 5, ("subscriptions", "reason"))?,
    };
    cursor.names.insert(text(row, 1, ("subscriptions", "name"))?, progress);
    Ok(())
}

fn entry(state: &mut State, row: &Row<'_>) -> Result<()> {
    let cursor = group(state, row, 1, "entries")?;
    let seq: Seq = number(row, 2, ("entries", "seq"))?;
    let entry = Entry {
        seq,
        body: body(row, 7, Kind::Event, seq.get())?,
        due_at: number(row, 3, ("entries", "due_at"))?,
        attempts: count(row, 4, ("entries", "attempts"))?,
        counted: maybe_number(row, 5, ("entries", "counted"))?,
        reason: reason(row, 6, ("entries", "reason"))?,
    };
    cursor.entries.insert(number(row, 0, ("entries", "record"))?, entry);
    Ok(())
}

fn record(state: &mut State, row: &Row<'_>) -> Result<()> {
    state.records.insert(number(row, 0, ("records", "record"))?, stored(row)?);
    Ok(())
}
