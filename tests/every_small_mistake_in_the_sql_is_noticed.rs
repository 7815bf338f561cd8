//! Every small mistake in every statement is noticed, or it is known why it makes no difference.
//!
//! Without being told, one mutant in so many is examined, beginning with another for each `FENCEPOST_SEED`;
//! `FENCEPOST_MUTANTS=all` examines all of them. With `FENCEPOST_BLESS=1` the list in the documents is written anew.

#![cfg(feature = "verify")]

#[path = "../model/tests/shared/docs.rs"]
mod docs;

use std::collections::{BTreeMap, BTreeSet};

use fencepost::sqlite::{StatementId, Statements};
use fencepost::verify::mutation::{Mutant, Spared, all, examine::examine, judge};

/// Of so many mutants one is examined.
const ONE_IN: usize = 10;

#[test]
fn the_standard_statements_pass_every_examination() {
    examine(&Statements::standard()).unwrap();
}

#[test]
fn a_mutant_is_noticed_or_known_to_make_no_difference() {
    let mutants = all().unwrap();
    let seed = std::env::var("FENCEPOST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let everyone = std::env::var("FENCEPOST_MUTANTS").is_ok_and(|which| which == "all");
    let chosen: Vec<Mutant> = match everyone {
        true => mutants.clone(),
        false => mutants.iter().skip(seed % ONE_IN).step_by(ONE_IN).cloned().collect(),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (mut by, mut wrong): (BTreeMap<&str, usize>, _) = (BTreeMap::new(), Vec::new());
    let mut unnoticed: BTreeSet<String> = BTreeSet::new();
    for of in judge(threads, &chosen, |_| ()) {
        let mutant = &of.mutant;
        let told = format!("{:?}: {}: {}", mutant.statement, mutant.kind, mutant.what);
        if of.noticed.is_none() {
            unnoticed.insert(told.clone());
        }
        match (&of.noticed, mutant.spared()) {
            (Some(noticed), None) => *by.entry(noticed.by).or_default() += 1,
            (None, Some(Spared { equivalent: true, .. })) => {
                *by.entry("nothing: it makes no difference").or_default() += 1;
            }
            (None, Some(_)) => *by.entry("nothing yet").or_default() += 1,
            (None, None) => wrong.push(format!("{told}: nothing noticed it")),
            // The same change of the same statement in another place.
            (Some(noticed), Some(_)) => *by.entry(noticed.by).or_default() += 1,
        }
    }
    println!("{} of {} mutants, FENCEPOST_SEED={seed}, noticed by: {by:#?}", chosen.len(), mutants.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), chosen.len(), wrong.join("\n"));
    assert!(by.len() > 4, "hardly any examination noticed anything");
    // A reason for what is noticed everywhere is a mistake of the list.
    let listed = mutants.iter().filter(|mutant| mutant.spared().is_some());
    let listed: BTreeSet<String> =
        listed.map(|mutant| format!("{:?}: {}: {}", mutant.statement, mutant.kind, mutant.what)).collect();
    let needless: Vec<&String> = listed.difference(&unnoticed).collect();
    assert!(!everyone || needless.is_empty(), "listed and noticed: {needless:#?}");
}

#[test]
fn the_mutants_of_the_documents_are_those_that_are_made() {
    let mutants = all().unwrap();
    let (mut kinds, mut spared) =
        (BTreeMap::<_, usize>::new(), BTreeMap::<_, BTreeMap<String, BTreeSet<&str>>>::new());
    for mutant in &mutants {
        *kinds.entry(mutant.kind).or_default() += 1;
        if let Some(Spared { equivalent, reason }) = mutant.spared() {
            let of = spared.entry((!equivalent, reason)).or_default();
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
    let mut told = None;
    for ((unseen, reason), statements) in spared {
        if told.replace(unseen) != Some(unseen) {
            text += match unseen {
                false => "\nThose that nothing notices, since they make no difference:\n\n",
                true => "\nThose that nothing notices, and that may make a difference:\n\n",
            };
        }
        text += &format!("- **{reason}**:");
        for (statement, whats) in statements {
            let whats: Vec<String> = whats.iter().map(|what| format!("`{what}`")).collect();
            text += &format!(" {statement} {};", whats.join(", "));
        }
        text.pop();
        text += "\n";
    }
    docs::parts_are("verification.md", [("mutants of the SQL".to_owned(), text)]);
}
