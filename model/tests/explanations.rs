//! Snapshots of explanations and descriptions, so that a reviewer sees a change of the wording.

use fencepost_model::coverage::Tally;
use fencepost_model::generate::{Numbers, choose};
use fencepost_model::op::Op;
use fencepost_model::scope::{self, Scope};
use fencepost_model::state::State;
use fencepost_model::vocabulary::{Kind, Message, Name, Timestamp};
use fencepost_model::world::{Contract, Move};
use fencepost_model::{apply, description, explanation};

#[path = "shared/keep.rs"]
mod keep;

fn path(scope: &Scope, seed: u64, moves: usize) -> Vec<Move> {
    let mut world = scope.world();
    let mut path = Vec::new();
    for number in Numbers::new(seed).take(moves) {
        let Some(action) = choose(scope, &world, number) else { break };
        world.perform(&action, &Contract, &Tally::new());
        path.push(action);
    }
    path
}

#[test]
fn a_walk_through_the_wide_scope_is_explained_as_before() {
    let scope = scope::by_name("wide").expect("a scope");
    keep::keep("explanations", "wide", &explanation::explain(&scope, &path(&scope, 5, 90), &Contract));
}

#[test]
fn each_move_of_a_walk_is_one_line() {
    let scope = scope::by_name("wide").expect("a scope");
    let mut world = scope.world();
    let mut text = String::new();
    for action in path(&scope, 6, 90) {
        let reply = world.perform(&action, &Contract, &Tally::new());
        text += &explanation::line(&action, reply.as_ref());
        text.push('\n');
    }
    keep::keep("explanations", "lines", &text);
}

#[test]
fn the_start_of_a_scope_is_explained_and_numbered_with_the_path() {
    // The last number has one digit, and then two.
    for name in ["one-damaged-event", "repaired-commands"] {
        let scope = scope::by_name(name).expect("a scope");
        let before = scope.start.len() + scope.damaged.len();
        assert!((1..9).contains(&before), "{before}");
        let moves = path(&scope, 1, 10);
        for moves in [&moves[..9 - before], &moves[..10 - before]] {
            keep::keep(
                "explanations",
                &format!("{name}-{}", moves.len()),
                &explanation::explain(&scope, moves, &Contract),
            );
        }
    }
}

#[test]
fn a_longer_log_is_described_by_its_ends() {
    let mut state = State::new();
    let mut described = Vec::new();
    for _ in 0..8 {
        described.push(description::state(&state));
        let message = Message::new(Kind::Event, Name::new("bet").expect("a name"), *b"1").into();
        apply(&mut state, Timestamp::ZERO, &Op::Publish { message });
    }
    assert_eq!(described[0], "empty");
    assert_eq!(described[6], "log 1 bet, 2 bet, 3 bet, 4 bet, 5 bet, 6 bet");
    assert_eq!(described[7], "log 1 to 7");
}
