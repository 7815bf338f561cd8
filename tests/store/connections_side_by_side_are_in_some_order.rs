//! The search over schedules of connections. It skips no outcome, finds nothing in the product, finds what is planted,
//! and gives the same result each time.
//!
//! `fencepost verify` searches the product far. This is a small search.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fencepost_verify::counterexample::Counterexample;
use fencepost_verify::plan::{Phase as _, Plan, Reach, Silent};
use fencepost_verify::schedule::case::acts;
use fencepost_verify::schedule::case::{
    ClientAct as Act, ScheduleCase as Case, ScheduledClient as Client, WalAtStart as Wal,
};
use fencepost_verify::schedule::connections::{Connections as Stage, ScheduleRun as Run};
use fencepost_verify::schedule::control;
use fencepost_verify::schedule::phase::SchedulePhase;
use fencepost_verify::schedule::replay::{ConnectionSchedule, look_for, replay, shrink, start_of};
use fencepost_verify::scheduler::{Explored, Strategy as Search};
use fencepost_verify::trace::Trace;

fn pair(wal: Wal, acts: &[Act], kinds: [&str; 2]) -> Case {
    let client = |(late_ms, kind): (u64, &str)| {
        let act = acts.iter().find(|act| act.kind() == kind).unwrap();
        Client { late_ms, acts: vec![act.clone()], patience_ms: 5_000, mutant: None }
    };
    let clients = [(0, kinds[0]), (20, kinds[1])].into_iter().map(client).collect();
    Case { start: "cuts-queue".to_owned(), wal, clients }
}

/// The outcome of a run: the answers, which client was answered before which was called, and the state that is left.
fn outcome(run: &Run) -> String {
    let mut spells: Vec<_> = run.spells.iter().collect();
    spells.sort_by_key(|spell| (spell.client, spell.act));
    let before = |one: usize, other: usize| spells[one].answered < spells[other].called;
    let order: Vec<bool> = (0..spells.len())
        .flat_map(|one| (0..spells.len()).map(move |other| (one, other)))
        .map(|(one, other)| before(one, other))
        .collect();
    let answers: Vec<_> = spells.iter().map(|spell| &spell.answer).collect();
    format!("{order:?} {answers:?} {:?}", run.left)
}

fn outcomes(stage: &mut Stage, case: &Case, search: &Search) -> (Explored, BTreeSet<String>) {
    let found = Arc::<Mutex<BTreeSet<String>>>::default();
    let keep = Arc::clone(&found);
    let explored = stage.explore(case, search, false, move |run| {
        keep.lock().unwrap().insert(outcome(run));
        false
    });
    let found = found.lock().unwrap().clone();
    (explored.unwrap(), found)
}

#[test]
fn of_schedules_that_differ_in_nothing_one_is_enough() {
    let start = start_of("cuts-queue").unwrap();
    let all = acts(&start);
    let mut stage = Stage::new(&start).unwrap();
    let mut numbers = Vec::new();
    for (wal, kinds) in [
        (Wal::Full, ["send", "read"]),
        (Wal::Full, ["claim", "ack"]),
        (Wal::Full, ["send", "checkpoint"]),
        (Wal::Copied, ["effect", "read"]),
    ] {
        let case = pair(wal, &all, kinds);
        let every = Search::Exhaustive { preemptions: None, schedules_max: u64::MAX };
        let (whole, expected) = outcomes(&mut stage, &case, &every);
        let (less, found) = outcomes(&mut stage, &case, &Search::Dpor { schedules_max: u64::MAX });
        assert!(whole.exhausted && less.exhausted, "{}", case.name());
        assert_eq!(found, expected, "{}", case.name());
        assert!(expected.len() > 1, "{}", case.name());
        numbers.push((case.name(), whole.schedules, less.schedules, expected.len()));
    }
    // The counts are pinned: a search that shrank would pass as well.
    insta::assert_debug_snapshot!(numbers);
}

#[test]
fn nothing_is_found_in_the_product_and_each_control_is_caught_by_its_name() {
    let (reach, program) = (Reach::Quick, std::path::PathBuf::new());
    let plan = Plan { reach, phases: Vec::new(), seed: 1, threads: 2, program };
    let found = SchedulePhase.run(&plan, &mut Silent).unwrap();
    assert_eq!(found.complaints, Vec::<String>::new());
    assert_eq!(found.failure.map(|failure| failure.explanation), None);
    let controls = found.figures.controls;
    assert_eq!((controls.caught, controls.total), (control::ALL.len(), control::ALL.len()));
    assert!(found.figures.cuts.distinct > 100);
}

#[test]
fn what_is_found_broken_is_made_small_told_and_found_again_from_its_trace() {
    let control =
        control::ALL.iter().find(|control| control.name.starts_with("a claim is a SELECT")).unwrap();
    let start = start_of(control.start).unwrap();
    let case = control.case(&start).unwrap();
    let mut stage = Stage::new(&start).unwrap();
    let search = Search::Pct { seed: 7, depth: 3, schedules: 10_000 };
    let broken = look_for(&mut stage, &case, &search, None).unwrap().unwrap();
    assert_eq!(broken.violation.property, control.breaks);
    let small = shrink(&broken).unwrap();
    assert!(small.choices.len() < broken.choices.len());
    let schedule = ConnectionSchedule { case: small.case, choices: small.choices };
    let written = Trace::new(control.breaks, Counterexample::Connections(schedule)).write().unwrap();
    let read = Trace::read(&written).unwrap().counterexample;
    assert!(read.replay().unwrap().broken, "the replay of a trace says that it holds");
    let Counterexample::Connections(scheduled) = read else { panic!("another counterexample") };
    let told = || replay(&scheduled.case, &scheduled.choices).unwrap();
    assert_eq!(told().violation.unwrap().property, control.breaks);
    assert_eq!(told().explanation, told().explanation);
    insta::assert_snapshot!(told().explanation);
}

#[test]
fn choices_that_do_not_fit_are_refused() {
    let start = start_of("cuts-queue").unwrap();
    let case = pair(Wal::Full, &acts(&start), ["send", "read"]);
    assert!(replay(&case, &[7]).unwrap_err().contains("do not fit"));
    let elsewhere = Case { start: "nowhere".to_owned(), ..case };
    assert!(replay(&elsewhere, &[]).unwrap_err().contains("nowhere"));
}
