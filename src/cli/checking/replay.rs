//! `fencepost replay`.

use std::path::PathBuf;

use clap::Args;

use crate::checking::CannotCheck;
use crate::ended::{Ended, Failed, read};
use fencepost_verify::trace::Trace;

/// Run a trace file again. Exit status: 0 all held this time, 1 it is broken, 2 it could not run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The trace file that `verify` wrote.
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ended, Failed> {
    let path = &arguments.file;
    let trace = Trace::read(&read(path)?);
    let trace = trace.map_err(|source| CannotCheck::Trace { path: path.clone(), source })?;
    let replayed = trace.counterexample.replay().map_err(CannotCheck::Replay)?;
    print!("{}", replayed.explanation);
    Ok(if replayed.broken { Ended::Broken } else { Ended::Held })
}
