//! The queue: send, claim, settle, release, extend, cancel.
//!
//! Invariant: a settlement takes effect by one statement that names the current token (G3). Only when that statement finds
//! nothing is the reason looked up.
//! Does not depend on: payloads, except to hand them out.

use std::sync::Arc;

use fencepost_model::op::{Delivery, Refusal, Reply, Settled, Settlement, Target};
use fencepost_model::state::Cause;
use fencepost_model::vocabulary::{Kind, Message, MessageId, Names, Reason, RecordId, Seq, Timestamp, Token};
use rusqlite::types::ValueRef;
use rusqlite::{ToSql, named_params};

use crate::error::{Error, Result};
use crate::sqlite::cursor::{mint, next_command, next_record};
use crate::sqlite::ids::{self, Recalled};
use crate::sqlite::records::{Aside, cause_word, place_word};
use crate::sqlite::rows::{body, count, encode, int, number};
use crate::sqlite::session::{Answer, Session};
use crate::sqlite::statements::StatementId as Sql;

pub(super) fn send(s: &Session<'_>, message: &Arc<Message>, delay_ms: u64) -> Answer<Reply> {
    if message.kind != Kind::Command {
        return Err(Refusal::WrongKind.into());
    }
    let digest = match ids::recall(s, message)? {
        Recalled::Known(seq) => return Ok(Reply::Accepted { seq, fresh: false }),
        Recalled::Fresh(digest) => digest,
    };
    let seq = next_command(s)?;
    let due_at = int(s.now.plus(delay_ms));
    insert(s, Sql::CommandInsert, message, seq, &[(":due_at", &due_at)])?;
    ids::remember(s, message, digest.as_ref(), int(seq))?;
    Ok(Reply::Accepted { seq, fresh: true })
}

/// Inserts a message into the queue or the log.
pub(super) fn insert(
    s: &Session<'_>,
    statement: Sql,
    message: &Message,
    seq: Seq,
    more: &[(&str, &dyn ToSql)],
) -> Result<()> {
    let encoded = encode(message, seq.get(), s.now);
    let payload: &[u8] = &message.payload;
    let (seq, at) = (int(seq), int(s.now));
    let params: [(&str, &dyn ToSql); 8] = [
        (":seq", &seq),
        (":id", &message.id.as_ref().map(MessageId::as_str)),
        (":name", &message.name.as_str()),
        (":content_type", &message.content_type.as_str()),
        (":payload", &payload),
        (":metadata", &encoded.metadata),
        (":at", &at),
        (":checksum", &encoded.checksum),
    ];
    s.run(statement, &[&params, more].concat())?;
    Ok(())
}

/// What a claim says of its claimer.
pub(super) struct Claim {
    pub(super) max: u32,
    pub(super) lease_ms: u64,
    pub(super) attempts_max: u32,
}

/// A due command, before its row is read.
struct Due {
    due_at: Timestamp,
    seq: Seq,
    attempts: u32,
    lapsed: bool,
}

pub(super) fn claim(s: &Session<'_>, names: &Names, claim: &Claim) -> Result<Reply> {
    let mut dead_lettered = sweep(s, claim.max)?;
    let mut taken = Vec::new();
    let room = claim.max as usize - dead_lettered.len();
    for due in due(s, names, room)? {
        if dead_lettered.len() + taken.len() >= claim.max as usize {
            break;
        }
        if due.attempts >= claim.attempts_max {
            dead_lettered.push(put_aside(s, due.seq, &Aside::dead(Cause::AttemptsExhausted, None))?);
            continue;
        }
        // A command that may have killed its worker goes out alone (L3).
        if due.lapsed && !taken.is_empty() {
            break;
        }
        taken.push(due.seq);
        if due.lapsed {
            break;
        }
    }
    let deliveries = hand_out(s, &taken, claim)?;
    Ok(Reply::HandedOut { deliveries, dead_lettered })
}

/// Moves unreadable commands to the dead letters: no claim can name them (G5).
fn sweep(s: &Session<'_>, max: u32) -> Result<Vec<RecordId>> {
    let found: Vec<Seq> =
        s.all(Sql::CommandsUnreadable, named_params! {":max": max}, |row| number(row, 0, ("queue", "seq")))?;
    let bury = |seq: &Seq| {
        let record = next_record(s)?;
        let params = named_params! {":record": int(record), ":seq": int(*seq), ":now": int(s.now)};
        s.run(Sql::CommandAsideUnreadable, params)?;
        remove(s, *seq)?;
        Ok(record)
    };
    found.iter().map(bury).collect()
}

/// The first due commands of these names, each name read through its index and merged here (G9).
fn due(s: &Session<'_>, names: &Names, max: usize) -> Result<Vec<Due>> {
    let mut found = Vec::new();
    if max == 0 {
        return Ok(found);
    }
    for name in names {
        let max = max as u64;
        let params = named_params! {":name": name.as_str(), ":now": int(s.now), ":max": int(max)};
        found.append(&mut s.all(Sql::CommandsDue, params, |row| {
            Ok(Due {
                due_at: number(row, 0, ("queue", "due_at"))?,
                seq: number(row, 1, ("queue", "seq"))?,
                attempts: count(row, 2, ("queue", "attempts"))?,
                lapsed: row.get(3)?,
            })
        })?);
    }
    found.sort_unstable_by_key(|due| (due.due_at, due.seq));
    Ok(found)
}

/// Takes these commands, each under a token of its own (G2, G4).
fn hand_out(s: &Session<'_>, taken: &[Seq], claim: &Claim) -> Result<Vec<Delivery>> {
    let Ok(count @ 1..) = u32::try_from(taken.len()) else { return Ok(Vec::new()) };
    let last = mint(s, count)?.get();
    let lease_until = s.now.plus(claim.lease_ms);
    let tokens = (last + 1).saturating_sub(u64::from(count))..;
    let take = |(seq, token): (&Seq, u64)| take(s, *seq, Token::ZERO.plus(token), lease_until, claim);
    taken.iter().zip(tokens).map(take).collect()
}

pub(super) fn take(
    s: &Session<'_>,
    seq: Seq,
    token: Token,
    lease_until: Timestamp,
    claim: &Claim,
) -> Result<Delivery> {
    let params = named_params! {
        ":seq": int(seq),
        ":due_at": int(lease_until),
        ":token": int(token),
        ":attempts_max": claim.attempts_max,
    };
    s.run(Sql::CommandClaim, params)?;
    let taken = s.first(Sql::CommandClaimed, named_params! {":seq": int(seq)}, |row| {
        Ok((count(row, 0, ("queue", "attempts"))?, body(row, 1, Kind::Command, seq.get())?))
    })?;
    let (attempt, body) = taken.ok_or(Error::row_missing("queue"))?;
    if !body.is_sound() {
        s.run(Sql::CommandMarkCorrupt, named_params! {":seq": int(seq)})?;
    }
    Ok(Delivery { target: Target::Command(seq), seq, token, attempt, lease_until, body })
}

/// Moves a command among the records, with everything that is known of it (G1).
fn put_aside(s: &Session<'_>, seq: Seq, aside: &Aside<'_>) -> Result<RecordId> {
    let record = next_record(s)?;
    s.run(
        Sql::CommandAside,
        named_params! {
            ":record": int(record),
            ":seq": int(seq),
            ":place": place_word(aside.place),
            ":cause": cause_word(aside.cause),
            ":reason": aside.reason,
            ":now": int(s.now),
        },
    )?;
    remove(s, seq)?;
    Ok(record)
}

fn remove(s: &Session<'_>, seq: Seq) -> Result<()> {
    match s.run(Sql::CommandRemove, named_params! {":seq": int(seq)})? {
        1 => Ok(()),
        _ => Err(Error::row_missing("queue")),
    }
}

pub(super) fn settle(s: &Session<'_>, seq: Seq, token: Token, how: &Settlement) -> Answer<Reply> {
    let aside = match how {
        Settlement::Ack | Settlement::Drop => {
            let params = named_params! {":seq": int(seq), ":token": int(token)};
            if !s.changes(Sql::CommandAck, params)? {
                check_held(s, seq, token)?;
                return Err(Refusal::Corrupt.into());
            }
            ids::end(s, Kind::Command, seq)?;
            let acked = matches!(how, Settlement::Ack);
            return Ok(Reply::Settled(if acked { Settled::Acked } else { Settled::Dropped }));
        }
        Settlement::Nack { delay_ms, reason } => {
            if let Some(due_at) = nack(s, seq, token, *delay_ms, reason)? {
                return Ok(Reply::Settled(Settled::Requeued { due_at }));
            }
            Aside::dead(Cause::AttemptsExhausted, Some(reason))
        }
        Settlement::DeadLetter { reason } => Aside::dead(Cause::Settled, Some(reason)),
        Settlement::Park { reason } => Aside::parked(reason),
    };
    check_held(s, seq, token)?;
    let record = put_aside(s, seq, &aside)?;
    Ok(Reply::Settled(aside.settled(record)))
}

/// Gives a command back; nothing if it is not held under this token or has no attempt left.
fn nack(
    s: &Session<'_>,
    seq: Seq,
    token: Token,
    delay_ms: u64,
    reason: &Reason,
) -> Result<Option<Timestamp>> {
    let due_at = s.now.plus(delay_ms);
    let params = named_params! {
        ":seq": int(seq), ":token": int(token), ":due_at": int(due_at), ":reason": reason.as_ref(),
    };
    Ok(s.changes(Sql::CommandNack, params)?.then_some(due_at))
}

/// The holder of a command.
pub(super) struct CommandHolder {
    pub(super) token: Option<i64>,
    pub(super) due_at: Timestamp,
}

/// Reads the holder of a command; a refusal if its row cannot be read (G5).
pub(super) fn inspect(s: &Session<'_>, seq: Seq) -> Answer<Option<CommandHolder>> {
    let held = s.first(Sql::CommandInspect, named_params! {":seq": int(seq)}, |row| {
        if row.get(0)? {
            return Ok(Err(Refusal::Corrupt));
        }
        let token = match row.get_ref(1)? {
            ValueRef::Integer(token) => Some(token),
            _ => None,
        };
        Ok(Ok(CommandHolder { token, due_at: number(row, 2, ("queue", "due_at"))? }))
    })?;
    Ok(held.transpose()?)
}

/// A refusal unless this token is the current one of a readable command (G3).
fn check_held(s: &Session<'_>, seq: Seq, token: Token) -> Answer<()> {
    match inspect(s, seq)? {
        Some(held) if held.token == Some(int(token)) => Ok(()),
        _ => Err(Refusal::LeaseLost.into()),
    }
}

pub(super) fn release(s: &Session<'_>, seq: Seq, token: Token) -> Answer<Reply> {
    let params = named_params! {":seq": int(seq), ":token": int(token), ":now": int(s.now)};
    if !s.changes(Sql::CommandRelease, params)? {
        return Err(lost(s, seq, token)?);
    }
    Ok(Reply::Released)
}

pub(super) fn extend(s: &Session<'_>, seq: Seq, token: Token, lease_ms: u64) -> Answer<Reply> {
    let until = s.now.plus(lease_ms);
    let params = named_params! {":seq": int(seq), ":token": int(token), ":due_at": int(until)};
    if !s.changes(Sql::CommandExtend, params)? {
        return Err(lost(s, seq, token)?);
    }
    Ok(Reply::Extended { until })
}

/// The words for a statement that found nothing under this token.
fn lost(s: &Session<'_>, seq: Seq, token: Token) -> Answer<crate::sqlite::session::Stop> {
    check_held(s, seq, token)?;
    Ok(Refusal::LeaseLost.into())
}

/// Withdraws a command that is not held.
pub(super) fn cancel(s: &Session<'_>, seq: Seq) -> Answer<Reply> {
    let held = inspect(s, seq)?.ok_or(Refusal::NotFound)?;
    if held.token.is_some() && held.due_at > s.now {
        return Err(Refusal::Held { until: held.due_at }.into());
    }
    let params = named_params! {":seq": int(seq)};
    let body = s.first(Sql::CommandRead, params, |row| body(row, 0, Kind::Command, seq.get()))?;
    if !body.is_some_and(|body| body.is_sound()) {
        return Err(Refusal::Corrupt.into());
    }
    remove(s, seq)?;
    ids::end(s, Kind::Command, seq)?;
    Ok(Reply::Cancelled)
}
