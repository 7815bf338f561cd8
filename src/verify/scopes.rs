//! The scopes of the model that a reach takes.
//!
//! Does not depend on: what explores them.

use fencepost_model::scope::{self, Scope};

use crate::plan::Reach;

/// The scopes of the quick run: one for each part of the contract.
const QUICK: &[&str] = &[
    "releases",
    "set-aside",
    "one-damaged-event",
    "groups",
    "names-added",
    "events-set-aside",
    "entry-settlements",
    "seeking",
    "transactions",
    "answers-lost",
];

/// The scopes of a reach.
pub fn of(reach: Reach) -> Vec<Scope> {
    let mut all = scope::all();
    match reach {
        Reach::Quick => all.retain(|scope| QUICK.contains(&scope.name)),
        Reach::Standard => {}
        Reach::Deep => all.iter_mut().for_each(widen),
    }
    all
}

/// Sorts scopes by their pinned sizes, so that no thread is left alone with a large one at the end.
pub fn largest_first(scopes: &mut [Scope]) {
    scopes.sort_by_key(|scope| std::cmp::Reverse(scope.states));
}

/// A wider scope has no pinned size.
fn widen(scope: &mut Scope) {
    scope.limits.tokens += 1;
    scope.limits.records += 1;
    scope.clock_max += 1;
    scope.states = 0;
}
