//! `fencepost audit`.
//!
//! What always holds: exit status 0 is said of what was judged whole and was allowed, and of nothing else. Nothing is
//! decided here.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ended::{Ended, Failed};
use crate::out::{Out, Plain};
use fencepost::audit::{Audit, Verdict, audit};

const AFTER_HELP: &str = "\
Examples:
  fencepost listen bus.db --on place.bet=./place-bet --record bus.rec
  fencepost audit bus.rec.1 bus.rec --store bus.db
  fencepost audit worker-*.rec        several processes on one bus: each has recorded to a file of its own

Exit status: 0 all of it was allowed, 1 something was not, 2 not everything could be judged.";

/// Say whether what recordings of a bus hold was allowed, by replaying it in the model.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The recordings, in any order.
    #[arg(required = true, value_name = "RECORDING")]
    recordings: Vec<PathBuf>,
    /// The file of the bus, if it is no further than the recordings: it must hold the state that they lead to.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Print one JSON object: `verdict`, `operations`, `transactions`, `before`, `stretches`, `compared`, and `why`, a
    /// list; with a verdict of `not-allowed` also `recording`, `number` and `story`.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
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
    story: Option<&'a str>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Failed> {
    let store = arguments.store.as_deref();
    let at = |error| match store {
        Some(store) => Failed::at(store)(error),
        None => error.into(),
    };
    let found = audit(&arguments.recordings, store).map_err(at)?;
    let mut out = Out::new();
    match arguments.json {
        true => out.json(&report(&found))?,
        false => tell(&mut out, &found)?,
    }
    out.flush()?;
    Ok(match found.verdict {
        Verdict::Allowed => Ended::Done,
        Verdict::NotAllowed(_) => Ended::No,
        Verdict::NotJudged(_) => Ended::Open,
    })
}

fn report(found: &Audit) -> Report<'_> {
    let (verdict, why) = match &found.verdict {
        Verdict::Allowed => ("allowed", Vec::new()),
        Verdict::NotAllowed(wrong) => ("not-allowed", vec![wrong.what.clone()]),
        Verdict::NotJudged(doubts) => ("not-judged", doubts.iter().map(ToString::to_string).collect()),
    };
    let wrong = match &found.verdict {
        Verdict::NotAllowed(wrong) => Some(wrong),
        _ => None,
    };
    Report {
        verdict,
        operations: found.operations,
        transactions: found.transactions,
        before: found.before,
        stretches: &found.stretches,
        compared: found.compared,
        why,
        recording: wrong.map(|wrong| wrong.path.display().to_string()),
        number: wrong.map(|wrong| wrong.number),
        story: wrong.map(|wrong| wrong.story.as_str()),
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
                out.line(&"the store holds the state that they lead to")?;
            }
            Ok(())
        }
        Verdict::NotAllowed(wrong) => {
            for line in wrong.story.lines() {
                out.line(&Plain(line))?;
            }
            out.line(&format_args!("not allowed: {}", Plain(&wrong.what)))
        }
        Verdict::NotJudged(doubts) => {
            for doubt in doubts {
                out.line(&Plain(&doubt.to_string()))?;
            }
            let judged = format!("{} operations were allowed, {stretches}", found.operations);
            out.line(&format_args!("not judged to the end: {judged}"))
        }
    }
}
