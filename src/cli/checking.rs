//! The commands that need fencepost-verify: `verify`, `replay` and `explore`. They exist with the feature `verify`.

mod explore;
mod replay;
mod verify;

use std::fmt;
use std::path::PathBuf;

use clap::Subcommand;
use fencepost_verify::counterexample::NotReplayed;
use fencepost_verify::trace::TraceError;

use crate::ended::{Ended, Failed};

#[derive(Debug, Subcommand)]
pub(super) enum CheckingCommand {
    /// Check the guarantees: on the model, on the store in lockstep with the model, and on known mutants.
    #[command(
        after_help = "Exit status: 0 every guarantee held, 1 a guarantee is broken, 2 the checks could not run."
    )]
    Verify(verify::Arguments),
    /// Replay a trace file that `verify` wrote.
    #[command(
        after_help = "Exit status: 0 every guarantee held this time, 1 a guarantee is broken, 2 the trace could not be replayed."
    )]
    Replay(replay::Arguments),
    /// Explore the states of a scope of the model in a browser, on loopback.
    Explore(explore::Arguments),
    /// Run one client of a recorded history. `verify` starts it and writes its plan to its standard input.
    #[command(hide = true)]
    HistoryClient,
}

impl CheckingCommand {
    pub(super) fn run(&self) -> Result<Ended, Failed> {
        match self {
            Self::Verify(arguments) => verify::run(arguments),
            Self::Replay(arguments) => replay::run(arguments),
            Self::Explore(arguments) => explore::run(arguments),
            Self::HistoryClient => verify::play_client(),
        }
    }
}

/// Why a check could not be run.
#[derive(Debug)]
pub(super) enum CannotCheck {
    /// A file is not a trace that can be run.
    Trace { path: PathBuf, source: TraceError },
    /// There is no such scope.
    UnknownScope(String),
    /// A counterexample cannot be run again.
    Replay(NotReplayed),
    /// The address cannot be listened on.
    Address { address: String, source: std::io::Error },
}

impl fmt::Display for CannotCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace { path, source } => write!(f, "{}: {source}", path.display()),
            Self::UnknownScope(name) => {
                let names = fencepost_model::scope::names().join(", ");
                write!(f, "there is no scope {name:?}; there are {names}")
            }
            Self::Replay(why) => why.fmt(f),
            Self::Address { address, source } => write!(f, "{address}: {source}"),
        }
    }
}

impl From<CannotCheck> for Failed {
    fn from(why: CannotCheck) -> Self {
        Self::Check(why)
    }
}
