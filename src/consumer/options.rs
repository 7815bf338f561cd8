//! The options of a run of handlers.
//!
//! Does not depend on: the loops. It holds settings and no decision.

use std::num::NonZeroU32;
use std::time::Duration;

use fencepost_model::op::Start;
use fencepost_model::policy::{FailurePolicy, RetryPolicy};
use tokio_util::sync::CancellationToken;

use crate::consumer::mutant::Strain;

/// How to run handlers. The defaults suit a service.
#[derive(Clone, Debug)]
#[must_use]
pub struct RunOptions {
    pub(super) concurrency: usize,
    pub(super) batch: u32,
    pub(super) lease: Option<Duration>,
    pub(super) attempts_max: NonZeroU32,
    pub(super) policy: FailurePolicy,
    pub(super) retry: RetryPolicy,
    pub(super) drain: bool,
    pub(super) heartbeat: bool,
    pub(super) shutdown: CancellationToken,
    pub(super) grace: Duration,
    pub(super) start: Start,
    pub(super) sample_every: Duration,
    pub(super) strain: Strain,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            batch: 64,
            lease: None,
            attempts_max: NonZeroU32::MIN.saturating_add(9),
            policy: FailurePolicy::DeadLetter,
            retry: RetryPolicy::default(),
            drain: false,
            heartbeat: true,
            shutdown: CancellationToken::new(),
            grace: Duration::from_secs(10),
            start: Start::Earliest,
            sample_every: Duration::from_secs(10),
            strain: Strain::default(),
        }
    }
}

impl RunOptions {
    /// The defaults: the run waits for new messages, handles 16 at once, gives ten attempts, and dead-letters permanent failures.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commands are handled at once. The default is 16. The events of a group are handled one
    /// after the other, since their order is kept.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// How many messages are taken at once at most, and never more commands than there are free handlers. The default is 64.
    pub fn batch(mut self, messages: u32) -> Self {
        self.batch = messages.max(1);
        self
    }

    /// How long a lease lasts, to the millisecond. The default is that of the bus. A lease is extended while its handler works,
    /// so it may be shorter than the handler; it is the time that other consumers wait after a consumer dies.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How many attempts a message has, at least one, before it is dead-lettered (G8). The default is ten.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// What becomes of a message that fails permanently. The default is a dead letter.
    pub fn policy(mut self, policy: FailurePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long a message waits after a failed attempt. The default begins with one second.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The run returns when nothing is due, instead of waiting for new messages.
    pub fn drain(mut self) -> Self {
        self.drain = true;
        self
    }

    /// Whether leases are extended while their handler works. The default is yes.
    pub fn heartbeat(mut self, heartbeat: bool) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// When this token is cancelled, the run takes nothing more. Handlers may finish within the time of [`grace`](Self::grace),
    /// and what is unfinished then is released.
    pub fn shutdown(mut self, shutdown: CancellationToken) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// How long handlers may go on after a shutdown. The default is ten seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Where the group starts in names that are new to it. The default is the earliest event.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How often depth, age and lag are measured, if the feature `metrics` is on. The default is ten seconds.
    pub fn sample_every(mut self, interval: Duration) -> Self {
        self.sample_every = interval;
        self
    }

    /// Makes a known mistake, to be noticed.
    #[cfg(feature = "unstable-internals")]
    pub fn strain(mut self, strain: Strain) -> Self {
        self.strain = strain;
        self
    }
}
