//! What a run loop asked of its bus, what it was answered, and what its handlers did, in one sequence.
//!
//! What always holds: a note is taken at the moment that it tells of, answers at the moment of their commit. The
//! backend here is told which calls are to fail, and knows nothing of what a loop ought to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Timestamp, Token};
use futures_core::future::BoxFuture;

use crate::run_loop::notes::{Answer, Note, What, Who};
use crate::run_loop::scenario::Fault;
use fencepost::clock::Clock;
use fencepost::error::{Error, Result};
use fencepost::internals::bus::Bus;
use fencepost::internals::bus::backend::Backend;
use fencepost::internals::bus::erased::{Anything, Work};
use fencepost::internals::bus::request::Limits;
use fencepost::internals::bus::signals::{Interest, Signals};
use fencepost::internals::sqlite::{Overview, Undone};

tokio::task_local! {
    /// The delivery whose handler asks something of the bus itself.
    pub(super) static HANDLING: Token;
}

/// More notes than any run takes that goes anywhere: after these nothing is answered any more.
const NOTES_MAX: usize = 10_000;

/// The notes of a run.
#[derive(Clone, Debug)]
pub(super) struct Record {
    notes: Arc<Mutex<Vec<Note>>>,
    clock: Arc<dyn Clock>,
}

impl Record {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { notes: Arc::default(), clock }
    }

    /// Takes a note; says whether there is room for more.
    pub(super) fn note(&self, what: What) -> bool {
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

/// A backend that takes notes, and fails when it is told to.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) record: Record,
    pub(super) faults: Mutex<Faults>,
}

/// Which calls fail.
#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: u16,
    busy: u8,
    closed: bool,
    planned: BTreeMap<u16, Fault>,
}

impl Faults {
    pub(super) fn new(planned: &[(u16, Fault)]) -> Self {
        Self { planned: planned.iter().copied().collect(), ..Self::default() }
    }

    /// What the next call meets with.
    fn next(&mut self) -> (Option<Answer>, u16) {
        let mut slow_ms = 0;
        match self.planned.remove(&self.calls) {
            Some(Fault::Busy(more)) => self.busy = more + 1,
            Some(Fault::Closed) => self.closed = true,
            Some(Fault::Slow(by_ms)) => slow_ms = by_ms,
            None => {}
        }
        self.calls = self.calls.saturating_add(1);
        let busy = self.busy > 0;
        self.busy = self.busy.saturating_sub(1);
        let answer = if self.closed { Some(Answer::Closed) } else { busy.then_some(Answer::Busy) };
        (answer, slow_ms)
    }
}

impl Recording {
    /// Takes note of a question; says what is to go wrong.
    fn asked(&self, who: Who, ops: &[Op]) -> (Option<Answer>, u16, bool) {
        let room = self.record.note(What::Asked(who, ops.to_vec()));
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let (fault, slow_ms) = faults.next();
        (fault, slow_ms, room)
    }
}

fn failed(answer: &Answer) -> Error {
    if *answer == Answer::Busy { Error::Busy } else { Error::Closed }
}

fn answer_of(reply: &Result<Reply>) -> Answer {
    match reply {
        Ok(reply) => Answer::Reply(reply.clone()),
        Err(error) if error.is_retryable() => Answer::Busy,
        Err(Error::Refused { refusal }) => Answer::Reply(Reply::Refused(refusal.clone())),
        Err(_) => Answer::Closed,
    }
}

type Transacted = Result<(Option<Reply>, Anything), Undone<Anything>>;

impl Backend for Recording {
    fn apply_all(&self, ops: Vec<Op>) -> BoxFuture<'static, Vec<Result<Reply>>> {
        let who = HANDLING.try_with(|token| Who::Handler(*token)).unwrap_or(Who::Run);
        let (fault, slow_ms, room) = self.asked(who, &ops);
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
            record.note(What::Answered(who, answers));
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
        let who = HANDLING.try_with(|token| Who::Handler(*token)).unwrap_or(Who::Run);
        let (fault, slow_ms, _) = self.asked(who, op.as_slice());
        let (inner, record) = (Arc::clone(&self.inner), self.record.clone());
        Box::pin(async move {
            let done = match fault {
                Some(answer) => Err(Undone::Store(failed(&answer))),
                None => inner.transact(op.clone(), work).await,
            };
            let answer = match &done {
                Ok((reply, _)) => reply.clone().map(Answer::Reply),
                Err(Undone::Store(Error::Refused { refusal })) => {
                    Some(Answer::Reply(Reply::Refused(refusal.clone())))
                }
                Err(Undone::Store(Error::Busy)) => Some(Answer::Busy),
                Err(_) => Some(Answer::Closed),
            };
            record.note(What::Answered(who, op.into_iter().zip(answer).collect()));
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
