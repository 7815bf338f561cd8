//! What each operation does: the contract as code.
//!
//! Invariant: [`apply`] is total and deterministic, and a refused operation changes nothing.
//! Does not depend on: storage, clocks, threads. No store may call this module, because stores are checked against it.

mod ids;
mod log;
mod queue;
mod records;
mod store;

use crate::op::{Lease, Op, Refusal, Reply, Target};
use crate::state::State;
use crate::vocabulary::Timestamp;

pub use store::{TOKENS_PER_EPOCH, TOKENS_SKIPPED};

/// Applies one operation at the time `now` and returns its reply. A [`Reply::Refused`] changes nothing.
pub fn apply(state: &mut State, now: Timestamp, op: &Op) -> Reply {
    try_apply(state, now, op).unwrap_or_else(Reply::Refused)
}

fn try_apply(state: &mut State, now: Timestamp, op: &Op) -> Result<Reply, Refusal> {
    match op {
        Op::Send { message, delay_ms } => queue::send(state, now, message, *delay_ms),
        Op::Claim { names, max, lease_ms, attempts_max } => {
            Ok(queue::claim(state, now, names, max.get(), *lease_ms, attempts_max.get()))
        }
        Op::Cancel { seq } => queue::cancel(state, now, *seq),
        Op::Publish { message } => log::publish(state, now, message),
        Op::Subscribe { group, name, start } => log::subscribe(state, group, name, *start),
        Op::Unsubscribe { group, name } => log::unsubscribe(state, now, group, name),
        Op::Poll { group, names, token, max, lease_ms, attempts_max } => {
            let request = log::PollRequest {
                names,
                token: *token,
                max: max.get(),
                lease_ms: *lease_ms,
                attempts_max: attempts_max.get(),
            };
            log::poll(state, now, group, &request)
        }
        Op::Seek { group, name, position } => log::seek(state, now, group, name, *position),
        Op::Settle { target, token, how } => match target {
            Target::Command(seq) => queue::settle(state, now, *seq, *token, how),
            Target::Event { group, seq } => log::settle_event(state, now, group, *seq, *token, how),
            Target::Entry { group, record } => log::settle_entry(state, now, group, *record, *token, how),
        },
        Op::Release { lease, token } => match lease {
            Lease::Command(seq) => queue::release(state, now, *seq, *token),
            Lease::Cursor(group) => log::release(state, now, group, *token),
        },
        Op::Extend { lease, token, lease_ms } => match lease {
            Lease::Command(seq) => queue::extend(state, now, *seq, *token, *lease_ms),
            Lease::Cursor(group) => log::extend(state, now, group, *token, *lease_ms),
        },
        Op::Redrive { record } => records::redrive(state, now, *record),
        Op::Purge { record } => records::purge(state, now, *record),
        Op::Repair { record, message } => records::repair(state, now, *record, message),
        Op::Prune { retention_ms } => Ok(log::prune(state, now, *retention_ms)),
        Op::ForgetIds { retention_ms } => Ok(ids::forget_ids(state, now, *retention_ms)),
        Op::Reset { expected, next } => store::reset(state, now, *expected, *next),
        Op::Reboot => Ok(store::reboot(state)),
        Op::Restore { next } => store::restore(state, now, *next),
        Op::Atomic(ops) => atomic(state, now, ops),
    }
}

/// Applies all operations or none (G12): the first refusal undoes the operations before it.
fn atomic(state: &mut State, now: Timestamp, ops: &[Op]) -> Result<Reply, Refusal> {
    let mut trial = state.clone();
    let mut replies = Vec::with_capacity(ops.len());
    for (index, op) in (0..).zip(ops) {
        match try_apply(&mut trial, now, op) {
            Ok(reply) => replies.push(reply),
            Err(refusal) => return Err(Refusal::Aborted { index, refusal: Box::new(refusal) }),
        }
    }
    *state = trial;
    Ok(Reply::Done(replies))
}
