//! Settling what a cursor handed out, and releasing or extending its lease.
//!
//! Invariant: a token that is not the cursor's current one changes nothing (G3). Events are settled in order, and a position
//! passes an event only by its settlement (G6).
//! Does not depend on: how events are handed out.

use fencepost_model::op::{Refusal, Reply, Settled, Settlement};
use fencepost_model::state::{Cause, CursorLease};
use fencepost_model::vocabulary::{Group, RecordId, Seq, Timestamp, Token};
use rusqlite::named_params;

use crate::error::Result;
use crate::sqlite::cursor::{Front, cursor, free, fronts};
use crate::sqlite::log::return_entry;
use crate::sqlite::poll::{count_first, entry as read_entry, next_event, pass, pass_aside};
use crate::sqlite::records::Aside;
use crate::sqlite::rows::int;
use crate::sqlite::session::{Answer, Session};
use crate::sqlite::statements::StatementId as Sql;

/// The lease of a cursor, if this token is its current one (G3).
fn held(s: &Session<'_>, group: &Group, token: Token) -> Answer<CursorLease> {
    let cursor = cursor(s, group)?.ok_or(Refusal::NotSubscribed)?;
    Ok(cursor.lease.filter(|lease| lease.token == token).ok_or(Refusal::LeaseLost)?)
}

pub(super) fn event(
    s: &Session<'_>,
    group: &Group,
    seq: Seq,
    token: Token,
    how: &Settlement,
) -> Answer<Reply> {
    let lease = held(s, group, token)?;
    let mut fronts = fronts(s, group)?;
    let next = next_event(&fronts).filter(|(next, _)| *next <= lease.handed_through);
    let Some((_, index)) = next.filter(|(next, _)| *next == seq) else {
        return Err(Refusal::NotNext { next: next.map(|(next, _)| next) }.into());
    };
    let front = &mut fronts[index];
    let settled = match how {
        Settlement::Ack | Settlement::Drop => {
            if lease.corrupt == Some(seq) {
                return Err(Refusal::Corrupt.into());
            }
            pass(s, group, front, seq)?;
            if matches!(how, Settlement::Ack) { Settled::Acked } else { Settled::Dropped }
        }
        Settlement::Nack { delay_ms, reason } if front.attempts < lease.attempts_max => {
            let due_at = s.now.plus(*delay_ms);
            nack(s, group, front, reason, due_at)?;
            return Ok(Reply::Settled(Settled::Requeued { due_at }));
        }
        _ => {
            let aside = aside(how);
            aside.settled(pass_aside(s, group, front, seq, &aside)?)
        }
    };
    promote(s, group, &fronts, &lease)?;
    Ok(Reply::Settled(settled))
}

/// How a settlement other than ack, drop and a nack with attempts left sets a message aside.
fn aside(how: &Settlement) -> Aside<'_> {
    match how {
        Settlement::Nack { reason, .. } => Aside::dead(Cause::AttemptsExhausted, Some(reason)),
        Settlement::Park { reason } => Aside::parked(reason),
        Settlement::DeadLetter { reason } => Aside::dead(Cause::Settled, Some(reason)),
        Settlement::Ack | Settlement::Drop => Aside::dead(Cause::Settled, None),
    }
}

/// Leaves the position where it is and delays the group.
fn nack(s: &Session<'_>, group: &Group, front: &Front, reason: &str, due_at: Timestamp) -> Result<()> {
    let params = named_params! {":group": group.as_str(), ":name": front.name.as_str(), ":reason": reason};
    s.run(Sql::SubscriptionNack, params)?;
    free(s, group, due_at)
}

/// The event after the one that was settled is first in line now; if it was handed out already, that counts (G8).
fn promote(s: &Session<'_>, group: &Group, fronts: &[Front], lease: &CursorLease) -> Result<()> {
    let Some((seq, index)) = next_event(fronts) else { return Ok(()) };
    let front = &fronts[index];
    if seq > lease.handed_through || front.counted == Some(lease.token) {
        return Ok(());
    }
    count_first(s, group, front, front.attempts.saturating_add(1), lease.token)
}

/// Settles a redriven entry, which moves no position; its nack delays only itself.
pub(super) fn entry(
    s: &Session<'_>,
    group: &Group,
    record: RecordId,
    token: Token,
    how: &Settlement,
) -> Answer<Reply> {
    let lease = held(s, group, token)?;
    let entry = read_entry(s, group, record)?.ok_or(Refusal::NotFound)?;
    if entry.counted != Some(token) {
        return Err(Refusal::LeaseLost.into());
    }
    let settled = match how {
        Settlement::Ack | Settlement::Drop => {
            if !entry.body.is_sound() {
                return Err(Refusal::Corrupt.into());
            }
            s.run(Sql::EntryRemove, named_params! {":record": int(record)})?;
            if matches!(how, Settlement::Ack) { Settled::Acked } else { Settled::Dropped }
        }
        Settlement::Nack { delay_ms, reason } if entry.attempts < lease.attempts_max => {
            let due_at = s.now.plus(*delay_ms);
            let params =
                named_params! {":record": int(record), ":due_at": int(due_at), ":reason": reason.as_ref()};
            s.run(Sql::EntryNack, params)?;
            Settled::Requeued { due_at }
        }
        _ => {
            let aside = aside(how);
            return_entry(s, record, &aside)?;
            aside.settled(record)
        }
    };
    Ok(Reply::Settled(settled))
}

/// Ends the cursor's lease and gives back what was not settled: due now, its attempt not counted.
pub(super) fn release(s: &Session<'_>, group: &Group, token: Token) -> Answer<Reply> {
    held(s, group, token)?;
    free(s, group, s.now)?;
    let params = named_params! {":group": group.as_str(), ":token": int(token)};
    s.run(Sql::SubscriptionsUncount, params)?;
    s.run(Sql::EntriesUncount, params)?;
    Ok(Reply::Released)
}

pub(super) fn extend(s: &Session<'_>, group: &Group, token: Token, lease_ms: u64) -> Answer<Reply> {
    held(s, group, token)?;
    let until = s.now.plus(lease_ms);
    s.run(Sql::CursorExtend, named_params! {":group": group.as_str(), ":due_at": int(until)})?;
    Ok(Reply::Extended { until })
}
