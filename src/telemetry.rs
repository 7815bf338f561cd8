//! What can be seen from outside: spans, events, and, with the feature `metrics`, figures through that facade.
//!
//! What always holds: nothing here changes what the bus does. The names of the figures are listed in
//! `docs/operations.md`. This module knows no storage.

use std::time::Instant;

use fencepost_model::vocabulary::{Draft, Message};

/// The metadata key under which a trace is carried on (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    /// The trace of the message that is being handled.
    static TRACE: Option<String>;
}

/// Runs a handler within the trace of its message.
pub(crate) async fn within_trace<T>(message: &Message, handler: impl Future<Output = T>) -> T {
    TRACE.scope(message.metadata(TRACEPARENT).map(str::to_owned), handler).await
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
