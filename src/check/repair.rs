//! Repairing a file: moving the rows that cannot be read to the dead letters.
//!
//! Invariant: a repair does only what operations of the contract could have done: it moves damaged rows to the dead letters,
//! with all that is left of them, and never guesses. It reports what it cannot repair.
//! Does not depend on: how a row is found damaged.

use std::num::NonZeroU32;
use std::path::Path;

use fencepost_model::op::{Op, Reply, Start};
use fencepost_model::state::{Body, LogRow, State};
use fencepost_model::vocabulary::{Group, Name, Names, RecordId, Seq, TextRule, Timestamp};
use rusqlite::TransactionBehavior;
use serde::Serialize;

use crate::check::{CheckReport, check, corrupt_commands, report};
use crate::error::{Damage, Error, Result};
use crate::sqlite::{OpenOptions, Store, inspect, quarantine};

/// Why a repair moved a command to the dead.
const REASON: &str = "found by check";

/// How many rows a repair moves in one transaction.
const BATCH: NonZeroU32 = NonZeroU32::new(100).expect("a batch has rows");

/// The result of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// The dead letters of commands whose name or bookkeeping cannot be read.
    #[serde(serialize_with = "numbers")]
    pub unreadable_commands: Vec<RecordId>,
    /// The dead letters of commands whose message cannot be decoded and which were not held.
    #[serde(serialize_with = "numbers")]
    pub corrupt_commands: Vec<RecordId>,
    /// The dead letters, one for all groups, of events whose name cannot be read.
    #[serde(serialize_with = "numbers")]
    pub unreadable_events: Vec<RecordId>,
    /// A check of the file afterwards: the damage that could not be repaired.
    pub left: CheckReport,
}

impl RepairReport {
    /// Whether nothing had to be moved.
    pub fn is_empty(&self) -> bool {
        self.unreadable_commands.is_empty()
            && self.corrupt_commands.is_empty()
            && self.unreadable_events.is_empty()
    }
}

fn numbers<S: serde::Serializer>(records: &[RecordId], to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_seq(records.iter().map(|record| record.get()))
}

/// Moves rows that cannot be read to the dead letters, at the time `now`, and checks the file again. An unreadable command and
/// an unreadable event are moved as the next claim and the next poll would move them. A command whose message cannot be
/// decoded, unless it is held, is moved as if it were claimed (a token is minted, an attempt counts) and dead-lettered with
/// the reason `found by check`. One transaction moves at most a hundred rows; a repair that is interrupted has done a part of
/// its work, and can be run again. Consumers may be at work meanwhile.
///
/// Nothing else changes. Events that cannot be decoded but have a name are left to their groups, which keep their
/// order; damage to counters, cursors, positions and records is reported, and so is a file that SQLite finds malformed
/// or whose schema was changed: nothing is written to that.
///
/// # Errors
/// The errors of checking and opening the file, and errors of SQLite: rows that were moved before stay moved.
pub fn repair(path: impl AsRef<Path>, now: Timestamp) -> Result<RepairReport> {
    let path = path.as_ref();
    let seen = inspect(path)?;
    let left = report(&seen);
    let Some(survey) = seen.survey.filter(|_| left.is_writable() && !left.is_sound()) else {
        return Ok(RepairReport { left, ..RepairReport::default() });
    };
    let mut store = Store::open(path, &OpenOptions { create: false, ..OpenOptions::default() })?;
    let mut done = RepairReport::default();
    // If a counter or the end of the log is damaged too, only a part of the work can be done.
    possible(sweep_commands(&mut store, now, &mut done.unreadable_commands))?;
    possible(sweep_events(&mut store, now, &survey.state, &mut done.unreadable_events))?;
    let corrupt: Vec<Seq> = corrupt_commands(&survey.state).map(|(seq, _)| seq).collect();
    possible(bury(&mut store, now, &corrupt, &mut done.corrupt_commands))?;
    store.close()?;
    done.left = check(path)?;
    Ok(done)
}

/// Ignores an error for damage elsewhere: the check afterwards reports the damage.
fn possible(done: Result<()>) -> Result<()> {
    match done {
        Err(Error::Corrupt { what }) if what != Damage::File => Ok(()),
        done => done,
    }
}

/// Moves unreadable commands: a claim for no name takes only those (G5).
fn sweep_commands(store: &mut Store, now: Timestamp, moved: &mut Vec<RecordId>) -> Result<()> {
    let claim = Op::Claim { names: Names::new(), max: BATCH, lease_ms: 0, attempts_max: NonZeroU32::MIN };
    loop {
        match store.apply(now, &claim)? {
            Reply::HandedOut { dead_lettered, .. } if !dead_lettered.is_empty() => {
                moved.extend(dead_lettered)
            }
            _ => return Ok(()),
        }
    }
}

/// Moves unreadable events: a poll for a group that begins and ends in the same transaction, and has no event to read, takes
/// only those (G5, G7).
fn sweep_events(store: &mut Store, now: Timestamp, state: &State, moved: &mut Vec<RecordId>) -> Result<()> {
    let Ok((group, name)) = bystander(state) else { return Ok(()) };
    let poll = Op::Atomic(vec![
        Op::Subscribe { group: group.clone(), name: name.clone(), start: Start::Latest },
        Op::Poll {
            group: group.clone(),
            names: Names::from([name.clone()]),
            token: None,
            max: BATCH,
            lease_ms: 0,
            attempts_max: NonZeroU32::MIN,
        },
        Op::Unsubscribe { group, name },
    ]);
    let unreadable = |row: &LogRow| matches!(row, LogRow::Event(Body::Unreadable { .. }));
    if !state.log.values().any(unreadable) {
        return Ok(());
    }
    loop {
        let replies = match store.apply(now, &poll)? {
            Reply::Done(replies) => replies,
            _ => return Ok(()),
        };
        match replies.into_iter().nth(1) {
            Some(Reply::HandedOut { dead_lettered, .. }) if !dead_lettered.is_empty() => {
                moved.extend(dead_lettered);
            }
            _ => return Ok(()),
        }
    }
}

/// A group that does not exist, and a name for it.
fn bystander(state: &State) -> std::result::Result<(Group, Name), TextRule> {
    let name = Name::new("fencepost.check")?;
    let mut group = Group::new(name.as_str())?;
    for n in 1_u64.. {
        if !state.groups.contains_key(&group) {
            break;
        }
        group = Group::new(format!("{name}.{n}"))?;
    }
    Ok((group, name))
}

/// Moves commands whose message cannot be decoded and which are not held to the dead letters.
fn bury(store: &mut Store, now: Timestamp, seqs: &[Seq], moved: &mut Vec<RecordId>) -> Result<()> {
    let sql = store.statements().clone();
    for batch in seqs.chunks(BATCH.get() as usize) {
        let transaction = store.connection_mut().transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut records = Vec::new();
        for seq in batch {
            records.extend(quarantine(&transaction, &sql, now, *seq, &REASON.into())?);
        }
        transaction.commit()?;
        moved.extend(records);
    }
    Ok(())
}
