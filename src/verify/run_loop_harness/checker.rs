//! The checker: compares the notes of a run with the rules and with the policy function of the model.
//!
//! Invariant: the result depends on the scenario and the notes alone. It is the first broken rule.
//! Does not depend on: the code of the run loop.

use std::collections::BTreeMap;

use fencepost_model::op::{Lease, Op, Settled, Settlement, Target};
use fencepost_model::policy::{AttemptDecision, HandlerOutcome, decide};
use fencepost_model::vocabulary::{Timestamp, Token};

use crate::run_loop::notes::{Note, Requester, RunEvent};
use crate::run_loop::scenario::{OWN_TRACE, RunScenario, RunStop, StoreFault, trace_of};
use crate::run_loop::{Rule, RuleBroken};
use fencepost::telemetry::TRACEPARENT;

/// How a handler settled its delivery itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SettledByHandler {
    Settled(Settled),
    Released,
}

/// A delivery, as far as the notes show it.
#[derive(Clone, Debug)]
pub(super) struct SeenDelivery {
    pub(super) sound: bool,
    pub(super) attempt: u32,
    pub(super) until: Timestamp,
    pub(super) began: bool,
    pub(super) ended: Option<HandlerOutcome>,
    pub(super) loss_reported: bool,
    /// The store refused a request of its handler.
    pub(super) refused_by_hand: bool,
    /// When the store gave its lease to another consumer.
    pub(super) taken_at: Option<Timestamp>,
    /// Its lease could not be extended in time, or its handler shortened it.
    pub(super) disturbed: bool,
    pub(super) by_hand: Option<SettledByHandler>,
    pub(super) asked: Option<Op>,
    /// The store answered the settlement or release, and was not busy.
    pub(super) done: bool,
}

impl SeenDelivery {
    pub(super) const fn is_over(&self) -> bool {
        self.done || self.by_hand.is_some()
    }

    pub(super) fn at_work(&self) -> bool {
        self.began && self.ended.is_none()
    }

    /// Whether the loop knows that the lease is lost.
    pub(super) fn known_lost(&self) -> bool {
        self.loss_reported || self.refused_by_hand && self.ended != Some(HandlerOutcome::Cancelled)
    }
}

/// Figures counted from the notes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) settled: Vec<Settled>,
    pub(super) buried: u64,
    pub(super) refused: u64,
    pub(super) busy: u64,
    pub(super) panicked: u64,
    pub(super) released: Vec<Target>,
    /// The store answered a request of the run loop with an error that is not retryable.
    pub(super) closed: bool,
}

pub(super) struct RunChecker<'a> {
    pub(super) scenario: &'a RunScenario,
    pub(super) seen: BTreeMap<(Token, Target), SeenDelivery>,
    /// Earlier deliveries that came again under the same token.
    pub(super) past: Vec<((Token, Target), SeenDelivery)>,
    /// The events that the run loop holds, in order.
    pub(super) line: Vec<(Token, Target)>,
    pub(super) counts: Counts,
    pub(super) shutdown: bool,
    pub(super) dropped: bool,
    /// When the run had a reason to end.
    pub(super) stop_at: Option<Timestamp>,
    /// The deliveries for which the policy decided to stop.
    pub(super) stops: Vec<Target>,
    pub(super) slow_ms: u64,
    /// The times of the last claim and of the last poll.
    pub(super) looked: (Timestamp, Timestamp),
    pub(super) now: Timestamp,
}

pub(super) type Checked = Result<(), RuleBroken>;

pub(super) fn hold(rule: Rule, holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(RuleBroken { rule, what: what() }) }
}

impl<'a> RunChecker<'a> {
    pub(super) fn new(scenario: &'a RunScenario) -> Self {
        let slow = scenario.faults.iter().map(|(_, fault)| match fault {
            StoreFault::Slow(ms) => u64::from(*ms),
            _ => 0,
        });
        Self {
            scenario,
            seen: BTreeMap::new(),
            past: Vec::new(),
            line: Vec::new(),
            counts: Counts::default(),
            shutdown: false,
            dropped: false,
            stop_at: None,
            stops: Vec::new(),
            slow_ms: slow.sum(),
            looked: (Timestamp::ZERO, Timestamp::ZERO),
            now: Timestamp::ZERO,
        }
    }

    pub(super) fn note(&mut self, note: &Note) -> Checked {
        self.now = note.at;
        match &note.what {
            RunEvent::Asked(Requester::Run, ops) => ops.iter().try_for_each(|op| self.asked(op, ops)),
            RunEvent::Asked(Requester::Handler(_), ops) => ops.iter().try_for_each(|op| self.sent(op)),
            RunEvent::Asked(Requester::OtherConsumer, _) => Ok(()),
            RunEvent::Answered(requester, answers) => {
                answers.iter().try_for_each(|(op, answer)| self.answered(*requester, op, answer))
            }
            RunEvent::Began(token, target) => self.began(*token, target),
            RunEvent::LossReported(token, target) => {
                let taken =
                    self.seen.get(&(*token, target.clone())).is_some_and(|seen| seen.taken_at.is_some());
                self.with(*token, target, |seen| seen.loss_reported = true);
                let known = taken || self.counts.closed || !self.scenario.accidents.is_empty();
                let fenced = known || self.slow_ms > 0 || !self.scenario.heartbeat;
                hold(Rule::LossIsReported, fenced || self.has_faults(), || {
                    format!("reported as lost, but not lost: {target:?}")
                })
            }
            RunEvent::Ended(token, target, outcome) => self.ended(*token, target, outcome),
            RunEvent::Shutdown => {
                self.shutdown = true;
                self.stops_now();
                Ok(())
            }
            RunEvent::Dropped => {
                self.dropped = true;
                self.stops_now();
                Ok(())
            }
            RunEvent::Returned => {
                let at_work = self.seen.values().filter(|seen| seen.at_work()).count();
                hold(Rule::SettlesEverything, at_work == 0, || format!("{at_work} handlers are left at work"))
            }
        }
    }

    fn has_faults(&self) -> bool {
        !self.scenario.faults.is_empty()
    }

    pub(super) fn stops_now(&mut self) {
        self.stop_at.get_or_insert(self.now);
    }

    pub(super) fn with(&mut self, token: Token, target: &Target, change: impl FnOnce(&mut SeenDelivery)) {
        if let Some(seen) = self.seen.get_mut(&(token, target.clone())) {
            change(seen);
        }
    }

    fn asked(&mut self, op: &Op, together: &[Op]) -> Checked {
        hold(Rule::NothingAfterTheEnd, !self.dropped, || format!("after it was dropped: {op:?}"))?;
        match op {
            Op::Claim { max, .. } => {
                self.takes()?;
                self.looked.0 = self.now;
                let given_back = |token: &Token| {
                    together.iter().any(|op| matches!(op, Op::Release { token: given, .. } if given == token))
                };
                let busy = self.seen.iter().filter(|((token, target), seen)| {
                    let command = matches!(target, Target::Command(_)) && seen.sound;
                    command && (seen.at_work() || !seen.began && !seen.done && !given_back(token))
                });
                let (busy, max) = (busy.count(), max.get() as usize);
                let enough = busy + max <= self.scenario.concurrency && max <= self.scenario.batch as usize;
                hold(Rule::ClaimsForFreeHandlers, enough, || {
                    format!("{busy} are at work, and {max} are claimed")
                })
            }
            Op::Poll { .. } => {
                self.takes()?;
                self.looked.1 = self.now;
                let at_work = self
                    .seen
                    .iter()
                    .any(|((_, target), seen)| !matches!(target, Target::Command(_)) && seen.at_work());
                hold(Rule::EventsInOrder, !at_work, || "a poll while an event is handled".to_owned())
            }
            Op::Settle { target, token, how } => self.settles(*token, target, how, op),
            Op::Release { lease: Lease::Command(seq), token } => {
                self.gives_back(*token, &Target::Command(*seq), op)
            }
            Op::Release { lease: Lease::Cursor(_), .. } => {
                let drains = !matches!(self.scenario.stop, RunStop::Shutdown(_) | RunStop::Dropped(_));
                let ends = self.stop_at.is_some() || drains;
                hold(Rule::SettlesByThePolicy, ends, || "the cursor was released without a reason".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Checks a claim or poll.
    fn takes(&self) -> Checked {
        let stopped = self.shutdown || self.slow_ms == 0 && self.stop_at.is_some_and(|at| at < self.now);
        hold(Rule::NothingAfterShutdown, !stopped, || "something was claimed after a shutdown".to_owned())
    }

    fn sent(&self, op: &Op) -> Checked {
        let Op::Send { message, .. } = op else { return Ok(()) };
        let index: Option<usize> =
            std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok());
        let Some((index, planned)) = index.and_then(|at| Some((at, self.scenario.messages.get(at)?))) else {
            return Ok(());
        };
        let trace = message.metadata(TRACEPARENT);
        let own = planned.scripts.iter().any(|script| script.sends == Some(true));
        let carried = planned.traced.then(|| trace_of(index));
        let good = trace == carried.as_deref() || own && trace == Some(OWN_TRACE);
        hold(Rule::TraceCarriedOn, good, || format!("sent on with {trace:?}, not {carried:?}"))
    }

    fn settles(&mut self, token: Token, target: &Target, how: &Settlement, op: &Op) -> Checked {
        let expected = self.expected(token, target, op)?;
        if let (Settlement::Nack { delay_ms, .. }, Some(HandlerOutcome::Panicked { .. })) =
            (how, self.seen.get(&(token, target.clone())).and_then(|seen| seen.ended.as_ref()))
        {
            let attempt = self.seen[&(token, target.clone())].attempt;
            let bounds = self.scenario.retry.bounds_ms(attempt);
            hold(Rule::SettlesByThePolicy, bounds.contains(delay_ms), || {
                format!("{delay_ms} not in {bounds:?}")
            })?;
        }
        hold(Rule::SettlesByThePolicy, expected == Some(AttemptDecision::Settle(how.clone())), || {
            format!("{target:?} under {token} was settled with {how:?}, but {expected:?} is due")
        })
    }

    fn gives_back(&mut self, token: Token, target: &Target, op: &Op) -> Checked {
        let seen = self.seen.get(&(token, target.clone()));
        if seen.is_some_and(|seen| !seen.began && !seen.is_over()) {
            let over = seen.is_some_and(|seen| self.now >= seen.until) || self.stop_at.is_some();
            self.with(token, target, |seen| seen.asked = Some(op.clone()));
            return hold(Rule::SettlesByThePolicy, over, || {
                format!("{target:?} was released without a reason")
            });
        }
        let expected = self.expected(token, target, op)?;
        let fits = matches!(expected, Some(AttemptDecision::Release | AttemptDecision::Stop(_)));
        hold(Rule::SettlesByThePolicy, fits, || format!("{target:?} was released, but {expected:?} is due"))
    }

    /// What the policy decides for a delivery that is settled now.
    fn expected(
        &mut self,
        token: Token,
        target: &Target,
        op: &Op,
    ) -> Result<Option<AttemptDecision>, RuleBroken> {
        let known = self.seen.get_mut(&(token, target.clone()));
        let Some(seen) = known else {
            return Err(RuleBroken {
                rule: Rule::SettlesOnce,
                what: format!("{target:?} was never handed out"),
            });
        };
        hold(Rule::SettlesAfterTheEnd, !seen.sound || seen.ended.is_some(), || {
            format!("{target:?} under {token} was settled before its handler ended")
        })?;
        let cut = seen.ended == Some(HandlerOutcome::Cancelled);
        hold(Rule::SettlesOnce, !seen.done && (cut || seen.by_hand.is_none()), || {
            format!("{target:?} under {token} was settled before")
        })?;
        hold(Rule::SettlesOnce, seen.asked.as_ref().is_none_or(|asked| asked == op), || {
            format!("{target:?} under {token} was to be settled in another way before")
        })?;
        hold(Rule::LostIsNotSettled, !seen.known_lost(), || format!("{target:?} is known to be lost"))?;
        seen.asked = Some(op.clone());
        Ok(seen.decision(self.scenario, token))
    }

    fn began(&mut self, token: Token, target: &Target) -> Checked {
        let (now, event) = (self.now, !matches!(target, Target::Command(_)));
        let at_work = self
            .seen
            .iter()
            .filter(|((_, other), seen)| seen.at_work() && event != matches!(other, Target::Command(_)));
        let (at_work, most) = (at_work.count(), if event { 1 } else { self.scenario.concurrency });
        hold(Rule::ConcurrencyKept, at_work < most, || format!("{at_work} handlers are at work"))?;
        let first = self.line.first().is_some_and(|(of, first)| *of == token && first == target);
        hold(Rule::EventsInOrder, !event || first, || format!("{target:?} is not first in line"))?;
        let stopped = self.stop_at.is_some_and(|at| at < now) && self.shutdown;
        hold(Rule::NothingAfterShutdown, !stopped, || format!("{target:?} was dispatched after a shutdown"))?;
        let Some(seen) = self.seen.get_mut(&(token, target.clone())) else {
            return hold(Rule::DispatchesOnce, false, || format!("{target:?} was never handed out"));
        };
        hold(Rule::CorruptIsNotDispatched, seen.sound, || format!("{target:?} is corrupt"))?;
        hold(Rule::DispatchesOnce, !seen.began, || format!("{target:?} was dispatched twice under {token}"))?;
        hold(Rule::DispatchesInTime, now < seen.until, || {
            format!("{target:?} was dispatched at {now}, after {}", seen.until)
        })?;
        seen.began = true;
        Ok(())
    }

    fn ended(&mut self, token: Token, target: &Target, outcome: &HandlerOutcome) -> Checked {
        let (now, keeps, calm) = (self.now, self.keeps_leases(), self.slow_ms == 0);
        let (lease_ms, beats) = (u64::from(self.scenario.lease_ms), self.scenario.heartbeat);
        let grace_ms = u64::from(self.scenario.grace_ms);
        let Some(seen) = self.seen.get_mut(&(token, target.clone())) else { return Ok(()) };
        seen.ended = Some(outcome.clone());
        let stops = matches!(seen.decision(self.scenario, token), Some(AttemptDecision::Stop(_)));
        let fenced = seen.by_hand.is_some() || seen.known_lost();
        // An act of another consumer can also end a lease without a delivery: an exhausted command is dead at once.
        let kept = seen.disturbed
            || seen.taken_at.is_some()
            || seen.known_lost()
            || seen.by_hand.is_some()
            || now < seen.until;
        let reported =
            seen.loss_reported || seen.disturbed || seen.taken_at.is_none_or(|at| now <= at.plus(lease_ms));
        if matches!(outcome, HandlerOutcome::Panicked { .. }) {
            self.counts.panicked += 1;
        }
        if seen.known_lost() && !matches!(target, Target::Command(_)) {
            self.line.clear();
        }
        if stops && !fenced {
            self.stops.push(target.clone());
            self.stops_now();
        }
        hold(Rule::LeaseKept, kept || !keeps, || format!("{target:?} lost its lease while it was handled"))?;
        hold(Rule::LossIsReported, reported || !beats || !calm, || {
            format!("the lost lease of {target:?} was not reported to its handler")
        })?;
        let over = self.stop_at.map(|at| at.plus(grace_ms));
        if *outcome == HandlerOutcome::Cancelled {
            let fair = self.dropped || over.is_some_and(|over| now >= over);
            return hold(Rule::GraceGiven, fair, || format!("{target:?} was cut off at {now}, not {over:?}"));
        }
        let fair = self.dropped || !calm || over.is_none_or(|over| now <= over);
        hold(Rule::GraceGiven, fair, || format!("{target:?} went on until {now}, past {over:?}"))
    }
}

impl SeenDelivery {
    /// What the policy decides for it.
    fn decision(&self, scenario: &RunScenario, token: Token) -> Option<AttemptDecision> {
        let corrupt = HandlerOutcome::Corrupt { reason: "the row could not be decoded".into() };
        let outcome = if self.sound { self.ended.as_ref()? } else { &corrupt };
        Some(decide(scenario.policy, &scenario.retry, self.attempt, token, outcome))
    }
}
