//! The command line: `verify`, `replay`, `explore`.
//!
//! Exit status 0: all held. 1: a guarantee is broken. 2: it could not be run; then one sentence on standard error
//! says why, and nothing was written. This module must not decide what is right: it prints what `verify` found.

mod explore;
mod replay;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A durable message bus in one SQLite file, held step for step against an executable specification.
#[derive(Debug, Parser)]
#[command(name = "fencepost", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the whole contract: on the model, on the store in lockstep with it, and on known mistakes.
    Verify(verify::Arguments),
    /// Run a trace file again.
    Replay(replay::Arguments),
    /// Serve a scope of the model for walking through it in a browser, on loopback.
    Explore(explore::Arguments),
}

/// How a command ended.
enum Ended {
    /// All held.
    Held,
    /// A guarantee is broken.
    Broken,
}

/// Why a command could not be run, as one sentence.
#[derive(Debug)]
enum Failed {
    /// A file could not be read or written.
    File { path: PathBuf, source: std::io::Error },
    /// A file is not a trace that can be run.
    Trace { path: PathBuf, source: crate::verify::trace::TraceError },
    /// There is no such scope.
    UnknownScope(String),
    /// There is no such mutant.
    UnknownMutant(String),
    /// The store could not be run.
    Store(crate::Error),
    /// The report could not be written as JSON.
    Json(serde_json::Error),
    /// The address cannot be listened on.
    Address { address: String, source: std::io::Error },
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Trace { path, source } => write!(f, "{}: {source}", path.display()),
            Self::UnknownScope(name) => {
                let names = fencepost_model::scope::names().join(", ");
                write!(f, "there is no scope {name:?}; there are {names}")
            }
            Self::UnknownMutant(name) => write!(f, "there is no mutant {name:?} in this version"),
            Self::Store(error) => error.fmt(f),
            Self::Json(error) => error.fmt(f),
            Self::Address { address, source } => write!(f, "{address}: {source}"),
        }
    }
}

impl From<crate::Error> for Failed {
    fn from(error: crate::Error) -> Self {
        Self::Store(error)
    }
}

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Explore(arguments) => explore::run(&arguments),
    };
    match ended {
        Ok(Ended::Held) => ExitCode::SUCCESS,
        Ok(Ended::Broken) => ExitCode::from(1),
        Err(failed) => {
            eprintln!("fencepost: {failed}");
            ExitCode::from(2)
        }
    }
}

fn read(path: &std::path::Path) -> Result<String, Failed> {
    std::fs::read_to_string(path).map_err(|source| Failed::File { path: path.to_owned(), source })
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).map_err(|source| Failed::File { path: path.to_owned(), source })
}
