//! Takes the notes of a run in one sequence, and makes the planned calls of the store fail.
//!
//! Invariant: each note is taken when its event happens, and the note of an answer at its commit.
//! Does not depend on: the rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Timestamp, Token};
use futures_core::future::BoxFuture;

use crate::run_loop::notes::{Note, Requester, RunAnswer, RunEvent};
use crate::run_loop::scenario::StoreFault;
use fencepost::clock::Clock;
use fencepost::error::{Error, Result};
use fencepost::internals::bus::Bus;
use fencepost::internals::bus::backend::Backend;
use fencepost::internals::bus::erased::{Transacted, Work};
use fencepost::internals::bus::request::Limits;
use fencepost::internals::bus::signals::{Interest, Signals};
use fencepost::internals::sqlite::{Overview, Undone};

tokio::task_local! {
    /// The delivery whose handler sends the request.
    pub(super) static HANDLING: Token;
}

/// No run that makes progress takes so many notes. After them no request is answered.
const NOTES_MAX: usize = 10_000;

/// The notes of a run.
#[derive(Clone, Debug)]
pub(super) struct NoteLog {
    notes: Arc<Mutex<Vec<Note>>>,
    clock: Arc<dyn Clock>,
}

impl NoteLog {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { notes: Arc::default(), clock }
    }

    /// Takes a note. Returns whether there is room for more.
    pub(super) fn note(&self, what: RunEvent) -> bool {
        let mut notes = self.notes();
        notes.push(Note { at: self.clock.now(), what });
        notes.len() < NOTES_MAX
    }

    /// All notes so far.
    pub(super) fn all(&self) -> Vec<Note> {
        self.notes().clone()
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A backend that takes notes, and fails as planned.
#[derive(Debug)]
pub(super) struct RecordingBackend {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) record: NoteLog,
    pub(super) faults: Mutex<Faults>,
}

/// The planned faults.
#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: u16,
    busy: u8,
    closed: bool,
    planned: BTreeMap<u16, StoreFault>,
}

impl Faults {
    pub(super) fn new(planned: &[(u16, StoreFault)]) -> Self {
        Self { planned: planned.iter().copied().collect(), ..Self::default() }
    }

    /// The fault and the latency of the next call.
    fn next(&mut self) -> (Option<RunAnswer>, u16) {
        let mut slow_ms = 0;
        match self.planned.remove(&self.calls) {
            Some(StoreFault::Busy(more)) => self.busy = more + 1,
            Some(StoreFault::Closed) => self.closed = true,
            Some(StoreFault::Slow(by_ms)) => slow_ms = by_ms,
            None => {}
        }
        self.calls = self.calls.saturating_add(1);
        let busy = self.busy > 0;
        self.busy = self.busy.saturating_sub(1);
        let answer = if self.closed { Some(RunAnswer::Closed) } else { busy.then_some(RunAnswer::Busy) };
        (answer, slow_ms)
    }
}

impl RecordingBackend {
    /// Takes a note of a request. Returns its fault, its latency, and whether there is room for more notes.
    fn asked(&self, requester: Requester, ops: &[Op]) -> (Option<RunAnswer>, u16, bool) {
        let room = self.record.note(RunEvent::Asked(requester, ops.to_vec()));
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let (fault, slow_ms) = faults.next();
        (fault, slow_ms, room)
    }
}

fn failed(answer: &RunAnswer) -> Error {
    if *answer == RunAnswer::Busy { Error::Busy } else { Error::Closed }
}

fn answer_of(reply: &Result<Reply>) -> RunAnswer {
    match reply {
        Ok(reply) => RunAnswer::Reply(reply.clone()),
        Err(error) if error.is_retryable() => RunAnswer::Busy,
        Err(Error::Refused { refusal }) => RunAnswer::Reply(Reply::Refused(refusal.clone())),
        Err(_) => RunAnswer::Closed,
    }
}

impl Backend for RecordingBackend {
    fn apply_all(&self, ops: Vec<Op>) -> BoxFuture<'static, Vec<Result<Reply>>> {
        let requester = HANDLING.try_with(|token| Requester::Handler(*token)).unwrap_or(Requester::Run);
        let (fault, slow_ms, room) = self.asked(requester, &ops);
        let (inner, record) = (Arc::clone(&self.inner), self.record.clone());
        Box::pin(async move {
            if !room {
                return std::future::pending().await;
            }
            let replies: Vec<_> = match fault {
                Some(answer) => ops.iter().map(|_| Err(failed(&answer))).collect(),
                None => inner.apply_all(ops.clone()).await,
            };
            let answers = ops.into_iter().zip(replies.iter().map(answer_of)).collect();
            record.note(RunEvent::Answered(requester, answers));
            if slow_ms > 0 {
                tokio::time::sleep(Duration::from_millis(slow_ms.into())).await;
            }
            replies
        })
    }

    fn apply_all_blocking(&self, ops: Vec<Op>) -> Vec<Result<Reply>> {
        self.inner.apply_all_blocking(ops)
    }

    fn transact(&self, op: Option<Op>, work: Work) -> BoxFuture<'static, Transacted> {
        let requester = HANDLING.try_with(|token| Requester::Handler(*token)).unwrap_or(Requester::Run);
        let (fault, slow_ms, _) = self.asked(requester, op.as_slice());
        let (inner, record) = (Arc::clone(&self.inner), self.record.clone());
        Box::pin(async move {
            let done = match fault {
                Some(answer) => Err(Undone::Store(failed(&answer))),
                None => inner.transact(op.clone(), work).await,
            };
            let answer = match &done {
                Ok((reply, _)) => reply.clone().map(RunAnswer::Reply),
                Err(Undone::Store(Error::Refused { refusal })) => {
                    Some(RunAnswer::Reply(Reply::Refused(refusal.clone())))
                }
                Err(Undone::Store(Error::Busy)) => Some(RunAnswer::Busy),
                Err(_) => Some(RunAnswer::Closed),
            };
            record.note(RunEvent::Answered(requester, op.into_iter().zip(answer).collect()));
            if slow_ms > 0 {
                tokio::time::sleep(Duration::from_millis(slow_ms.into())).await;
            }
            done
        })
    }

    fn transact_blocking(&self, op: Option<Op>, work: Work) -> Transacted {
        self.inner.transact_blocking(op, work)
    }

    fn overview(&self) -> BoxFuture<'static, Result<Overview>> {
        self.inner.overview()
    }

    fn next_due(&self, interest: &Interest) -> BoxFuture<'static, Result<Option<Timestamp>>> {
        self.inner.next_due(interest)
    }

    fn signals(&self) -> &Arc<Signals> {
        self.inner.signals()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.inner.clock()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

/// The bus above a recording backend.
#[derive(Clone, Debug)]
pub(super) struct RecordedBus(pub(super) Arc<dyn Backend>);

impl Bus for RecordedBus {
    fn backend(&self) -> &Arc<dyn Backend> {
        &self.0
    }
}
