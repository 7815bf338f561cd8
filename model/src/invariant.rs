//! The guarantees, each a named predicate over a transition and over a state.
//!
//! They are written from the contract and from what can be seen (operations, replies, states, history), and never
//! call `step`: a rule that is flipped there, or in somebody's SQL, is judged here by someone who does not know it.
//! A verdict tells apart "held" from "its premise did not occur", so that a check that never had anything to judge
//! is not counted as a success.

mod alone;
mod answers;
mod log;
mod maintenance;
mod queue;
mod records;
mod repairs;

use crate::ghost::Ghost;
use crate::op::{Lease, Op, Reply};
use crate::state::State;
use crate::vocabulary::{Timestamp, Token};

pub use alone::{STANDING, Standing};

/// One operation, with what was before and after it.
#[derive(Clone, Copy, Debug)]
pub struct Transition<'a> {
    /// The state before.
    pub before: &'a State,
    /// The time of the operation.
    pub now: Timestamp,
    /// The operation; [`Op::Atomic`] only if it was refused, else its parts one by one.
    pub op: &'a Op,
    /// The reply.
    pub reply: &'a Reply,
    /// The state after.
    pub after: &'a State,
    /// The history before.
    pub ghost: &'a Ghost,
}

/// What a guarantee says of a transition or a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// There was nothing to judge.
    Vacuous,
    /// The premise occurred, and the guarantee held.
    Held,
    /// It is broken, and this is how.
    Broken(String),
}

/// A guarantee of the contract.
#[derive(Clone, Copy)]
pub struct Guarantee {
    /// Its number in the contract, such as `G3`.
    pub id: &'static str,
    /// Its name, a sentence.
    pub name: &'static str,
    /// What it says of a transition.
    pub of_transition: fn(&Transition<'_>) -> Verdict,
    /// What it says of a state and its history.
    pub of_state: fn(&State, &Ghost) -> Verdict,
}

/// All safety guarantees, in the order of the contract.
pub const GUARANTEES: [Guarantee; 16] = [
    Guarantee {
        id: "G1",
        name: "every_accepted_command_is_in_exactly_one_place",
        of_transition: records::nothing_is_lost_on_the_way,
        of_state: records::every_accepted_command_is_in_exactly_one_place,
    },
    Guarantee {
        id: "G2",
        name: "at_most_one_lease_is_current_for_a_delivery",
        of_transition: queue::at_most_one_lease_is_current_for_a_delivery,
        of_state: queue::current_tokens_are_distinct,
    },
    Guarantee {
        id: "G3",
        name: "a_stale_token_changes_nothing_and_is_told_so",
        of_transition: queue::a_stale_token_changes_nothing_and_is_told_so,
        of_state: nothing,
    },
    Guarantee {
        id: "G4",
        name: "tokens_only_grow",
        of_transition: queue::tokens_only_grow,
        of_state: nothing,
    },
    Guarantee {
        id: "G5",
        name: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        of_transition: records::a_corrupt_row_never_reaches_a_handler,
        of_state: records::a_corrupt_row_never_vanishes,
    },
    Guarantee {
        id: "G6",
        name: "a_position_passes_an_event_only_by_its_settlement",
        of_transition: log::a_position_passes_an_event_only_by_its_settlement,
        of_state: nothing,
    },
    Guarantee {
        id: "G7",
        name: "groups_do_not_see_each_other",
        of_transition: log::groups_do_not_see_each_other,
        of_state: nothing,
    },
    Guarantee {
        id: "G8",
        name: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        of_transition: queue::attempts_are_counted_and_limited,
        of_state: nothing,
    },
    Guarantee {
        id: "G9",
        name: "claims_come_oldest_due_first",
        of_transition: queue::claims_come_oldest_due_first,
        of_state: nothing,
    },
    Guarantee {
        id: "G9",
        name: "each_poll_hands_out_the_lowest_unsettled_numbers",
        of_transition: log::each_poll_hands_out_the_lowest_unsettled_numbers,
        of_state: nothing,
    },
    Guarantee {
        id: "G10",
        name: "a_remembered_id_is_accepted_once",
        of_transition: maintenance::a_remembered_id_is_accepted_once,
        of_state: maintenance::the_id_of_what_is_there_is_remembered,
    },
    Guarantee {
        id: "G11",
        name: "a_retired_epoch_moves_nothing",
        of_transition: maintenance::a_retired_epoch_moves_nothing,
        of_state: nothing,
    },
    Guarantee {
        id: "G12",
        name: "effects_settled_in_one_transaction_happen_exactly_once",
        of_transition: maintenance::a_refused_transaction_leaves_nothing,
        of_state: nothing,
    },
    Guarantee {
        id: "G13",
        name: "prune_keeps_what_a_group_still_needs",
        of_transition: maintenance::prune_keeps_what_a_group_still_needs,
        of_state: nothing,
    },
    Guarantee {
        id: "G14",
        name: "redrive_moves_and_never_copies",
        of_transition: records::redrive_moves_and_never_copies,
        of_state: nothing,
    },
    Guarantee {
        id: "G15",
        name: "sequence_numbers_are_dense_and_never_reused",
        of_transition: maintenance::numbers_go_on_one_by_one,
        of_state: maintenance::the_log_is_complete,
    },
];

/// Where in [`GUARANTEES`] the all-or-none of a transaction stands: it is judged by whoever can look inside one.
pub const TRANSACTIONS: usize = 12;

fn nothing(_: &State, _: &Ghost) -> Verdict {
    Verdict::Vacuous
}

/// Returns the verdict that it is broken, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return $crate::invariant::Verdict::Broken(format!($($why)+));
        }
    };
}
use ensure;

/// The current token of a lease, if it has one.
fn current(state: &State, lease: &Lease) -> Option<Token> {
    match lease {
        Lease::Command(seq) => state.queue.get(seq)?.lease.map(|lease| lease.token),
        Lease::Cursor(group) => state.groups.get(group)?.lease.map(|lease| lease.token),
    }
}

/// The lease and the token that an operation names, if it names one.
fn presented(op: &Op) -> Option<(Lease, Token)> {
    match op {
        Op::Settle { target, token, .. } => Some((target.lease(), *token)),
        Op::Release { lease, token } | Op::Extend { lease, token, .. } => Some((lease.clone(), *token)),
        Op::Poll { group, token: Some(token), .. } => Some((Lease::Cursor(group.clone()), *token)),
        _ => None,
    }
}

/// Whether the operation presents the current token of what it names.
fn holds(transition: &Transition<'_>) -> bool {
    presented(transition.op).is_some_and(|(lease, token)| current(transition.before, &lease) == Some(token))
}
