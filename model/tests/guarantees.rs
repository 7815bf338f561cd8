//! `docs/guarantees.md` has one section for each guarantee and each liveness property, with the mutants that it kills.

use std::collections::{BTreeMap, BTreeSet};

use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::mutant;

#[path = "shared/docs.rs"]
mod docs;

/// The ids and names of all guarantees and liveness properties.
fn properties() -> impl Iterator<Item = (&'static str, &'static str)> {
    let safety = GUARANTEES.iter().map(|guarantee| (guarantee.id, guarantee.name));
    safety.chain(LIVENESS.iter().map(|property| (property.id, property.name)))
}

#[test]
fn each_section_names_the_mutants_that_its_guarantee_kills() {
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for (id, name) in properties() {
        let list = lists.entry(id).or_insert_with(|| "Killed mutants:\n\n".to_owned());
        for mutant in mutant::all().iter().filter(|mutant| mutant.breaks == name) {
            let anchor = mutant.name.replace('_', "-");
            *list += &format!("- [`{}`](mutants.md#{anchor}): {}\n", mutant.name, mutant.rationale);
        }
    }
    docs::parts_are("guarantees.md", lists.into_iter().map(|(id, list)| (format!("mutants of {id}"), list)));
}

#[test]
fn each_guarantee_has_one_section_under_its_name() {
    let document = include_str!("../../docs/guarantees.md");
    let headings: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let ids: BTreeSet<&str> = properties().map(|(id, _)| id).collect();
    for id in ids {
        let names: Vec<&str> = properties().filter(|(of, _)| *of == id).map(|(_, name)| name).collect();
        let heading = format!("{id} {}", names.join(", "));
        let found = headings.iter().filter(|of| **of == heading).count();
        assert_eq!(found, 1, "docs/guarantees.md has {found} sections \"## {heading}\"");
    }
}
