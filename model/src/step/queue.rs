//! The queue: send, claim, settle, release, extend, cancel.
//!
//! A command is ready, delayed or leased by one number, `due_at`. Its current token is that of its last claim,
//! until that is settled or another claim takes it; that the lease's time ran out does not end it (G2, G3).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::op::{Delivery, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Body, Cause, Command, CommandLease, Origin, Place, Remembered, State};
use crate::step::records::put_aside;
use crate::vocabulary::{Content, Kind, Message, MessageId, Names, Reason, RecordId, Seq, Timestamp, Token};

/// The first sequence number of a remembered id, a conflict, or nothing: this id is new (G10).
pub(super) fn recall(
    ids: &BTreeMap<MessageId, Remembered>,
    message: &Message,
) -> Result<Option<Seq>, Refusal> {
    match message.id.as_ref().and_then(|id| ids.get(id)) {
        None => Ok(None),
        Some(known) if known.content == Content::of(message) => Ok(Some(known.seq)),
        Some(known) => Err(Refusal::Conflict { seq: known.seq }),
    }
}

pub(super) fn remember(ids: &mut BTreeMap<MessageId, Remembered>, message: &Message, seq: Seq) {
    if let Some(id) = &message.id {
        let content = Content::of(message);
        ids.insert(id.clone(), Remembered { seq, content, ended_at: None });
    }
}

/// The message of this number has ended: from now on its id is remembered for the owner's retention.
pub(super) fn end(ids: &mut BTreeMap<MessageId, Remembered>, seq: Seq, now: Timestamp) {
    for known in ids.values_mut().filter(|known| known.seq == seq) {
        known.ended_at = Some(now);
    }
}

pub(super) fn send(
    state: &mut State,
    now: Timestamp,
    message: &Arc<Message>,
    delay_ms: u64,
) -> Result<Reply, Refusal> {
    if message.kind != Kind::Command {
        return Err(Refusal::WrongKind);
    }
    if let Some(seq) = recall(&state.command_ids, message)? {
        return Ok(Reply::Accepted { seq, fresh: false });
    }
    let seq = state.queue_last.plus(1);
    state.queue_last = seq;
    remember(&mut state.command_ids, message, seq);
    let body = Body::Sound { message: Arc::clone(message), at: now };
    let due_at = now.plus(delay_ms);
    state.queue.insert(seq, Command { body, due_at, attempts: 0, lease: None, reason: None });
    Ok(Reply::Accepted { seq, fresh: true })
}

/// Hands out what is due, oldest `due_at` first, then in send order (G9).
///
/// On the way it moves to the dead what cannot be read (G5) and what is exhausted (G8); these count towards `max`,
/// so "nothing due" is never said while something is. A command whose last lease ran out unsettled is handed out
/// alone, so that one that kills its worker does not use up its neighbours' attempts (L3).
pub(super) fn claim(
    state: &mut State,
    now: Timestamp,
    names: &Names,
    max: u32,
    lease_ms: u64,
    attempts_max: u32,
) -> Reply {
    let mut dead_lettered = sweep(state, now, max);
    let mut deliveries = Vec::new();
    for seq in due(state, now, names) {
        if dead_lettered.len() + deliveries.len() >= max as usize {
            break;
        }
        let Some(command) = state.queue.get_mut(&seq) else { continue };
        if command.attempts >= attempts_max {
            dead_lettered.extend(bury(state, now, seq, Place::Dead, Cause::AttemptsExhausted, None));
            continue;
        }
        let lapsed = command.lease.is_some();
        if lapsed && !deliveries.is_empty() {
            break;
        }
        let token = state.token_last.plus(1);
        state.token_last = token;
        command.attempts += 1;
        command.due_at = now.plus(lease_ms);
        command.lease = Some(CommandLease { token, attempts_max, corrupt: !command.body.is_sound() });
        deliveries.push(Delivery {
            target: Target::Command(seq),
            seq,
            token,
            attempt: command.attempts,
            lease_until: command.due_at,
            body: command.body.clone(),
        });
        if lapsed {
            break;
        }
    }
    Reply::HandedOut { deliveries, dead_lettered }
}

/// The commands of these names that may be claimed now, in the order of claiming.
fn due(state: &State, now: Timestamp, names: &Names) -> Vec<Seq> {
    let wanted = |command: &Command| command.body.name().is_some_and(|name| names.contains(name));
    let mut due: Vec<(Timestamp, Seq)> = state
        .queue
        .iter()
        .filter(|(_, command)| command.due_at <= now && wanted(command))
        .map(|(seq, command)| (command.due_at, *seq))
        .collect();
    due.sort_unstable();
    due.into_iter().map(|(_, seq)| seq).collect()
}

/// Moves rows to the dead whose name or bookkeeping cannot be read, although nobody can ask for them (G5).
fn sweep(state: &mut State, now: Timestamp, max: u32) -> Vec<RecordId> {
    let mut records = Vec::new();
    while records.len() < max as usize {
        let Some((seq, raw)) = state.unreadable.pop_first() else { break };
        let body = Body::Unreadable { raw };
        records.push(put_aside(
            state,
            now,
            Place::Dead,
            Origin::Queue { seq },
            body,
            Cause::Corrupt,
            None,
            0,
        ));
    }
    records
}

/// Moves a command out of the queue into the records, with everything that is known of it.
fn bury(
    state: &mut State,
    now: Timestamp,
    seq: Seq,
    place: Place,
    cause: Cause,
    reason: Option<Reason>,
) -> Option<RecordId> {
    let command = state.queue.remove(&seq)?;
    let reason = reason.or(command.reason);
    let origin = Origin::Queue { seq };
    Some(put_aside(state, now, place, origin, command.body, cause, reason, command.attempts))
}

/// The command, if this token is its current one (G3).
fn held(state: &mut State, seq: Seq, token: Token) -> Result<(&mut Command, CommandLease), Refusal> {
    if state.unreadable.contains_key(&seq) {
        return Err(Refusal::Corrupt);
    }
    let command = state.queue.get_mut(&seq).ok_or(Refusal::LeaseLost)?;
    match command.lease {
        Some(lease) if lease.token == token => Ok((command, lease)),
        _ => Err(Refusal::LeaseLost),
    }
}

pub(super) fn settle(
    state: &mut State,
    now: Timestamp,
    seq: Seq,
    token: Token,
    how: &Settlement,
) -> Result<Reply, Refusal> {
    let (command, lease) = held(state, seq, token)?;
    let settled = match how {
        Settlement::Ack | Settlement::Drop if lease.corrupt => return Err(Refusal::Corrupt),
        Settlement::Ack | Settlement::Drop => {
            state.queue.remove(&seq);
            end(&mut state.command_ids, seq, now);
            if *how == Settlement::Ack { Settled::Acked } else { Settled::Dropped }
        }
        Settlement::Nack { delay_ms, reason } if command.attempts < lease.attempts_max => {
            command.due_at = now.plus(*delay_ms);
            command.lease = None;
            command.reason = Some(Arc::clone(reason));
            Settled::Requeued { due_at: command.due_at }
        }
        Settlement::Nack { reason, .. } => {
            let cause = Cause::AttemptsExhausted;
            dead_lettered(bury(state, now, seq, Place::Dead, cause, Some(Arc::clone(reason))))?
        }
        Settlement::DeadLetter { reason } => {
            dead_lettered(bury(state, now, seq, Place::Dead, Cause::Settled, Some(Arc::clone(reason))))?
        }
        Settlement::Park { reason } => {
            let record = bury(state, now, seq, Place::Parked, Cause::Settled, Some(Arc::clone(reason)));
            Settled::Parked { record: record.ok_or(Refusal::NotFound)? }
        }
    };
    Ok(Reply::Settled(settled))
}

fn dead_lettered(record: Option<RecordId>) -> Result<Settled, Refusal> {
    Ok(Settled::DeadLettered { record: record.ok_or(Refusal::NotFound)? })
}

pub(super) fn release(state: &mut State, now: Timestamp, seq: Seq, token: Token) -> Result<Reply, Refusal> {
    let (command, _) = held(state, seq, token)?;
    command.due_at = now;
    command.attempts -= 1;
    command.lease = None;
    Ok(Reply::Released)
}

pub(super) fn extend(
    state: &mut State,
    now: Timestamp,
    seq: Seq,
    token: Token,
    lease_ms: u64,
) -> Result<Reply, Refusal> {
    let (command, _) = held(state, seq, token)?;
    command.due_at = now.plus(lease_ms);
    Ok(Reply::Extended { until: command.due_at })
}

/// Withdraws a command that nobody holds: it was never claimed, its lease was settled, or its lease ran out.
pub(super) fn cancel(state: &mut State, now: Timestamp, seq: Seq) -> Result<Reply, Refusal> {
    if state.unreadable.contains_key(&seq) {
        return Err(Refusal::Corrupt);
    }
    let command = state.queue.get(&seq).ok_or(Refusal::NotFound)?;
    if command.lease.is_some() && command.due_at > now {
        return Err(Refusal::Held { until: command.due_at });
    }
    if !command.body.is_sound() {
        return Err(Refusal::Corrupt);
    }
    state.queue.remove(&seq);
    end(&mut state.command_ids, seq, now);
    Ok(Reply::Cancelled)
}
