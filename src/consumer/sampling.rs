//! Sampling: depth, age and lag of the bus as gauges, for as long as a run goes on.
//!
//! Invariant: a failed measurement is a warning and ends no run.
//! Does not depend on: handlers, deliveries.

use std::sync::Arc;
use std::time::Duration;

use crate::bus::backend::Backend;
#[cfg(feature = "metrics")]
use crate::threads;

/// Measures depth, age and lag at this interval. Never ends.
#[cfg(feature = "metrics")]
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point, and these figures are for people")]
pub(super) async fn sample(backend: &Arc<dyn Backend>, every: Duration) {
    if threads::is_scheduled() {
        // A schedule is the same with every feature.
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
        threads::sleep(every).await;
    }
}

/// Measures nothing without the feature `metrics`. Never ends.
#[cfg(not(feature = "metrics"))]
pub(super) async fn sample(_: &Arc<dyn Backend>, _: Duration) {
    std::future::pending().await
}
