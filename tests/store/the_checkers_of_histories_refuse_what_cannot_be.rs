//! The checkers of histories. Each is shown what it must allow and what it must refuse, in histories written by hand: no
//! clients, no file.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::op::{Delivery, Op, Refusal, Reply, Settled, Settlement, Start, Target};
use fencepost_model::state::{Body, State};
use fencepost_model::step::apply;
use fencepost_model::vocabulary::{Group, Kind, Message, Name, Names, Seq, Timestamp, Token};
use fencepost_verify::history::checkers::{ANSWERS, HistoryVerdict as Verdict, PATIENCE, check as check_all};
use fencepost_verify::history::log::{AGAIN, HOLDERS, INVERTED, LOST, SKIPPED, UNCOMMITTED};
use fencepost_verify::history::record::{
    CommitPlace as Place, History, HistoryAnswer as Answer, HistoryEnd as End, HistoryEntry as Entry,
};
use fencepost_verify::history::{commit_order as numbers, linearizability as search, log};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn group() -> Group {
    Group::new("audit").unwrap()
}

fn seq(number: u32) -> Seq {
    Seq::from(number)
}

fn event(number: u32) -> Arc<Message> {
    Arc::new(Message::new(Kind::Event, name("won"), format!("event {number}").into_bytes()))
}

/// A history that is written down one operation after the other, ten nanoseconds each.
#[derive(Default)]
struct Written {
    entries: Vec<Entry>,
}

impl Written {
    fn answered(&mut self, now: u32, op: Op, answer: Answer) -> &mut Self {
        let called_ns = 10 * self.entries.len() as u64;
        self.entries.push(Entry {
            lane: 0,
            life: 0,
            called_ns,
            answered_ns: Some(called_ns + 5),
            patience_ms: 0,
            now: Timestamp::from(now),
            op,
            answer,
        });
        self
    }

    fn then(&mut self, now: u32, op: Op, reply: Reply) -> &mut Self {
        self.answered(now, op, Answer::Replied { reply, place: None })
    }

    fn published(&mut self, number: u32) -> &mut Self {
        let reply = Reply::Accepted { seq: seq(number), fresh: true };
        self.then(1, Op::Publish { message: event(number) }, reply)
    }

    fn subscribed(&mut self) -> &mut Self {
        let op = Op::Subscribe { group: group(), name: name("won"), start: Start::Earliest };
        self.then(1, op, Reply::Subscribed { position: Seq::ZERO, fresh: true })
    }

    /// A poll under a token of its own, or a new one, which is handed these events until 100 ms after it.
    fn polled(&mut self, now: u32, own: Option<u32>, token: u32, events: &[u32]) -> &mut Self {
        let op = Op::Poll {
            group: group(),
            names: Names::from([name("won")]),
            token: own.map(Token::from),
            max: NonZeroU32::new(9).unwrap(),
            lease_ms: 100,
            attempts_max: NonZeroU32::new(9).unwrap(),
        };
        let delivery = |number: &u32| Delivery {
            target: Target::Event { group: group(), seq: seq(*number) },
            seq: seq(*number),
            token: Token::from(token),
            attempt: 1,
            lease_until: Timestamp::from(now + 100),
            body: Body::Sound { message: event(*number), at: Timestamp::from(1) },
        };
        let deliveries = events.iter().map(delivery).collect();
        self.then(now, op, Reply::HandedOut { deliveries, dead_lettered: Vec::new() })
    }

    fn acked(&mut self, now: u32, token: u32, number: u32) -> &mut Self {
        let target = Target::Event { group: group(), seq: seq(number) };
        let op = Op::Settle { target, token: Token::from(token), how: Settlement::Ack };
        self.then(now, op, Reply::Settled(Settled::Acked))
    }

    fn history(&self) -> History {
        History { start: State::new(), start_seq: 0, entries: self.entries.clone(), end: None, checker: None }
    }

    /// What the checks of the log say.
    fn seen(&self) -> Vec<&'static str> {
        log::check(&self.history()).iter().map(|refused| refused.checker).collect()
    }
}

#[test]
fn a_log_that_is_read_in_order_and_settled_once_is_allowed() {
    let mut written = Written::default();
    written.published(1).published(2).subscribed().polled(10, None, 1, &[1, 2]).acked(11, 1, 1);
    written.polled(12, Some(1), 1, &[2]).published(3).acked(13, 1, 2).polled(200, None, 2, &[3]);
    assert_eq!(written.seen(), [""; 0]);
    assert_eq!(search::check(&written.history()), Verdict::Allowed);
}

#[test]
fn an_acknowledged_event_that_a_group_read_past_is_lost() {
    let mut written = Written::default();
    written.published(1).published(2).subscribed().polled(10, None, 1, &[2]);
    assert_eq!(written.seen(), [LOST]);
}

#[test]
fn an_event_between_two_that_were_handed_out_together_is_skipped() {
    let mut written = Written::default();
    written.published(1).published(2).published(3).subscribed().polled(10, None, 1, &[1, 3]);
    assert_eq!(written.seen(), [LOST, SKIPPED]);
}

#[test]
fn order_is_inverted_within_a_poll_or_from_one_to_the_next() {
    let mut written = Written::default();
    written.published(1).published(2).subscribed().polled(10, None, 1, &[2, 1]);
    assert_eq!(written.seen(), [INVERTED]);
    let mut written = Written::default();
    written.published(1).published(2).subscribed().polled(10, None, 1, &[1, 2]);
    written.polled(11, Some(1), 1, &[2]).polled(12, Some(1), 1, &[1]);
    assert_eq!(written.seen(), [INVERTED]);
}

#[test]
fn an_event_is_not_seen_before_it_is_published_nor_if_that_did_not_happen() {
    let mut written = Written::default();
    written.subscribed().polled(10, None, 1, &[1]).published(1);
    assert_eq!(written.seen(), [UNCOMMITTED]);
    let mut written = Written::default();
    written.answered(1, Op::Publish { message: event(1) }, Answer::Busy);
    written.subscribed().polled(10, None, 1, &[1]);
    assert_eq!(written.seen(), [UNCOMMITTED]);
    // Without an answer it may have happened.
    written.entries[0].answer = Answer::Missing;
    assert_eq!(written.seen(), [""; 0]);
}

#[test]
fn a_settled_event_is_not_handed_out_again() {
    let mut written = Written::default();
    written.published(1).subscribed().polled(10, None, 1, &[1]).acked(11, 1, 1);
    written.polled(200, None, 2, &[1]);
    assert_eq!(written.seen(), [AGAIN]);
}

#[test]
fn a_cursor_has_one_holder_by_its_tokens_and_by_its_lease() {
    let mut written = Written::default();
    written.published(1).subscribed().polled(10, None, 1, &[1]).polled(200, None, 2, &[1]).acked(201, 1, 1);
    assert_eq!(written.seen(), [HOLDERS]);
    let mut written = Written::default();
    written.published(1).subscribed().polled(10, None, 1, &[1]).polled(60, None, 2, &[1]);
    assert_eq!(written.seen(), [HOLDERS]);
}

#[test]
fn who_would_have_waited_is_not_turned_away_and_no_operation_fails() {
    let mut written = Written::default();
    written.answered(1, Op::Publish { message: event(1) }, Answer::Busy);
    assert!(check_all(&written.history()).refused().is_empty(), "this one does not wait");
    written.entries[0].patience_ms = 5_000;
    written.answered(1, Op::Reboot, Answer::Failed("no memory".to_owned()));
    let opinion = check_all(&written.history());
    let by: Vec<_> = opinion.refused().iter().map(|refused| refused.checker).collect();
    assert_eq!(by, [PATIENCE, ANSWERS]);
}

fn send() -> Op {
    let message = Arc::new(Message::new(Kind::Command, name("bet"), *b"x"));
    Op::Send { message, delay_ms: 0 }
}

/// A send, with when it was called and answered, what it was answered, and its number.
fn sent(called_ns: u64, answered: Option<(u64, u32, u64)>) -> Entry {
    let reply = |(_, number, commit_seq)| Answer::Replied {
        reply: Reply::Accepted { seq: seq(number), fresh: true },
        place: Some(Place { commit_seq, changed: true }),
    };
    Entry {
        lane: 0,
        life: 0,
        called_ns,
        answered_ns: answered.map(|(at, ..)| at),
        patience_ms: 0,
        now: Timestamp::from(1),
        op: send(),
        answer: answered.map_or(Answer::Missing, reply),
    }
}

/// A history of sends after which so many commands are there, and so many numbers were taken.
fn sends(entries: Vec<Entry>, commands: u32) -> History {
    let mut state = State::new();
    for _ in 0..commands {
        apply(&mut state, Timestamp::from(1), &send());
    }
    let end = Some(End { state, commit_seq: u64::from(commands) });
    History { start: State::new(), start_seq: 0, entries, end, checker: None }
}

fn verdicts(history: &History) -> [Verdict; 2] {
    [numbers::check(history), search::check(history)]
}

fn refused(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refused(_))
}

#[test]
fn what_was_answered_before_a_call_comes_before_it() {
    let concurrent = sends(vec![sent(0, Some((20, 2, 2))), sent(10, Some((30, 1, 1)))], 2);
    assert_eq!(verdicts(&concurrent), [Verdict::Allowed, Verdict::Allowed]);
    let in_turn = sends(vec![sent(0, Some((5, 2, 2))), sent(10, Some((30, 1, 1)))], 2);
    assert!(verdicts(&in_turn).iter().all(refused), "{:?}", verdicts(&in_turn));
}

#[test]
fn what_was_not_answered_may_have_happened_or_not() {
    for (numbers, commands) in [([1, 2], 2), ([1, 3], 3), ([2, 3], 3)] {
        let [one, two] = numbers;
        let entries =
            vec![sent(0, None), sent(1, Some((5, one, one.into()))), sent(10, Some((15, two, two.into())))];
        let history = sends(entries, commands);
        assert_eq!(verdicts(&history), [Verdict::Allowed, Verdict::Allowed], "{numbers:?}");
    }
    // Once only, not before its call, and not if what is found in the end says otherwise.
    let twice = sends(vec![sent(0, None), sent(1, Some((5, 2, 2))), sent(10, Some((15, 4, 4)))], 4);
    let early = sends(vec![sent(1, Some((5, 2, 2))), sent(10, None)], 2);
    let gone = sends(vec![sent(0, None), sent(1, Some((5, 2, 2)))], 1);
    for history in [twice, early, gone] {
        assert!(verdicts(&history).iter().all(refused), "{:?}", verdicts(&history));
    }
}

#[test]
fn a_number_that_is_wrong_is_refused_by_the_judge_of_numbers_and_means_nothing_to_the_search() {
    let history = sends(vec![sent(0, Some((20, 1, 2))), sent(10, Some((30, 2, 1)))], 2);
    let [by_number, by_order] = verdicts(&history);
    assert!(refused(&by_number));
    assert_eq!(by_order, Verdict::Allowed);
}

#[test]
fn a_search_that_gives_up_says_so() {
    let entries = (0..8).map(|index| sent(index, Some((100 + index, 8 - index as u32, 1)))).collect();
    let history = sends(entries, 8);
    assert_eq!(search::search(&history, 3).verdict, Verdict::Inconclusive);
    assert_eq!(search::search(&history, 100).verdict, Verdict::Allowed);
}

/// The model, as the tester of stateright wants it.
#[derive(Clone, Debug)]
struct Spec(State);

impl SequentialSpec for Spec {
    type Op = (Timestamp, Op);
    type Ret = Reply;

    fn invoke(&mut self, (now, op): &Self::Op) -> Reply {
        apply(&mut self.0, *now, op)
    }
}

/// A pinned source of chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn some_op(chance: &mut Chance) -> Op {
    let one = NonZeroU32::MIN;
    let command =
        |chance: &mut Chance| (seq(1 + chance.below(2) as u32), Token::from(1 + chance.below(2) as u32));
    match chance.below(6) {
        0 | 1 => send(),
        2 | 3 => Op::Claim { names: Names::from([name("bet")]), max: one, lease_ms: 9, attempts_max: one },
        4 => Op::Cancel { seq: command(chance).0 },
        _ => {
            let (seq, token) = command(chance);
            Op::Settle { target: Target::Command(seq), token, how: Settlement::Ack }
        }
    }
}

/// A history of three clients with two operations each, which happens as the model says; then, maybe, two answers change
/// places. It is told to both checkers in the same order.
fn tiny(chance: &mut Chance) -> (History, bool) {
    let mut tester = LinearizabilityTester::new(Spec(State::new()));
    let mut state = State::new();
    let mut clients: [(u32, Option<usize>, Option<Reply>); 3] = Default::default();
    let mut entries: Vec<Entry> = Vec::new();
    let mut said: Vec<(usize, Option<usize>)> = Vec::new();
    for at in 0..10 + chance.below(30) {
        let lane = chance.below(3) as usize;
        let (done, current, reply) = &mut clients[lane];
        match (*current, reply.take()) {
            (None, _) if *done < 2 => {
                let (op, now) = (some_op(chance), Timestamp::from(5));
                *current = Some(entries.len());
                said.push((lane, None));
                entries.push(Entry { lane: lane as u32, now, op, ..sent(at, None) });
            }
            (Some(index), None) => *reply = Some(apply(&mut state, entries[index].now, &entries[index].op)),
            (Some(index), Some(reply)) => {
                entries[index].answered_ns = Some(at);
                entries[index].answer = Answer::Replied { reply, place: None };
                (*done, *current) = (*done + 1, None);
                said.push((lane, Some(index)));
            }
            _ => {}
        }
    }
    let answered: Vec<usize> = (0..entries.len()).filter(|index| !entries[*index].is_open()).collect();
    if chance.below(2) == 0 && answered.len() > 1 {
        let [one, two] = [0, 1].map(|_| answered[chance.below(answered.len() as u64) as usize]);
        let answer = entries[one].answer.clone();
        entries[one].answer = std::mem::replace(&mut entries[two].answer, answer);
    }
    let mut calls = entries.iter();
    for (lane, returned) in said {
        match returned {
            None => {
                let entry = calls.next().unwrap();
                tester.on_invoke(lane, (entry.now, entry.op.clone())).unwrap();
            }
            Some(index) => {
                tester.on_return(lane, entries[index].reply().unwrap().clone()).unwrap();
            }
        }
    }
    let consistent = tester.is_consistent();
    (History { start: State::new(), start_seq: 0, entries, end: None, checker: None }, consistent)
}

#[test]
fn the_search_agrees_with_the_tester_of_stateright_on_tiny_histories() {
    let seed = 3;
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let (mut allowed, mut refusals, mut open) = (0, 0, 0);
    for _ in 0..4_000 {
        let (history, consistent) = tiny(&mut chance);
        let verdict = search::check(&history);
        assert_eq!(verdict == Verdict::Allowed, consistent, "{verdict:?}\n{history:#?}");
        allowed += u32::from(consistent);
        refusals += u32::from(!consistent);
        open += u32::from(history.entries.iter().any(Entry::is_open));
    }
    println!("{allowed} allowed, {refusals} refused, {open} with an operation that was not answered");
    assert!(allowed > 1_000 && refusals > 500 && open > 100, "{allowed} {refusals} {open}");
}

#[test]
fn a_refusal_that_takes_a_number_is_none() {
    let mut one = sent(0, Some((5, 1, 1)));
    one.answer = Answer::Replied {
        reply: Reply::Refused(Refusal::NotFound),
        place: Some(Place { commit_seq: 1, changed: true }),
    };
    assert!(refused(&numbers::check(&sends(vec![one], 1))));
}
