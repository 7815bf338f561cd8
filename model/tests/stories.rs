//! How paths, moves and states are told: kept as snapshots, so that a change of the words is seen.

use fencepost_model::coverage::Tally;
use fencepost_model::generate::{Numbers, choose};
use fencepost_model::op::Op;
use fencepost_model::scope::{self, Scope};
use fencepost_model::state::State;
use fencepost_model::vocabulary::{Kind, Message, Name, Timestamp};
use fencepost_model::world::{Contract, Move};
use fencepost_model::{apply, story};

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
fn a_walk_through_everything_is_told_in_the_same_words() {
    let scope = scope::by_name("wide").expect("a scope");
    keep::keep("stories", "wide", &story::tell(&scope, &path(&scope, 5, 90), &Contract));
}

#[test]
fn the_moves_of_a_walk_are_told_a_line_each() {
    let scope = scope::by_name("wide").expect("a scope");
    let mut world = scope.world();
    let mut text = String::new();
    for action in path(&scope, 6, 90) {
        let reply = world.perform(&action, &Contract, &Tally::new());
        text += &story::line(&action, reply.as_ref());
        text.push('\n');
    }
    keep::keep("stories", "lines", &text);
}

#[test]
fn what_a_scope_begins_with_is_told_and_numbered_with_the_rest() {
    // With as many moves that the numbers have one digit, and one more.
    for name in ["one-damaged-event", "repaired-commands"] {
        let scope = scope::by_name(name).expect("a scope");
        let before = scope.start.len() + scope.damaged.len();
        assert!((1..9).contains(&before), "{before}");
        let moves = path(&scope, 1, 10);
        for moves in [&moves[..9 - before], &moves[..10 - before]] {
            keep::keep("stories", &format!("{name}-{}", moves.len()), &story::tell(&scope, moves, &Contract));
        }
    }
}

#[test]
fn of_a_longer_log_only_the_ends_are_told() {
    let mut state = State::new();
    let mut told = Vec::new();
    for _ in 0..8 {
        told.push(story::stand(&state));
        let message = Message::new(Kind::Event, Name::new("bet").expect("a name"), *b"1").into();
        apply(&mut state, Timestamp::ZERO, &Op::Publish { message });
    }
    assert_eq!(told[0], "empty");
    assert_eq!(told[6], "log 1 bet, 2 bet, 3 bet, 4 bet, 5 bet, 6 bet");
    assert_eq!(told[7], "log 1 to 7");
}
