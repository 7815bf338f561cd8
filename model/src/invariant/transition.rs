//! One operation as the guarantees see it, and the result of a check.
//!
//! Does not depend on: `step`, and the guarantees themselves.

use crate::ghost::Ghost;
use crate::op::{Lease, Op, Reply};
use crate::state::State;
use crate::vocabulary::{Timestamp, Token};

/// One operation, with the states before and after it.
#[derive(Clone, Copy, Debug)]
pub struct Transition<'a> {
    /// The state before.
    pub before: &'a State,
    /// The time of the operation.
    pub now: Timestamp,
    /// The operation. An [`Op::Atomic`] stands here only if it was refused; the parts of an accepted one are checked
    /// one by one.
    pub op: &'a Op,
    /// The reply.
    pub reply: &'a Reply,
    /// The state after.
    pub after: &'a State,
    /// The history before.
    pub ghost: &'a Ghost,
}

/// The result of checking one guarantee or liveness property.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// The premise did not occur: there was nothing to check.
    Vacuous,
    /// The premise occurred, and the property held.
    Held,
    /// The property does not hold, for this reason.
    Violated(String),
}

/// Returns [`CheckResult::Violated`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return $crate::invariant::transition::CheckResult::Violated(format!($($why)+));
        }
    };
}
pub(super) use ensure;

/// The current token of a lease, if it has one.
pub(super) fn current(state: &State, lease: &Lease) -> Option<Token> {
    match lease {
        Lease::Command(seq) => state.queue.get(seq)?.lease.map(|lease| lease.token),
        Lease::Cursor(group) => state.groups.get(group)?.lease.map(|lease| lease.token),
    }
}

/// The lease and the token that an operation names, if it names one.
pub(super) fn presented(op: &Op) -> Option<(Lease, Token)> {
    match op {
        Op::Settle { target, token, .. } => Some((target.lease(), *token)),
        Op::Release { lease, token } | Op::Extend { lease, token, .. } => Some((lease.clone(), *token)),
        Op::Poll { group, token: Some(token), .. } => Some((Lease::Cursor(group.clone()), *token)),
        _ => None,
    }
}

/// Whether the operation presents the current token of what it names.
pub(super) fn holds(transition: &Transition<'_>) -> bool {
    presented(transition.op).is_some_and(|(lease, token)| current(transition.before, &lease) == Some(token))
}
