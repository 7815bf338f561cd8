//! The program `fencepost`: one module for each command. This module parses the arguments and runs the command.
//!
//! Exit status 0: done. 1: the answer is no (a refusal, a finding of a check, a broken guarantee). 2: the command could not
//! run.
//!
//! Invariant: a command that fails prints one sentence on standard error. A check prints its findings on standard output.
//! Does not depend on: the rules of the bus. The store decides, and the commands print its answer.

mod audit;
mod backup;
mod check;
#[cfg(feature = "verify")]
mod checking;
mod completions;
mod ended;
#[cfg(feature = "verify")]
pub mod fuzz;
mod groups;
mod listen;
mod opening;
mod out;
mod parse;
mod plain;
mod prune;
mod records;
mod send;
mod signals;
mod stats;

use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use fencepost_model::state::Place;

use ended::Failed;

const AFTER_HELP: &str = "\
Exit status:
  0  done
  1  the answer is no: a refusal, a finding of a check, a broken guarantee, a run that was stopped
  2  the command could not run: wrong usage, a file that is missing, locked or not fencepost's, a full disk

docs/operations.md says what to do when something fails.";

/// A durable message bus in one SQLite file, checked against an executable specification.
#[derive(Debug, Parser)]
#[command(name = "fencepost", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a command to the queue.
    Send(send::Send),
    /// Publish an event: append it to the log.
    Publish(send::Publish),
    /// Handle commands from the queue with shell commands.
    Listen(listen::Listen),
    /// Handle events for a consumer group with shell commands.
    Subscribe(listen::Subscribe),
    /// Show the state of the queue, the log and the consumer groups, and count the records that were set aside.
    Stats(stats::StatsArguments),
    /// List, show, redrive, purge or repair dead letters.
    Dead(records::RecordsArguments),
    /// List, show, redrive, purge or repair parked messages.
    Parked(records::RecordsArguments),
    /// Show the position of each consumer group, move it, or unsubscribe the group.
    Groups(groups::GroupsArguments),
    /// Delete old events from the front of the log, if every group has passed them.
    Prune(prune::PruneArguments),
    /// Check a file for damage, and move rows that cannot be read to the dead letters.
    Check(check::CheckArguments),
    /// Check recordings of a bus against the model.
    Audit(audit::AuditArguments),
    /// Copy a bus into a new file while the bus runs.
    Backup(backup::Backup),
    /// Begin a new epoch in a copy, before any other process opens it.
    Restore(backup::Restore),
    #[cfg(feature = "verify")]
    #[command(flatten)]
    Checking(checking::CheckingCommand),
    /// Print the completion script of a shell.
    Completions(completions::Completions),
    /// Print the manual page of the program or of one command.
    Man(completions::Man),
}

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage_error(&error),
    };
    let ended = match &arguments.command {
        Command::Send(arguments) => send::send(arguments),
        Command::Publish(arguments) => send::publish(arguments),
        Command::Listen(arguments) => listen::listen(arguments),
        Command::Subscribe(arguments) => listen::subscribe(arguments),
        Command::Stats(arguments) => stats::run(arguments),
        Command::Dead(arguments) => records::run(arguments, Place::Dead),
        Command::Parked(arguments) => records::run(arguments, Place::Parked),
        Command::Groups(arguments) => groups::run(arguments),
        Command::Prune(arguments) => prune::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Backup(arguments) => backup::backup(arguments),
        Command::Restore(arguments) => backup::restore(arguments),
        #[cfg(feature = "verify")]
        Command::Checking(command) => command.run(),
        Command::Completions(arguments) => completions::completions(arguments),
        Command::Man(arguments) => completions::man(arguments),
    };
    match ended {
        Ok(ended) => ended.status(),
        Err(failed) => {
            out::say(&failed);
            failed.status()
        }
    }
}

/// How long to wait at the end for tasks that still run. A read of standard input may never end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// Runs a future to its end.
fn block_on<T>(future: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failed::System)?;
    let ended = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    ended
}

/// Prints a usage error in one sentence. Help and the version are printed unchanged.
fn usage_error(error: &clap::Error) -> ExitCode {
    let shown = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if shown || !error.use_stderr() {
        // A closed pipe is not an error.
        let _ = error.print();
        return ExitCode::from(if shown { 2 } else { 0 });
    }
    out::say(&sentence(error));
    ExitCode::from(2)
}

/// A usage error as one sentence.
fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let sentence: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let sentence = sentence.join(" ");
    format!("{}; see --help", plain::Plain(sentence.trim_start_matches("error: ")))
}
