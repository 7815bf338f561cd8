//! `fencepost listen` and `fencepost subscribe`: a shell command as a handler.
//!
//! What always holds: a wish to end lets handlers finish within the grace, and what was done is said on standard error,
//! however the run ends.

mod child;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use fencepost_model::op::Start;
use fencepost_model::policy::FailurePolicy;
use fencepost_model::vocabulary::{Group, Name};
use tokio_util::sync::CancellationToken;

use crate::ended::{Ended, Failed};
use crate::opening::{BusFile, Record};
use crate::out::say;
use crate::parse::{Position, duration, handler, position};
use crate::signals::Signals;
use fencepost::{BusConsumer as _, Handlers, RunCause, RunError, RunOptions, RunReport, SqliteBus};

const AFTER_LISTEN: &str = "\
Examples:
  fencepost listen bus.db --on place.bet=./place-bet
  fencepost listen bus.db --on place.bet='jq .amount' --on pay.out=./pay --concurrency 4 --drain

The shell command gets the payload on standard input, and the rest in its environment: FENCEPOST_NAME, _ID, _SEQ,
_TOKEN, _ATTEMPT, _CONTENT_TYPE, _KIND, _GROUP, _SENT_AT_MS, _METADATA (a JSON array of pairs), and TRACEPARENT.
Exit status 0: handled. 75: it comes again after a back-off. Anything else: it failed for good, and the policy decides;
the end of what the command wrote to standard error is kept as the reason.

Ctrl-C and SIGTERM let the commands at work finish, and give the rest back. A second one ends at once.";

const AFTER_SUBSCRIBE: &str = "\
Examples:
  fencepost subscribe bus.db --group billing --on bet.placed=./bill
  fencepost subscribe bus.db --group audit --on bet.placed='cat >> audit.log' --start latest

Events come in order, one after the other. What the shell command gets and how it answers is as with `listen`; the
shell command must handle every name that the group reads, or this stands by: see `fencepost groups`.";

/// Handle commands from the queue by shell commands.
#[derive(Debug, Args)]
#[command(after_help = AFTER_LISTEN)]
pub(super) struct Listen {
    #[command(flatten)]
    how: How,
    /// How many are handled at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
}

/// Handle events, for a consumer group, by shell commands.
#[derive(Debug, Args)]
#[command(after_help = AFTER_SUBSCRIBE)]
pub(super) struct Subscribe {
    #[command(flatten)]
    how: How,
    /// The consumer group.
    #[arg(long)]
    group: Group,
    /// Where the group starts in names that are new to it: `earliest`, `latest`, or past the event of this number.
    #[arg(long, value_name = "POSITION", default_value = "earliest", value_parser = position)]
    start: Position,
}

#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    bus: BusFile,
    #[command(flatten)]
    record: Record,
    /// Handle messages of this name by this shell command; again for more.
    #[arg(long, required = true, value_name = "NAME=COMMAND", value_parser = handler)]
    on: Vec<(Name, String)>,
    /// How long a lease lasts. It is extended while the command works: it is how long others wait when this dies.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    lease: Duration,
    /// How many attempts a message has before it is dead-lettered.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    attempts_max: u32,
    /// What becomes of a message that fails for good.
    #[arg(long, value_enum, default_value_t = Policy::DeadLetter)]
    policy: Policy,
    /// How long commands at work may go on after Ctrl-C or SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// Return when nothing is due, instead of waiting for what comes.
    #[arg(long)]
    drain: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// Move it to the dead, for a person to look at.
    DeadLetter,
    /// Hold it out of delivery until a person releases it.
    Park,
    /// Try it again after a back-off, up to its last attempt.
    Retry,
    /// Discard it: the only policy that loses a message.
    Drop,
    /// Give it back, and end with exit status 1.
    Stop,
}

pub(super) fn listen(arguments: &Listen) -> Result<Ended, Failed> {
    let how = &arguments.how;
    let mut handlers = Handlers::new();
    for (name, command) in &how.on {
        handlers = handlers.on_command(name.as_str(), child::handler(command, None));
    }
    let concurrency = usize::try_from(arguments.concurrency).unwrap_or(usize::MAX);
    how.run(async |bus, options| bus.listen(handlers, options.concurrency(concurrency)).await)
}

pub(super) fn subscribe(arguments: &Subscribe) -> Result<Ended, Failed> {
    let (how, group) = (&arguments.how, arguments.group.as_str());
    let mut handlers = Handlers::new().named(group);
    for (name, command) in &how.on {
        handlers = handlers.on_event(name.as_str(), child::handler(command, Some(group)));
    }
    let start = match arguments.start {
        Position::Earliest => Start::Earliest,
        Position::Latest => Start::Latest,
        Position::After(seq) => Start::After(seq),
    };
    how.run(async |bus, options| bus.subscribe(handlers, options.start(start)).await)
}

impl How {
    fn run(
        &self,
        run: impl AsyncFnOnce(SqliteBus, RunOptions) -> Result<RunReport, RunError>,
    ) -> Result<Ended, Failed> {
        self.each_name_once()?;
        log();
        let stop = CancellationToken::new();
        let mut options = RunOptions::new()
            .lease(self.lease)
            .attempts_max(self.attempts_max)
            .policy(self.policy.into())
            .grace(self.grace)
            .shutdown(stop.clone());
        if self.drain {
            options = options.drain();
        }
        super::block_on(async {
            let mut signals = Signals::new().map_err(Failed::System)?;
            let bus = self.record.with(self.bus.builder()).open().await;
            let bus = bus.map_err(|error| self.bus.failed(error))?;
            let running = run(bus.clone(), options);
            tokio::pin!(running);
            let ended = loop {
                tokio::select! {
                    biased;
                    ended = &mut running => break ended,
                    () = signals.next() => if stop.is_cancelled() {
                        say(&"ended at once: what was being handled comes again when its lease runs out");
                        return Ok(Ended::No);
                    } else {
                        stop.cancel();
                    }
                }
            };
            self.tell(ended, &bus).await
        })
    }

    fn each_name_once(&self) -> Result<(), Failed> {
        let mut seen = BTreeSet::new();
        match self.on.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, _)) => Err(Failed::Twice(name.clone())),
            None => Ok(()),
        }
    }

    /// Says what was done, however it ended.
    async fn tell(&self, ended: Result<RunReport, RunError>, bus: &SqliteBus) -> Result<Ended, Failed> {
        match &ended {
            Ok(report) => say(report),
            Err(error) => say(&error.report),
        }
        let closed = bus.clone().close().await;
        match ended {
            Ok(_) => closed.map(|()| Ended::Done).map_err(|error| self.bus.failed(error)),
            Err(RunError { cause: RunCause::Bus(error), .. }) => Err(self.bus.failed(error)),
            Err(error) => Err(Failed::Run(error)),
        }
    }
}

/// What a run warns of goes to standard error.
fn log() {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .with_ansi(std::io::stderr().is_terminal());
    // Where there is one already, that one hears it.
    let _ = subscriber.try_init();
}

impl From<Policy> for FailurePolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::DeadLetter => Self::DeadLetter,
            Policy::Park => Self::Park,
            Policy::Retry => Self::Retry,
            Policy::Drop => Self::Drop,
            Policy::Stop => Self::Stop,
        }
    }
}
