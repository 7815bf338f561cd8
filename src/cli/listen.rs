//! `fencepost listen` and `fencepost subscribe`: shell commands as handlers.
//!
//! Invariant: after the first request to stop, handlers have the grace to finish. Unless a second request follows, the counts
//! of the run are printed on standard error, also after an error.

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
use crate::opening::{BusFile, RecordArguments};
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
Exit status 0: ack. 75: nack, and the message is delivered again after a back-off. Any other: a permanent failure, and
--policy decides. The last kibibyte of the command's standard error is kept as the reason.

After Ctrl-C or SIGTERM, running shell commands have --grace to finish. The rest is killed, and its messages are released.
A second Ctrl-C or SIGTERM ends the program at once.";

const AFTER_SUBSCRIBE: &str = "\
Examples:
  fencepost subscribe bus.db --group billing --on bet.placed=./bill
  fencepost subscribe bus.db --group audit --on bet.placed='cat >> audit.log' --start latest

Events are delivered in order, one at a time. Input, environment and exit statuses of the shell command are as for
`fencepost listen`. There must be an --on for every name that the group reads; otherwise nothing is delivered here. See
`fencepost groups`.";

/// Handle commands from the queue with shell commands.
#[derive(Debug, Args)]
#[command(after_help = AFTER_LISTEN)]
pub(super) struct Listen {
    #[command(flatten)]
    run: RunArguments,
    /// The number of messages that are handled at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
}

/// Handle events for a consumer group with shell commands.
#[derive(Debug, Args)]
#[command(after_help = AFTER_SUBSCRIBE)]
pub(super) struct Subscribe {
    #[command(flatten)]
    run: RunArguments,
    /// The consumer group.
    #[arg(long)]
    group: Group,
    /// Where the group starts to read names that are new to it: `earliest`, `latest`, or the number of an event, to start
    /// after it.
    #[arg(long, value_name = "POSITION", default_value = "earliest", value_parser = position)]
    start: Position,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    bus: BusFile,
    #[command(flatten)]
    record: RecordArguments,
    /// Handle messages with this name with this shell command. Can be repeated.
    #[arg(long, required = true, value_name = "NAME=COMMAND", value_parser = handler)]
    on: Vec<(Name, String)>,
    /// The length of a lease. It is extended while the command runs. If this process dies, the message is delivered again
    /// when the lease expires.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    lease: Duration,
    /// The maximum number of attempts before a message is dead-lettered.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    attempts_max: u32,
    /// What happens to a message after a permanent failure.
    #[arg(long, value_enum, default_value_t = Policy::DeadLetter)]
    policy: Policy,
    /// How long running shell commands may continue after Ctrl-C or SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// End when no message is due, instead of waiting for more.
    #[arg(long)]
    drain: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// Move it to the dead letters.
    DeadLetter,
    /// Park it: it is not delivered until an operator redrives it.
    Park,
    /// Deliver it again after a back-off, up to the maximum number of attempts.
    Retry,
    /// Delete it. Only this policy loses messages.
    Drop,
    /// Release it, and end with exit status 1.
    Stop,
}

pub(super) fn listen(arguments: &Listen) -> Result<Ended, Failed> {
    let run = &arguments.run;
    let mut handlers = Handlers::new();
    for (name, command) in &run.on {
        handlers = handlers.on_command(name.as_str(), child::handler(command, None));
    }
    let concurrency = usize::try_from(arguments.concurrency).unwrap_or(usize::MAX);
    run.run(async |bus, options| bus.listen(handlers, options.concurrency(concurrency)).await)
}

pub(super) fn subscribe(arguments: &Subscribe) -> Result<Ended, Failed> {
    let (run, group) = (&arguments.run, arguments.group.as_str());
    let mut handlers = Handlers::new().named(group);
    for (name, command) in &run.on {
        handlers = handlers.on_event(name.as_str(), child::handler(command, Some(group)));
    }
    let start = match arguments.start {
        Position::Earliest => Start::Earliest,
        Position::Latest => Start::Latest,
        Position::After(seq) => Start::After(seq),
    };
    run.run(async |bus, options| bus.subscribe(handlers, options.start(start)).await)
}

impl RunArguments {
    fn run(
        &self,
        run: impl AsyncFnOnce(SqliteBus, RunOptions) -> Result<RunReport, RunError>,
    ) -> Result<Ended, Failed> {
        self.check_names()?;
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
                        say(&"ended at once: running messages are delivered again when their leases expire");
                        return Ok(Ended::Negative);
                    } else {
                        stop.cancel();
                    }
                }
            };
            self.finish(ended, &bus).await
        })
    }

    /// Checks that each name has one handler.
    fn check_names(&self) -> Result<(), Failed> {
        let mut seen = BTreeSet::new();
        match self.on.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, _)) => Err(Failed::DuplicateHandler(name.clone())),
            None => Ok(()),
        }
    }

    /// Prints the counts of a run, and closes the bus.
    async fn finish(&self, ended: Result<RunReport, RunError>, bus: &SqliteBus) -> Result<Ended, Failed> {
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

/// Prints warnings of a run on standard error.
fn log() {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .with_ansi(std::io::stderr().is_terminal());
    // An earlier subscriber stays.
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
