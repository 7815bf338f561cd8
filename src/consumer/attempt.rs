//! One attempt: a handler works under a lease, and its outcome decides what happens to the delivery.
//!
//! Invariant: a panic is a failed attempt and goes no further. The lease is extended for as long as the handler works. A
//! handler whose lease is lost is told so, and its outcome settles nothing.
//! Does not depend on: the loops, which carry the decision out.

use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::Settlement;
use fencepost_model::policy::{FailurePolicy, HandlerOutcome, RetryPolicy};
use fencepost_model::vocabulary::{Kind, Reason};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::delivery::{Delivery, Held};
use crate::handlers::Handlers;
use crate::panics::catch_panic;
use crate::telemetry;
use crate::threads;

/// What to do with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Settle it.
    Settle(Settlement),
    /// Give it back.
    Release,
    /// Give it back and end the run.
    Stop(Reason),
    /// Nothing: its handler settled it, or its lease is lost.
    Nothing,
}

/// How an attempt is made.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    pub(super) lease_ms: u64,
    pub(super) heartbeat: bool,
    pub(super) policy: FailurePolicy,
    pub(super) retry: RetryPolicy,
    /// Cancelled when handlers have to end.
    pub(super) cut: CancellationToken,
}

impl Attempts {
    /// Runs the handler of a message to its end.
    pub(super) async fn make(self, handlers: Arc<Handlers>, delivery: Delivery) -> HandlerOutcome {
        let message = Arc::clone(delivery.message());
        let held = Arc::clone(delivery.held());
        let Some(handler) = handlers.of(message.kind, &message.name).cloned() else {
            // A run claims only names that have a handler, so the store handed out something that was not asked for.
            return HandlerOutcome::Permanent { reason: "no handler for this name".into() };
        };
        let span = tracing::info_span!(
            "handle",
            name = %message.name,
            kind = if message.kind == Kind::Command { "command" } else { "event" },
            seq = held.seq.get(),
            token = held.token.get(),
            attempt = held.attempt,
            traceparent = message.metadata(telemetry::TRACEPARENT),
        );
        let _in_flight = telemetry::attempt(held.attempt);
        let work = async move { handler(delivery).await };
        let trace = message.metadata(telemetry::TRACEPARENT).map(str::to_owned);
        let work = catch_panic(telemetry::within_trace(trace, work));
        tokio::select! {
            biased;
            ended = work.instrument(span) => match ended {
                Ok(Ok(())) => HandlerOutcome::Handled,
                Ok(Err(error)) => error.0,
                Err(panic) => HandlerOutcome::Panicked { reason: what_it_said(panic.as_ref()) },
            },
            () = self.cut.cancelled() => HandlerOutcome::Cancelled,
            () = self.beat(&held) => HandlerOutcome::Cancelled,
        }
    }

    /// Extends the lease again and again, each time when a third of what is left of it has passed. Never ends.
    async fn beat(&self, held: &Held) {
        if !self.heartbeat {
            return std::future::pending().await;
        }
        let clock = Arc::clone(held.backend.clock());
        loop {
            let left = held.until().get().saturating_sub(clock.now().get());
            threads::sleep(Duration::from_millis((left.min(self.lease_ms) / 3).max(1))).await;
            // Never for less than the handler asked for itself: the answer may arrive after the handler has ended.
            let left = held.until().get().saturating_sub(clock.now().get());
            match held.extend(self.lease_ms.max(left)).await {
                Ok(_) => {}
                Err(error) if error.is_retryable() => {
                    tracing::warn!(seq = held.seq.get(), %error, "a lease could not be extended; trying again");
                }
                Err(error) => {
                    tracing::warn!(seq = held.seq.get(), %error, "a lease is lost while its handler works");
                    held.lose();
                    return std::future::pending().await;
                }
            }
        }
    }

    /// What is done with the delivery after an attempt with this outcome.
    pub(super) fn decide(&self, held: &Held, outcome: &HandlerOutcome) -> Decision {
        let settled = held.by_hand().is_some();
        let lost = held.is_lost();
        if settled || lost {
            return Decision::Nothing;
        }
        let again = |delay_ms: Option<u64>, reason: &Reason| {
            let delay_ms = delay_ms.unwrap_or_else(|| self.retry.delay_ms(held.attempt, held.token));
            Settlement::Nack { delay_ms, reason: Arc::clone(reason) }
        };
        Decision::Settle(match outcome {
            HandlerOutcome::Handled => Settlement::Ack,
            HandlerOutcome::Retryable { delay_ms, reason } => again(*delay_ms, reason),
            HandlerOutcome::Panicked { reason } => again(None, reason),
            HandlerOutcome::Park { reason } => Settlement::Park { reason: Arc::clone(reason) },
            HandlerOutcome::Corrupt { reason } if self.policy == FailurePolicy::Park => {
                Settlement::Park { reason: Arc::clone(reason) }
            }
            // No policy discards a row that could not be read (G5).
            HandlerOutcome::Corrupt { reason } => Settlement::DeadLetter { reason: Arc::clone(reason) },
            HandlerOutcome::Cancelled => return Decision::Release,
            HandlerOutcome::Permanent { reason } => match self.policy {
                FailurePolicy::Retry => again(None, reason),
                FailurePolicy::DeadLetter => Settlement::DeadLetter { reason: Arc::clone(reason) },
                FailurePolicy::Park => Settlement::Park { reason: Arc::clone(reason) },
                FailurePolicy::Drop => {
                    tracing::warn!(seq = held.seq.get(), %reason, "a message is dropped, as the policy says");
                    Settlement::Drop
                }
                FailurePolicy::Stop => return Decision::Stop(Arc::clone(reason)),
            },
        })
    }
}

/// The message of a panic, if it has one.
fn what_it_said(panic: &(dyn std::any::Any + Send)) -> Reason {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    said.map_or_else(|| "the handler panicked".into(), |said| format!("the handler panicked: {said}").into())
}
