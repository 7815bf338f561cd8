//! What a bus stands on: something that applies operations, tells the time and wakes sleepers.
//!
//! [`SqliteBus`](crate::SqliteBus) and [`MemoryBus`](crate::MemoryBus) have one each; the methods, the handlers and the run
//! loops are the same above both.
//!
//! Invariant: an operation is answered after its effect is as durable as the bus promises.
//! Does not depend on: a storage, deliveries, handlers.

use std::sync::Arc;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use futures_core::future::BoxFuture;

use crate::bus::erased::{Transacted, Work};
use crate::bus::request::Limits;
use crate::bus::signals::{Interest, Signals};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sqlite::Overview;

/// What applies the operations of a bus.
pub trait Backend: Send + Sync + std::fmt::Debug + 'static {
    /// Applies operations in order, together where it can. Each succeeds or fails for itself, and is answered after its
    /// commit.
    fn apply_all(&self, ops: Vec<Op>) -> BoxFuture<'static, Vec<Result<Reply>>>;

    /// As [`Backend::apply_all`], for callers without an async runtime. Panics within one.
    fn apply_all_blocking(&self, ops: Vec<Op>) -> Vec<Result<Reply>>;

    /// Applies one operation, as [`Backend::apply_all`] does.
    fn apply_one(&self, op: Op) -> BoxFuture<'static, Result<Reply>> {
        let replies = self.apply_all(vec![op]);
        Box::pin(async move { replies.await.pop().unwrap_or(Err(Error::Closed)) })
    }

    /// As [`Backend::apply_one`], for callers without an async runtime. Panics within one.
    fn apply_one_blocking(&self, op: Op) -> Result<Reply> {
        self.apply_all_blocking(vec![op]).pop().unwrap_or(Err(Error::Closed))
    }

    /// Applies an operation and runs the caller's own work, in one transaction (G12).
    fn transact(&self, op: Option<Op>, work: Work) -> BoxFuture<'static, Transacted>;

    /// As [`Backend::transact`], for callers without an async runtime. Panics within one.
    fn transact_blocking(&self, op: Option<Op>, work: Work) -> Transacted;

    /// Figures of the bus as it is now.
    fn overview(&self) -> BoxFuture<'static, Result<Overview>>;

    /// When something of interest is due next, if time alone makes it due. A time in the past means now.
    fn next_due(&self, interest: &Interest) -> BoxFuture<'static, Result<Option<Timestamp>>>;

    /// The consumers in this process that wait for this bus.
    fn signals(&self) -> &Arc<Signals>;

    /// The clock of all operations.
    fn clock(&self) -> &Arc<dyn Clock>;

    /// The limits and defaults of the bus.
    fn limits(&self) -> Limits;
}
