//! The one clock. Nothing else in this crate reads the time; every operation takes it as an argument.
//!
//! Invariant: safety holds for every sequence of times, also for a clock that stands still or jumps.
//! Does not depend on: operations, stores.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fencepost_model::vocabulary::Timestamp;
use futures_core::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A source of the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now, in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;

    /// Completes when the time of this clock is `at` or later.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()>;
}

/// The clock of the operating system. Before 1970 its time is zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// How long a change of the system's clock may stay unnoticed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one seam that reads the time")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::ZERO.plus(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let left @ 1.. = at.get().saturating_sub(self.now().get()) {
                tokio::time::sleep(Duration::from_millis(left).min(LOOK_AGAIN)).await;
            }
        })
    }
}

/// A clock that stands still until a test moves it. A sleeper wakes up when it is moved far enough.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
    moved: Notify,
}

impl ManualClock {
    /// A clock at this time.
    pub fn new(now: Timestamp) -> Self {
        Self { now: AtomicU64::new(now.get()), moved: Notify::new() }
    }

    /// Moves the clock to this time, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.get(), Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    /// Moves the clock on, in milliseconds.
    pub fn advance(&self, by_ms: u64) {
        self.set(self.now().plus(by_ms));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO.plus(self.now.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                // Registered for the next move before the look, so that a move in between is not missed.
                moved.as_mut().enable();
                if self.now() >= at {
                    return;
                }
                moved.await;
            }
        })
    }
}

/// A clock that goes with tokio's time, also where a test has paused that.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    began: Instant,
    at: Timestamp,
}

impl TokioClock {
    /// A clock that is at this time now.
    pub fn new(now: Timestamp) -> Self {
        Self { began: Instant::now(), at: now }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.at.plus(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let left @ 1.. = at.get().saturating_sub(self.now().get()) {
                tokio::time::sleep(Duration::from_millis(left)).await;
            }
        })
    }
}
