//! The lockstep agrees with the store as it is, and notices every mutant of its SQL that makes a difference.

use fencepost::internals::sqlite::Statements;
use fencepost_model::coverage::Tally;
use fencepost_model::scope;
use fencepost_verify::lockstep::Lockstep;
use fencepost_verify::system::AGREES;
use fencepost_verify::{mutants, sequence, sql_mutant};

#[test]
fn small_scopes_agree_to_their_end_whatever_image_a_state_has() {
    let mut twins = 0;
    for name in ["set-aside", "entry-settlements", "transactions", "one-damaged-event"] {
        let scope = scope::by_name(name).unwrap();
        let pinned = scope.states;
        let search = Lockstep::new(scope, Statements::standard());
        let found = search.run();
        assert_eq!(found.broken, [], "{name}: {:?}", found.difference);
        assert_eq!(found.states, pinned, "{name}");
        twins += search.images_agree().unwrap_or_else(|difference| panic!("{name}: {difference}"));
    }
    assert!(twins > 0, "no state was reached with two images");
}

#[test]
fn every_mutant_of_the_sql_is_noticed_or_known_to_make_no_difference() {
    let found = mutants::of_sql(2, |_| {});
    let unexplained: Vec<_> = found.survivors.iter().filter(|(_, reason)| reason.is_none()).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    let equivalent = sql_mutant::ALL.iter().filter(|mutant| mutant.equivalent.is_some()).count();
    assert_eq!(found.killed + equivalent, found.total);
    assert!(found.killed >= 24);
}

#[test]
fn every_mutant_of_the_sql_changes_its_statement() {
    for mutant in sql_mutant::ALL {
        assert!(mutant.statements().is_some(), "{} does not find what it replaces", mutant.name);
        assert!(scope::by_name(mutant.scope).is_some(), "{} names no scope", mutant.name);
    }
}

#[test]
fn a_mutant_is_shown_by_a_shortest_path_that_names_the_guarantee() {
    let mutant = sql_mutant::by_name("a_second_claim_keeps_the_first_token").unwrap();
    let scope = scope::by_name(mutant.scope).unwrap();
    let found = Lockstep::new(scope, mutant.statements().unwrap()).shortest();
    let (property, moves) = &found.broken[0];
    assert_ne!(*property, AGREES, "no guarantee is named: {:?}", found.broken);
    assert_eq!(moves.len(), 4, "{moves:?}");
}

#[test]
fn a_failing_sequence_shrinks_and_fails_again_in_the_same_way() {
    let mutant = sql_mutant::by_name("a_redrive_copies").unwrap();
    let sql = mutant.statements().unwrap();
    let found = sequence::run(&sql, 7, 40, 120, &Tally::new()).unwrap();
    let (moves, wrong) = found.failure.expect("forty sequences redrive something");
    assert!(moves.len() <= 40, "it did not shrink: {} moves", moves.len());
    let wide = scope::by_name("wide").unwrap();
    let (once, again) = sequence::replay(&wide, &sql, &moves).unwrap();
    assert_eq!(again.expect("it fails again").property, wrong.property);
    assert_eq!(once, sequence::replay(&wide, &sql, &moves).unwrap().0);
    let (_, healthy) = sequence::replay(&wide, &Statements::standard(), &moves).unwrap();
    assert!(healthy.is_none(), "{healthy:?}");
}

#[test]
fn long_sequences_on_a_file_agree_and_reopen_it() {
    let tally = Tally::new();
    let found = sequence::run(&Statements::standard(), 1, 8, 300, &tally).unwrap();
    assert!(found.failure.is_none(), "{:?}", found.failure);
    assert_eq!(found.sequences, 8);
    assert!(found.moves > 800, "{}", found.moves);
    assert!(tally.operations() > 300, "{}", tally.operations());
}
