//! `fencepost backup` and `fencepost restore`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use fencepost_model::op::Reply;
use fencepost_model::vocabulary::Epoch;
use indicatif::ProgressBar;

use crate::ended::{Ended, Failed};
use crate::opening::now;
use crate::out::Out;
use crate::parse::number;

const AFTER_BACKUP: &str = "\
Example:
  fencepost backup bus.db /backup/bus-2026-01-31.db

The copy is one state of the bus, complete and synced, or it does not exist. An existing file is never replaced. A -wal or
-journal of an earlier file beside the copy is an error, because SQLite would apply it to the copy.
Run `fencepost restore` on the copy before any other process opens it.";

/// Copy a bus into a new file while the bus runs.
#[derive(Debug, Args)]
#[command(after_help = AFTER_BACKUP)]
pub(super) struct Backup {
    /// The file of the bus.
    file: PathBuf,
    /// The file to create.
    to: PathBuf,
}

pub(super) fn backup(arguments: &Backup) -> Result<Ended, Failed> {
    let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
    let mut copied = 0;
    let done = fencepost::internals::sqlite::backup(&arguments.file, &arguments.to, |pages, pages_all| {
        copied = pages;
        if let Some(bar) = &bar {
            bar.set_length(pages_all);
            bar.set_position(pages);
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    done.map_err(|error| match error {
        fencepost::Error::Exists => Failed::InFile { path: arguments.to.clone(), error },
        error => Failed::InFile { path: arguments.file.clone(), error },
    })?;
    let mut out = Out::new();
    out.line(&format_args!("copied {copied} pages to {}", arguments.to.display()))?;
    out.flush()?;
    Ok(Ended::Done)
}

const AFTER_RESTORE: &str = "\
Example:
  fencepost stats bus.db --json | jq .log.epoch     the epoch of the original, for example 3
  cp /backup/bus-2026-01-31.db bus.db               with all processes stopped and without a bus.db-wal
  fencepost restore bus.db --epoch 4

The epoch must be larger than every epoch that the original or another copy of it ever used. In the new
epoch the copy mints tokens that the original never mints, and its events can be told from those of the original.";

/// Begin a new epoch in a copy, before any other process opens it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_RESTORE)]
pub(super) struct Restore {
    /// The copy, which no process has opened yet.
    file: PathBuf,
    /// The number of the new epoch.
    #[arg(long, value_parser = number::<Epoch>)]
    epoch: Epoch,
}

pub(super) fn restore(arguments: &Restore) -> Result<Ended, Failed> {
    let failed = Failed::at(&arguments.file);
    let returned = match fencepost::internals::sqlite::restore(&arguments.file, arguments.epoch, now())
        .map_err(&failed)?
    {
        Reply::EpochBegun { returned } => returned.len(),
        Reply::Refused(refusal) => return Err(failed(refusal.into())),
        _ => 0,
    };
    let mut out = Out::new();
    let epoch = arguments.epoch;
    out.line(&format_args!("epoch {epoch} begins; {returned} redriven events are dead letters again"))?;
    out.flush()?;
    Ok(Ended::Done)
}
