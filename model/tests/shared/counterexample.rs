//! The shortest counterexample of a mutant, explained.

use std::sync::Arc;

use fencepost_model::check::ScopeSearch;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::mutant::Mutant;
use fencepost_model::{explanation, scope};

/// Explains a mutant's shortest counterexample to the property that it was said to break.
///
/// # Panics
/// If the mutant survives: then a check is too weak.
pub(crate) fn explanation_of(mutant: &Mutant) -> String {
    let scope = scope::by_name(mutant.scope).expect("a mutant names a scope that exists");
    let search = ScopeSearch::new(scope, Arc::new(*mutant));
    let found = search.shortest_to(mutant.breaks);
    let path = found.counterexamples.iter().find(|(name, _)| *name == mutant.breaks).map(|(_, path)| path);
    let Some(path) = path else {
        let others: Vec<_> = found.counterexamples.iter().map(|(name, _)| *name).collect();
        panic!("{} survives: {} was not found violated, only {others:?}", mutant.name, mutant.breaks);
    };
    explanation::explain(&search.scope, path, mutant)
}

/// The id of a guarantee or liveness property.
pub(crate) fn id_of(name: &str) -> &'static str {
    let safety = GUARANTEES.iter().map(|guarantee| (guarantee.id, guarantee.name));
    let liveness = LIVENESS.iter().map(|property| (property.id, property.name));
    let found = safety.chain(liveness).find(|(_, of)| *of == name);
    found.expect("a mutant names a guarantee or a liveness property").0
}
