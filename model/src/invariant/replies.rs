//! The part of G3 about replies to operations without a token: a reply is true.

use crate::description;
use crate::invariant::transition::{CheckResult, Transition, ensure};
use crate::op::{Op, Refusal, Reply, Start, Target};
use crate::state::State;
use crate::vocabulary::{Group, Kind, Name, Seq};

/// A reply fits its operation. A refusal changes nothing, and its reason is true. An operation that cannot be done is
/// refused.
pub fn the_reply_fits_the_operation(t: &Transition<'_>) -> CheckResult {
    let fits = match t.reply {
        Reply::Refused(refusal) => {
            ensure!(t.before == t.after, "the operation was refused as {refusal:?}, but the state changed");
            reason_is_true(t.before, t.op, refusal)
        }
        _ => reply_belongs_to_operation(t) && could_be_done(t.before, t.op),
    };
    ensure!(fits, "\"{}\" was answered \"{}\"", description::operation(t.op), description::reply(t.reply));
    CheckResult::Held
}

fn reply_belongs_to_operation(t: &Transition<'_>) -> bool {
    matches!(
        (t.op, t.reply),
        (Op::Send { .. } | Op::Publish { .. }, Reply::Accepted { .. })
            | (Op::Claim { .. } | Op::Poll { .. }, Reply::HandedOut { .. })
            | (Op::Settle { .. }, Reply::Settled(_))
            | (Op::Release { .. }, Reply::Released)
            | (Op::Extend { .. }, Reply::Extended { .. })
            | (Op::Cancel { .. }, Reply::Cancelled)
            | (Op::Subscribe { .. }, Reply::Subscribed { .. })
            | (Op::Unsubscribe { .. }, Reply::Unsubscribed { .. })
            | (Op::Seek { .. }, Reply::Sought)
            | (Op::Redrive { .. }, Reply::Redriven(_))
            | (Op::Purge { .. }, Reply::Purged)
            | (Op::Repair { .. }, Reply::Repaired { .. })
            | (Op::Prune { .. }, Reply::Pruned { .. })
            | (Op::ForgetIds { .. }, Reply::Forgotten { .. })
            | (Op::Reset { .. } | Op::Restore { .. }, Reply::EpochBegun { .. })
            | (Op::Reboot, Reply::Rebooted)
            | (Op::Atomic(_), Reply::Done(_))
    )
}

fn reads(state: &State, group: &Group, name: &Name) -> bool {
    state.groups.get(group).is_some_and(|cursor| cursor.names.contains_key(name))
}

/// The refusal of a position that lies outside of the log.
fn outside(state: &State, position: Seq) -> Option<Refusal> {
    if position > state.head {
        Some(Refusal::BeyondHead { head: state.head })
    } else {
        (position < state.first.before()).then_some(Refusal::Pruned { first: state.first })
    }
}

/// Whether the object of an operation exists, for operations that name it by number or name. Other guarantees check the
/// rest.
fn could_be_done(before: &State, op: &Op) -> bool {
    match op {
        Op::Purge { record } => before.records.contains_key(record),
        Op::Cancel { seq } => before.queue.get(seq).is_some_and(|command| command.body.is_sound()),
        Op::Unsubscribe { group, name } => reads(before, group, name),
        Op::Seek { group, name, position } => {
            reads(before, group, name) && outside(before, *position).is_none()
        }
        _ => true,
    }
}

/// Whether a refusal fits its operation, and its reason is true. Other guarantees check the refusals of operations with a
/// token, and those that they are about.
fn reason_is_true(before: &State, op: &Op, refusal: &Refusal) -> bool {
    match (op, refusal) {
        (Op::Purge { record }, Refusal::NotFound) => !before.records.contains_key(record),
        (Op::Cancel { seq }, Refusal::NotFound) => {
            !before.queue.contains_key(seq) && !before.unreadable.contains_key(seq)
        }
        (Op::Cancel { seq }, Refusal::Corrupt) => {
            before.unreadable.contains_key(seq)
                || before.queue.get(seq).is_some_and(|command| !command.body.is_sound())
        }
        (Op::Cancel { .. }, Refusal::Held { .. }) => true,
        (Op::Unsubscribe { group, name } | Op::Seek { group, name, .. }, Refusal::NotSubscribed) => {
            !reads(before, group, name)
        }
        (
            Op::Seek { position, .. } | Op::Subscribe { start: Start::After(position), .. },
            outside_of @ (Refusal::BeyondHead { .. } | Refusal::Pruned { .. }),
        ) => outside(before, *position).as_ref() == Some(outside_of),
        (Op::Poll { group, .. }, Refusal::NotSubscribed) => !before.groups.contains_key(group),
        (Op::Poll { token, .. }, Refusal::LeaseLost) => token.is_some(),
        (Op::Poll { .. }, Refusal::NamesMissing { .. } | Refusal::Held { .. }) => true,
        (Op::Settle { target, .. }, refusal) => match refusal {
            Refusal::LeaseLost | Refusal::Corrupt | Refusal::NotSubscribed => true,
            Refusal::NotNext { .. } => matches!(target, Target::Event { .. }),
            Refusal::NotFound => matches!(target, Target::Entry { .. }),
            _ => false,
        },
        (Op::Release { .. } | Op::Extend { .. }, refusal) => {
            matches!(refusal, Refusal::LeaseLost | Refusal::Corrupt | Refusal::NotSubscribed)
        }
        (Op::Send { message, .. }, Refusal::WrongKind) => message.kind != Kind::Command,
        (Op::Publish { message }, Refusal::WrongKind) => message.kind != Kind::Event,
        (Op::Send { .. } | Op::Publish { .. }, Refusal::Conflict { .. }) => true,
        (Op::Redrive { .. } | Op::Repair { .. } | Op::Reset { .. } | Op::Restore { .. }, _) => true,
        (Op::Atomic(_), Refusal::Aborted { .. }) => true,
        _ => false,
    }
}
