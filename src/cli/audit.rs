//! `fencepost audit`.
//!
//! Invariant: exit status 0 means that every recorded operation was checked and was allowed.
//! Does not depend on: how recordings are checked.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ended::{Ended, Failed};
use crate::out::Out;
use crate::plain::Plain;
use fencepost::audit::{Audit, Verdict, audit};

const AFTER_HELP: &str = "\
Examples:
  fencepost listen bus.db --on place.bet=./place-bet --record bus.rec
  fencepost audit bus.rec.1 bus.rec --store bus.db
  fencepost audit worker-*.rec        several processes on one bus, each with its own recording

Exit status: 0 everything was allowed, 1 an operation was not allowed, 2 not everything could be checked.";

/// Check recordings of a bus against the model: replay each operation, and compare its reply.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct AuditArguments {
    /// The recordings, in any order.
    #[arg(required = true, value_name = "RECORDING")]
    recordings: Vec<PathBuf>,
    /// The file of the bus: compare it with the state after the last recorded operation. The file must not be ahead of the
    /// recordings.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Print one JSON object: `verdict`, `operations`, `transactions`, `before`, `stretches`, `compared`, and `why`, a
    /// list; with a verdict of `not-allowed` also `recording`, `number` and `explanation`.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct AuditObject<'a> {
    verdict: &'static str,
    operations: u64,
    transactions: u64,
    before: u64,
    stretches: &'a [(u64, u64)],
    compared: bool,
    why: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a str>,
}

pub(super) fn run(arguments: &AuditArguments) -> Result<Ended, Failed> {
    let store = arguments.store.as_deref();
    let at = |error| match store {
        Some(store) => Failed::at(store)(error),
        None => error.into(),
    };
    let found = audit(&arguments.recordings, store).map_err(at)?;
    let mut out = Out::new();
    match arguments.json {
        true => out.json(&object(&found))?,
        false => tell(&mut out, &found)?,
    }
    out.flush()?;
    Ok(match found.verdict {
        Verdict::Allowed => Ended::Done,
        Verdict::NotAllowed(_) => Ended::Negative,
        Verdict::NotChecked(_) => Ended::NotChecked,
    })
}

fn object(found: &Audit) -> AuditObject<'_> {
    let (verdict, why) = match &found.verdict {
        Verdict::Allowed => ("allowed", Vec::new()),
        Verdict::NotAllowed(violation) => ("not-allowed", vec![violation.what.clone()]),
        Verdict::NotChecked(doubts) => ("not-checked", doubts.iter().map(ToString::to_string).collect()),
    };
    let violation = match &found.verdict {
        Verdict::NotAllowed(violation) => Some(violation),
        _ => None,
    };
    AuditObject {
        verdict,
        operations: found.operations,
        transactions: found.transactions,
        before: found.before,
        stretches: &found.stretches,
        compared: found.compared,
        why,
        recording: violation.map(|violation| violation.path.display().to_string()),
        number: violation.map(|violation| violation.number),
        explanation: violation.map(|violation| violation.explanation.as_str()),
    }
}

fn tell(out: &mut Out, found: &Audit) -> Result<(), Failed> {
    let from_to =
        |(from, through): &(u64, u64)| format!("from the state at number {from} to number {through}");
    let stretches = match found.stretches.as_slice() {
        [] => "nothing".to_owned(),
        stretches => stretches.iter().map(from_to).collect::<Vec<_>>().join(", "),
    };
    match &found.verdict {
        Verdict::Allowed => {
            out.line(&format_args!("allowed: {} operations, {stretches}", found.operations))?;
            if found.compared {
                out.line(&"the store holds the state that these operations produce")?;
            }
            Ok(())
        }
        Verdict::NotAllowed(violation) => {
            for line in violation.explanation.lines() {
                out.line(&Plain(line))?;
            }
            out.line(&format_args!("not allowed: {}", Plain(&violation.what)))
        }
        Verdict::NotChecked(doubts) => {
            for doubt in doubts {
                out.line(&Plain(&doubt.to_string()))?;
            }
            let checked = format!("{} operations were allowed, {stretches}", found.operations);
            out.line(&format_args!("not checked to the end: {checked}"))
        }
    }
}
