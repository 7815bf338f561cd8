//! The search over power cuts. It finds nothing in the product, finds what is planted, and gives the same result each
//! time.
//!
//! `fencepost verify` searches the product far. This is a small search. Recordings pin the random numbers of SQLite, so
//! each of these tests runs in a process of its own.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;

use fencepost_model::op::Reply;
use fencepost_model::scope::{cuts, cuts_with_damage};
use fencepost_verify::counterexample::Counterexample;
use fencepost_verify::crash::case::CrashCase as Case;
use fencepost_verify::crash::control;
use fencepost_verify::crash::replay::{PowerCut, replay, shrink};
use fencepost_verify::crash::search::{
    CutClass as Class, CutFigures as Figures, CutLimits as Limits, CutSearch as Search,
};
use fencepost_verify::disk::{Budget, Profile};
use fencepost_verify::rig::act::{Act, next};
use fencepost_verify::rig::recorder::{DiskRecorder as Recorder, StartPoint as Start};
use fencepost_verify::rig::setting::{Level, Setting};
use fencepost_verify::trace::Trace;

use crate::alone::ran_alone;

const LIMITS: Limits = Limits {
    depth: 1,
    heavy: 1,
    budget: Budget { subsets: 6, samples: 1, thorough: false, combinations: 50 },
    reboot_in: 16,
    again_in: 16,
    seed: 1,
};

fn start(scope: usize, profile: Profile) -> Start {
    Recorder::new(Setting::honest(Level::PowerLoss, profile)).unwrap().start(&cuts()[scope]).unwrap()
}

/// Searches every single act from one beginning.
fn search(scope: usize, setting: Setting) -> Figures {
    let start = start(scope, setting.profile);
    let mut search = Search::new(&start, setting, LIMITS).unwrap();
    for act in next(&start.scope, setting.level, &start.moment, true) {
        search.explore(&mut vec![act]);
    }
    search.finish()
}

#[test]
fn every_cut_of_every_operation_leaves_a_state_of_the_model() {
    if ran_alone(every_cut_of_every_operation_leaves_a_state_of_the_model) {
        return;
    }
    for level in [Level::PowerLoss, Level::ProcessCrash] {
        for profile in [Profile::UNIX, Profile::PLAIN] {
            let figures = search(1, Setting::honest(level, profile));
            let broken =
                figures.broken.first().map(|broken| replay(&broken.case, &broken.cut).unwrap().explanation);
            assert_eq!(broken, None);
            assert_eq!(figures.unrecorded, Vec::<String>::new());
            assert!(figures.in_flight.iter().all(|times| *times > 0), "{:?}", figures.in_flight);
            assert_eq!(figures.suffixes > 0, level == Level::ProcessCrash);
            let seen: HashSet<Class> = figures.cells.keys().map(|(_, _, class)| *class).collect();
            assert_eq!(seen.contains(&Class::Spoiled), profile == Profile::PLAIN);
            assert!(seen.contains(&Class::Grown) || profile == Profile::PLAIN);
            let always = [Class::Killed, Class::Lost, Class::Torn, Class::Directory, Class::Again];
            assert!(always.iter().all(|class| seen.contains(class)), "{seen:?}");
        }
    }
}

#[test]
fn a_cut_while_a_record_is_repaired_leaves_it_as_it_was_or_repaired() {
    if ran_alone(a_cut_while_a_record_is_repaired_leaves_it_as_it_was_or_repaired) {
        return;
    }
    let setting = Setting::honest(Level::PowerLoss, Profile::UNIX);
    let start = Recorder::new(setting).unwrap().start(&cuts_with_damage()).unwrap();
    let acts = next(&start.scope, setting.level, &start.moment, false);
    let of = |kind: &str| acts.iter().find(|act| act.kind() == kind).unwrap().clone();
    let [repair, redrive, claim] = [of("repair"), of("redrive"), of("claim")];
    let mut done = start.moment.clone();
    let replies: Vec<_> = [&repair, &redrive, &claim].map(|act| done.perform(act)).concat();
    assert!(
        matches!(&replies[..], [Reply::Repaired { .. }, Reply::Redriven(_), Reply::HandedOut { deliveries, .. }]
            if deliveries.len() == 1),
        "{replies:?}"
    );
    let mut search = Search::new(&start, setting, LIMITS).unwrap();
    search.explore(&mut vec![repair.clone()]);
    search.explore(&mut vec![repair.clone(), redrive.clone()]);
    search.explore(&mut vec![repair, redrive, claim]);
    let figures = search.finish();
    assert!(figures.broken.is_empty(), "{:?}", figures.broken);
    assert_eq!(figures.unrecorded, Vec::<String>::new());
    assert!(figures.cells.keys().any(|(_, act, _)| *act == "repair"), "{:?}", figures.cells);
    assert!(figures.in_flight.iter().all(|times| *times > 0), "{:?}", figures.in_flight);
}

#[test]
fn the_same_images_are_found_whatever_else_is_going_on() {
    if ran_alone(the_same_images_are_found_whatever_else_is_going_on) {
        return;
    }
    let setting = Setting::honest(Level::ProcessCrash, Profile::UNIX);
    let alone = search(2, setting);
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| search(2, setting));
        let other = scope.spawn(|| search(0, setting));
        other.join().unwrap();
        (one.join().unwrap(), search(2, setting))
    });
    assert!(alone.images.len() > 1_000, "{}", alone.images.len());
    for again in [one, other] {
        assert_eq!(again.images, alone.images);
        assert_eq!((again.checked, &again.cells), (alone.checked, &alone.cells));
    }
}

/// SQLite syncs the directory with the first commit of the connection that created the WAL, and of no other.
#[test]
fn the_first_commit_of_a_second_process_survives_although_another_made_the_wal() {
    if ran_alone(the_first_commit_of_a_second_process_survives_although_another_made_the_wal) {
        return;
    }
    let setting = Setting::honest(Level::PowerLoss, Profile::UNIX);
    let start = start(1, setting.profile);
    let all = next(&start.scope, setting.level, &start.moment, true);
    let beside = all.into_iter().find(|act| matches!(act, Act::Beside(_))).unwrap();
    let mut search = Search::new(&start, setting, LIMITS).unwrap();
    search.look_at(&[Act::Reopen, beside], 0);
    let figures = search.finish();
    assert!(figures.cells.keys().any(|(_, act, class)| *act == "send beside" && *class == Class::Lost));
    let broken = figures.broken.first().map(|broken| replay(&broken.case, &broken.cut).unwrap().explanation);
    assert_eq!(broken, None);
}

#[test]
fn each_mistake_is_caught_by_the_promise_that_was_named_for_it() {
    if ran_alone(each_mistake_is_caught_by_the_promise_that_was_named_for_it) {
        return;
    }
    for control in control::ALL {
        let found = control.run().unwrap();
        assert!(found.is_ok(), "{}: {}", control.name, found.unwrap_err());
    }
}

#[test]
fn what_is_found_broken_is_made_small_told_and_found_again_from_its_trace() {
    if ran_alone(what_is_found_broken_is_made_small_told_and_found_again_from_its_trace) {
        return;
    }
    let control = control::ALL.iter().find(|control| control.name.contains("NORMAL")).unwrap();
    let mut found = *control.run().unwrap().unwrap();
    // Acts that have nothing to do with it are left out, and so are losses.
    let beginning = start(1, control.setting.profile);
    let more = next(&beginning.scope, Level::PowerLoss, &beginning.moment, false);
    let before = more.into_iter().find(|act| act.kind() == "cancel").unwrap();
    let acts: Vec<Act> = std::iter::once(before).chain(found.case.acts.clone()).collect();
    let mut longer = Search::new(&beginning, control.setting, LIMITS).unwrap().until(control.breaks);
    longer.look_at(&acts, acts.len() - 1);
    found = longer.finish().broken.pop().unwrap();
    assert_eq!(found.case.acts.len(), 2);
    let small = shrink(&found);
    assert_eq!(small.violation.property, control.breaks);
    assert_eq!((small.case.acts.len(), small.cut.choice.losses()), (1, 1));

    let trace = Trace::new(control.breaks, PowerCut { case: small.case, cut: small.cut });
    let read = Trace::read(&trace.write().unwrap()).unwrap();
    assert_eq!(read, trace);
    assert!(read.counterexample.replay().unwrap().broken, "the replay of a trace says that it holds");
    let Counterexample::Cut(power) = read.counterexample else { panic!("another counterexample") };
    let again = replay(&power.case, &power.cut).unwrap();
    assert_eq!(again.violation.unwrap().property, control.breaks);
    insta::assert_snapshot!(again.explanation);
    let honest = Case { setting: Setting { mutant: None, ..power.case.setting }, ..power.case };
    assert!(replay(&honest, &power.cut).unwrap().violation.is_none());
    let honest = Counterexample::Cut(PowerCut { case: honest, cut: power.cut });
    assert!(!honest.replay().unwrap().broken, "the replay of a trace says that it is broken");
}
