//! Running handlers: the loop of the queue and the loop of a group, and one shutdown for both.
//!
//! [`fencepost_model::policy`] specifies how a delivery is settled after each outcome of its handler. The code here does not
//! call it; `tests/consumer/the_run_loop_does_what_the_policy_says.rs` checks the code against it.
//!
//! Invariant: a retryable error never ends a run; when a run ends, each delivery that it took is settled, released, or
//! reported as abandoned.
//! Does not depend on: the storage.

mod attempt;
mod context;
mod group;
pub mod options;
mod queue;
pub mod report;
mod sampling;

use std::sync::Arc;

use fencepost_model::vocabulary::{Group, Kind, Names};
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::backend::Backend;
use crate::bus::request;
use crate::consumer::attempt::Attempts;
use crate::consumer::context::Context;
use crate::consumer::options::RunOptions;
use crate::consumer::report::{RunCause, RunError, RunReport};
use crate::handlers::Handlers;
use crate::threads;

/// A bus that runs handlers.
pub trait BusConsumer: Bus {
    /// Runs handlers: commands from the queue, and events for the group that the handlers are named for.
    ///
    /// Returns when nothing is due ([`RunOptions::drain`]), after a shutdown ([`RunOptions::shutdown`]), or with the
    /// first error that is not retryable.
    ///
    /// # Errors
    /// [`RunError`]; its report says what the run did before.
    fn run(
        &self,
        handlers: Handlers,
        options: RunOptions,
    ) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        run(Arc::clone(self.backend()), handlers, options)
    }

    /// Runs only the handlers of commands.
    ///
    /// # Errors
    /// As [`BusConsumer::run`].
    fn listen(
        &self,
        handlers: Handlers,
        options: RunOptions,
    ) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        run(Arc::clone(self.backend()), handlers.commands_only(), options)
    }

    /// Runs only the handlers of events.
    ///
    /// # Errors
    /// As [`BusConsumer::run`].
    fn subscribe(
        &self,
        handlers: Handlers,
        options: RunOptions,
    ) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        run(Arc::clone(self.backend()), handlers.events_only(), options)
    }
}

impl<B: Bus> BusConsumer for B {}

/// Runs handlers until nothing is due, a shutdown, or the first error that is not retryable.
async fn run(
    backend: Arc<dyn Backend>,
    handlers: Handlers,
    options: RunOptions,
) -> Result<RunReport, RunError> {
    let mut report = RunReport::default();
    let ended = run_into(backend, handlers, options, &mut report).await;
    match ended {
        Ok(()) => Ok(report),
        Err(cause) => Err(RunError { cause, report: Box::new(report) }),
    }
}

async fn run_into(
    backend: Arc<dyn Backend>,
    handlers: Handlers,
    options: RunOptions,
    report: &mut RunReport,
) -> Result<(), RunCause> {
    let commands = handlers.names(Kind::Command).map_err(RunCause::Bus)?;
    let events = handlers.names(Kind::Event).map_err(RunCause::Bus)?;
    if commands.is_empty() && events.is_empty() {
        return Err(RunCause::NoHandlers);
    }
    let group = match handlers.group() {
        Some(group) => Some(request::group(group).map_err(RunCause::Bus)?),
        None if events.is_empty() => None,
        None => return Err(RunCause::NoGroup),
    };
    let cut = CancellationToken::new();
    let cx = Context {
        concurrency: options.concurrency,
        batch: options.batch,
        attempts_max: options.attempts_max,
        drain: options.drain,
        start: options.start,
        stop: options.shutdown.child_token(),
        attempts: Attempts {
            lease_ms: options.lease.map_or(backend.limits().lease_ms, request::ms).max(1),
            heartbeat: options.heartbeat,
            policy: options.policy,
            retry: options.retry,
            cut: cut.clone(),
        },
        handlers: Arc::new(handlers),
        backend,
    };
    let grace = async {
        cx.stop.cancelled().await;
        threads::sleep(options.grace).await;
        cut.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        ended = both(&cx, commands, group.zip(Some(events)), report) => ended,
        () = grace => Ok(()),
        () = sampling::sample(&cx.backend, options.sample_every) => Ok(()),
    }
}

/// Runs both loops side by side. An error of one ends the other as well.
async fn both(
    cx: &Context,
    commands: Names,
    events: Option<(Group, Names)>,
    report: &mut RunReport,
) -> Result<(), RunCause> {
    loop {
        let before = report.settled();
        let (mut of_queue, mut of_log) = (RunReport::default(), RunReport::default());
        let listening = async {
            if commands.is_empty() {
                return Ok(());
            }
            let ended = queue::listen(cx, commands.clone(), &mut of_queue).await;
            if ended.is_err() {
                cx.stop.cancel();
            }
            ended
        };
        let following = async {
            let Some((group, names)) = events.clone().filter(|(_, names)| !names.is_empty()) else {
                return Ok(());
            };
            let ended = group::follow(cx, group, names, &mut of_log).await;
            if ended.is_err() {
                cx.stop.cancel();
            }
            ended
        };
        let (listened, followed) = tokio::join!(listening, following);
        report.add(of_queue);
        report.add(of_log);
        listened.and(followed)?;
        // What one loop handled last may have made work for the other.
        let one_alone = commands.is_empty() || events.as_ref().is_none_or(|(_, names)| names.is_empty());
        if !cx.drain || one_alone || report.settled() == before || cx.stop.is_cancelled() {
            return Ok(());
        }
    }
}
