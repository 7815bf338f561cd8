//! A bus as people use it: the operations as methods, and claims and polls that hand out deliveries.
//!
//! [`Bus`] is what every bus can do, whatever is underneath ([`backend::Backend`]); [`BusConsumer`] runs
//! handlers on it. What always holds: a method returns after its effect is as durable as the bus promises. This
//! module decides nothing: the operations are the contract's.

pub mod backend;
pub mod memory;
pub mod operations;
pub mod signals;
pub mod sqlite;
pub mod transaction;

use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Op, Reply, Start, Target};
use fencepost_model::vocabulary::{Draft, Epoch, Raw, RecordId, Seq, Token};

use crate::bus::backend::{Anything, Backend, Limits, Transacted};
use crate::bus::operations::{Pruned, Receipt, Subscription, request};
use crate::bus::operations::{operations, write_async, write_blocking};
use crate::bus::transaction::Tx;
use crate::consumer::options::RunOptions;
use crate::consumer::report::{RunError, RunReport};
use crate::delivery::{HandedOut, TransactionError};
use crate::error::{Error, Result};
use crate::handlers::Handlers;
use crate::sqlite::{Overview, Undone};

async fn apply(backend: &Arc<dyn Backend>, op: Op) -> Result<Reply> {
    backend.apply_all(vec![op]).await.pop().unwrap_or(Err(Error::Closed))
}

/// The operation that a method asks for, within these limits.
fn within(limits: Limits, op: impl FnOnce(Limits) -> Result<Op>) -> Result<Op> {
    op(limits)
}

fn apply_blocking(backend: &Arc<dyn Backend>, op: Op) -> Result<Reply> {
    backend.apply_all_blocking(vec![op]).pop().unwrap_or(Err(Error::Closed))
}

/// How much to take, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// The names to take.
    pub names: &'a [&'a str],
    /// How many at most.
    pub max: u32,
    /// How long the lease lasts, to the millisecond.
    pub lease: Duration,
    /// What already had this many attempts is dead-lettered and not handed out (G8).
    pub attempts_max: u32,
}

impl<'a> Take<'a> {
    /// One message of these names, for 30 seconds, which had fewer than ten attempts.
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

/// What every bus can do. Bring it into scope with `use fencepost::Bus`.
pub trait Bus: Clone + Send + Sync + 'static {
    /// What applies the operations.
    fn backend(&self) -> &Arc<dyn Backend>;

    operations!(write_async);

    /// Applies one operation as it is; a refusal is a reply.
    ///
    /// # Errors
    /// Nothing changed, unless it is [`Error::Indeterminate`]: then the bus is closed.
    fn apply(&self, op: Op) -> impl Future<Output = Result<Reply>> + Send {
        let backend = Arc::clone(self.backend());
        async move { apply(&backend, op).await }
    }

    /// Takes the next due commands, each under a lease with a token of its own (G2, G9). Handlers are more
    /// comfortable: [`BusConsumer::listen`].
    ///
    /// # Errors
    /// A name that is not valid, and those of the store.
    fn claim(&self, take: &Take<'_>) -> impl Future<Output = Result<HandedOut>> + Send {
        let (backend, op) = (Arc::clone(self.backend()), take.claim());
        async move { HandedOut::of(&backend, apply(&backend, op?).await?) }
    }

    /// Takes or keeps the cursor of a group, and is handed its lowest unsettled events (G6, G9). Handlers are more
    /// comfortable: [`BusConsumer::subscribe`].
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
        async move { HandedOut::of(&backend, apply(&backend, op?).await?) }
    }

    /// Runs the caller's own work in a transaction, with operations of the bus in it: a transactional outbox. The
    /// work runs on the thread that writes, so it must be short and wait for nothing.
    ///
    /// # Errors
    /// [`TransactionError`]: everything was taken back.
    fn transaction<T, E>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<T, TransactionError<E>>> + Send
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let backend = Arc::clone(self.backend());
        async move { known(backend.transact(None, unknown(work)).await) }
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

/// Wraps the types of the caller's work, which a backend does not know.
pub fn unknown<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
) -> backend::Work {
    Box::new(move |tx| match work(tx) {
        Ok(done) => Ok(Box::new(done) as Anything),
        Err(error) => Err(Box::new(error) as Anything),
    })
}

/// Unwraps them again.
pub fn known<T: 'static, E: 'static>(done: Transacted) -> Result<T, TransactionError<E>> {
    let lost = || TransactionError::Store(Error::TransactionEnded);
    match done {
        Ok((_, done)) => done.downcast().map(|done| *done).map_err(|_| lost()),
        Err(Undone::Work(error)) => {
            Err(error.downcast().map_or_else(|_| lost(), |error| TransactionError::Work(*error)))
        }
        Err(Undone::Store(error)) => Err(TransactionError::Store(error)),
        Err(Undone::Panicked(panic)) => std::panic::resume_unwind(panic),
    }
}

/// The operations of a bus for code without an async runtime. Within one, every method panics.
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
        apply_blocking(&self.backend, op)
    }

    /// As [`Bus::claim`]. What it hands out is settled with the `_blocking` methods.
    ///
    /// # Errors
    /// As there.
    pub fn claim(&self, take: &Take<'_>) -> Result<HandedOut> {
        HandedOut::of(&self.backend, apply_blocking(&self.backend, take.claim()?)?)
    }

    /// As [`Bus::poll`].
    ///
    /// # Errors
    /// As there.
    pub fn poll(&self, group: &str, token: Option<Token>, take: &Take<'_>) -> Result<HandedOut> {
        HandedOut::of(&self.backend, apply_blocking(&self.backend, take.poll(group, token)?)?)
    }

    /// As [`Bus::transaction`].
    ///
    /// # Errors
    /// As there.
    pub fn transaction<T: Send + 'static, E: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TransactionError<E>> {
        known(self.backend.transact_blocking(None, unknown(work)))
    }
}

/// A bus that runs handlers.
pub trait BusConsumer: Bus {
    /// Runs handlers: commands from the queue, and events for the group that the handlers are named for.
    ///
    /// Returns when nothing is due ([`RunOptions::drain`]), after a shutdown ([`RunOptions::shutdown`]), or with the
    /// first error that time alone does not cure.
    ///
    /// # Errors
    /// [`RunError`]; what was done until then is in its report.
    fn run(
        &self,
        handlers: Handlers,
        options: RunOptions,
    ) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        crate::consumer::run(Arc::clone(self.backend()), handlers, options)
    }

    /// Runs the handlers of commands alone.
    ///
    /// # Errors
    /// As [`BusConsumer::run`].
    fn listen(
        &self,
        handlers: Handlers,
        options: RunOptions,
    ) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        crate::consumer::run(Arc::clone(self.backend()), handlers.commands_only(), options)
    }

    /// Runs the handlers of events alone.
    ///
    /// # Errors
    /// As [`BusConsumer::run`].
    fn subscribe(
        &self,
        handlers: Handlers,
        options: RunOptions,
    ) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        crate::consumer::run(Arc::clone(self.backend()), handlers.events_only(), options)
    }
}

impl<B: Bus> BusConsumer for B {}
