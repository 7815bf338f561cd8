//! The bus as an application uses it: the operations as methods, and claims and polls that hand out deliveries.
//!
//! Invariant: a method returns after its effect is as durable as the bus promises.
//! Does not depend on: what an operation does; the storage; the run loops.

pub mod backend;
pub mod erased;
pub mod memory;
pub mod operations;
pub mod request;
pub mod signals;
pub mod sqlite;
pub mod transaction;

use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Op, Reply, Start, Target};
use fencepost_model::vocabulary::{Draft, Epoch, Raw, RecordId, Seq, Token};

use crate::bus::backend::Backend;
use crate::bus::erased::{erase, typed};
use crate::bus::operations::{operations, write_async, write_blocking};
use crate::bus::request::{Limits, Pruned, Receipt, Subscription};
use crate::bus::transaction::{TransactionError, Tx};
use crate::delivery::HandedOut;
use crate::error::Result;
use crate::sqlite::Overview;

/// What a claim or a poll takes, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// The names to take.
    pub names: &'a [&'a str],
    /// How many messages at most; zero counts as one.
    pub max: u32,
    /// How long the lease lasts, to the millisecond.
    pub lease: Duration,
    /// A message that has had this many attempts is dead-lettered and not handed out (G8); zero counts as one.
    pub attempts_max: u32,
}

impl<'a> Take<'a> {
    /// One message of these names, for 30 seconds, which has had fewer than ten attempts.
    pub fn one(names: &'a [&'a str]) -> Self {
        Self { names, max: 1, lease: Duration::from_secs(30), attempts_max: 10 }
    }

    fn claim(&self) -> Result<Op> {
        Ok(Op::Claim {
            names: request::names(self.names)?,
            max: request::at_least_one(self.max),
            lease_ms: request::ms(self.lease),
            attempts_max: request::at_least_one(self.attempts_max),
        })
    }

    fn poll(&self, group: &str, token: Option<Token>) -> Result<Op> {
        Ok(Op::Poll {
            group: request::group(group)?,
            names: request::names(self.names)?,
            token,
            max: request::at_least_one(self.max),
            lease_ms: request::ms(self.lease),
            attempts_max: request::at_least_one(self.attempts_max),
        })
    }
}

/// The operations of a bus. Bring them into scope with `use fencepost::Bus`.
pub trait Bus: Clone + Send + Sync + 'static {
    /// What applies the operations.
    fn backend(&self) -> &Arc<dyn Backend>;

    operations!(write_async);

    /// Applies one operation as it is; a refusal is a reply.
    ///
    /// # Errors
    /// Nothing changed, unless it is [`Error::Indeterminate`](crate::Error::Indeterminate): then the bus is closed.
    fn apply(&self, op: Op) -> impl Future<Output = Result<Reply>> + Send {
        let backend = Arc::clone(self.backend());
        async move { backend.apply_one(op).await }
    }

    /// Takes the next due commands, each under a lease with a token of its own (G2, G9).
    /// [`BusConsumer::listen`](crate::BusConsumer::listen) does this for handlers.
    ///
    /// # Errors
    /// A name that is not valid, and the errors of the store.
    fn claim(&self, take: &Take<'_>) -> impl Future<Output = Result<HandedOut>> + Send {
        let (backend, op) = (Arc::clone(self.backend()), take.claim());
        async move {
            let reply = backend.apply_one(op?).await?;
            HandedOut::of(&backend, reply)
        }
    }

    /// Takes or keeps the cursor of a group, and returns its lowest unsettled events (G6, G9).
    /// [`BusConsumer::subscribe`](crate::BusConsumer::subscribe) does this for handlers.
    ///
    /// # Errors
    /// `Refused`: `Held`, `NamesMissing`, or `NotSubscribed`.
    fn poll(
        &self,
        group: &str,
        token: Option<Token>,
        take: &Take<'_>,
    ) -> impl Future<Output = Result<HandedOut>> + Send {
        let (backend, op) = (Arc::clone(self.backend()), take.poll(group, token));
        async move {
            let reply = backend.apply_one(op?).await?;
            HandedOut::of(&backend, reply)
        }
    }

    /// Runs the caller's own work in a transaction, with operations of the bus in it: a transactional outbox (G12). The
    /// work runs on the writing thread, so it must be short and wait for nothing.
    ///
    /// # Errors
    /// [`TransactionError`]: the transaction was rolled back.
    fn transaction<T, E>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<T, TransactionError<E>>> + Send
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let backend = Arc::clone(self.backend());
        async move { typed(backend.transact(None, erase(work)).await) }
    }

    /// Figures of the bus as it is now.
    ///
    /// # Errors
    /// Those of the store.
    fn overview(&self) -> impl Future<Output = Result<Overview>> + Send {
        self.backend().overview()
    }

    /// The same operations for code without an async runtime.
    fn blocking(&self) -> Blocking {
        Blocking { backend: Arc::clone(self.backend()) }
    }
}

/// The operations of a bus for code without an async runtime. Every method panics within one.
#[derive(Clone, Debug)]
pub struct Blocking {
    backend: Arc<dyn Backend>,
}

impl Blocking {
    fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    operations!(write_blocking);

    /// As [`Bus::apply`].
    ///
    /// # Errors
    /// As there.
    pub fn apply(&self, op: Op) -> Result<Reply> {
        self.backend.apply_one_blocking(op)
    }

    /// As [`Bus::claim`]. The deliveries are settled with their `_blocking` methods.
    ///
    /// # Errors
    /// As there.
    pub fn claim(&self, take: &Take<'_>) -> Result<HandedOut> {
        HandedOut::of(&self.backend, self.backend.apply_one_blocking(take.claim()?)?)
    }

    /// As [`Bus::poll`].
    ///
    /// # Errors
    /// As there.
    pub fn poll(&self, group: &str, token: Option<Token>, take: &Take<'_>) -> Result<HandedOut> {
        HandedOut::of(&self.backend, self.backend.apply_one_blocking(take.poll(group, token)?)?)
    }

    /// As [`Bus::transaction`].
    ///
    /// # Errors
    /// As there.
    pub fn transaction<T: Send + 'static, E: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TransactionError<E>> {
        typed(self.backend.transact_blocking(None, erase(work)))
    }
}

/// The operation of a method, within these limits. A closure, so that `?` in it ends the operation and not the method.
fn within(limits: Limits, op: impl FnOnce(Limits) -> Result<Op>) -> Result<Op> {
    op(limits)
}
