//! The run loop of a consumer group: it reads the group's events in order, one after the other.
//!
//! Invariant: the loop dispatches an event only after the store has confirmed the cursor's lease (by the poll that handed the
//! event out, or by the settlement before it), and before that lease ends (G11).
//! Does not depend on: what is behind the bus.

use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Lease, Op, Refusal, Reply, Settled, Target};
use fencepost_model::policy::HandlerOutcome;
use fencepost_model::vocabulary::{Group, Names, Timestamp, Token};

use crate::bus::signals::{Interest, Waiter};
use crate::consumer::attempt::Decision;
use crate::consumer::context::{Context, Patience, corrupt_reason};
use crate::consumer::report::{RunCause, RunReport};
use crate::delivery::{ByHand, Handed, Held};
use crate::error::Result;
use crate::telemetry;
use crate::threads;

/// A replica that stands by polls again after this time at the latest.
const STAND_BY: Duration = Duration::from_secs(1);

struct Following<'a> {
    cx: &'a Context,
    report: &'a mut RunReport,
    group: Group,
    names: Names,
    waiter: Waiter,
    /// The token of the cursor's lease, while this replica holds it.
    token: Option<Token>,
    /// When that lease ends, as far as is known.
    until: Timestamp,
    /// What was handed out under it and is not settled, in order.
    in_hand: Vec<Target>,
}

/// How the work on a batch ended.
enum After {
    /// Every event of the batch is settled. There may be more.
    Settled,
    /// The store refused a settlement as `NotNext`: the loop polls again under the same lease.
    Unsure,
    /// The lease of the cursor ended, by a nack or because another replica has it.
    LetGo,
    /// The run ends.
    Stopped(RunCause),
}

/// Handles events of these names for a group until none is left (a drain), a shutdown, or an error that is not retryable.
pub(super) async fn follow(
    cx: &Context,
    group: Group,
    names: Names,
    report: &mut RunReport,
) -> Result<(), RunCause> {
    let waiter = cx.backend.signals().register(Interest::Group(group.clone(), names.clone()));
    let (token, until, in_hand) = (None, Timestamp::ZERO, Vec::new());
    let mut it = Following { cx, report, group, names, waiter, token, until, in_hand };
    for name in it.names.clone() {
        let op = Op::Subscribe { group: it.group.clone(), name, start: cx.start };
        match it.asked_unless_stopped(op).await {
            Some(Ok(Reply::Refused(refusal))) => return Err(RunCause::Bus(refusal.into())),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(RunCause::Bus(error)),
            None => return Ok(()),
        }
    }
    let ended = it.work().await;
    if ended.is_err() {
        cx.stop.cancel();
    }
    it.let_go().await;
    ended
}

impl Following<'_> {
    async fn work(&mut self) -> Result<(), RunCause> {
        loop {
            let op = self.cx.poll(&self.group, &self.names, self.token);
            let began = telemetry::start();
            let Some(reply) = self.asked_unless_stopped(op).await else { return Ok(()) };
            telemetry::claimed(began);
            match reply.map_err(RunCause::Bus)? {
                Reply::HandedOut { deliveries, dead_lettered } => {
                    self.report.buried(&dead_lettered);
                    telemetry::buried(dead_lettered.len());
                    if deliveries.is_empty() && dead_lettered.is_empty() {
                        if self.cx.drain {
                            return Ok(());
                        }
                        self.wait(None).await;
                    }
                    self.in_hand = deliveries.iter().map(|one| one.target.clone()).collect();
                    let handed =
                        deliveries.into_iter().map(|one| Handed::of(&self.cx.backend, one)).collect();
                    match self.batch(handed).await {
                        After::Settled | After::Unsure => {}
                        After::LetGo => self.lose(),
                        After::Stopped(cause) => return Err(cause),
                    }
                }
                Reply::Refused(Refusal::LeaseLost) => self.lose(),
                Reply::Refused(Refusal::Held { .. } | Refusal::NamesMissing { .. }) if self.cx.drain => {
                    return Ok(());
                }
                Reply::Refused(Refusal::Held { until }) => {
                    self.lose();
                    self.wait(Some(until)).await;
                }
                Reply::Refused(refusal @ Refusal::NamesMissing { .. }) => {
                    tracing::warn!(group = %self.group, %refusal, "standing by");
                    self.wait(None).await;
                }
                Reply::Refused(refusal) => return Err(RunCause::Bus(refusal.into())),
                other => unreachable!("a poll was answered with another operation's reply: {other:?}"),
            }
            if self.cx.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// This replica no longer holds the cursor.
    fn lose(&mut self) {
        self.token = None;
        self.in_hand.clear();
    }

    /// As [`Following::asked`]; returns `None` at once when the run is to end.
    async fn asked_unless_stopped(&mut self, op: Op) -> Option<Result<Reply>> {
        if self.cx.stop.is_cancelled() {
            return None;
        }
        self.asked(op, true).await
    }

    /// Asks the store until it is no longer busy. Returns `None` if the run is to end: at once with `unless_stopped`, and
    /// after a few tries otherwise.
    async fn asked(&mut self, op: Op, unless_stopped: bool) -> Option<Result<Reply>> {
        let mut patience = Patience::default();
        loop {
            match self.cx.backend.apply_one(op.clone()).await {
                Err(error) if error.is_retryable() => {
                    self.report.busy += 1;
                    tracing::warn!(%error, group = %self.group, "the log is asked again in a while");
                    patience.lose();
                    if self.cx.stop.is_cancelled() && patience.is_over() {
                        return None;
                    }
                    tokio::select! {
                        biased;
                        () = self.cx.stop.cancelled(), if unless_stopped => return None,
                        () = patience.wait() => {}
                    }
                }
                reply => return Some(reply),
            }
        }
    }

    /// Sleeps until there may be something to do.
    async fn wait(&self, until: Option<Timestamp>) {
        let interest = Interest::Group(self.group.clone(), self.names.clone());
        let due = match until {
            Some(until) => Some(until),
            None => self.cx.backend.next_due(&interest).await.ok().flatten(),
        };
        // The expiry of this replica's own lease makes no event due.
        let due = due.filter(|_| until.is_some() || self.token.is_none());
        tokio::select! {
            biased;
            () = self.waiter.wait() => {}
            () = self.cx.until(due), if due.is_some() => {}
            () = threads::sleep(STAND_BY) => {}
            () = self.cx.stop.cancelled() => {}
        }
    }

    /// Handles the events of a batch, in order.
    async fn batch(&mut self, handed: Vec<Handed>) -> After {
        // The poll has set the end of the lease, also if a handler had extended it for longer before.
        if let Some(held) = handed.first().map(Handed::held) {
            self.token = Some(held.token);
            self.until = held.until();
        }
        for one in handed {
            let held = Arc::clone(one.held());
            held.extended(self.until);
            let now = self.cx.backend.clock().now();
            let over = now >= self.until;
            if self.cx.stop.is_cancelled() || over {
                return After::Settled;
            }
            let outcome = match one {
                Handed::Sound(delivery) => {
                    self.cx.attempts.clone().make(Arc::clone(&self.cx.handlers), delivery).await
                }
                Handed::Corrupt(_) => HandlerOutcome::Corrupt { reason: corrupt_reason() },
            };
            self.until = held.until();
            match self.settle(&held, &outcome).await {
                After::Settled => {}
                after => return after,
            }
        }
        After::Settled
    }

    async fn settle(&mut self, held: &Held, outcome: &HandlerOutcome) -> After {
        if matches!(outcome, HandlerOutcome::Panicked { .. }) {
            self.report.panicked += 1;
        }
        let op = match self.cx.attempts.decide(held, outcome) {
            Decision::Settle(how) => held.settle_op(how),
            Decision::Release => return After::Settled,
            Decision::Stop(reason) => {
                let (target, seq) = (held.target.clone(), held.seq);
                return After::Stopped(RunCause::Stopped { target, seq, reason });
            }
            Decision::Nothing => {
                self.report.ended_by_itself(held);
                return match held.by_hand() {
                    Some(ByHand::Settled(settled)) if !held.is_lost() => {
                        self.in_hand.retain(|target| *target != held.target);
                        after(&held.target, settled)
                    }
                    // The handler lost it or released it, and with it the cursor.
                    _ => After::LetGo,
                };
            }
        };
        match self.asked(op, false).await {
            Some(Ok(Reply::Settled(settled))) => {
                telemetry::settled(telemetry::kind_of(&settled));
                self.report.count(&settled);
                self.in_hand.retain(|target| *target != held.target);
                after(&held.target, &settled)
            }
            Some(Ok(Reply::Refused(refusal))) => {
                tracing::warn!(group = %self.group, seq = held.seq.get(), %refusal, "a settlement was refused");
                held.lose();
                self.report.stale += 1;
                telemetry::stale();
                if matches!(refusal, Refusal::NotNext { .. }) { After::Unsure } else { After::LetGo }
            }
            Some(Ok(other)) => unreachable!("a settlement was answered with another reply: {other:?}"),
            Some(Err(error)) => After::Stopped(RunCause::Bus(error)),
            None => After::Unsure,
        }
    }

    /// Releases the cursor, and with it every event that was handed out and not settled.
    async fn let_go(&mut self) {
        let Some(token) = self.token.take() else { return };
        let lease = Lease::Cursor(self.group.clone());
        let in_hand = std::mem::take(&mut self.in_hand);
        if let Some(Ok(Reply::Released)) = self.asked(Op::Release { lease, token }, false).await {
            tracing::info!(group = %self.group, "the cursor was released");
            self.report.released.extend(in_hand);
        } else {
            self.report.abandoned.extend(in_hand);
        }
    }
}

/// A nack of an event ends the lease: the whole group waits, so that the order is kept. A nack of a redriven entry delays
/// the entry alone.
const fn after(target: &Target, settled: &Settled) -> After {
    match (target, settled) {
        (Target::Event { .. }, Settled::Requeued { .. }) => After::LetGo,
        _ => After::Settled,
    }
}
