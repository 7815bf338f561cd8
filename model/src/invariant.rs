//! The safety guarantees G1 to G15, each a named predicate over a transition and over a state.
//!
//! Invariant: a result of "held" means that the premise occurred. A check that had nothing to check says so.
//! Does not depend on: `step`. A checker that shares code with the implementation shares its bugs.

pub mod log;
pub mod maintenance;
pub mod queue;
pub mod records;
pub mod repairs;
pub mod replies;
mod standalone;
mod transition;

use crate::ghost::Ghost;
use crate::state::State;

pub use standalone::{STATE_INVARIANTS, StateInvariant};
pub use transition::{CheckResult, Transition};

/// A guarantee of the contract.
#[derive(Clone, Copy)]
pub struct Guarantee {
    /// Its number in the contract, such as `G3`.
    pub id: &'static str,
    /// Its name, a sentence.
    pub name: &'static str,
    /// Checks one transition.
    pub of_transition: fn(&Transition<'_>) -> CheckResult,
    /// Checks one state against its history.
    pub of_state: fn(&State, &Ghost) -> CheckResult,
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
        of_state: vacuous,
    },
    Guarantee {
        id: "G4",
        name: "tokens_only_grow",
        of_transition: queue::tokens_only_grow,
        of_state: vacuous,
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
        of_state: vacuous,
    },
    Guarantee {
        id: "G7",
        name: "groups_do_not_see_each_other",
        of_transition: log::groups_do_not_see_each_other,
        of_state: vacuous,
    },
    Guarantee {
        id: "G8",
        name: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        of_transition: queue::attempts_are_counted_and_limited,
        of_state: vacuous,
    },
    Guarantee {
        id: "G9",
        name: "claims_come_oldest_due_first",
        of_transition: queue::claims_come_oldest_due_first,
        of_state: vacuous,
    },
    Guarantee {
        id: "G9",
        name: "each_poll_hands_out_the_lowest_unsettled_numbers",
        of_transition: log::each_poll_hands_out_the_lowest_unsettled_numbers,
        of_state: vacuous,
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
        of_state: vacuous,
    },
    Guarantee {
        id: "G12",
        name: "effects_settled_in_one_transaction_happen_exactly_once",
        of_transition: maintenance::a_refused_transaction_leaves_nothing,
        of_state: vacuous,
    },
    Guarantee {
        id: "G13",
        name: "prune_keeps_what_a_group_still_needs",
        of_transition: maintenance::prune_keeps_what_a_group_still_needs,
        of_state: vacuous,
    },
    Guarantee {
        id: "G14",
        name: "redrive_moves_and_never_copies",
        of_transition: records::redrive_moves_and_never_copies,
        of_state: vacuous,
    },
    Guarantee {
        id: "G15",
        name: "sequence_numbers_are_dense_and_never_reused",
        of_transition: maintenance::numbers_go_on_one_by_one,
        of_state: maintenance::the_log_is_complete,
    },
];

/// The place of G12 in [`GUARANTEES`]. [`World::check`](crate::world::World::check) checks it part by part.
pub const TRANSACTIONS: usize = 12;

fn vacuous(_: &State, _: &Ghost) -> CheckResult {
    CheckResult::Vacuous
}
