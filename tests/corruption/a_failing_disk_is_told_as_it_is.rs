//! A disk that fails, memory that runs out and bits that change lead to an error that says what it left, and never to a
//! message that was not sent.
//!
//! Allocations can be made to fail only before the first use of SQLite in a process, so each of these tests runs in a
//! process of its own.

use fencepost_model::scope;
use fencepost_verify::disk::Profile;
use fencepost_verify::faults::case::{FaultSetting as Setting, Manner};
use fencepost_verify::faults::control;
use fencepost_verify::faults::harness::FaultStart as Beginning;
use fencepost_verify::faults::sync::{Going, Syncs};
use fencepost_verify::faults::{self, FaultsPhase};
use fencepost_verify::plan::{Phase as _, Plan, Reach, Silent};
use fencepost_verify::rig::act::next;
use fencepost_verify::rig::setting::Level;

use crate::alone::ran_alone;

#[test]
fn a_quick_run_holds_and_has_seen_what_it_is_for() {
    if ran_alone(a_quick_run_holds_and_has_seen_what_it_is_for) {
        return;
    }
    faults::prepare().unwrap();
    let (reach, program) = (Reach::Quick, std::path::PathBuf::new());
    let plan = Plan { reach, phases: Vec::new(), seed: 1, threads: 2, program };
    let found = FaultsPhase.run(&plan, &mut Silent).unwrap();
    assert_eq!(found.complaints, Vec::<String>::new());
    assert_eq!(found.failure.map(|failure| failure.explanation), None);
    let figures = found.figures;
    for count in [figures.io_errors, figures.disk_full, figures.allocations, figures.failed_syncs] {
        assert!(count > 0, "{figures:?}");
    }
    assert!(figures.recovered > figures.io_errors, "{figures:?}");
    assert!(figures.flips.total > 0 && figures.short_reads.total > 0, "{figures:?}");
    assert_eq!(figures.controls.caught, control::ALL.len());
}

#[test]
fn each_mistake_is_caught_by_the_promise_that_is_named_for_it() {
    if ran_alone(each_mistake_is_caught_by_the_promise_that_is_named_for_it) {
        return;
    }
    faults::prepare().unwrap();
    for control in control::ALL {
        let wrong = control.run().unwrap().unwrap_or_else(|why| panic!("{}: {why}", control.name));
        assert_eq!(wrong.property, control.breaks);
    }
}

#[test]
fn nothing_is_built_on_what_a_failed_sync_left_of_a_killed_process() {
    if ran_alone(nothing_is_built_on_what_a_failed_sync_left_of_a_killed_process) {
        return;
    }
    faults::prepare().unwrap();
    let setting = Setting { level: Level::PowerLoss, profile: Profile::UNIX, manner: Manner::Cold };
    let beginning = Beginning::new(&scope::by_name("cuts-queue").unwrap(), setting).unwrap();
    let acts = next(&beginning.scope, setting.level, &beginning.moment, false);
    let send = acts.iter().find(|act| act.kind() == "send").unwrap();
    let mut syncs = Syncs::new(setting.level).unwrap();
    let mut failed = 0;
    for at in 0.. {
        match syncs.run(&beginning, send, at, Going::Killed).unwrap() {
            Some(synced) => failed += u32::from(synced),
            None => break,
        }
    }
    assert!(failed > 0);
}
