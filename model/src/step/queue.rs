//! The queue: send, claim, settle, release, extend, cancel.
//!
//! Invariant: one number, `due_at`, says whether a command is ready, delayed or leased. The token of its last claim is
//! current until that claim is settled or another claim follows; the expiry of the lease does not end it (G2, G3).

use std::sync::Arc;

use crate::op::{Delivery, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Body, Cause, Command, CommandLease, Origin, Place, State};
use crate::step::ids::{end, recall, remember};
use crate::step::records::set_aside;
use crate::vocabulary::{Kind, Message, Names, Reason, RecordId, Seq, Timestamp, Token};

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

/// Hands out due commands, oldest `due_at` first, then in send order (G9).
///
/// A claim also dead-letters unreadable rows (G5) and exhausted commands (G8). These count towards `max`, so the answer
/// "nothing due" is never given while a command is due. A command whose last lease expired unsettled is handed out
/// alone, so that a command that kills its worker uses up no attempt of another (L3).
pub(super) fn claim(
    state: &mut State,
    now: Timestamp,
    names: &Names,
    max: u32,
    lease_ms: u64,
    attempts_max: u32,
) -> Reply {
    let mut dead_lettered = dead_letter_unreadable(state, now, max);
    let mut deliveries = Vec::new();
    for seq in due(state, now, names) {
        if dead_lettered.len() + deliveries.len() >= max as usize {
            break;
        }
        let Some(command) = state.queue.get_mut(&seq) else { continue };
        if command.attempts >= attempts_max {
            dead_lettered.extend(set_command_aside(
                state,
                now,
                seq,
                Place::Dead,
                Cause::AttemptsExhausted,
                None,
            ));
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

/// Dead-letters the rows whose name or bookkeeping cannot be read. No claim can ask for them by name (G5).
fn dead_letter_unreadable(state: &mut State, now: Timestamp, max: u32) -> Vec<RecordId> {
    let mut records = Vec::new();
    while records.len() < max as usize {
        let Some((seq, raw)) = state.unreadable.pop_first() else { break };
        let body = Body::Unreadable { raw };
        records.push(set_aside(
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

/// Moves a command from the queue to the records, with its attempts and its last reason.
fn set_command_aside(
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
    Some(set_aside(state, now, place, origin, command.body, cause, reason, command.attempts))
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
            dead_lettered(set_command_aside(state, now, seq, Place::Dead, cause, Some(Arc::clone(reason))))?
        }
        Settlement::DeadLetter { reason } => dead_lettered(set_command_aside(
            state,
            now,
            seq,
            Place::Dead,
            Cause::Settled,
            Some(Arc::clone(reason)),
        ))?,
        Settlement::Park { reason } => {
            let record =
                set_command_aside(state, now, seq, Place::Parked, Cause::Settled, Some(Arc::clone(reason)));
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

/// Withdraws a command that no worker holds: it was never claimed, its claim was settled, or its lease expired.
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
