//! What a bus is made of, underneath its methods: something that applies operations, tells the time and wakes those
//! who wait.
//!
//! [`SqliteBus`](crate::SqliteBus) and [`MemoryBus`](crate::MemoryBus) are two; the methods, the handlers and the run
//! loop are the same above both. This module knows no storage.

use std::any::Any;
use std::sync::Arc;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use futures_util::future::BoxFuture;

use crate::bus::signals::{Interest, Signals};
use crate::bus::transaction::Tx;
use crate::clock::Clock;
use crate::error::Result;
use crate::sqlite::{Overview, Undone};

/// What a bus takes and assumes where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload that is accepted, in bytes.
    pub payload_bytes_max: usize,
    /// How long a lease lasts unless its consumer says otherwise, in milliseconds.
    pub lease_ms: u64,
}

impl Default for Limits {
    /// Payloads of a mebibyte, leases of 30 seconds.
    fn default() -> Self {
        Self { payload_bytes_max: 1 << 20, lease_ms: 30_000 }
    }
}

/// Something of the caller's own, whose type only the caller knows.
pub type Anything = Box<dyn Any + Send>;

/// The caller's own work within a transaction.
pub type Work = Box<dyn FnOnce(&Tx<'_>) -> Result<Anything, Anything> + Send>;

/// What became of the caller's own work: the reply to the operation that it went with, and its result.
pub type Transacted = Result<(Option<Reply>, Anything), Undone<Anything>>;

/// What applies operations.
pub trait Backend: Send + Sync + std::fmt::Debug + 'static {
    /// Applies operations, in order and together if it can: each succeeds or fails for itself, and is answered after
    /// its commit.
    fn apply_all(&self, ops: Vec<Op>) -> BoxFuture<'static, Vec<Result<Reply>>>;

    /// The same, for callers without an async runtime. Panics within one.
    fn apply_all_blocking(&self, ops: Vec<Op>) -> Vec<Result<Reply>>;

    /// Applies an operation and runs the caller's own work, in one transaction (G12).
    fn transact(&self, op: Option<Op>, work: Work) -> BoxFuture<'static, Transacted>;

    /// The same, for callers without an async runtime. Panics within one.
    fn transact_blocking(&self, op: Option<Op>, work: Work) -> Transacted;

    /// Figures of the bus as it is now.
    fn overview(&self) -> BoxFuture<'static, Result<Overview>>;

    /// When something of interest is due next, if that is only a matter of time. A time that is over: now.
    fn next_due(&self, interest: &Interest) -> BoxFuture<'static, Result<Option<Timestamp>>>;

    /// Who waits for this bus in this process.
    fn signals(&self) -> &Arc<Signals>;

    /// The clock of all operations.
    fn clock(&self) -> &Arc<dyn Clock>;

    /// What it takes and assumes.
    fn limits(&self) -> Limits;
}
