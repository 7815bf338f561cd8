//! `fencepost prune`.

use std::time::Duration;

use clap::Args;
use fencepost_model::op::{Op, Reply};
use serde::Serialize;

use crate::ended::{Ended, Failed};
use crate::opening::{BusFile, now};
use crate::out::Out;
use crate::parse::{duration, ms};

const AFTER_HELP: &str = "\
Examples:
  fencepost prune bus.db --dry-run             show what would be deleted
  fencepost prune bus.db --retention 30d       delete events older than 30 days

An event stays until every subscribed group has passed it, however old it is: see `fencepost groups`.";

/// Delete old events from the front of the log, if every group has passed them.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct PruneArguments {
    #[command(flatten)]
    bus: BusFile,
    /// The minimum age of an event that is deleted.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
    retention: Duration,
    /// Show what would be deleted, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object: `removed`, `first`, `dead_lettered`, `dry_run`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct PruneObject {
    removed: u64,
    first: u64,
    dead_lettered: Vec<u64>,
    dry_run: bool,
}

pub(super) fn run(arguments: &PruneArguments) -> Result<Ended, Failed> {
    let (bus, dry_run) = (&arguments.bus, arguments.dry_run);
    let op = Op::Prune { retention_ms: ms(arguments.retention) };
    let mut store = bus.store()?;
    let reply = match dry_run {
        true => store.rehearse(now(), &op).map_err(|error| bus.failed(error))?,
        false => bus.apply(&mut store, &op)?,
    };
    bus.close(store)?;
    let Reply::Pruned { first, removed, dead_lettered } = reply else { return Ok(Ended::Negative) };
    let mut out = Out::new();
    let dead_lettered: Vec<u64> = dead_lettered.iter().map(|record| record.get()).collect();
    if arguments.json {
        out.json(&PruneObject { removed, first: first.get(), dead_lettered, dry_run })?;
    } else {
        let (deleted, begins, goes) = match dry_run {
            true => ("would delete", "would begin", "would go"),
            false => ("deleted", "begins", "went"),
        };
        out.line(&format_args!("{deleted} {removed} events; the log {begins} at {first}"))?;
        if !dead_lettered.is_empty() {
            let count = dead_lettered.len();
            out.line(&format_args!("{count} of them cannot be decoded and {goes} to the dead letters"))?;
        }
    }
    out.flush()?;
    Ok(Ended::Done)
}
