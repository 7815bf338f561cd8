//! Every small mutant of every statement is noticed, or it is known why it makes no difference.
//!
//! By default one mutant in ten is examined, and `FENCEPOST_SEED` chooses which. `FENCEPOST_MUTANTS=all` examines all of
//! them, and `FENCEPOST_MUTANTS=EntryNext,EntryRead` those of some statements. With `FENCEPOST_BLESS=1` the list in the
//! documents is written anew.

use std::collections::{BTreeMap, BTreeSet};

use fencepost::internals::sqlite::{StatementId, Statements};
use fencepost_verify::mutation::examine::{Noticed, examine};
use fencepost_verify::mutation::{StatementMutant as Mutant, all, check as check_all};

/// One mutant in this many is examined.
const ONE_IN: usize = 10;

#[test]
fn the_standard_statements_pass_every_examination() {
    examine(&Statements::standard()).unwrap();
}

#[test]
fn a_mutant_is_noticed_or_known_to_make_no_difference() {
    let mutants = all().unwrap();
    let seed = std::env::var("FENCEPOST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let which = std::env::var("FENCEPOST_MUTANTS").ok();
    let chosen: Vec<Mutant> = match which.as_deref() {
        Some("all") => mutants.clone(),
        Some(some) => {
            let named =
                |mutant: &&Mutant| some.split(',').any(|name| format!("{:?}", mutant.statement) == name);
            mutants.iter().filter(named).cloned().collect()
        }
        None => mutants.iter().skip(seed % ONE_IN).step_by(ONE_IN).cloned().collect(),
    };
    assert!(!chosen.is_empty(), "no statement has one of these names");
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (mut by, mut wrong): (BTreeMap<&str, usize>, _) = (BTreeMap::new(), Vec::new());
    let mut begun = 0;
    let examined = check_all(threads, &chosen, |_| {
        begun += 1;
        if begun % 100 == 0 {
            println!("{begun} of {}", chosen.len());
        }
    });
    for of in examined {
        let mutant = &of.mutant;
        let told = format!("{:?}: {}: {}", mutant.statement, mutant.kind, mutant.what);
        match (of.noticed, mutant.spared()) {
            (Some(noticed), None) => *by.entry(noticed.by).or_default() += 1,
            (None, Some(_)) => *by.entry("nothing: it makes no difference").or_default() += 1,
            (None, None) => wrong.push(format!("{told}: nothing noticed it")),
            (Some(noticed), Some(reason)) => {
                let Noticed { by, why } = noticed;
                wrong.push(format!("{told}: it was said that {reason}; but it was noticed by {by}: {why}"));
            }
        }
    }
    println!("{} of {} mutants, FENCEPOST_SEED={seed}, noticed by: {by:#?}", chosen.len(), mutants.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), chosen.len(), wrong.join("\n"));
    assert!(which.is_some() || by.len() > 4, "hardly any examination noticed anything");
}

#[test]
fn the_mutants_of_the_documents_are_those_that_are_made() {
    let mutants = all().unwrap();
    let (mut kinds, mut spared) =
        (BTreeMap::<_, usize>::new(), BTreeMap::<_, BTreeMap<String, BTreeSet<&str>>>::new());
    for mutant in &mutants {
        *kinds.entry(mutant.kind).or_default() += 1;
        if let Some(reason) = mutant.spared() {
            let of = spared.entry(reason).or_default();
            of.entry(format!("{:?}", mutant.statement)).or_default().insert(&mutant.what);
        }
    }
    let mut text = format!(
        "{} mutants of {} statements.\n\n| slip | mutants |\n| --- | --- |\n",
        mutants.len(),
        StatementId::ALL.len()
    );
    for (kind, made) in kinds {
        text += &format!("| {kind} | {made} |\n");
    }
    let count: usize = spared.values().flat_map(BTreeMap::values).map(BTreeSet::len).sum();
    text += &format!("\nNothing notices {count} of them, since they make no difference:\n\n");
    for (reason, statements) in spared {
        text += &format!("- **{reason}**:");
        for (statement, whats) in statements {
            let whats: Vec<String> = whats.iter().map(|what| format!("`{what}`")).collect();
            text += &format!(" {statement} {};", whats.join(", "));
        }
        text.pop();
        text += "\n";
    }
    crate::docs::parts_are("sql-mutants.md", [("mutants of the SQL".to_owned(), text)]);
}
