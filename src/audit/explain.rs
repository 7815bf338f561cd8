//! The explanation of a mismatch: the operations before it on the same messages, groups and records, and then the operation
//! itself, with the state before it, its reply, and the reply of the model.
//!
//! Invariant: the recordings are read a second time for this, so that the first replay remembers nothing.
//! Does not depend on: what is allowed.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use fencepost_model::description;
use fencepost_model::op::{Lease, Op, Reply, Settled, Target};
use fencepost_model::vocabulary::{Group, Kind, MessageId, RecordId, Seq};

use crate::audit::ledger::Ledger;
use crate::audit::replay::{Mismatch, MismatchKind, Replay, ReplayListener};
use crate::record::format::Recorded;

/// How many operations before the last are explained.
const BEFORE_MAX: usize = 8;

/// A thing that an operation or its reply is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Command(Seq),
    Event(Seq),
    Group(Group),
    Record(RecordId),
    Id(Kind, MessageId),
}

/// What the model does not allow.
#[derive(Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The recording in which it is, or the store.
    pub path: PathBuf,
    /// The number of its transaction, or of the last one before it that changed something.
    pub number: u64,
    /// What it is, in a sentence.
    pub what: String,
    /// How it came about, in lines.
    pub explanation: String,
}

/// Explains a mismatch at the operation with this number, counted from 1.
pub(super) fn explain(paths: &[PathBuf], mismatch: Mismatch, operations: u64) -> Violation {
    let Mismatch { path, number, what } = mismatch;
    let (op, reply, expected, now) = match &what {
        MismatchKind::Reply { now, op, reply, expected } => (op, reply, Some(expected), now),
        MismatchKind::Moved { now, op, reply } => (op, reply, None, now),
        MismatchKind::State(difference) => {
            let what = format!(
                "the state that {} holds at number {number} is not the one that the operations lead to: {difference}",
                path.display()
            );
            return Violation { path, number, what, explanation: String::new() };
        }
    };
    let mut topics = of_op(op);
    let of_expected = expected.map(|expected| of_reply(op, expected)).unwrap_or_default();
    // Of a reply, only the topics that it has and the model's reply lacks, or the other way round.
    topics.extend(of_reply(op, reply).symmetric_difference(&of_expected).cloned());
    let mut listener =
        TopicListener { topics, left: operations, told: VecDeque::new(), stood: String::new(), earlier: 0 };
    Replay::new(paths).run(Some(&mut listener));
    let mut explanation = String::new();
    if listener.earlier > 0 {
        explanation += &format!("... {} operations before these touched the same\n", listener.earlier);
    }
    explanation.extend(listener.told.iter().map(String::as_str));
    explanation += &format!("    [{}]\n", listener.stood);
    explanation += &line(&path, number, now.get(), op, reply);
    let what = match expected {
        Some(expected) => {
            explanation += &format!("    the model answers: {}\n", answer_in_full(expected, reply));
            "an operation was answered otherwise than the contract says"
        }
        None => "an operation was answered as done and is said to have changed nothing",
    };
    let what = format!("{what}, at number {number} in {}", path.display());
    Violation { path, number, what, explanation }
}

fn line(path: &Path, number: u64, now: u64, op: &Op, reply: &Reply) -> String {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!(
        "{number}  t={now}  {file}  {}\n    -> {}\n",
        description::operation(op),
        description::reply(reply)
    )
}

/// A reply of the model, in full if its short form is the same as that of the recorded reply.
fn answer_in_full(expected: &Reply, reply: &Reply) -> String {
    let short = description::reply(expected);
    if short == description::reply(reply) {
        format!("{expected:?}\n    and not:           {reply:?}")
    } else {
        short
    }
}

/// Remembers the last operations on some topics.
struct TopicListener {
    topics: BTreeSet<Topic>,
    /// How many operations are left, the last one included.
    left: u64,
    told: VecDeque<String>,
    earlier: u64,
    stood: String,
}

impl ReplayListener for TopicListener {
    fn before(&mut self, ledger: &mut Ledger, file: &Path, number: u64, recorded: &Recorded) {
        self.left = self.left.saturating_sub(1);
        let Recorded { now, op, reply, .. } = recorded;
        if self.left == 0 {
            self.stood = description::state(&ledger.look(*now, op));
            return;
        }
        let touched = of_op(op).into_iter().chain(of_reply(op, reply));
        if touched.into_iter().any(|topic| self.topics.contains(&topic)) {
            self.told.push_back(line(file, number, now.get(), op, reply));
            if self.told.len() > BEFORE_MAX {
                self.told.pop_front();
                self.earlier += 1;
            }
        }
    }
}

fn of_target(target: &Target) -> Vec<Topic> {
    match target {
        Target::Command(seq) => vec![Topic::Command(*seq)],
        Target::Event { group, seq } => vec![Topic::Group(group.clone()), Topic::Event(*seq)],
        Target::Entry { group, record } => vec![Topic::Group(group.clone()), Topic::Record(*record)],
    }
}

fn of_op(op: &Op) -> BTreeSet<Topic> {
    let topics = match op {
        Op::Send { message, .. } | Op::Publish { message } => {
            message.id.iter().map(|id| Topic::Id(message.kind, id.clone())).collect()
        }
        Op::Subscribe { group, .. }
        | Op::Unsubscribe { group, .. }
        | Op::Poll { group, .. }
        | Op::Seek { group, .. }
        | Op::Release { lease: Lease::Cursor(group), .. }
        | Op::Extend { lease: Lease::Cursor(group), .. } => vec![Topic::Group(group.clone())],
        Op::Settle { target, .. } => of_target(target),
        Op::Release { lease: Lease::Command(seq), .. }
        | Op::Extend { lease: Lease::Command(seq), .. }
        | Op::Cancel { seq } => vec![Topic::Command(*seq)],
        Op::Redrive { record } | Op::Purge { record } | Op::Repair { record, .. } => {
            vec![Topic::Record(*record)]
        }
        Op::Atomic(ops) => return ops.iter().flat_map(of_op).collect(),
        Op::Claim { .. }
        | Op::Prune { .. }
        | Op::ForgetIds { .. }
        | Op::Reset { .. }
        | Op::Reboot
        | Op::Restore { .. } => Vec::new(),
    };
    topics.into_iter().collect()
}

fn of_reply(op: &Op, reply: &Reply) -> BTreeSet<Topic> {
    let of_records = |records: &[RecordId]| records.iter().copied().map(Topic::Record).collect::<Vec<_>>();
    let topics = match reply {
        Reply::Accepted { seq, .. } if matches!(op, Op::Publish { .. }) => vec![Topic::Event(*seq)],
        Reply::Accepted { seq, .. } => vec![Topic::Command(*seq)],
        Reply::HandedOut { deliveries, dead_lettered } => {
            let delivered = deliveries.iter().flat_map(|delivery| of_target(&delivery.target));
            delivered.chain(of_records(dead_lettered)).collect()
        }
        Reply::Settled(Settled::DeadLettered { record } | Settled::Parked { record }) => {
            vec![Topic::Record(*record)]
        }
        Reply::Redriven(target) => of_target(target),
        Reply::Unsubscribed { returned } | Reply::EpochBegun { returned } => of_records(returned),
        Reply::Pruned { dead_lettered, .. } => of_records(dead_lettered),
        Reply::Done(replies) => {
            let Op::Atomic(ops) = op else { return BTreeSet::new() };
            return ops.iter().zip(replies).flat_map(|(op, reply)| of_reply(op, reply)).collect();
        }
        _ => Vec::new(),
    };
    topics.into_iter().collect()
}
