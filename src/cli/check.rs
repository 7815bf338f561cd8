//! `fencepost check`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ended::{Ended, Failed};
use crate::opening::now;
use crate::out::Out;
use crate::plain::Plain;
use fencepost::check::{CheckReport, RepairReport, check, repair};

const AFTER_HELP: &str = "\
Examples:
  fencepost check bus.db              read every row and change nothing
  fencepost check bus.db --repair     move rows that cannot be read to the dead letters, and check again

Exit status: 0 no findings (with --repair: none left), 1 findings, 2 the file could not be checked.";

/// Check a file for damage, and move rows that cannot be read to the dead letters.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CheckArguments {
    /// The file of the bus.
    file: PathBuf,
    /// Move rows that cannot be read to the dead letters, with all that is left of them, and check again.
    #[arg(long)]
    repair: bool,
    /// Print one JSON object: `sound` and the members of the report.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct CheckObject<'a, T> {
    sound: bool,
    #[serde(flatten)]
    report: &'a T,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<Ended, Failed> {
    let failed = Failed::at(&arguments.file);
    let mut out = Out::new();
    let sound = if arguments.repair {
        let report = repair(&arguments.file, now()).map_err(failed)?;
        let sound = report.left.is_sound();
        match arguments.json {
            true => out.json(&CheckObject { sound, report: &report })?,
            false => repaired(&mut out, &report)?,
        }
        sound
    } else {
        let report = check(&arguments.file).map_err(failed)?;
        match arguments.json {
            true => out.json(&CheckObject { sound: report.is_sound(), report: &report })?,
            false => found(&mut out, &report)?,
        }
        report.is_sound()
    };
    out.flush()?;
    Ok(if sound { Ended::Done } else { Ended::Negative })
}

fn repaired(out: &mut Out, report: &RepairReport) -> Result<(), Failed> {
    let moved = [
        ("commands that cannot be read", &report.unreadable_commands),
        ("commands that cannot be decoded", &report.corrupt_commands),
        ("events that cannot be read", &report.unreadable_events),
    ];
    for (what, records) in moved.iter().filter(|(_, records)| !records.is_empty()) {
        let records: Vec<String> = records.iter().map(ToString::to_string).collect();
        out.line(&format_args!("moved to the dead letters: {what}, as records {}", records.join(", ")))?;
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
        out.line(&format_args!("... and {} more findings", report.findings_left_out))?;
    }
    for table in &report.tables {
        let undecodable = match table.undecodable {
            0 => String::new(),
            count => format!(", {count} of them cannot be decoded"),
        };
        out.line(&format_args!("{:14}  {} rows{undecodable}", table.table, table.rows))?;
    }
    if !report.foreign.is_empty() {
        out.line(&format_args!("not fencepost's: {}", Plain(&report.foreign.join(", "))))?;
    }
    let count = report.findings.len() as u64 + report.findings_left_out;
    match count {
        0 => out.line(&"no findings"),
        count => out.line(&format_args!("{count} findings")),
    }
}
