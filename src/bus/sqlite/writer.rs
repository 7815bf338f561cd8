//! The one thread that owns the writing connection.
//!
//! Invariant: operations that wait share a transaction, up to `BATCH_OPS_MAX` of them, and are answered after its commit; a
//! transaction of the caller has one of its own; requests are applied in the order in which they arrived; a consumer is woken
//! after the answer was sent.
//! Does not depend on: what operations do; the callers.

use std::cell::RefCell;
use std::sync::Arc;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::bus::erased::{Transacted, Work};
use crate::bus::request::Limits;
use crate::bus::signals::{Change, Signals};
use crate::bus::sqlite::observer::{CommitObserver, ObservedOp, ObservedTransaction};
use crate::bus::transaction::{AfterCommit, OpenTransaction};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sqlite::{AppliedTogether, CommitNumber, Numbering, Statements, Store, Undone, execute};
use crate::telemetry;
use crate::threads::{self, point};

/// A request to the writing thread.
pub(super) enum Request {
    /// Apply operations, each of which succeeds or fails for itself.
    Apply { ops: Vec<Op>, reply: oneshot::Sender<Vec<Result<Reply>>> },
    /// Apply an operation together with the caller's own work.
    Transact { op: Option<Op>, work: Work, reply: oneshot::Sender<Transacted> },
    /// Look whether another connection has committed something, and wake all consumers if so.
    Look { reply: oneshot::Sender<bool> },
    /// Commit what came before, and close the file.
    Close { reply: oneshot::Sender<Result<()>> },
}

impl Request {
    /// How many operations it adds to a transaction.
    fn ops(&self) -> usize {
        match self {
            Self::Apply { ops, .. } => ops.len(),
            Self::Transact { .. } | Self::Look { .. } | Self::Close { .. } => 0,
        }
    }
}

/// Operations that wait for their answers.
type Waiting = (Vec<Op>, oneshot::Sender<Vec<Result<Reply>>>);

/// How many operations a transaction takes at most, unless one request has more. The bound keeps the wait for a commit short.
pub const BATCH_OPS_MAX: usize = 1_024;

/// How often expired ids are forgotten, in milliseconds.
const FORGET_EVERY_MS: u64 = 60_000;

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) signals: Arc<Signals>,
    pub(super) limits: Limits,
    /// How long ids are remembered after their message's end, in milliseconds.
    pub(super) id_retention_ms: u64,
    pub(super) seen: i64,
    pub(super) forgot_at: Timestamp,
    /// The observer of commits, if there is one.
    pub(super) observer: Option<Box<dyn CommitObserver>>,
}

impl Writer {
    /// Works until a request to close, or until the last sender of requests is dropped.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        while let Some(mut request) = threads::receive(&mut requests) {
            loop {
                match request {
                    Request::Apply { ops, reply } => batch.push((ops, reply)),
                    other => {
                        self.commit(&mut batch);
                        if let Some(reply) = self.single(other) {
                            return self.end(requests, reply);
                        }
                    }
                }
                point("takes what waits");
                let Ok(next) = requests.try_recv() else { break };
                let waiting: usize = batch.iter().map(|(ops, _)| ops.len()).sum();
                if waiting + next.ops() > BATCH_OPS_MAX {
                    self.commit(&mut batch);
                }
                request = next;
            }
            self.commit(&mut batch);
        }
        point("closes the file");
        self.end_observer();
        // The last clone of the bus is gone, so no caller is left for the result.
        let _ = self.store.close();
    }

    /// Closes the file, answers the request to close, refuses the requests behind it, and wakes all consumers.
    fn end(mut self, mut requests: mpsc::Receiver<Request>, reply: oneshot::Sender<Result<()>>) {
        point("closes the line");
        requests.close();
        point("refuses what is left");
        while let Ok(late) = requests.try_recv() {
            refuse(late);
        }
        self.end_observer();
        let closed = self.store.close();
        point("answers");
        let _ = reply.send(closed);
        // Nothing else wakes a consumer that sleeps.
        self.signals.announce(&[Change::Everything]);
    }

    /// Answers a request that is not a plain operation; returns the channel of a request to close.
    fn single(&mut self, request: Request) -> Option<oneshot::Sender<Result<()>>> {
        match request {
            Request::Transact { op, work, reply } => {
                point("begins a transaction");
                let done = self.transact(op.as_ref(), work);
                point("answers");
                let _ = reply.send(done);
            }
            Request::Look { reply } => {
                point("looks");
                let changed = self.look();
                point("answers");
                let _ = reply.send(changed);
            }
            Request::Close { reply } => return Some(reply),
            Request::Apply { .. } => unreachable!("operations are gathered into batches"),
        }
        None
    }

    fn commit(&mut self, batch: &mut Vec<Waiting>) {
        if batch.is_empty() {
            return;
        }
        point("commits");
        let ops: Vec<&Op> = batch.iter().flat_map(|(ops, _)| ops).collect();
        let began = telemetry::start();
        let applied = self.store.apply_together(|| self.clock.now(), &ops, self.numbering());
        telemetry::committed(began, ops.len());
        self.tell_observer(&ops, &applied);
        let replies = applied.replies;
        let mut changes: Vec<Change> = Vec::new();
        for (op, reply) in ops.iter().zip(&replies) {
            changes.extend(reply.as_ref().ok().and_then(|reply| Change::of(op, reply)));
        }
        let mut replies = replies.into_iter();
        for (ops, reply) in batch.drain(..) {
            point("answers");
            // A caller that is gone needs no answer; the effect stays.
            let _ = reply.send(replies.by_ref().take(ops.len()).collect());
        }
        self.signals.announce(&changes);
        self.forget();
    }

    fn transact(&mut self, op: Option<&Op>, work: Work) -> Transacted {
        let now = self.clock.now();
        let (clock, limits) = (Arc::clone(&self.clock), self.limits);
        let (changes, mut after_commit) = (RefCell::new(Vec::new()), AfterCommit::new());
        let (numbering, within) = (self.numbering(), RefCell::new(Vec::new()));
        let work = |conn: &Connection, sql: &Statements| {
            let apply = |op: &Op| {
                let now = clock.now();
                let reply = execute(conn, sql, now, op)?;
                if numbering == Numbering::On {
                    within.borrow_mut().push(ObservedOp { now, op: op.clone(), reply: reply.clone() });
                }
                changes.borrow_mut().extend(Change::of(op, &reply));
                Ok(reply)
            };
            let worked = work(OpenTransaction { conn, limits, apply: Box::new(apply) })?;
            after_commit = worked.after_commit;
            Ok(worked.value)
        };
        let (done, number) = self.store.transact_numbered(now, op, work, numbering);
        self.tell_observer_of_work(now, op, &done, number, within.into_inner());
        if let Ok((reply, _)) = &done {
            after_commit.into_iter().for_each(|run| run());
            let mut changes = changes.into_inner();
            changes.extend(op.zip(reply.as_ref()).and_then(|(op, reply)| Change::of(op, reply)));
            self.signals.announce(&changes);
        }
        done
    }

    /// Whether transactions are to be numbered.
    fn numbering(&self) -> Numbering {
        if self.observer.is_some() { Numbering::On } else { Numbering::Off }
    }

    /// Tells the observer of the transactions in which operations were answered.
    fn tell_observer(&mut self, ops: &[&Op], applied: &AppliedTogether) {
        for numbered in &applied.transactions {
            self.tell_observer_of(|| ObservedTransaction::of(numbered, ops, &applied.replies));
        }
        applied.replies.iter().filter_map(|reply| reply.as_ref().err()).for_each(|error| {
            self.drop_observer_if_indeterminate(error);
        });
    }

    /// Tells the observer of one transaction. An observer that wants no more is dropped, and costs nothing from then on.
    fn tell_observer_of(&mut self, transaction: impl FnOnce() -> ObservedTransaction) {
        if let Some(observer) = &mut self.observer
            && !observer.committed(transaction())
        {
            self.observer = None;
        }
    }

    /// Drops the observer after a commit whose effect is not known: the observer cannot be told of it, and no commit follows.
    fn drop_observer_if_indeterminate(&mut self, error: &Error) {
        if matches!(error, Error::Indeterminate { .. }) {
            self.observer = None;
        }
    }

    /// Tells the observer of a transaction with the caller's own work in it, and of the operations of that work.
    fn tell_observer_of_work(
        &mut self,
        now: Timestamp,
        op: Option<&Op>,
        done: &Transacted,
        number: Option<CommitNumber>,
        within: Vec<ObservedOp>,
    ) {
        if let Err(Undone::Store(error)) = done {
            self.drop_observer_if_indeterminate(error);
        }
        let Some(CommitNumber { commit_seq, changed }) = number else { return };
        let reply = match done {
            Ok((reply, _)) => reply.clone(),
            Err(Undone::Store(Error::Refused { refusal })) => Some(Reply::Refused(refusal.clone())),
            Err(_) => None,
        };
        let first = op.zip(reply).map(|(op, reply)| ObservedOp { now, op: op.clone(), reply });
        let within = if done.is_ok() { within } else { Vec::new() };
        let ops = first.into_iter().chain(within).collect();
        self.tell_observer_of(|| ObservedTransaction { commit_seq, changed, ops });
    }

    fn end_observer(&mut self) {
        if let Some(observer) = self.observer.take() {
            observer.ended();
        }
    }

    fn look(&mut self) -> bool {
        let Ok(found) = self.store.data_version() else { return false };
        let changed = found != self.seen;
        self.seen = found;
        if changed {
            self.signals.announce(&[Change::Everything]);
        }
        changed
    }

    /// Forgets expired ids, at most once a minute. A failure is a warning, and the next call tries again.
    fn forget(&mut self) {
        let now = self.clock.now();
        if now.get().abs_diff(self.forgot_at.get()) >= FORGET_EVERY_MS {
            self.forgot_at = now;
            let op = Op::ForgetIds { retention_ms: self.id_retention_ms };
            let applied = self.store.apply_together(|| now, &[&op], self.numbering());
            self.tell_observer(&[&op], &applied);
            if let Some(Err(error)) = applied.replies.first() {
                tracing::warn!(%error, "ids could not be forgotten; trying again later");
            }
        }
    }
}

/// Answers a request after the end: nothing was done.
fn refuse(request: Request) {
    match request {
        Request::Apply { ops, reply } => {
            let _ = reply.send(ops.iter().map(|_| Err(Error::Closed)).collect());
        }
        Request::Transact { reply, .. } => {
            let _ = reply.send(Err(Error::Closed.into()));
        }
        Request::Look { .. } => {}
        Request::Close { reply } => {
            let _ = reply.send(Err(Error::Closed));
        }
    }
}

/// The error of a request that was not taken.
pub(super) fn closed<T>(_: T) -> Error {
    Error::Closed
}

/// The error of a request that was taken and not answered: the thread is gone, and the effect is not known.
pub(super) fn unanswered<T>(_: T) -> Error {
    Error::Indeterminate { source: Box::new(Error::Closed) }
}
