//! The replay of recordings in the model, up to the first mismatch.
//!
//! Invariant: each operation is replayed in the order of the commit numbers, and its reply compared with the model's.
//! Does not depend on: how a mismatch is explained; how the store works.

use std::path::{Path, PathBuf};

use fencepost_model::invariant::{CheckResult, STATE_INVARIANTS};
use fencepost_model::op::{Op, Reply};
use fencepost_model::state::State;
use fencepost_model::vocabulary::Timestamp;

use crate::audit::difference::difference;
use crate::audit::doubt::Doubt;
use crate::audit::ledger::Ledger;
use crate::audit::merge::{Merge, MergeStep};
use crate::record::contents;
use crate::record::format::Recorded;

/// A difference between a recording or a store and the model.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// The recording or the store.
    pub(super) path: PathBuf,
    /// The number of the transaction, or of the state.
    pub(super) number: u64,
    pub(super) what: MismatchKind,
}

#[derive(Debug)]
pub(super) enum MismatchKind {
    /// The model gives another reply.
    Reply { now: Timestamp, op: Op, reply: Reply, expected: Reply },
    /// The recording says that the operation changed nothing, and the state of the model changes.
    Moved { now: Timestamp, op: Op, reply: Reply },
    /// The state is not the model's: how they differ.
    State(String),
}

/// A replay of recordings in the model.
pub(super) struct Replay {
    pub(super) merge: Merge,
    pub(super) ledger: Ledger,
    /// How many operations were replayed.
    pub(super) operations: u64,
    /// How many transactions were replayed.
    pub(super) transactions: u64,
    /// The commit numbers that were replayed: pairs of first and last.
    pub(super) stretches: Vec<(u64, u64)>,
}

/// Is called during a replay.
pub(super) trait ReplayListener {
    /// An operation is about to be replayed.
    fn before(&mut self, ledger: &mut Ledger, file: &Path, number: u64, recorded: &Recorded);
}

impl Replay {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let (ledger, stretches) = (Ledger::default(), Vec::new());
        Self { merge: Merge::open(paths), ledger, operations: 0, transactions: 0, stretches }
    }

    /// Replays up to the first mismatch, or to the end.
    pub(super) fn run(&mut self, mut listener: Option<&mut dyn ReplayListener>) -> Option<Mismatch> {
        while let Some(next) = self.merge.next() {
            match next {
                MergeStep::Begin { state, number } => {
                    if let Err(why) = self.begin(*state, number) {
                        self.merge.doubts.push(Doubt::Beginning { number, why });
                        return None;
                    }
                }
                MergeStep::Check { state, file } => {
                    if *state != *self.ledger.state() {
                        let path = self.merge.path(file).to_owned();
                        let number = self.merge.at().unwrap_or_default();
                        let what = MismatchKind::State(difference(&state, self.ledger.state()));
                        return Some(Mismatch { path, number, what });
                    }
                }
                MergeStep::Transaction { file, commit_seq, changed, ops } => {
                    self.transactions += 1;
                    for recorded in ops {
                        let path = self.merge.path(file);
                        if let Some(listener) = &mut listener {
                            listener.before(&mut self.ledger, path, commit_seq, &recorded);
                        }
                        if !is_whole(&recorded) {
                            let path = path.to_owned();
                            self.merge.doubts.push(Doubt::Malformed { path, number: commit_seq });
                            return None;
                        }
                        if let Some(what) = self.one(recorded, !changed) {
                            let path = self.merge.path(file).to_owned();
                            return Some(Mismatch { path, number: commit_seq, what });
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

    /// Begins with a state, if the contract allows it.
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

    /// Replays one operation.
    fn one(&mut self, recorded: Recorded, must_stay: bool) -> Option<MismatchKind> {
        let Recorded { now, op, reply, contents } = recorded;
        let applied = self.ledger.apply(now, &op, &contents, must_stay);
        self.operations += 1;
        if applied.reply != reply {
            return Some(MismatchKind::Reply { now, op, reply, expected: applied.reply });
        }
        applied.moved.then_some(MismatchKind::Moved { now, op, reply })
    }
}

/// Whether an operation comes with a digest for each message with an id.
fn is_whole(recorded: &Recorded) -> bool {
    if !matches!(recorded.op, Op::Send { .. } | Op::Publish { .. } | Op::Atomic(_)) {
        return recorded.contents.is_empty();
    }
    let mut messages = Vec::new();
    contents::with_id(&recorded.op, &mut messages);
    messages.len() == recorded.contents.len()
}
