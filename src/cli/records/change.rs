//! `redrive` and `purge`.
//!
//! Invariant: every change that is counted as done is committed, also if an error ends the command early. One transaction
//! changes many records, each independently: a refusal of one does not stop the others.

use fencepost_model::op::{Op, Reply, Target};
use fencepost_model::state::Place;
use fencepost_model::vocabulary::RecordId;
use serde::Serialize;

use super::{ChangeArguments, found, pages, word};
use crate::ended::{Ended, Failed};
use crate::opening::{BusFile, now};
use crate::out::{Out, say};
use fencepost::error::{Damage, Error};

/// What a command does with each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordChange {
    Redrive,
    Purge,
}

impl RecordChange {
    fn op(self, record: RecordId) -> Op {
        match self {
            Self::Redrive => Op::Redrive { record },
            Self::Purge => Op::Purge { record },
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Purge => "purged",
        }
    }
}

/// How many records are changed in one transaction.
const BATCH: usize = 200;

#[derive(Debug, Default, Serialize)]
struct Changed {
    done: u64,
    refused: Vec<RefusedRecord>,
}

#[derive(Debug, Serialize)]
struct RefusedRecord {
    id: u64,
    why: String,
}

pub(super) fn run(
    bus: &BusFile,
    place: Place,
    arguments: &ChangeArguments,
    change: RecordChange,
    out: &mut Out,
) -> Result<Ended, Failed> {
    let mut store = bus.store()?;
    let mut ids = arguments.selection.ids.clone();
    if ids.is_empty() {
        pages(bus, store.connection(), place, arguments.selection.name.as_ref(), |id, _| {
            ids.push(id);
            Ok(())
        })?;
    }
    for id in &arguments.selection.ids {
        found(bus, store.connection(), place, *id)?;
    }
    let mut changed = Changed::default();
    let mut failed = None;
    'all: for batch in ids.chunks(BATCH) {
        let ops: Vec<Op> = batch.iter().map(|id| change.op(*id)).collect();
        let replies = store.apply_all(now, &ops.iter().collect::<Vec<_>>());
        for (id, reply) in batch.iter().zip(replies) {
            match reply {
                Ok(Reply::Refused(refusal)) => changed.refuse(*id, refusal.to_string()),
                // A record whose own columns are damaged stays, and `show` prints it.
                Err(Error::Corrupt { what }) if what != Damage::File => {
                    changed.refuse(*id, what.to_string());
                }
                Ok(reply) => {
                    changed.done += 1;
                    if let (Reply::Redriven(target), false, false) =
                        (reply, arguments.json, arguments.selection.ids.is_empty())
                    {
                        out.line(&format_args!("record {id} is {} again", describe(&target)))?;
                    }
                }
                Err(error) => {
                    failed = Some(error);
                    break 'all;
                }
            }
        }
    }
    match arguments.json {
        true => out.json(&changed)?,
        false => {
            out.line(&format_args!("{} {} of {} {}", change.done(), changed.done, ids.len(), word(place)))?
        }
    }
    out.flush()?;
    if let Some(error) = failed {
        return Err(bus.failed(error));
    }
    changed.refused.iter().for_each(|refused| {
        say(&format_args!("record {} was not changed: {}", refused.id, refused.why));
    });
    bus.close(store)?;
    Ok(if changed.refused.is_empty() { Ended::Done } else { Ended::Negative })
}

impl Changed {
    fn refuse(&mut self, id: RecordId, why: String) {
        self.refused.push(RefusedRecord { id: id.get(), why });
    }
}

fn describe(target: &Target) -> String {
    match target {
        Target::Command(seq) => format!("command {seq}"),
        Target::Event { group, seq } => format!("event {seq} of group {group}"),
        Target::Entry { group, .. } => format!("an event that waits in group {group}"),
    }
}
