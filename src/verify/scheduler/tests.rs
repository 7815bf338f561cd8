//! The searches themselves, on clients of a few lines.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Two clients that read, pause, and write what they read and one; says what came out, once for each schedule.
fn counting(search: &Strategy) -> (Explored, Vec<(u64, Vec<u8>)>) {
    let board = Arc::<Board>::default();
    let found = Arc::<Mutex<Vec<(u64, Vec<u8>)>>>::default();
    let (shared, results) = (Arc::clone(&board), Arc::clone(&found));
    let explored = explore(search, &board, move || {
        let number = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (number, board) = (Arc::clone(&number), Arc::clone(&shared));
                shuttle::thread::spawn(move || {
                    let read = number.load(Ordering::SeqCst);
                    board.pause();
                    number.store(read + 1, Ordering::SeqCst);
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        results.lock().unwrap().push((number.load(Ordering::SeqCst), shared.choices()));
    });
    let found = found.lock().unwrap().clone();
    (explored, found)
}

const ALL: Strategy = Strategy::Exhaustive { preemptions: None, schedules_max: u64::MAX };

#[test]
fn every_interleaving_is_run_once_and_each_can_be_run_again() {
    let (explored, found) = counting(&ALL);
    // Two clients of two steps each: 4 over 2.
    assert!(explored.exhausted);
    assert_eq!(explored.schedules, 6);
    let mut choices: Vec<_> = found.iter().map(|(_, choices)| choices.clone()).collect();
    choices.sort();
    choices.dedup();
    assert_eq!(choices.len(), 6);
    assert_eq!(found.iter().filter(|(number, _)| *number == 1).count(), 4);
    for (number, choices) in found {
        let (explored, again) = counting(&Strategy::Replay(choices.clone()));
        assert!(!explored.misfit);
        assert_eq!(again, [(number, choices)]);
    }
}

#[test]
fn a_bound_of_preemptions_leaves_out_what_needs_more() {
    let bounded = |preemptions| {
        let (explored, found) =
            counting(&Strategy::Exhaustive { preemptions: Some(preemptions), schedules_max: u64::MAX });
        assert!(explored.exhausted);
        (explored.schedules, found.iter().filter(|(number, _)| *number == 1).count())
    };
    assert_eq!(bounded(0), (2, 0));
    let (one, violation) = bounded(1);
    assert!(one > 2 && one < 6 && violation > 0, "{one} {violation}");
    assert_eq!(bounded(2), (6, 4));
}

#[test]
fn a_bound_of_departures_counts_every_choice() {
    let departing = |departures| {
        let (explored, found) = counting(&Strategy::Departing { departures, schedules_max: u64::MAX });
        assert!(explored.exhausted);
        (explored.schedules, found.iter().filter(|(number, _)| *number == 1).count())
    };
    assert_eq!(departing(0), (1, 0));
    let (one, violation) = departing(1);
    assert!(one > 1 && one < 6 && violation > 0, "{one} {violation}");
    assert_eq!(departing(4), (6, 4));
}

#[test]
fn a_search_that_was_cut_short_or_by_chance_is_not_exhausted() {
    let (explored, _) = counting(&Strategy::Exhaustive { preemptions: None, schedules_max: 3 });
    assert_eq!((explored.schedules, explored.exhausted), (3, false));
    let (explored, found) = counting(&Strategy::Pct { seed: 1, depth: 2, schedules: 50 });
    assert_eq!((explored.schedules, explored.exhausted), (50, false));
    assert!(found.iter().any(|(number, _)| *number == 1));
    let (_, again) = counting(&Strategy::Pct { seed: 1, depth: 2, schedules: 50 });
    assert_eq!(found, again);
}

#[test]
fn choices_that_do_not_fit_are_told_so_and_a_deadlock_is_found() {
    let (explored, _) = counting(&Strategy::Replay(vec![1, 9]));
    assert!(explored.misfit);
    let board = Arc::<Board>::default();
    let explored = explore(&ALL, &board, || {
        let (one, two) = (Arc::new(shuttle::sync::Mutex::new(())), Arc::new(shuttle::sync::Mutex::new(())));
        let other = {
            let (one, two) = (Arc::clone(&one), Arc::clone(&two));
            shuttle::thread::spawn(move || {
                let _first = one.lock().unwrap();
                let _second = two.lock().unwrap();
            })
        };
        let another = shuttle::thread::spawn(move || {
            let _first = two.lock().unwrap();
            let _second = one.lock().unwrap();
        });
        other.join().unwrap();
        another.join().unwrap();
    });
    assert!(explored.ended.is_some_and(|why| why.contains("deadlock")));
    assert!(!explored.exhausted);
}
