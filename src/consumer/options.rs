//! How a run of handlers goes about it.
//!
//! This module holds settings, and no decision.

use std::num::NonZeroU32;
use std::time::Duration;

use fencepost_model::op::Start;
use fencepost_model::policy::{FailurePolicy, RetryPolicy};
use tokio_util::sync::CancellationToken;

/// How to run handlers. Every option has a default that suits a service.
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
        }
    }
}

impl RunOptions {
    /// The defaults: waits for what comes, 16 handlers at once, ten attempts, dead-letters what fails for good.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commands are handled at once: 16 unless this says otherwise. The events of a group are handled one
    /// after the other, since their order is kept.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// How many messages are taken at once: at most 64 unless this says otherwise, and never more commands than there
    /// are free handlers.
    pub fn batch(mut self, messages: u32) -> Self {
        self.batch = messages.max(1);
        self
    }

    /// How long a lease lasts: as long as the bus says unless this says otherwise. It is extended while a handler
    /// works, so it need not be as long as the handler; it is how long the others wait when a consumer dies.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How many attempts a message has, at least one, before it is dead-lettered (G8): ten unless this says otherwise.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// What becomes of a message that fails for good: it is dead-lettered unless this says otherwise.
    pub fn policy(mut self, policy: FailurePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long a message waits after a failed attempt: one second at first unless this says otherwise.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Return when nothing is due, instead of waiting for what comes.
    pub fn drain(mut self) -> Self {
        self.drain = true;
        self
    }

    /// Whether leases are extended while their handler works: yes unless this says otherwise.
    pub fn heartbeat(mut self, heartbeat: bool) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// When this is cancelled, nothing more is taken; handlers may finish within the time of
    /// [`grace`](Self::grace), and what they leave is given back.
    pub fn shutdown(mut self, shutdown: CancellationToken) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// How long handlers may go on after a shutdown: ten seconds unless this says otherwise.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Where the group starts in names that are new to it: with the earliest event unless this says otherwise.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How often depth, age and lag are measured, if the feature `metrics` is on: every ten seconds unless this says
    /// otherwise.
    pub fn sample_every(mut self, interval: Duration) -> Self {
        self.sample_every = interval;
        self
    }
}
