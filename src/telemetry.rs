//! What can be observed from outside: spans, events, and, with the feature `metrics`, figures through that facade.
//!
//! The names of the figures are listed in `docs/operations.md`.
//!
//! Invariant: nothing here changes what the bus does.
//! Does not depend on: a backend, a storage, deliveries.

use std::time::Instant;

use fencepost_model::op::Settled;
use fencepost_model::vocabulary::Draft;

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

/// Gives a message that is sent from a handler the trace of the message that is being handled, unless it has its own.
pub(crate) fn carry_on(draft: Draft) -> Draft {
    match TRACE.try_with(Clone::clone) {
        Ok(Some(trace)) if !draft.has_metadata(TRACEPARENT) => draft.metadata(TRACEPARENT, trace),
        _ => draft,
    }
}

/// The start of a duration for a histogram.
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Records a transaction of this many operations.
pub(crate) fn committed(began: Instant, ops: usize) {
    #[cfg(feature = "metrics")]
    {
        metrics::histogram!("fencepost_commit_seconds").record(began.elapsed());
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most some thousand operations")]
        metrics::histogram!("fencepost_batch_operations").record(ops as f64);
    }
    let _ = (began, ops);
}

/// Records the answer to a claim or a poll.
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

/// Counts a settlement.
pub(crate) fn settled(kind: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_settlements_total", "kind" => kind).increment(1);
    let _ = kind;
}

/// Counts messages that a claim or a poll dead-lettered, since they were exhausted or unreadable.
pub(crate) fn buried(count: usize) {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_settlements_total", "kind" => "dead-letter").increment(count as u64);
    let _ = count;
}

/// Counts a settlement that was refused for a stale token.
pub(crate) fn stale() {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_stale_settlements_total").increment(1);
}

/// Counts a recording that ended before its bus did.
#[cfg(feature = "record")]
pub(crate) fn recording_stopped() {
    #[cfg(feature = "metrics")]
    metrics::counter!("fencepost_recordings_stopped_total").increment(1);
}

/// Counts a handler as in flight until this is dropped.
pub(crate) struct InFlight;

/// Records the start of a handler, at the attempt with this number.
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
