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

The copy is one state of the bus, complete and synced, or it is not there. A file that is there is never replaced, nor
joined to a -wal or -journal that a file of its name left.
Begin its life with `fencepost restore`, before anybody else opens it.";

/// Copy a bus into a new file, while it is at work.
#[derive(Debug, Args)]
#[command(after_help = AFTER_BACKUP)]
pub(super) struct Backup {
    /// The file of the bus.
    file: PathBuf,
    /// The file to make.
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
        fencepost::Error::Exists => Failed::At { path: arguments.to.clone(), error },
        error => Failed::At { path: arguments.file.clone(), error },
    })?;
    let mut out = Out::new();
    out.line(&format_args!("copied {copied} pages to {}", arguments.to.display()))?;
    out.flush()?;
    Ok(Ended::Done)
}

const AFTER_RESTORE: &str = "\
Example:
  fencepost stats bus.db --json | jq .log.epoch     the epoch that was reached, say 3
  cp /backup/bus-2026-01-31.db bus.db               with nobody at work, and no bus.db-wal left beside it
  fencepost restore bus.db --epoch 4

The epoch must be larger than every one that the original or another copy of it ever used: numbers and tokens that
the copy mints then differ from all that the world has seen since the copy was made.";

/// Begin a new life in a copy, before anybody else opens it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_RESTORE)]
pub(super) struct Restore {
    /// The copy, which nobody has opened yet.
    file: PathBuf,
    /// The epoch to begin.
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
    out.line(&format_args!(
        "epoch {epoch} has begun; {returned} redriven events of the groups are dead letters again"
    ))?;
    out.flush()?;
    Ok(Ended::Done)
}
