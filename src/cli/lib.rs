//! The command line: one small module for each command, and here which is which.
//!
//! Exit status 0: done, all held. 1: the answer is no: a refusal, a guarantee broken, something found. 2: it could not
//! be run. In both cases one sentence on standard error says why. This module must not decide what is right: it asks
//! the store and prints what it says.

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
  1  the answer is no: a refusal, something that a check found, a guarantee that is broken, a run that was stopped
  2  it could not be run: wrong usage, a file that is missing, locked or not ours, a full disk

What to do at night stands in docs/operations.md.";

/// A durable message bus in one SQLite file, held step for step against an executable specification.
#[derive(Debug, Parser)]
#[command(name = "fencepost", version, about, disable_help_subcommand = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put a command into the queue.
    Send(send::Send),
    /// Append an event to the log.
    Publish(send::Publish),
    /// Handle commands from the queue by shell commands.
    Listen(listen::Listen),
    /// Handle events, for a consumer group, by shell commands.
    Subscribe(listen::Subscribe),
    /// Say what waits where: the queue, the log, the groups, what was moved aside.
    Stats(stats::Arguments),
    /// Look at dead letters, put them back, or remove them for good.
    Dead(records::Arguments),
    /// Look at parked messages, put them back, or remove them for good.
    Parked(records::Arguments),
    /// Say how far each consumer group is, move it, or let it go.
    Groups(groups::Arguments),
    /// Delete old events that every group has passed from the front of the log.
    Prune(prune::Arguments),
    /// Check a file, and move what nobody can read out of the way.
    Check(check::Arguments),
    /// Say whether what a bus did, as it was recorded, was allowed.
    Audit(audit::Arguments),
    /// Copy a bus into a new file, while it is at work.
    Backup(backup::Backup),
    /// Begin a new life in a copy, before anybody else opens it.
    Restore(backup::Restore),
    #[cfg(feature = "verify")]
    #[command(flatten)]
    Checking(checking::Command),
    /// Print what a shell needs to complete commands and options.
    Completions(completions::Completions),
    /// Print the manual page, of the program or of one command.
    Man(completions::Man),
}

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
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

/// How long to wait at the end for what still runs. A read of standard input can run for ever.
const LINGER: Duration = Duration::from_millis(200);

/// Runs a future to its end.
fn block_on<T>(future: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failed::System)?;
    let ended = runtime.block_on(future);
    runtime.shutdown_timeout(LINGER);
    ended
}

/// Says what is wrong with the arguments in one sentence; help that was asked for is printed as it is.
fn misused(error: &clap::Error) -> ExitCode {
    let shown = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if shown || !error.use_stderr() {
        // A closed pipe is no failure.
        let _ = error.print();
        return ExitCode::from(if shown { 2 } else { 0 });
    }
    out::say(&sentence(error));
    ExitCode::from(2)
}

/// What is wrong with the arguments, in one sentence.
fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let sentence: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let sentence = sentence.join(" ");
    format!("{}; see --help", out::Plain(sentence.trim_start_matches("error: ")))
}
