//! Every known way to get a bus wrong is found by the guarantee that was named for it, and its shortest story is
//! kept as a snapshot, for a newcomer to read and for a reviewer to see change.

use std::collections::BTreeSet;

use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::mutant;
use fencepost_model::scope;

#[path = "shared/keep.rs"]
mod keep;
#[path = "shared/story.rs"]
mod story;

#[test]
fn every_mutant_is_killed_by_the_guarantee_that_was_named_for_it() {
    for mutant in mutant::all() {
        let told = story::story_of(&mutant);
        let id = story::id_of(mutant.breaks);
        let text = format!(
            "{}\n{}\nbreaks {id} {} in scope {}\n\n{told}",
            mutant.name, mutant.story, mutant.breaks, mutant.scope
        );
        keep::keep("snapshots", mutant.name, &text);
    }
}

#[test]
fn every_guarantee_and_every_liveness_property_has_a_mutant_that_it_kills() {
    let broken: BTreeSet<&str> = mutant::all().iter().map(|mutant| mutant.breaks).collect();
    let safety = GUARANTEES.iter().map(|guarantee| guarantee.name);
    let named: BTreeSet<&str> = safety.chain(LIVENESS.iter().map(|property| property.name)).collect();
    let toothless: Vec<_> = named.difference(&broken).collect();
    assert!(toothless.is_empty(), "no mutant is killed by {toothless:?}");
    let unknown: Vec<_> = broken.difference(&named).collect();
    assert!(unknown.is_empty(), "mutants name guarantees that do not exist: {unknown:?}");
}

#[test]
fn mutants_have_names_of_their_own_and_scopes_that_exist() {
    let names: BTreeSet<&str> = mutant::all().iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), mutant::all().len(), "two mutants share a name");
    for mutant in mutant::all() {
        assert!(scope::names().contains(&mutant.scope), "{} names no scope: {}", mutant.name, mutant.scope);
    }
}

#[test]
fn no_snapshot_is_left_of_a_mutant_that_is_gone() {
    let names: BTreeSet<String> =
        mutant::all().iter().map(|mutant| format!("{}.snap", mutant.name)).collect();
    let kept = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots")).expect("snapshots");
    for file in kept {
        let file = file.expect("a snapshot can be listed").file_name().to_string_lossy().into_owned();
        assert!(names.contains(&file) || file.ends_with(".snap.new"), "{file} belongs to no mutant");
    }
}
