//! `fencepost check`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ended::{Ended, Failed};
use crate::opening::now;
use crate::out::{Out, Plain};
use fencepost::check::{CheckReport, RepairReport, check, repair};

const AFTER_HELP: &str = "\
Examples:
  fencepost check bus.db              read every row; changes not a byte
  fencepost check bus.db --repair     move what nobody can read to the dead, and check again

Exit status: 0 nothing is wrong (any more), 1 something was found, 2 it could not be checked.";

/// Check a file. Exit status 1 if anything is wrong with it, after a repair: if anything still is.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The file of the bus.
    file: PathBuf,
    /// Move rows that cannot be read to the dead, with everything that is left of them.
    #[arg(long)]
    repair: bool,
    /// Print one JSON object: `sound`, and the report.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a, T> {
    sound: bool,
    #[serde(flatten)]
    report: &'a T,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Failed> {
    let failed = Failed::at(&arguments.file);
    let mut out = Out::new();
    let sound = if arguments.repair {
        let report = repair(&arguments.file, now()).map_err(failed)?;
        let sound = report.left.is_sound();
        match arguments.json {
            true => out.json(&Report { sound, report: &report })?,
            false => repaired(&mut out, &report)?,
        }
        sound
    } else {
        let report = check(&arguments.file).map_err(failed)?;
        match arguments.json {
            true => out.json(&Report { sound: report.is_sound(), report: &report })?,
            false => found(&mut out, &report)?,
        }
        report.is_sound()
    };
    out.flush()?;
    Ok(if sound { Ended::Done } else { Ended::No })
}

fn repaired(out: &mut Out, report: &RepairReport) -> Result<(), Failed> {
    let moved = [
        ("commands that cannot be read", &report.unreadable_commands),
        ("commands that cannot be decoded", &report.corrupt_commands),
        ("events that cannot be read", &report.unreadable_events),
    ];
    for (what, records) in moved.iter().filter(|(_, records)| !records.is_empty()) {
        let records: Vec<String> = records.iter().map(ToString::to_string).collect();
        out.line(&format_args!("moved to the dead: {what}, as records {}", records.join(", ")))?;
    }
    if report.is_empty() {
        out.line(&"nothing was moved")?;
    }
    found(out, &report.left)
}

fn found(out: &mut Out, report: &CheckReport) -> Result<(), Failed> {
    for finding in &report.findings {
        out.line(&Plain(&finding.to_string()))?;
    }
    if report.findings_left_out > 0 {
        out.line(&format_args!("... and {} findings more", report.findings_left_out))?;
    }
    for table in &report.tables {
        let undecodable = match table.undecodable {
            0 => String::new(),
            count => format!(", {count} of which cannot be decoded"),
        };
        out.line(&format_args!("{:14}  {} rows{undecodable}", table.table, table.rows))?;
    }
    if !report.foreign.is_empty() {
        out.line(&format_args!("not fencepost's: {}", Plain(&report.foreign.join(", "))))?;
    }
    let count = report.findings.len() as u64 + report.findings_left_out;
    match count {
        0 => out.line(&"nothing is wrong"),
        count => out.line(&format_args!("{count} findings")),
    }
}
