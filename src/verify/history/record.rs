//! A recorded history: every operation with its client, when it was called and answered, and its answer.
//!
//! Times are those of one clock that all processes of the machine share, and tell the order of calls and answers alone;
//! the `now` of an operation is another thing.
//!
//! Invariant: an operation is written down before it begins and its answer after it has ended, each in one line of a
//! file of the client's own, so that the lines of a killed client are there; an operation without an answer may or may
//! not have happened.
//! Does not depend on: what is allowed.

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::State;
use fencepost_model::vocabulary::Timestamp;
use serde::{Deserialize, Serialize};

/// A recorded history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The state that it begins in.
    pub start: State,
    /// The number of the last transaction before it.
    pub start_seq: u64,
    /// The operations in the order of their calls.
    pub entries: Vec<HistoryEntry>,
    /// What was found when all clients had ended; none of a part of a history.
    pub end: Option<HistoryEnd>,
    /// Of a part of a history, the one checker that it is for: to the others it may lack what they would need.
    #[serde(default, rename = "judge", skip_serializing_if = "Option::is_none")]
    pub checker: Option<String>,
}

/// What was found in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryEnd {
    /// The state, ids with the digests of their contents.
    pub state: State,
    /// The number of the last transaction.
    pub commit_seq: u64,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryEntry {
    /// The seat of the client: clients of one seat follow each other.
    pub lane: u32,
    /// Which client of this seat, counted from 0: each kill is followed by another.
    pub life: u32,
    /// When it was called, in nanoseconds of the shared clock.
    pub called_ns: u64,
    /// When it was answered; none if it was not, or by an answer that does not say whether it happened.
    pub answered_ns: Option<u64>,
    /// How long this client waits for a lock, in milliseconds.
    pub patience_ms: u32,
    /// The time of the operation: what this client took for it.
    pub now: Timestamp,
    /// What was asked for.
    pub op: Op,
    /// What was answered.
    pub answer: HistoryAnswer,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HistoryAnswer {
    /// Nothing: the client was killed. It may or may not have happened.
    Missing,
    /// A reply, and where its transaction stands if that is known.
    Replied {
        /// The reply.
        reply: Reply,
        /// Its place among all transactions.
        place: Option<CommitPlace>,
    },
    /// The lock was not free in time: it did not happen.
    Busy,
    /// The store does not know whether it happened.
    Indeterminate,
    /// Another error, in words: it did not happen, and should not have failed.
    Failed(String),
}

/// Where a transaction stands among all that changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitPlace {
    /// The number that it took, or that of the last one before it.
    pub commit_seq: u64,
    /// Whether it changed something, and so took a number.
    pub changed: bool,
}

impl HistoryEntry {
    /// The reply, if there was one.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.answer {
            HistoryAnswer::Replied { reply, .. } => Some(reply),
            _ => None,
        }
    }

    /// Its place, if that is known.
    pub fn place(&self) -> Option<CommitPlace> {
        match &self.answer {
            HistoryAnswer::Replied { place, .. } => *place,
            _ => None,
        }
    }

    /// Whether it may or may not have happened.
    pub fn is_open(&self) -> bool {
        matches!(self.answer, HistoryAnswer::Missing | HistoryAnswer::Indeterminate)
    }
}

/// A line of a client's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum JournalLine {
    /// It is about to do this.
    Called { at_ns: u64, now: Timestamp, op: Op },
    /// This came back.
    Answered { at_ns: u64, answer: HistoryAnswer },
}

/// What one client wrote, as entries. The last line may be cut, by a kill.
pub(super) fn read(text: &str, lane: u32, life: u32, patience_ms: u32) -> Result<Vec<HistoryEntry>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut entries: Vec<HistoryEntry> = Vec::new();
    let mut waits = false;
    for line in whole.lines() {
        let line = serde_json::from_str(line).map_err(|error| format!("{error} in the line {line}"))?;
        match line {
            JournalLine::Called { at_ns, now, op } if !waits => {
                let (called_ns, answered_ns, answer) = (at_ns, None, HistoryAnswer::Missing);
                entries.push(HistoryEntry {
                    lane,
                    life,
                    called_ns,
                    answered_ns,
                    patience_ms,
                    now,
                    op,
                    answer,
                });
                waits = true;
            }
            JournalLine::Answered { at_ns, answer } if waits => {
                let Some(last) = entries.last_mut() else { return Err("an answer to nothing".to_owned()) };
                let known = answer != HistoryAnswer::Indeterminate;
                (last.answered_ns, last.answer) = (known.then_some(at_ns), answer);
                waits = false;
            }
            other => return Err(format!("out of turn: {other:?}")),
        }
    }
    Ok(entries)
}

/// The time of the clock that all processes of this machine share, in nanoseconds.
#[cfg(unix)]
pub(super) fn clock_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + nanos.unwrap_or_default()
}

/// The time of a clock that all threads of this process share, in nanoseconds.
#[cfg(not(unix))]
pub(super) fn clock_ns() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A pinned source of chance: what is asked for is the same for the same seed and the same answers.
#[derive(Clone, Debug)]
pub(super) struct HistoryChance(u64);

impl HistoryChance {
    /// A source for a seed and what it is for.
    pub(super) fn new(seed: u64, of: &[u64]) -> Self {
        let mut chance = Self(seed);
        for part in of {
            chance.0 = chance.number() ^ part;
        }
        chance
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one less than this.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these, if there are any.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(usize::try_from(self.below(of.len() as u64)).unwrap_or_default())
    }
}
