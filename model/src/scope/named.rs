//! The named scopes, which are explored to their ends.
//!
//! Invariant: each scope has a name of its own, one line on what it is about, and a pinned number of states.

mod log;
mod queue;
mod store;

use crate::scope::Scope;

/// All named scopes.
pub fn all() -> Vec<Scope> {
    vec![
        queue::leases(),
        queue::releases(),
        queue::batches(),
        queue::ids(),
        queue::set_aside(),
        queue::damaged_commands(),
        queue::repaired_commands(),
        log::groups(),
        log::batches_of_events(),
        log::names_added(),
        log::events_set_aside(),
        log::entries(),
        log::entry_settlements(),
        log::two_entries(),
        log::damaged_events(),
        log::one_damaged_event(),
        log::repaired_events(),
        log::exhausted_events(),
        store::pruning(),
        store::seeking(),
        store::epochs(),
        store::transactions(),
        store::falling_back(),
        store::answers_lost(),
    ]
}
