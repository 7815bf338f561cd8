//! What the two run loops share: the settings of the run, its claims and polls, and the wait after a busy store.
//!
//! Invariant: a claim asks for no more than there are free handlers.
//! Does not depend on: the loops.

use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Op, Start};
use fencepost_model::vocabulary::{Group, Names, Reason, Timestamp, Token};
use tokio_util::sync::CancellationToken;

use crate::bus::backend::Backend;
use crate::bus::request;
use crate::consumer::attempt::Attempts;
use crate::handlers::Handlers;
use crate::threads;

/// What both loops work with.
pub(super) struct Context {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) handlers: Arc<Handlers>,
    pub(super) concurrency: usize,
    pub(super) batch: u32,
    pub(super) attempts_max: std::num::NonZeroU32,
    pub(super) drain: bool,
    pub(super) start: Start,
    /// Cancelled when the run takes nothing more.
    pub(super) stop: CancellationToken,
    pub(super) attempts: Attempts,
}

impl Context {
    pub(super) fn claim(&self, names: &Names, free: usize) -> Op {
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        Op::Claim {
            names: names.clone(),
            max: request::at_least_one(free.min(self.batch)),
            lease_ms: self.attempts.lease_ms,
            attempts_max: self.attempts_max,
        }
    }

    pub(super) fn poll(&self, group: &Group, names: &Names, token: Option<Token>) -> Op {
        Op::Poll {
            group: group.clone(),
            names: names.clone(),
            token,
            max: request::at_least_one(self.batch),
            lease_ms: self.attempts.lease_ms,
            attempts_max: self.attempts_max,
        }
    }

    /// Completes when the clock says so; never, without a time.
    pub(super) async fn until(&self, due: Option<Timestamp>) {
        match due {
            Some(due) => self.backend.clock().sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// How often in a row the store was busy, and how long to wait before the next try.
#[derive(Debug, Default)]
pub(super) struct Patience(u32);

impl Patience {
    const FIRST_MS: u64 = 5;
    const LONGEST_MS: u64 = 1_000;

    pub(super) fn lose(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    pub(super) const fn is_fresh(&self) -> bool {
        self.0 == 0
    }

    /// Whether a run that is to end has tried often enough.
    pub(super) const fn is_over(&self) -> bool {
        self.0 >= 5
    }

    pub(super) async fn wait(&self) {
        let doubled = Self::FIRST_MS << self.0.min(10);
        threads::sleep(Duration::from_millis(doubled.min(Self::LONGEST_MS))).await;
    }
}

/// The reason with which a run dead-letters or parks a row that could not be decoded.
pub(super) fn corrupt_reason() -> Reason {
    "the row could not be decoded".into()
}
