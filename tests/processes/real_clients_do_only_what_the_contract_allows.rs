//! Real processes and threads work on one real file, are killed and stalled, and all their answers are checked: in commit
//! order, by a linearizability search, and for the log without a model.
//!
//! `fencepost verify` checks the product with many histories. Here a few stand for them, and the checkers are shown what
//! they must refuse.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fencepost_verify::counterexample::Counterexample;
use fencepost_verify::history::checkers::{HistoryVerdict as Verdict, asks, check as check_all};
use fencepost_verify::history::client::Theme;
use fencepost_verify::history::record::HistoryAnswer as Answer;
use fencepost_verify::history::recording::{
    ClientKind as Kind, RecordedHistory as Recorded, RecordingPlan as Plan, record,
};
use fencepost_verify::history::replay::replay;
use fencepost_verify::history::shrink::shrink;
use fencepost_verify::history::{alter, commit_order as numbers, control, linearizability as search};
use fencepost_verify::trace::Trace;

fn recorded(kind: Kind, theme: Theme, seed: u64, operations: u32) -> Recorded {
    let plan = Plan { kind, seed, lanes: 8, operations, kills: 8, stalls: 4, theme, mutant: None };
    println!("{plan:?}");
    record(&plan, Path::new(env!("CARGO_BIN_EXE_fencepost"))).unwrap()
}

#[test]
fn processes_threads_and_buses_leave_histories_that_every_judge_allows() {
    let (mut kills, mut stalls, mut busy, mut open) = (0, 0, 0, 0);
    for (seed, theme) in (1..).zip([Theme::Everything, Theme::Queue, Theme::Log]) {
        for kind in [Kind::Processes, Kind::Threads, Kind::Buses] {
            let recorded = recorded(kind, theme, seed, 110);
            let history = &recorded.history;
            let opinion = check_all(history);
            assert!(opinion.refused().is_empty(), "{}", replay(history).explanation);
            assert_eq!(opinion.by_search, Verdict::Allowed);
            let by_number = if kind == Kind::Buses { Verdict::Inconclusive } else { Verdict::Allowed };
            assert_eq!(opinion.by_commit_order, by_number, "nobody tells the clients of a bus their numbers");
            // A client that is killed before it wrote down its answer is not asked for that operation again.
            assert_eq!(history.entries.len(), 8 * 110);
            (kills, stalls) = (kills + recorded.kills, stalls + recorded.stalls);
            busy += history.entries.iter().filter(|entry| entry.answer == Answer::Busy).count();
            open += history.entries.iter().filter(|entry| entry.is_open()).count();
        }
    }
    println!("{kills} kills, {stalls} stalls, {busy} busy, {open} unanswered");
    assert!(kills > 0 && stalls > 0 && busy > 0 && open > 0, "{kills} {stalls} {busy} {open}");
}

#[test]
fn a_history_with_one_answer_changed_is_refused_by_both_judges() {
    let mut figures: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let kinds = [Kind::Processes, Kind::Threads];
    let each =
        kinds.into_iter().flat_map(|kind| [Theme::Everything, Theme::Queue].map(|theme| (kind, theme)));
    for (seed, (kind, theme)) in (11..).zip(each) {
        let history = recorded(kind, theme, seed, 25).history;
        for alteration in alter::all(&history) {
            let altered = alteration.of(&history);
            let of = figures.entry(alteration.what).or_default();
            of[0] += 1;
            let verdicts = [numbers::check(&altered), search::check(&altered)];
            for (counted, verdict) in of[1..].iter_mut().zip(&verdicts) {
                *counted += usize::from(matches!(verdict, Verdict::Refused(_)));
            }
            let refused = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Refused(_)));
            let entry = &history.entries[alteration.entry];
            assert!(refused, "{verdicts:?}\n{entry:?}\n{alteration:?}");
        }
    }
    for (what, [variants, by_number, by_order]) in &figures {
        println!("{variants:>5} {by_number:>5} {by_order:>5}  {what}");
    }
    let total = figures.values().map(|of| of[0]).sum::<usize>();
    println!("{total} variants");
    assert!(total > 2_000, "{total}");
    assert!(figures.len() > 20, "too few kinds of changes: {}", figures.len());
}

#[test]
fn each_mistake_is_refused_by_the_judges_named_for_it_and_told_in_a_few_operations() {
    let program = Path::new(env!("CARGO_BIN_EXE_fencepost"));
    let directory = tempfile::tempdir().unwrap();
    for control in control::ALL {
        let recorded =
            control.run(5, program).unwrap().unwrap_or_else(|why| panic!("{}: {why}", control.name));
        for judge in control.refused_by {
            let refused = asks(judge, &recorded.history).unwrap_or_else(|| panic!("{judge} was not sure"));
            let small = shrink(&recorded.history, &refused);
            assert!(asks(judge, &small).is_some(), "{judge} allows what is left");
            let told = small.entries.iter().filter(|entry| !entry.is_open()).count();
            println!("{}: {judge}: {told} of {}", control.name, recorded.history.entries.len());
            assert!(told <= 30, "{told} operations are no short explanation\n{}", replay(&small).explanation);
            // As a file it is the same, and it is checked and explained the same each time.
            let written = Trace::new(judge, small.clone()).write().unwrap();
            let read = Trace::read(&written).unwrap();
            assert_eq!(read.write().unwrap(), written);
            assert!(read.counterexample.replay().unwrap().broken, "the replay of a trace says that it holds");
            let Counterexample::History(again) = read.counterexample else {
                panic!("another counterexample")
            };
            assert_eq!(again, small);
            let [one, two] = [replay(&small), replay(&again)];
            assert_eq!(one.explanation, two.explanation);
            assert!(one.verdicts.refused().iter().any(|refused| refused.checker == *judge));
            let file = directory.path().join("history.trace");
            std::fs::write(&file, written).unwrap();
            let replayed = Command::new(program).arg("replay").arg(&file).output().unwrap();
            assert_eq!(replayed.status.code(), Some(1), "it is broken");
            assert_eq!(String::from_utf8(replayed.stdout).unwrap(), one.explanation);
        }
    }
}
