//! Every mutant is killed by the guarantee that was named for it. Its shortest counterexample is kept as a snapshot, so
//! that a reviewer sees a change.

use std::collections::BTreeSet;

use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::mutant;
use fencepost_model::scope;

#[path = "shared/counterexample.rs"]
mod counterexample;
#[path = "shared/keep.rs"]
mod keep;

#[test]
fn every_mutant_is_killed_by_the_guarantee_that_was_named_for_it() {
    for mutant in mutant::all() {
        let explanation = counterexample::explanation_of(&mutant);
        let id = counterexample::id_of(mutant.breaks);
        let text = format!(
            "{}\n{}\nbreaks {id} {} in scope {}\n\n{explanation}",
            mutant.name, mutant.rationale, mutant.breaks, mutant.scope
        );
        keep::keep("snapshots", mutant.name, &text);
    }
}

#[test]
fn every_guarantee_and_every_liveness_property_has_a_mutant_that_it_kills() {
    let violated: BTreeSet<&str> = mutant::all().iter().map(|mutant| mutant.breaks).collect();
    let safety = GUARANTEES.iter().map(|guarantee| guarantee.name);
    let named: BTreeSet<&str> = safety.chain(LIVENESS.iter().map(|property| property.name)).collect();
    let without_mutant: Vec<_> = named.difference(&violated).collect();
    assert!(without_mutant.is_empty(), "no mutant is killed by {without_mutant:?}");
    let unknown: Vec<_> = violated.difference(&named).collect();
    assert!(unknown.is_empty(), "mutants name guarantees that do not exist: {unknown:?}");
}

#[test]
fn mutants_have_unique_names_and_scopes_that_exist() {
    let names: BTreeSet<&str> = mutant::all().iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), mutant::all().len(), "two mutants share a name");
    for mutant in mutant::all() {
        assert!(scope::names().contains(&mutant.scope), "{} names no scope: {}", mutant.name, mutant.scope);
    }
}

#[test]
fn every_snapshot_belongs_to_a_mutant() {
    let names: BTreeSet<String> =
        mutant::all().iter().map(|mutant| format!("{}.snap", mutant.name)).collect();
    let kept = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots")).expect("snapshots");
    for file in kept {
        let file = file.expect("a snapshot can be listed").file_name().to_string_lossy().into_owned();
        assert!(names.contains(&file) || file.ends_with(".snap.new"), "{file} belongs to no mutant");
    }
}
