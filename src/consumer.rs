//! Running handlers: the queue's loop and the group's, a shutdown for both, and what they share.
//!
//! What always holds: an error that time cures never ends a run; whatever ends it, what was taken is settled, given
//! back, or reported as neither. What is owed to each end of a handler is specified in
//! [`fencepost_model::policy`]; the code here does not call it, and is held against it by
//! `tests/consumer/the_run_loop_does_what_the_policy_says.rs`.

mod attempt;
mod group;
pub mod options;
mod queue;
pub mod report;

use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Op, Start};
use fencepost_model::vocabulary::{Group, Kind, Names, Reason, Timestamp, Token};
use tokio_util::sync::CancellationToken;

use crate::bus::backend::Backend;
use crate::bus::operations::request;
use crate::consumer::attempt::Attempts;
use crate::consumer::options::RunOptions;
use crate::consumer::report::{RunCause, RunError, RunReport};
use crate::handlers::Handlers;
use crate::threads;

/// What both loops work with.
struct Context {
    backend: Arc<dyn Backend>,
    handlers: Arc<Handlers>,
    concurrency: usize,
    batch: u32,
    attempts_max: std::num::NonZeroU32,
    drain: bool,
    start: Start,
    /// Cancelled when nothing more is to be taken.
    stop: CancellationToken,
    attempts: Attempts,
}

impl Context {
    fn claim(&self, names: &Names, free: usize) -> Op {
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        Op::Claim {
            names: names.clone(),
            max: request::at_least_one(free.min(self.batch)),
            lease_ms: self.attempts.lease_ms,
            attempts_max: self.attempts_max,
        }
    }

    fn poll(&self, group: &Group, names: &Names, token: Option<Token>) -> Op {
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
    async fn until(&self, due: Option<Timestamp>) {
        match due {
            Some(due) => self.backend.clock().sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// How often in a row the store was busy, and how long to wait until it is asked again.
#[derive(Debug, Default)]
struct Patience(u32);

impl Patience {
    const FIRST_MS: u64 = 5;
    const LONGEST_MS: u64 = 1_000;

    fn lose(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    const fn is_fresh(&self) -> bool {
        self.0 == 0
    }

    /// Whether a run that is to end has asked often enough.
    const fn is_over(&self) -> bool {
        self.0 >= 5
    }

    async fn wait(&self) {
        let doubled = Self::FIRST_MS << self.0.min(10);
        threads::sleep(Duration::from_millis(doubled.min(Self::LONGEST_MS))).await;
    }
}

fn corrupt_reason() -> Reason {
    "the row could not be decoded".into()
}

/// Runs handlers until nothing is due, a shutdown, or the first error that time does not cure.
pub(crate) async fn run(
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
        () = crate::telemetry::sample(&cx.backend, options.sample_every) => Ok(()),
    }
}

/// Both loops side by side. When one ends with an error the other is told to end as well.
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
