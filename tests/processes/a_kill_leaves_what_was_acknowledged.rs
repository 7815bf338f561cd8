//! Processes work on a real file and are killed with SIGKILL at random moments, thousands of times. Each writes into a
//! pipe what it is about to do, and what it was answered. The file that it leaves is checked against that.
//!
//! Nothing that was acknowledged is lost, and nothing is half done. The steps come from a printed seed; the moments are
//! the machine's. `FENCEPOST_SEED` and `FENCEPOST_KILLS` ask for others, and for more. These tests cannot show what a
//! power cut leaves: the operating system outlives the process, and with it all that was written.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use crate::kill::rivals::{Rivalry, Seen};
use crate::kill::trial::{Figures, Trial};
use crate::kill::{Failure, Fault, G4, G15, HALF, LOST};
use crate::role::Role;
use fencepost_verify::system::AGREES;

#[test]
#[ignore = "a role: run by the tests below, in processes that are killed"]
fn role_of_the_one_writer() {
    crate::kill::writer::play();
}

#[test]
#[ignore = "a role: run by the tests below, in processes that are killed"]
fn role_of_a_competitor() {
    crate::kill::competitor::play();
}

fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

/// The seed, and how many kills.
fn extent(seed: u64, kills: u32) -> (u64, u32) {
    let kills = told("FENCEPOST_KILLS").map_or(kills, |kills| u32::try_from(kills).unwrap());
    (told("FENCEPOST_SEED").unwrap_or(seed), kills)
}

fn trial(synced: bool, fault: Option<Fault>, (seed, kills): (u64, u32)) -> Result<Figures, Box<Failure>> {
    Trial { role: Role::of(role_of_the_one_writer), synced, seed, kills, fault }.run()
}

fn rivalry(fault: Option<Fault>, (seed, kills): (u64, u32)) -> Result<Seen, Box<Failure>> {
    Rivalry { role: Role::of(role_of_a_competitor), seed, kills, fault }.run()
}

fn sound<T>(outcome: Result<T, Box<Failure>>) -> T {
    outcome.unwrap_or_else(|failure| panic!("{failure}"))
}

/// The failure that a search must find.
fn caught<T>(outcome: Result<T, Box<Failure>>) -> Box<Failure> {
    let failure = outcome.err().expect("a fault that was not noticed");
    println!("{failure}");
    failure
}

/// Every kind of moment has occurred, and often: a search that never hits a moment checks nothing of it.
fn every_kind_occurred(figures: &Figures) {
    let Figures { kills, while_opening, between, unseen, .. } = *figures;
    let in_flight = figures.in_flight();
    assert!(in_flight > kills / 10, "few kills fell while an operation was in flight");
    let seldom = kills / 200;
    for count in [figures.in_flight_done, figures.in_flight_undone, while_opening, between, unseen] {
        assert!(count > seldom, "one of the kinds of moments hardly occurred");
    }
    assert!(figures.acknowledged > kills as usize, "hardly anything was acknowledged");
}

#[test]
fn a_process_that_syncs_each_commit_leaves_what_it_acknowledged_and_nothing_half_done() {
    let (seed, kills) = extent(23, 1_500);
    println!("seed {seed}");
    let figures = sound(trial(true, None, (seed, kills)));
    println!("{figures:?}, in flight: {}", figures.in_flight());
    every_kind_occurred(&figures);
}

#[test]
fn a_process_that_leaves_syncs_to_checkpoints_leaves_what_it_acknowledged_and_nothing_half_done() {
    let (seed, kills) = extent(29, 1_500);
    println!("seed {seed}");
    let figures = sound(trial(false, None, (seed, kills)));
    println!("{figures:?}, in flight: {}", figures.in_flight());
    every_kind_occurred(&figures);
}

#[test]
fn competing_processes_that_are_killed_lose_no_send_undo_no_settlement_and_share_no_token() {
    let (seed, kills) = extent(31, 800);
    println!("seed {seed}");
    let seen = sound(rivalry(None, (seed, kills)));
    println!("{seen:?}");
    let said = seen.said;
    assert!(said.in_flight > u64::from(kills) / 10, "few kills fell while an operation was in flight");
    assert!(
        said.in_flight_done > 0 && said.in_flight_undone > 0,
        "one of the kinds of moments never occurred"
    );
    assert!(said.leases_lost > 0, "no lease was ever lost: they did not compete");
    assert!(said.settlements > u64::from(kills), "hardly anything was acknowledged");
}

/// The file is not looked at after every kill. Then the next process may be the first to meet the loss, in an answer, and
/// leave a file that shows nothing of it.
fn told_of_a_loss(failure: &Failure) {
    assert!([LOST, AGREES].contains(&failure.broken.guarantee));
}

#[test]
fn an_acknowledgement_before_the_commit_is_noticed() {
    for synced in [false, true] {
        told_of_a_loss(&caught(trial(synced, Some(Fault::SaysDoneTooEarly), (1, 1_000))));
    }
    let failure = caught(rivalry(Some(Fault::SaysDoneTooEarly), (1, 1_000)));
    assert_eq!(failure.broken.guarantee, LOST);
}

#[test]
fn a_commit_that_was_left_out_is_noticed() {
    told_of_a_loss(&caught(trial(false, Some(Fault::ForgetsACommit), (2, 1_000))));
    let failure = caught(rivalry(Some(Fault::ForgetsACommit), (2, 1_000)));
    assert!([LOST, G15].contains(&failure.broken.guarantee));
}

#[test]
fn one_operation_in_two_transactions_is_noticed() {
    let failure = caught(trial(false, Some(Fault::CommitsInTwo), (3, 5_000)));
    assert_eq!(failure.broken.guarantee, HALF);
    let failure = caught(rivalry(Some(Fault::CommitsInTwo), (3, 5_000)));
    assert_eq!(failure.broken.guarantee, HALF);
}

#[test]
fn a_token_that_is_minted_twice_is_noticed() {
    let failure = caught(rivalry(Some(Fault::ForgetsAClaim), (4, 1_000)));
    assert_eq!(failure.broken.guarantee, G4);
}
