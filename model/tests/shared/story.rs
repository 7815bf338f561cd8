//! The shortest counterexample of a mutant, told. It judges nothing itself.

use std::sync::Arc;

use fencepost_model::check::Search;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::mutant::Mutant;
use fencepost_model::{scope, story};

/// The story of a mutant's shortest way to break what it was said to break.
///
/// # Panics
/// If it breaks nothing, or something else first and never this: then a check is too weak.
pub(crate) fn story_of(mutant: &Mutant) -> String {
    let scope = scope::by_name(mutant.scope).expect("a mutant names a scope that exists");
    let search = Search::new(scope, Arc::new(*mutant));
    let found = search.shortest_to(mutant.breaks);
    let path = found.broken.iter().find(|(name, _)| *name == mutant.breaks).map(|(_, path)| path);
    let Some(path) = path else {
        let others: Vec<_> = found.broken.iter().map(|(name, _)| *name).collect();
        panic!("{} survives: {} was not found broken, only {others:?}", mutant.name, mutant.breaks);
    };
    story::tell(&search.scope, path, mutant)
}

/// The number in the contract of a guarantee or liveness property.
pub(crate) fn id_of(name: &str) -> &'static str {
    let safety = GUARANTEES.iter().map(|guarantee| (guarantee.id, guarantee.name));
    let liveness = LIVENESS.iter().map(|property| (property.id, property.name));
    let found = safety.chain(liveness).find(|(_, of)| *of == name);
    found.expect("a mutant names a guarantee or a liveness property").0
}
