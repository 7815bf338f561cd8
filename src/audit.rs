//! Auditing recordings: whether what a bus did was allowed, by the model.
//!
//! What always holds: the answer is yes only if every operation from the first number to the last was replayed in the
//! model, each reply was the model's, and every recording ended as it should; whatever could not be judged is said, with
//! how far the judgement reaches. This module changes nothing and never looks at how the store works.

mod difference;
mod ledger;
mod merge;
mod tell;

use std::fmt;
use std::path::{Path, PathBuf};

use fencepost_model::invariant::{CheckResult, STATE_INVARIANTS};
use fencepost_model::op::{Op, Reply};
use fencepost_model::state::State;
use fencepost_model::vocabulary::Timestamp;

use crate::error::Result;
use crate::record::contents;
use crate::record::format::{Recorded, Unreadable};
use crate::sqlite::{OpenOptions, numbered_snapshot, open_reader};

use difference::difference;
use ledger::Ledger;
use merge::{Merge, Next};

/// What an audit found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Audit {
    /// Whether what happened was allowed.
    pub verdict: Verdict,
    /// How many operations were judged.
    pub operations: u64,
    /// How many transactions they were in.
    pub transactions: u64,
    /// How many recorded operations were done before the state that the judgement begins with, and are part of it.
    pub before: u64,
    /// The numbers that were judged, without a gap: from the state at the first to the last.
    pub stretches: Vec<(u64, u64)>,
    /// Whether the last state was held against that of a store.
    pub compared: bool,
}

/// Whether what happened was allowed.
#[derive(Debug)]
pub enum Verdict {
    /// All of it was.
    Allowed,
    /// Something was not.
    NotAllowed(Box<Wrong>),
    /// What was judged was allowed, but not everything could be judged, for these reasons.
    NotJudged(Vec<Doubt>),
}

/// Why not everything could be judged.
#[derive(Debug)]
#[non_exhaustive]
pub enum Doubt {
    /// Nothing of a recording can be read.
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: Unreadable,
    },
    /// A recording cannot be read to its end.
    Ends {
        /// Which one.
        path: PathBuf,
        /// The number of its last transaction that could be read.
        after: u64,
        /// Why.
        why: Unreadable,
    },
    /// A recording goes on in another file, which was not given.
    Continued {
        /// Which one.
        path: PathBuf,
        /// The number of its last transaction.
        after: u64,
    },
    /// A change was made that is in no recording.
    Gap {
        /// Its number.
        number: u64,
        /// Where the judgement begins again: at the number at which this recording began.
        again: Option<(u64, PathBuf)>,
    },
    /// Two recorded transactions took the same number.
    TakenTwice {
        /// The number.
        number: u64,
    },
    /// A recording begins with a state to which the contract does not lead.
    Beginning {
        /// The number at which it begins.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A recorded operation is not one that a bus writes.
    Malformed {
        /// Which recording.
        path: PathBuf,
        /// The number of its transaction.
        number: u64,
    },
    /// The store that the last state was to be held against is further, or not as far.
    Elsewhere {
        /// The number of the store.
        store: u64,
        /// The last number of the recordings.
        recorded: u64,
    },
}

/// What was not allowed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Wrong {
    /// The recording in which it is.
    pub path: PathBuf,
    /// The number of its transaction, or of the last one before it that changed something.
    pub number: u64,
    /// What it is, in a sentence.
    pub what: String,
    /// How it came about, in lines.
    pub story: String,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => write!(f, "{} {why}", path.display()),
            Self::Ends { path, after, why } => {
                write!(f, "{} {why}; it could be read up to number {after}", path.display())
            }
            Self::Continued { path, after } => write!(
                f,
                "{} goes on after number {after} in another file, which is not among these",
                path.display()
            ),
            Self::Gap { number, again } => {
                write!(
                    f,
                    "number {number} was taken by somebody whose operations are not in these recordings: another \
                     process, a command, or a transaction of the caller's own"
                )?;
                match again {
                    Some((number, path)) => {
                        write!(
                            f,
                            "; the judgement begins again at number {number}, where {} does",
                            path.display()
                        )
                    }
                    None => Ok(()),
                }
            }
            Self::TakenTwice { number } => {
                write!(
                    f,
                    "number {number} was taken twice: these are not recordings of one store, or one is of a copy"
                )
            }
            Self::Beginning { number, why } => {
                write!(
                    f,
                    "the state at number {number}, where the recording begins, is none that a bus can be in: {why}"
                )
            }
            Self::Malformed { path, number } => {
                write!(f, "{} holds at number {number} what no bus writes", path.display())
            }
            Self::Elsewhere { store, recorded } => write!(
                f,
                "the store is at number {store} and the recordings end at {recorded}, so its state was not compared"
            ),
        }
    }
}

/// Judges recordings of one store together, and holds the last state against the store itself, if it is given.
///
/// # Errors
/// Those of the store. What is wrong with a recording is no error, but a reason not to judge.
pub fn audit(paths: &[PathBuf], store: Option<&Path>) -> Result<Audit> {
    let mut run = Run::new(paths);
    let mut wrong = run.judge(None);
    run.merge.finish();
    let mut compared = false;
    if wrong.is_none()
        && let (Some(store), Some(at)) = (store, run.merge.at())
    {
        let reader = open_reader(store, &OpenOptions { create: false, ..OpenOptions::default() })?;
        let (mut state, number) = numbered_snapshot(&reader)?;
        contents::shorten_ids(&mut state);
        if !run.merge.whole_contents {
            contents::of_state(&mut state);
        }
        compared = number == at;
        if !compared {
            run.merge.doubts.push(Doubt::Elsewhere { store: number, recorded: at });
        } else if state != *run.ledger.state() {
            wrong = Some(Found {
                path: store.to_owned(),
                number,
                what: What::State(difference(&state, run.ledger.state())),
            });
        }
    }
    let verdict = match wrong {
        Some(found) => Verdict::NotAllowed(Box::new(tell::tell(paths, found, run.operations))),
        None if run.merge.doubts.is_empty() => Verdict::Allowed,
        None => Verdict::NotJudged(std::mem::take(&mut run.merge.doubts)),
    };
    let Run { operations, transactions, stretches, merge, .. } = run;
    Ok(Audit { verdict, operations, transactions, before: merge.before, stretches, compared })
}

/// What was found wrong, and where.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    number: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The model answers something else.
    Reply { now: Timestamp, op: Op, reply: Reply, expected: Reply },
    /// It is said to have changed nothing, and the model's state is another one after it.
    Moved { now: Timestamp, op: Op, reply: Reply },
    /// The state found there is not the model's: how they differ.
    State(String),
}

/// A replay, as far as it has come.
struct Run {
    merge: Merge,
    ledger: Ledger,
    operations: u64,
    transactions: u64,
    stretches: Vec<(u64, u64)>,
}

/// Who looks on during a replay.
trait Onlooker {
    /// An operation is about to be judged.
    fn before(&mut self, run: &mut Ledger, file: &Path, number: u64, recorded: &Recorded);
}

impl Run {
    fn new(paths: &[PathBuf]) -> Self {
        let (ledger, stretches) = (Ledger::default(), Vec::new());
        Self { merge: Merge::open(paths), ledger, operations: 0, transactions: 0, stretches }
    }

    /// Replays up to what is wrong, or to the end.
    fn judge(&mut self, mut onlooker: Option<&mut dyn Onlooker>) -> Option<Found> {
        while let Some(next) = self.merge.next() {
            match next {
                Next::Begin { state, number } => {
                    if let Err(why) = self.begin(*state, number) {
                        self.merge.doubts.push(Doubt::Beginning { number, why });
                        return None;
                    }
                }
                Next::Check { state, file } => {
                    if *state != *self.ledger.state() {
                        let path = self.merge.path(file).to_owned();
                        let number = self.merge.at().unwrap_or_default();
                        let what = What::State(difference(&state, self.ledger.state()));
                        return Some(Found { path, number, what });
                    }
                }
                Next::Transaction { file, commit_seq, changed, ops } => {
                    self.transactions += 1;
                    for recorded in ops {
                        let path = self.merge.path(file);
                        if let Some(onlooker) = &mut onlooker {
                            onlooker.before(&mut self.ledger, path, commit_seq, &recorded);
                        }
                        if !is_whole(&recorded) {
                            let path = path.to_owned();
                            self.merge.doubts.push(Doubt::Malformed { path, number: commit_seq });
                            return None;
                        }
                        if let Some(what) = self.one(recorded, !changed) {
                            let path = self.merge.path(file).to_owned();
                            return Some(Found { path, number: commit_seq, what });
                        }
                    }
                    if let Some((_, through)) = self.stretches.last_mut() {
                        *through = commit_seq;
                    }
                }
            }
        }
        None
    }

    fn begin(&mut self, state: State, number: u64) -> std::result::Result<(), String> {
        for invariant in STATE_INVARIANTS {
            if let CheckResult::Violated(why) = (invariant.of_state)(&state) {
                return Err(format!("{} {}: {why}", invariant.id, invariant.name));
            }
        }
        self.ledger = Ledger::new(state).map_err(ToOwned::to_owned)?;
        self.stretches.push((number, number));
        Ok(())
    }

    /// Judges one operation.
    fn one(&mut self, recorded: Recorded, must_stay: bool) -> Option<What> {
        let Recorded { now, op, reply, contents } = recorded;
        let applied = self.ledger.apply(now, &op, &contents, must_stay);
        self.operations += 1;
        if applied.reply != reply {
            return Some(What::Reply { now, op, reply, expected: applied.reply });
        }
        applied.moved.then_some(What::Moved { now, op, reply })
    }
}

/// Whether an operation comes with as many contents as it needs.
fn is_whole(recorded: &Recorded) -> bool {
    if !matches!(recorded.op, Op::Send { .. } | Op::Publish { .. } | Op::Atomic(_)) {
        return recorded.contents.is_empty();
    }
    let mut messages = Vec::new();
    contents::with_id(&recorded.op, &mut messages);
    messages.len() == recorded.contents.len()
}

#[cfg(test)]
mod tests;
