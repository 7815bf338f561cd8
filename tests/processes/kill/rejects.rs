//! The checkers reject what they are there for, and by the right name.
//!
//! No process is played here and no file opened: what was said and what was found are made up.

use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::op::{Op, Settlement, Target};
use fencepost_model::state::{Body, Place, State};
use fencepost_model::step;
use fencepost_model::vocabulary::{Kind, Message, Name, Names, Raw, Reason, RecordId, Seq, Timestamp, Token};
use fencepost_verify::system::AGREES;

use crate::kill::competitor::{How, Line};
use crate::kill::course::{Course, Progress, Task, gist};
use crate::kill::ledger::Ledger;
use crate::kill::{Broken, G1, G4, G15, HALF, LOST};

fn seq(number: u32) -> Seq {
    Seq::from(number)
}

fn token(number: u32) -> Token {
    Token::from(number)
}

fn message(number: u64) -> Arc<Message> {
    Message::new(Kind::Command, Name::new("bet").unwrap(), format!("{number} x").into_bytes()).into()
}

/// Messages 10, 20, 30 and 40 were sent as commands 1 to 4 and claimed under tokens 1 to 4; command 1 was acked,
/// command 2 dead-lettered, command 3 nacked. A process was about to ack command 4, and to send message 50 with that.
fn history() -> (Vec<Line>, State) {
    let (mut lines, mut state) = (vec![Line::Opened], State::new());
    let mut apply = |op| step::apply(&mut state, Timestamp::ZERO, &op);
    for number in 1..=4 {
        let (place, number) = (seq(number), u64::from(number) * 10);
        apply(Op::Send { message: message(number), delay_ms: 0 });
        lines.extend([Line::Sends { number }, Line::Sent { number, seq: place }]);
    }
    let (names, four) = (Names::from([Name::new("bet").unwrap()]), NonZeroU32::new(4).unwrap());
    apply(Op::Claim { names, max: four, lease_ms: 9, attempts_max: four });
    let taken = |number: u32| (u64::from(number) * 10, seq(number), token(number));
    lines.extend([Line::Claims, Line::Claimed((1..=4).map(taken).collect())]);
    let reason = Reason::from("because");
    let ends = [
        (How::Ack, Settlement::Ack, None),
        (How::DeadLetter, Settlement::DeadLetter { reason: reason.clone() }, Some(RecordId::from(1))),
        (How::Nack, Settlement::Nack { delay_ms: 5, reason }, None),
    ];
    for (number, (said, how, record)) in (1..).zip(ends) {
        let (seq, token) = (seq(number), token(number));
        apply(Op::Settle { target: Target::Command(seq), token, how });
        lines.push(Line::Settles { seq, token, how: said, sends: None });
        lines.push(Line::Settled { seq, token, record, sent: None });
    }
    lines.push(Line::Settles { seq: seq(4), token: token(4), how: How::Ack, sends: Some(50) });
    (lines, state)
}

/// What the ledger says of this history after a change.
fn verdict(change: impl FnOnce(&mut Vec<Line>, &mut State)) -> Option<&'static str> {
    let (mut lines, mut state) = history();
    change(&mut lines, &mut state);
    let mut ledger = Ledger::default();
    let checked = ledger.hear(&lines).and_then(|()| ledger.reconcile(&state));
    checked.err().map(|Broken { guarantee, why }| {
        println!("{guarantee}: {why}");
        guarantee
    })
}

/// What is found if this message stands at this place too.
fn put(state: &mut State, place: u32, number: u64) {
    let mut command = state.queue[&seq(3)].clone();
    command.body = Body::Sound { message: message(number), at: Timestamp::ZERO };
    state.queue.insert(seq(place), command);
    state.queue_last = state.queue_last.max(seq(place));
}

fn claimed(number: u64, place: u32, under: u32) -> Line {
    Line::Claimed(vec![(number, seq(place), token(under))])
}

#[test]
fn what_is_right_is_not_rejected() {
    assert_eq!(verdict(|_, _| ()), None);
    // What was in flight may have been done.
    let done = |_: &mut Vec<Line>, state: &mut State| {
        state.queue.remove(&seq(4));
        put(state, 5, 50);
    };
    assert_eq!(verdict(done), None);
}

#[test]
fn what_was_acknowledged_and_is_not_found_is_lost() {
    let lost = |change: fn(&mut Vec<Line>, &mut State)| assert_eq!(verdict(change), Some(LOST));
    lost(|_, state| drop(state.queue.remove(&seq(3))));
    lost(|_, state| put(state, 1, 10));
    lost(|_, state| {
        state.queue.remove(&seq(4));
        state.queue_last = seq(3);
    });
    lost(|lines, state| {
        lines.push(claimed(10, 1, 5));
        state.token_last = token(5);
    });
    lost(|_, state| drop(state.records.remove(&RecordId::from(1))));
    lost(|_, state| state.records.get_mut(&RecordId::from(1)).unwrap().place = Place::Parked);
    lost(|lines, state| {
        lines.push(claimed(20, 2, 5));
        state.token_last = token(5);
    });
    lost(|_, state| {
        let lease = state.queue[&seq(4)]
            .lease
            .map(|lease| fencepost_model::state::CommandLease { token: token(3), ..lease });
        state.queue.get_mut(&seq(3)).unwrap().lease = lease;
    });
}

#[test]
fn what_is_done_in_part_is_half_done() {
    let half = |change: fn(&mut Vec<Line>, &mut State)| assert_eq!(verdict(change), Some(HALF));
    half(|_, state| drop(state.queue.remove(&seq(4))));
    half(|_, state| put(state, 5, 50));
    half(|lines, state| {
        lines.push(Line::Lost { seq: seq(4), token: token(4) });
        put(state, 5, 50);
    });
    half(|_, state| put(state, 5, 99));
    half(|_, state| {
        let body = Body::Unreadable { raw: Raw(Arc::from([])) };
        state.queue.get_mut(&seq(3)).unwrap().body = body;
    });
}

#[test]
fn a_command_in_two_places_a_number_given_twice_and_a_token_minted_twice_are_named() {
    assert_eq!(verdict(|_, state| put(state, 2, 20)), Some(G1));
    assert_eq!(verdict(|_, state| put(state, 5, 40)), Some(G1));
    assert_eq!(verdict(|_, state| state.queue_last = seq(5)), Some(G1));
    assert_eq!(verdict(|lines, _| lines.push(Line::Sent { number: 60, seq: seq(1) })), Some(G15));
    assert_eq!(verdict(|lines, _| lines.push(claimed(30, 3, 2))), Some(G4));
    assert_eq!(verdict(|_, state| state.token_last = token(3)), Some(G4));
    // A token that was never heard of, and is not larger than one that was found before.
    let (lines, mut state) = history();
    state.token_last = token(9);
    let mut ledger = Ledger::default();
    ledger.hear(&lines).and_then(|()| ledger.reconcile(&state)).unwrap();
    assert_eq!(ledger.hear(&[claimed(30, 3, 7)]).unwrap_err().guarantee, G4);
}

#[test]
fn another_answer_than_the_models_is_named() {
    let mut course = Course::new(1);
    let Task::Apply(now, op) = course.next(8).remove(0) else { panic!("the first step is an operation") };
    let mut state = State::new();
    let reply = step::apply(&mut state, now, &op);
    let mut progress = Progress { acknowledged: vec![gist(None)], in_flight: false };
    assert_eq!(course.check(&progress, &state).unwrap_err().guarantee, AGREES);
    progress.acknowledged = vec![gist(Some(&reply))];
    course.check(&progress, &state).unwrap();
}
