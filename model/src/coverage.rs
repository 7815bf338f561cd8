//! Counts what a search exercised: how often each guarantee had something to check, and which cells of operation ×
//! class of the state before × reply occurred.
//!
//! Invariant: a check whose premise never occurred, and a cell that was never reached, are counted as zero.
//! Does not depend on: how moves are chosen.

mod class;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::invariant::GUARANTEES;
use crate::op::{Op, Refusal, Reply, Settled};
use crate::state::State;
use crate::vocabulary::Timestamp;

pub use class::{class, kind};

/// A cell of the coverage matrix: operation, class of the state before, reply.
pub type CoverageCell = (&'static str, &'static str, &'static str);

const SHARDS: usize = 16;

/// Counts, shared by the threads of a search.
#[derive(Debug, Default)]
pub struct Tally {
    checked: [AtomicU64; GUARANTEES.len()],
    operations: AtomicU64,
    cells: [Mutex<BTreeMap<CoverageCell, u64>>; SHARDS],
}

impl Tally {
    /// A tally of zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts that a guarantee had something to check, and held.
    pub(crate) fn checked(&self, guarantee: usize) {
        self.checked[guarantee].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an operation, and each part of a transaction.
    pub(crate) fn note(&self, before: &State, now: Timestamp, op: &Op, reply: &Reply) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let cell = (kind(op), class(before, now, op), reply_kind(reply));
        let shard = (cell.0.as_ptr() as usize / 8 + cell.1.len() + cell.2.len()) % SHARDS;
        if let Ok(mut cells) = self.cells[shard].lock() {
            *cells.entry(cell).or_default() += 1;
        }
    }

    /// How often this guarantee had something to check, and held.
    pub fn times_checked(&self, guarantee: usize) -> u64 {
        self.checked[guarantee].load(Ordering::Relaxed)
    }

    /// How many operations were counted.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// The cells that were reached, with their counts.
    pub fn cells(&self) -> BTreeMap<CoverageCell, u64> {
        let mut all = BTreeMap::new();
        for shard in &self.cells {
            let Ok(cells) = shard.lock() else { continue };
            for (cell, count) in cells.iter() {
                *all.entry(*cell).or_default() += count;
            }
        }
        all
    }

    /// Adds the counts of another tally.
    pub fn add(&self, other: &Self) {
        for (mine, theirs) in self.checked.iter().zip(&other.checked) {
            mine.fetch_add(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.operations.fetch_add(other.operations(), Ordering::Relaxed);
        if let Ok(mut cells) = self.cells[0].lock() {
            for (cell, count) in other.cells() {
                *cells.entry(cell).or_default() += count;
            }
        }
    }
}

/// The name of a reply in the matrix.
pub fn reply_kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Accepted { fresh: true, .. } => "accepted",
        Reply::Accepted { fresh: false, .. } => "accepted before",
        Reply::HandedOut { deliveries, dead_lettered } => match (deliveries.len(), dead_lettered.len()) {
            (0, 0) => "nothing due",
            (0, _) => "dead-lettered only",
            (1, 0) => "one handed out",
            (_, 0) => "several handed out",
            (_, _) => "handed out and dead-lettered",
        },
        Reply::Settled(Settled::Acked) => "acked",
        Reply::Settled(Settled::Requeued { .. }) => "requeued",
        Reply::Settled(Settled::DeadLettered { .. }) => "dead-lettered",
        Reply::Settled(Settled::Parked { .. }) => "parked",
        Reply::Settled(Settled::Dropped) => "dropped",
        Reply::Released => "released",
        Reply::Extended { .. } => "extended",
        Reply::Cancelled => "cancelled",
        Reply::Subscribed { fresh: true, .. } => "subscribed",
        Reply::Subscribed { fresh: false, .. } => "subscribed before",
        Reply::Unsubscribed { .. } => "unsubscribed",
        Reply::Sought => "sought",
        Reply::Redriven(_) => "redriven",
        Reply::Purged => "purged",
        Reply::Repaired { .. } => "repaired",
        Reply::Pruned { removed: 0, .. } => "pruned nothing",
        Reply::Pruned { .. } => "pruned",
        Reply::Forgotten { ids: 0 } => "forgot nothing",
        Reply::Forgotten { .. } => "forgot",
        Reply::EpochBegun { .. } => "epoch begun",
        Reply::Rebooted => "rebooted",
        Reply::Done(_) => "done",
        Reply::Refused(refusal) => match refusal {
            Refusal::Legible => "Legible",
            Refusal::LeaseLost => "LeaseLost",
            Refusal::Conflict { .. } => "Conflict",
            Refusal::NotFound => "NotFound",
            Refusal::Held { .. } => "Held",
            Refusal::NamesMissing { .. } => "NamesMissing",
            Refusal::NotNext { .. } => "NotNext",
            Refusal::NotSubscribed => "NotSubscribed",
            Refusal::BeyondHead { .. } => "BeyondHead",
            Refusal::Pruned { .. } => "Pruned",
            Refusal::EpochMismatch { .. } => "EpochMismatch",
            Refusal::EpochRetired => "EpochRetired",
            Refusal::Corrupt => "Corrupt",
            Refusal::WrongKind => "WrongKind",
            Refusal::Aborted { .. } => "Aborted",
        },
    }
}

/// The reachable cells, reviewed by hand. A search over all scopes reaches each of them and no other.
const CELLS: &str = include_str!("coverage/cells.txt");

/// The reachable cells.
pub fn reachable() -> BTreeSet<(String, String, String)> {
    let lines = CELLS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let cell = |line: &str| {
        let mut parts = line.split('|').map(|part| part.trim().to_owned());
        Some((parts.next()?, parts.next()?, parts.next()?))
    };
    lines.filter_map(cell).collect()
}

/// Compares the cells that a search reached with the reachable ones: those it missed, and those it reached beyond them.
pub fn difference(reached: &BTreeMap<CoverageCell, u64>) -> (Vec<String>, Vec<String>) {
    let reachable = reachable();
    let owned = |cell: &CoverageCell| (cell.0.to_owned(), cell.1.to_owned(), cell.2.to_owned());
    let reached: BTreeSet<_> = reached.keys().map(owned).collect();
    let write = |(op, class, reply): &(String, String, String)| format!("{op} | {class} | {reply}");
    let missing = reachable.difference(&reached).map(write).collect();
    let unknown = reached.difference(&reachable).map(write).collect();
    (missing, unknown)
}
