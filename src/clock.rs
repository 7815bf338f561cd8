//! The one clock. Nothing else in this crate reads the time; every operation takes it as an argument.
//!
//! Safety holds for every sequence of times, also for a clock that stands still or jumps. This module knows nothing
//! of operations and stores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use fencepost_model::vocabulary::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The time now, in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system. Before 1970 it says zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one seam that reads the time")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::ZERO.plus(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that says this time.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.get()))
    }

    /// Moves the clock to this time, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.get(), Ordering::SeqCst);
    }

    /// Moves the clock on, in milliseconds.
    pub fn advance(&self, by_ms: u64) {
        self.set(self.now().plus(by_ms));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO.plus(self.0.load(Ordering::SeqCst))
    }
}
