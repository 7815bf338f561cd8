//! The log and its readers: publish, subscribe, unsubscribe, seek, prune, and the epochs of the log.
//!
//! Invariant: a log that is shorter than its recorded head fails closed, and numbers only grow (G15).
//! Does not depend on: how a cursor hands out and settles (`poll`, `settle`).

use std::sync::Arc;

use fencepost_model::op::{Refusal, Reply, Start};
use fencepost_model::state::{Body, Cause};
use fencepost_model::vocabulary::{Epoch, Group, Kind, Message, Name, RecordId, Seq};
use rusqlite::named_params;

use crate::error::{Damage, Result};
use crate::sqlite::cursor::{
    check_log_end, cursor, events_of, free, next_event, next_record, skip_tokens, store,
};
use crate::sqlite::ids::{self, Recalled, cutoff};
use crate::sqlite::queue::insert;
use crate::sqlite::records::{Aside, cause_word, place_word, position};
use crate::sqlite::rows::{body, int, number};
use crate::sqlite::session::{Answer, Session};
use crate::sqlite::statements::StatementId as Sql;

pub(super) fn publish(s: &Session<'_>, message: &Arc<Message>) -> Answer<Reply> {
    if message.kind != Kind::Event {
        return Err(Refusal::WrongKind.into());
    }
    check_log_end(s)?;
    let digest = match ids::recall(s, message)? {
        Recalled::Known(seq) => return Ok(Reply::Accepted { seq, fresh: false }),
        Recalled::Fresh(digest) => digest,
    };
    let seq = next_event(s)?;
    insert(s, Sql::EventInsert, message, seq, &[])?;
    ids::remember(s, message, digest.as_ref(), int(seq))?;
    Ok(Reply::Accepted { seq, fresh: true })
}

/// A position may lie anywhere from just before what is kept up to the head.
fn check_position(position: Seq, first: Seq, head: Seq) -> Answer<()> {
    if position > head {
        Err(Refusal::BeyondHead { head }.into())
    } else if position < first.before() {
        Err(Refusal::Pruned { first }.into())
    } else {
        Ok(())
    }
}

/// Adds a name to a group. From the first event of the new name on, what a holder was handed out is no longer all that
/// there is, so it must poll again to settle that (G6).
pub(super) fn subscribe(s: &Session<'_>, group: &Group, name: &Name, start: Start) -> Answer<Reply> {
    if let Some(position) = position(s, group, name)? {
        return Ok(Reply::Subscribed { position, fresh: false });
    }
    let counters = store(s)?;
    let position = match start {
        Start::Earliest => counters.first.before(),
        Start::Latest => counters.head,
        Start::After(position) => position,
    };
    check_position(position, counters.first, counters.head)?;
    let group = group.as_str();
    s.run(Sql::CursorInsert, named_params! {":group": group})?;
    let at = int(position);
    let params = named_params! {":group": group, ":name": name.as_str(), ":position": at};
    s.run(Sql::SubscriptionInsert, params)?;
    if let Some(new) = events_of(s, name, position, 1)?.pop() {
        s.run(Sql::CursorNarrow, named_params! {":group": group, ":through": int(new.before())})?;
    }
    Ok(Reply::Subscribed { position, fresh: true })
}

/// Takes a name from a group. A group ends with its last name, and none of its entries may end with it (G5).
pub(super) fn unsubscribe(s: &Session<'_>, group: &Group, name: &Name) -> Answer<Reply> {
    let params = named_params! {":group": group.as_str(), ":name": name.as_str()};
    if s.run(Sql::SubscriptionRemove, params)? == 0 {
        return Err(Refusal::NotSubscribed.into());
    }
    let of_group = named_params! {":group": group.as_str()};
    let ends = !s.holds(Sql::SubscriptionsLeft, of_group)?;
    let leaving = (!ends).then(|| name.as_str());
    let params = named_params! {":group": group.as_str(), ":name": leaving};
    let mut returned: Vec<RecordId> =
        s.all(Sql::EntriesOfGroup, params, |row| number(row, 0, ("entries", "record")))?;
    returned.sort_unstable();
    for record in &returned {
        return_entry(s, *record, &Aside::dead(Cause::Unsubscribed, None))?;
    }
    if ends {
        s.run(Sql::CursorRemove, of_group)?;
    }
    Ok(Reply::Unsubscribed { returned })
}

/// Moves a redriven entry back among the records, under the number that it had there (G14).
pub(super) fn return_entry(s: &Session<'_>, record: RecordId, aside: &Aside<'_>) -> Result<()> {
    s.run(
        Sql::EntryAside,
        named_params! {
            ":record": int(record),
            ":place": place_word(aside.place),
            ":cause": cause_word(aside.cause),
            ":reason": aside.reason,
            ":now": int(s.now),
        },
    )?;
    s.run(Sql::EntryRemove, named_params! {":record": int(record)})?;
    Ok(())
}

pub(super) fn seek(s: &Session<'_>, group: &Group, name: &Name, to: Seq) -> Answer<Reply> {
    let counters = store(s)?;
    check_position(to, counters.first, counters.head)?;
    if cursor(s, group)?.is_none() || position(s, group, name)?.is_none() {
        return Err(Refusal::NotSubscribed.into());
    }
    move_position(s, group, name, to)?;
    free(s, group, s.now)?;
    Ok(Reply::Sought)
}

/// Moves a group's position in one name (G6, G7).
pub(super) fn move_position(s: &Session<'_>, group: &Group, name: &Name, to: Seq) -> Result<()> {
    let params = named_params! {":group": group.as_str(), ":name": name.as_str(), ":position": int(to)};
    s.run(Sql::SubscriptionMove, params)?;
    Ok(())
}

/// Deletes from the front of the log what is old and passed by every subscribed group (G13). What cannot be decoded
/// has no age and goes to the dead instead of nowhere (G5).
pub(super) fn prune(s: &Session<'_>, retention_ms: u64) -> Result<Reply> {
    let counters = store(s)?;
    let cutoff = cutoff(s.now, retention_ms);
    let mut dead_lettered = Vec::new();
    let mut first = counters.first;
    while first <= counters.head {
        let params = named_params! {":seq": int(first)};
        let event = s.first(Sql::EventRead, params, |row| body(row, 0, Kind::Event, first.get()))?;
        match event {
            None if s.any(Sql::TombstoneRead, params)? => {
                s.run(Sql::TombstoneRemove, params)?;
            }
            None => return Err(Damage::LogIncomplete.into()),
            Some(body) => {
                let old = match &body {
                    Body::Sound { at, .. } => cutoff.is_some_and(|cutoff| *at <= cutoff),
                    _ => true,
                };
                if !old || needed(s, first, &body)? {
                    break;
                }
                if !body.is_sound() {
                    dead_lettered.push(bury_for_all(s, first)?);
                }
                s.run(Sql::EventRemove, params)?;
            }
        }
        ids::end(s, Kind::Event, first)?;
        first = first.plus(1);
    }
    if first != counters.first {
        s.run(Sql::LogFirst, named_params! {":log_first": int(first)})?;
    }
    let removed = first.get() - counters.first.get();
    Ok(Reply::Pruned { first, removed, dead_lettered })
}

/// Whether a subscribed group has not passed this event yet.
fn needed(s: &Session<'_>, seq: Seq, body: &Body) -> Result<bool> {
    let Some(name) = body.name() else { return Ok(false) };
    s.holds(Sql::EventNeeded, named_params! {":name": name.as_str(), ":seq": int(seq)})
}

/// Copies an unreadable event to the dead letters, once for all groups.
pub(super) fn bury_for_all(s: &Session<'_>, seq: Seq) -> Result<RecordId> {
    put_aside(s, None, seq, 0, &Aside::dead(Cause::Corrupt, None))
}

/// Copies an event among the records, for one group or for all.
pub(super) fn put_aside(
    s: &Session<'_>,
    group: Option<&Group>,
    seq: Seq,
    attempts: u32,
    aside: &Aside<'_>,
) -> Result<RecordId> {
    let record = next_record(s)?;
    s.run(
        Sql::EventAside,
        named_params! {
            ":record": int(record),
            ":seq": int(seq),
            ":group": group.map(Group::as_str),
            ":place": place_word(aside.place),
            ":cause": cause_word(aside.cause),
            ":reason": aside.reason,
            ":attempts": attempts,
            ":now": int(s.now),
        },
    )?;
    Ok(record)
}

/// Ends the log's life and begins another: events, positions and event ids end; records stay; groups stay subscribed
/// from the start of the new life; holders are fenced (G11).
pub(super) fn reset(s: &Session<'_>, expected: Epoch, next: Epoch) -> Answer<Reply> {
    let counters = store(s)?;
    if expected != counters.epoch {
        return Err(Refusal::EpochMismatch { current: counters.epoch }.into());
    }
    check_unused(s, next)?;
    let returned: Vec<RecordId> = s.all(Sql::EntriesAll, &[], |row| number(row, 0, ("entries", "record")))?;
    for record in &returned {
        return_entry(s, *record, &Aside::dead(Cause::EpochEnded, None))?;
    }
    s.run(Sql::LogClear, &[])?;
    s.run(Sql::TombstonesClear, &[])?;
    s.run(Sql::IdsClearEvents, &[])?;
    s.run(Sql::LogFirst, named_params! {":log_first": int(counters.head.plus(1))})?;
    s.run(Sql::CursorsFence, named_params! {":now": int(s.now)})?;
    s.run(Sql::SubscriptionsRestart, named_params! {":position": int(counters.head)})?;
    begin(s, next)?;
    Ok(Reply::EpochBegun { returned })
}

/// Begins a new epoch in a copy, later than all that it knows. What it holds stays, its records follow into the new
/// epoch, holders of cursors are fenced, and tokens come from the range of the new epoch, which neither the original
/// nor another copy mints from (G4, G11).
pub(super) fn restore(s: &Session<'_>, next: Epoch) -> Answer<Reply> {
    let ended = store(s)?.epoch;
    if s.holds(Sql::EpochPast, named_params! {":epoch": int(next)})? {
        return Err(Refusal::EpochRetired.into());
    }
    s.run(Sql::RecordsFollow, named_params! {":next": int(next), ":ended": int(ended)})?;
    s.run(Sql::CursorsFenceHeld, named_params! {":now": int(s.now)})?;
    skip_tokens(s, Some(next))?;
    begin(s, next)?;
    Ok(Reply::EpochBegun { returned: Vec::new() })
}

fn check_unused(s: &Session<'_>, next: Epoch) -> Answer<()> {
    if s.holds(Sql::EpochUsed, named_params! {":epoch": int(next)})? {
        return Err(Refusal::EpochRetired.into());
    }
    Ok(())
}

fn begin(s: &Session<'_>, next: Epoch) -> Result<()> {
    s.run(Sql::EpochRetire, &[])?;
    s.run(Sql::EpochBegin, named_params! {":epoch": int(next)})?;
    Ok(())
}
