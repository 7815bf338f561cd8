//! The bus's own threads, in every schedule of small cases within a bound, and in others by chance. No wake-up is lost,
//! no answer comes before its commit, every request is answered, and a bus that ends leaves no thread behind
//! (`fencepost_verify::threads`).

use std::collections::BTreeSet;

use fencepost_verify::plan::Reach;
use fencepost_verify::scheduler::Strategy;
use fencepost_verify::threads::{self, Controls, PROMISES, ThreadMutant, controls, replay, search, shorten};

const SEED: u64 = 1;

/// How many schedules a standard run has.
const SCHEDULES: u64 = 5_916;

#[test]
fn every_promise_is_kept_within_the_bounds_and_every_known_mistake_is_found() {
    let found = threads::run(Reach::Standard, SEED, 2, |_, _| {}).unwrap();
    if let Some(broken) = found.broken {
        panic!("{}: {:?}\n{}{:?}", broken.scenario, broken.wrong, broken.story, broken.choices);
    }
    println!("{:?}", found.figures);
    assert_eq!(found.complaints, [""; 0]);
    let (figures, total) = (found.figures, ThreadMutant::ALL.len());
    assert_eq!(figures.exhausted, figures.scenarios);
    assert_eq!(figures.controls, Controls { caught: total, total });
    // The count is pinned: a search that shrank would pass as well.
    assert_eq!(figures.schedules, SCHEDULES);
}

#[test]
fn every_promise_is_broken_by_some_known_mistake() {
    let broken: BTreeSet<&str> = controls().map(|control| control.breaks).collect();
    assert_eq!(broken, PROMISES.iter().copied().collect());
}

#[test]
fn a_failure_is_drawn_with_a_lane_for_each_thread_and_found_again_from_fewer_choices() {
    let (wrong, scenario) = (Some(ThreadMutant::LateOnesAreKept), "a close among senders");
    let by_chance = Strategy::Pct { seed: SEED, depth: 3, schedules: 400 };
    let broken = search(scenario, wrong, &by_chance).unwrap().broken.unwrap();
    let shortest = shorten(broken.clone(), wrong).unwrap();
    assert!(shortest.choices.len() < broken.choices.len());
    let lanes = shortest.story.lines().next().unwrap();
    assert!(
        ["writer", "sender one", "sender two", "closer"].iter().all(|lane| lanes.contains(lane)),
        "{lanes}"
    );
    for _ in 0..2 {
        let again = replay(scenario, wrong, &shortest.choices).unwrap().broken.unwrap();
        assert_eq!((again.wrong, again.story), (shortest.wrong.clone(), shortest.story.clone()));
    }
    assert!(replay(scenario, None, &shortest.choices).unwrap().broken.is_none());
}

#[test]
fn choices_that_do_not_fit_and_a_scenario_that_is_not_there_are_told_so() {
    assert!(replay("two who send", None, &[9, 9, 9]).unwrap().explored.misfit);
    assert!(replay("nobody", None, &[]).is_err());
}
