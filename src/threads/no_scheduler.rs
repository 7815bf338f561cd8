//! The seam without the feature `unstable-internals`: there is never a scheduler.
//!
//! Invariant: no value of these types exists, so the compiler removes every branch for a scheduler.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;

/// No scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Current(Infallible);

/// No task of a scheduler.
#[derive(Debug)]
pub(crate) struct Task(Infallible);

pub(crate) const fn current() -> Option<Current> {
    None
}

impl Current {
    pub(crate) fn point(&self, _: &'static str) {
        match self.0 {}
    }

    pub(crate) fn now(&self) -> Instant {
        match self.0 {}
    }

    pub(crate) fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        match self.0 {}
    }

    pub(crate) fn block_on<T>(&self, _: impl Future<Output = T>) -> T {
        match self.0 {}
    }

    pub(crate) fn spawn(&self, _: &'static str, _: Box<dyn FnOnce() + Send>) -> Task {
        match self.0 {}
    }
}

impl Task {
    pub(crate) fn is_current(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn join(self) {
        match self.0 {}
    }
}
