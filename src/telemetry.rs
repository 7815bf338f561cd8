//! What can be seen from outside: spans, events, and, with the feature `metrics`, figures through that facade.
//!
//! What always holds: nothing here changes what the bus does. The names of the figures are listed in
//! `docs/operations.md`. This module knows no storage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fencepost_model::op::Settled;
use fencepost_model::vocabulary::Draft;

use crate::bus::backend::Backend;

/// The metadata key under which a trace is carried on (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    /// The trace of the message that is being handled.
    static TRACE: Option<String>;
}

/// Runs a handler within the trace of its message.
pub(crate) async fn within_trace<T>(trace: Option<String>, handler: impl Future<Output = T>) -> T {
    TRACE.scope(trace, handler).await
}

/// A message that is sent from a handler carries on the trace of the one that is being handled, unless it has its own.
pub(crate) fn carry_on(draft: Draft) -> Draft {
    match TRACE.try_with(Clone::clone) {
        Ok(Some(trace)) if !draft.has_metadata(TRACEPARENT) => draft.metadata(TRACEPARENT, trace),
        _ => draft,
    }
}

/// When something began, for a histogram.
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// A transaction of so many operations ended.
pub(crate) fn committed(began: Instant, ops: usize) {
    #[cfg(feature = "metrics")]
    {
        metrics::histogram!("fencepost_commit_seconds").record(began.elapsed());
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most some thousand operations")]
        metrics::histogram!("fencepost_batch_operations").record(ops as f64);
    }
    let _ = (began, ops);
}

/// A claim or a poll was answered.
pub(crate) fn claimed(began: Instant) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("fencepost_claim_seconds").record(began.elapsed());
    let _ = began;
}

/// The word for a settlement.
pub(crate) const fn kind_of(settled: &Settled) -> &'static str {
    match settled {
        Settled::Acked => "ack",
        Settled::Requeued { .. } => "nack",
        Settled::DeadLettered { .. } => "dead-letter",
        Settled::Parked { .. } => "park",
        Settled::Dropped => "drop",
    }
}

/// A delivery was settled.
pub(crate) fn settled(kind: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_settlements_total", "kind" => kind).increment(1);
    let _ = kind;
}

/// Messages that had all their attempts, or could not be read, were found and moved to the dead.
pub(crate) fn buried(count: usize) {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_settlements_total", "kind" => "dead-letter").increment(count as u64);
    let _ = count;
}

/// A settlement came under a stale token.
pub(crate) fn stale() {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_stale_settlements_total").increment(1);
}

/// A recording ended before its bus did.
#[cfg(feature = "record")]
pub(crate) fn recording_stopped() {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_recordings_stopped_total").increment(1);
}

/// A handler at work; it is not when this is dropped.
pub(crate) struct InFlight;

/// A handler begins its attempt with this number.
pub(crate) fn attempt(number: u32) -> InFlight {
    #[cfg(feature = "metrics")]
    {
        metrics::histogram!("fencepost_attempts").record(f64::from(number));
        metrics::gauge!("fencepost_in_flight").increment(1.0);
    }
    let _ = number;
    InFlight
}

impl Drop for InFlight {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!("fencepost_in_flight").decrement(1.0);
    }
}

/// Measures depth, age and lag again and again. Never ends.
#[cfg(feature = "metrics")]
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point, and these figures are for people")]
pub(crate) async fn sample(backend: &Arc<dyn Backend>, every: Duration) {
    if crate::threads::is_scheduled() {
        // What is played there is the same with every feature.
        std::future::pending::<()>().await;
    }
    loop {
        match backend.overview().await {
            Ok(now) => {
                let depth = |state, count: u64| {
                    metrics::gauge!("fencepost_queue_depth", "state" => state).set(count as f64);
                };
                depth("ready", now.queue.ready);
                depth("delayed", now.queue.delayed);
                depth("leased", now.queue.leased);
                metrics::gauge!("fencepost_dead").set(now.dead as f64);
                metrics::gauge!("fencepost_parked").set(now.parked as f64);
                let age = now.queue.oldest_due_age_ms.unwrap_or(0);
                metrics::gauge!("fencepost_oldest_due_age_seconds").set(age as f64 / 1_000.0);
                for group in &now.groups {
                    let labels = [("group", group.group.to_string()), ("name", group.name.to_string())];
                    metrics::gauge!("fencepost_lag", &labels).set(group.lag as f64);
                }
            }
            Err(error) => tracing::warn!(%error, "the bus could not be measured"),
        }
        crate::threads::sleep(every).await;
    }
}

/// Nothing is measured without the feature `metrics`. Never ends.
#[cfg(not(feature = "metrics"))]
pub(crate) async fn sample(_: &Arc<dyn Backend>, _: Duration) {
    std::future::pending().await
}
