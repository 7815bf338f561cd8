//! Runs the bus's own threads in all schedules of small cases within a bound, and in random schedules
//! (`fencepost_verify::threads`).
//!
//! Invariant: no wake-up is lost, no answer comes before its commit, every request is answered, and a bus that ends leaves
//! no thread behind. Every mutant of the threads is caught.
//! Does not depend on: how the threads of a bus work.

use std::collections::BTreeSet;

use fencepost_verify::plan::{Controls, Reach};
use fencepost_verify::scheduler::Strategy;
use fencepost_verify::threads::{self, PROMISES, ThreadMutant, controls, replay, search, shorten};

const SEED: u64 = 1;

/// The number of schedules of a standard run. It is pinned: a search that has become smaller would pass as well.
const SCHEDULES: u64 = 5_916;

#[test]
fn every_promise_is_kept_within_the_bounds_and_every_mutant_is_caught() {
    let found = threads::run(Reach::Standard, SEED, 2, |_, _| {}).unwrap();
    if let Some(broken) = found.broken {
        panic!("{}: {:?}\n{}{:?}", broken.scenario, broken.violation, broken.explanation, broken.choices);
    }
    println!("{:?}", found.figures);
    assert_eq!(found.complaints, [""; 0]);
    let (figures, total) = (found.figures, ThreadMutant::ALL.len());
    assert_eq!(figures.exhausted, figures.scenarios);
    assert_eq!(figures.controls, Controls { caught: total, total, missed: Vec::new() });
    assert_eq!(figures.controls_skipped, None);
    assert_eq!(figures.schedules, SCHEDULES);
}

#[test]
fn every_promise_is_broken_by_a_mutant() {
    let broken: BTreeSet<&str> = controls().map(|control| control.breaks).collect();
    assert_eq!(broken, PROMISES.iter().copied().collect());
}

#[test]
fn a_failure_is_drawn_with_a_lane_for_each_thread_and_found_again_from_fewer_choices() {
    let (mutant, scenario) = (Some(ThreadMutant::LateOnesAreKept), "a close among senders");
    let by_chance = Strategy::Pct { seed: SEED, depth: 3, schedules: 400 };
    let broken = search(scenario, mutant, &by_chance).unwrap().broken.unwrap();
    let shortest = shorten(broken.clone(), mutant).unwrap();
    assert!(shortest.choices.len() < broken.choices.len());
    let lanes = shortest.explanation.lines().next().unwrap();
    assert!(
        ["writer", "sender one", "sender two", "closer"].iter().all(|lane| lanes.contains(lane)),
        "{lanes}"
    );
    for _ in 0..2 {
        let again = replay(scenario, mutant, &shortest.choices).unwrap().broken.unwrap();
        assert_eq!(
            (again.violation, again.explanation),
            (shortest.violation.clone(), shortest.explanation.clone())
        );
    }
    assert!(replay(scenario, None, &shortest.choices).unwrap().broken.is_none());
}

#[test]
fn choices_that_do_not_fit_and_an_unknown_scenario_are_refused() {
    assert!(replay("two senders", None, &[9, 9, 9]).unwrap().explored.misfit);
    assert!(replay("no such scenario", None, &[]).is_err());
}
