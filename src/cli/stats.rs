//! `fencepost stats`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use crate::ended::{Ended, Failed};
use crate::opening::BusFile;
use crate::out::{Out, span};
use fencepost::internals::sqlite::{GroupOverview, Overview};

/// The time between two samples of `--watch`.
const INTERVAL: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
Examples:
  fencepost stats bus.db                        the state as a table
  fencepost stats bus.db --watch                the same, every second
  fencepost stats bus.db --json | jq .queue     one object: now, queue, dead, parked, log, groups, ids_remembered

The command is read-only and does not wait for writers.";

/// Show the state of the queue, the log and the consumer groups, and count the records that were set aside.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct StatsArguments {
    #[command(flatten)]
    bus: BusFile,
    /// Print one JSON object, on one line.
    #[arg(long)]
    json: bool,
    /// Print again every second, until Ctrl-C or until the reader closes the pipe.
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(arguments: &StatsArguments) -> Result<Ended, Failed> {
    let mut out = Out::new();
    let conn = arguments.bus.reader()?;
    if !arguments.watch {
        let seen = arguments.bus.overview(&conn)?;
        match arguments.json {
            true => out.json(&seen)?,
            false => out.text(&table(&seen))?,
        }
        out.flush()?;
        return Ok(Ended::Done);
    }
    super::block_on(async {
        let mut ticks = tokio::time::interval(INTERVAL);
        while !out.is_closed() {
            ticks.tick().await;
            let seen = arguments.bus.overview(&conn)?;
            match arguments.json {
                true => out.json(&seen)?,
                false if out.is_terminal() => out.text(&format_args!("\x1b[H\x1b[2J{}", table(&seen)))?,
                false => out.line(&line(&seen))?,
            }
            out.flush()?;
        }
        Ok(Ended::Done)
    })
}

/// The state on one line.
fn line(seen: &Overview) -> String {
    let Overview { queue, dead, parked, log, groups, .. } = seen;
    let lag: u64 = groups.iter().map(|group| group.lag).sum();
    format!(
        "ready {} delayed {} leased {} dead {dead} parked {parked} events {} head {} lag {lag}",
        queue.ready, queue.delayed, queue.leased, log.events, log.head
    )
}

/// The state as a table. Writing to a string does not fail.
fn table(seen: &Overview) -> String {
    let mut table = String::new();
    let Overview { queue, dead, parked, log, groups, .. } = seen;
    let _ =
        write!(table, "queue      ready {}  delayed {}  leased {}", queue.ready, queue.delayed, queue.leased);
    if let Some(age_ms) = queue.oldest_due_age_ms {
        let _ = write!(table, "  oldest due for {}", span(age_ms));
    }
    if queue.unreadable > 0 {
        let _ = write!(table, "  unreadable {}", queue.unreadable);
    }
    table.push('\n');
    if !queue.names.is_empty() {
        let width = queue.names.iter().map(|name| name.name.as_str().len()).max().unwrap_or_default();
        let _ = writeln!(table, "  {:width$}  {:>9}  {:>9}  {:>9}", "name", "ready", "delayed", "leased");
        for name in &queue.names {
            let _ = writeln!(
                table,
                "  {:width$}  {:>9}  {:>9}  {:>9}",
                name.name.as_str(),
                name.ready,
                name.delayed,
                name.leased
            );
        }
    }
    let _ = writeln!(table, "set aside  dead {dead}  parked {parked}");
    let _ = writeln!(
        table,
        "log        epoch {}  events {}  first {}  head {}",
        log.epoch, log.events, log.first, log.head
    );
    table.push_str(&groups_table(groups, seen.now.get()));
    table
}

/// The groups, as `stats` and `groups` print them.
pub(super) fn groups_table(groups: &[GroupOverview], now_ms: u64) -> String {
    let mut table = String::new();
    if groups.is_empty() {
        return table;
    }
    let wide = |of: fn(&GroupOverview) -> &str| {
        groups.iter().map(|group| of(group).len()).max().unwrap_or_default().max(5)
    };
    let (group_width, name_width) = (wide(|group| group.group.as_str()), wide(|group| group.name.as_str()));
    let _ = writeln!(
        table,
        "  {:group_width$}  {:name_width$}  {:>9}  {:>9}  {:>8}  {:>9}  held for",
        "group", "name", "position", "lag", "attempts", "redriven"
    );
    for group in groups {
        let held = group.held_until.map_or("-".to_owned(), |until| span(until.get().saturating_sub(now_ms)));
        let _ = writeln!(
            table,
            "  {:group_width$}  {:name_width$}  {:>9}  {:>9}  {:>8}  {:>9}  {held}",
            group.group.as_str(),
            group.name.as_str(),
            group.position.get(),
            group.lag,
            group.attempts,
            group.entries
        );
    }
    table
}
