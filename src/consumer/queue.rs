//! The run loop of the queue: it claims commands for free handlers, dispatches them, and settles them.
//!
//! Settlements and the next claim go to the store together, so that they share a commit.
//!
//! Invariant: the loop claims no more commands than there are free handlers. A command whose lease expired before its turn
//! is not dispatched. A settlement that met a busy store is tried again later, or the lease expires.
//! Does not depend on: what is behind the bus.

use std::sync::Arc;

use fencepost_model::op::{Op, Refusal, Reply};
use fencepost_model::policy::HandlerOutcome;
use fencepost_model::vocabulary::Names;

use crate::bus::signals::Interest;
use crate::consumer::attempt::Decision;
use crate::consumer::context::{Context, Patience, corrupt_reason};
use crate::consumer::report::{RunCause, RunReport};
use crate::delivery::{Handed, Held};
use crate::error::{Error, Result};
use crate::telemetry;
use crate::threads::{Lost, Tasks};

type Ended = (Arc<Held>, HandlerOutcome);

/// A settlement that the store has yet to take.
struct Owed {
    held: Arc<Held>,
    op: Op,
}

struct Listening<'a> {
    cx: &'a Context,
    report: &'a mut RunReport,
    running: Tasks<Ended>,
    owed: Vec<Owed>,
    /// Why the loop claims nothing more.
    ending: Option<RunCause>,
    patience: Patience,
}

/// Handles commands of these names until none is due (a drain), a shutdown, or an error that is not retryable.
pub(super) async fn listen(cx: &Context, names: Names, report: &mut RunReport) -> Result<(), RunCause> {
    let waiter = cx.backend.signals().register(Interest::Commands(names.clone()));
    let interest = Interest::Commands(names.clone());
    let patience = Patience::default();
    let mut it = Listening { cx, report, running: Tasks::new(), owed: Vec::new(), ending: None, patience };
    loop {
        while let Some(ended) = it.running.try_next() {
            it.ended(ended);
        }
        let closing = it.ending.is_some() || cx.stop.is_cancelled();
        let free = cx.concurrency.saturating_sub(it.running.len());
        let claims = !closing && free > 0;
        let found = it.exchange(claims.then(|| cx.claim(&names, free))).await;
        if closing && it.running.is_empty() && (it.owed.is_empty() || it.patience.is_over()) {
            it.report.abandoned.extend(it.owed.drain(..).map(|owed| owed.held.target.clone()));
            return it.ending.map_or(Ok(()), Err);
        }
        if found || (!closing && it.ending.is_some()) {
            continue;
        }
        if cx.drain && claims && it.running.is_empty() && it.owed.is_empty() && it.patience.is_fresh() {
            return Ok(());
        }
        let waits = claims && !cx.drain && it.patience.is_fresh();
        let due = if waits { cx.backend.next_due(&interest).await.ok().flatten() } else { None };
        tokio::select! {
            biased;
            Some(ended) = it.running.next(), if !it.running.is_empty() => it.ended(ended),
            () = it.patience.wait(), if !it.patience.is_fresh() => {}
            () = waiter.wait(), if waits => {}
            () = cx.until(due), if waits && due.is_some() => {}
            () = cx.stop.cancelled(), if !closing => {}
        }
    }
}

impl Listening<'_> {
    /// Takes note of a handler that ended.
    fn ended(&mut self, ended: Result<Ended, Lost>) {
        // The attempt catches a panic of its handler, so this is a runtime that shuts down.
        let Ok((held, outcome)) = ended else { return };
        self.owe(held, &outcome);
    }

    fn owe(&mut self, held: Arc<Held>, outcome: &HandlerOutcome) {
        if matches!(outcome, HandlerOutcome::Panicked { .. }) {
            self.report.panicked += 1;
        }
        let op = match self.cx.attempts.decide(&held, outcome) {
            Decision::Settle(how) => held.settle_op(how),
            Decision::Release => held.release_op(),
            Decision::Stop(reason) => {
                let (target, seq) = (held.target.clone(), held.seq);
                self.end(RunCause::Stopped { target, seq, reason });
                held.release_op()
            }
            Decision::Nothing => return self.report.ended_by_itself(&held),
        };
        self.owed.push(Owed { held, op });
    }

    /// Sends the owed settlements and a claim together. Returns whether the claim found something.
    async fn exchange(&mut self, claim: Option<Op>) -> bool {
        let owed = std::mem::take(&mut self.owed);
        let mut ops: Vec<Op> = owed.iter().map(|owed| owed.op.clone()).collect();
        ops.extend(claim);
        if ops.is_empty() {
            return false;
        }
        let began = telemetry::start();
        let claimed = ops.len() > owed.len();
        let mut replies = self.cx.backend.apply_all(ops).await.into_iter();
        let mut well = true;
        for owed in owed {
            let reply = replies.next().unwrap_or(Err(Error::Closed));
            well &= self.settled(owed, reply);
        }
        let mut found = false;
        if claimed {
            telemetry::claimed(began);
            match replies.next().unwrap_or(Err(Error::Closed)) {
                Ok(Reply::HandedOut { deliveries, dead_lettered }) => {
                    found = !deliveries.is_empty() || !dead_lettered.is_empty();
                    self.report.buried(&dead_lettered);
                    telemetry::buried(dead_lettered.len());
                    for delivery in deliveries {
                        self.dispatch(Handed::of(&self.cx.backend, delivery));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    well = false;
                    self.failed(error);
                }
            }
        }
        if well {
            self.patience = Patience::default();
        } else {
            self.patience.lose();
        }
        found
    }

    fn dispatch(&mut self, handed: Handed) {
        let held = Arc::clone(handed.held());
        let over = self.cx.backend.clock().now() >= held.until();
        if over || self.cx.stop.is_cancelled() {
            return self.owed.push(Owed { op: held.release_op(), held });
        }
        match handed {
            Handed::Sound(delivery) => {
                let (attempts, handlers) = (self.cx.attempts.clone(), Arc::clone(&self.cx.handlers));
                self.running.spawn(async move {
                    let outcome = attempts.make(handlers, delivery).await;
                    (held, outcome)
                });
            }
            Handed::Corrupt(_) => self.owe(held, &HandlerOutcome::Corrupt { reason: corrupt_reason() }),
        }
    }

    /// Counts the reply to a settlement. Returns whether the store took it.
    fn settled(&mut self, owed: Owed, reply: Result<Reply>) -> bool {
        match reply {
            Ok(Reply::Settled(settled)) => {
                telemetry::settled(telemetry::kind_of(&settled));
                self.report.count(&settled);
            }
            Ok(Reply::Refused(Refusal::LeaseLost)) => {
                owed.held.lose();
                self.report.stale += 1;
                telemetry::stale();
            }
            Ok(Reply::Released) => self.report.released.push(owed.held.target.clone()),
            Ok(other) => {
                tracing::error!(seq = owed.held.seq.get(), ?other, "a settlement was answered with this");
                self.report.abandoned.push(owed.held.target.clone());
            }
            Err(error) if error.is_retryable() => {
                self.owed.push(owed);
                self.failed(error);
                return false;
            }
            Err(error) => {
                self.report.abandoned.push(owed.held.target.clone());
                self.failed(error);
                return false;
            }
        }
        true
    }

    fn failed(&mut self, error: Error) {
        if error.is_retryable() {
            self.report.busy += 1;
            tracing::warn!(%error, "the queue is asked again in a while");
        } else {
            self.end(RunCause::Bus(error));
        }
    }

    /// Ends the run: the loop claims nothing more, and the handlers at work have the grace period.
    fn end(&mut self, cause: RunCause) {
        self.ending.get_or_insert(cause);
        self.cx.stop.cancel();
    }
}
