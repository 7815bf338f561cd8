//! The model as a bus in memory, for the tests of an application.
//!
//! It is the model and no second implementation: a state, [`fencepost_model::apply`], and a lock around both. Effects of
//! handlers go to a SQLite database in memory, so that tests of transactions run on it as well.
//!
//! Invariant: an operation is applied before its method returns, in the caller's own thread.
//! Does not depend on: a file, threads, the clock of the system.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::State;
use fencepost_model::vocabulary::Timestamp;
use futures_core::future::BoxFuture;
use rusqlite::Connection;

use crate::bus::Bus;
use crate::bus::backend::Backend;
use crate::bus::erased::{Transacted, Work};
use crate::bus::request::Limits;
use crate::bus::signals::{Change, Interest, Signals};
use crate::bus::transaction::OpenTransaction;
use crate::clock::{Clock, ManualClock};
use crate::error::{Error, Result};
use crate::sqlite::{Overview, Undone, overview_of};

/// A bus in memory, with a clock that a test moves. Clones are the same bus.
///
/// ```
/// # tokio_test(async {
/// use fencepost::{Bus, MemoryBus, Message, Take};
///
/// let bus = MemoryBus::new();
/// bus.send(Message::command("place.bet").text("17 on red").delay(std::time::Duration::from_secs(5))).await?;
/// assert!(bus.claim(&Take::one(&["place.bet"])).await?.deliveries.is_empty());
/// bus.turn(5_000);
/// let mut handed_out = bus.claim(&Take::one(&["place.bet"])).await?;
/// handed_out.deliveries.remove(0).ack().await?;
/// # Ok::<(), fencepost::Error>(())
/// # }).unwrap();
/// # fn tokio_test<T>(test: impl Future<Output = T>) -> T {
/// #     tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBus {
    memory: Arc<Memory>,
    backend: Arc<dyn Backend>,
    manual: Option<Arc<ManualClock>>,
}

/// The time at which a bus in memory begins, in milliseconds.
const BEGAN: u32 = 1_000_000;

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBus {
    /// An empty bus, whose clock stands still until [`MemoryBus::turn`].
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from(BEGAN)));
        Self { manual: Some(Arc::clone(&clock)), ..Self::with_clock(clock) }
    }

    /// An empty bus with this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let memory = Arc::new(Memory {
            state: Mutex::new(State::new()),
            effects: Mutex::new(None),
            signals: Arc::default(),
            clock,
        });
        Self { backend: Arc::new(MemoryBackend(Arc::clone(&memory))), memory, manual: None }
    }

    /// Moves the clock on, in milliseconds, and wakes the consumers that wait for the new time. It does nothing to a bus
    /// that was made with another clock.
    pub fn turn(&self, by_ms: u64) {
        if let Some(clock) = &self.manual {
            clock.advance(by_ms);
        }
    }

    /// A copy of the state of the model.
    pub fn state(&self) -> State {
        self.memory.state().clone()
    }

    /// Changes the state from outside, as damage would, and wakes all consumers: for tests of damage.
    pub fn tamper(&self, with: impl FnOnce(&mut State)) {
        with(&mut self.memory.state());
        self.memory.signals.announce(&[Change::Everything]);
    }
}

impl Bus for MemoryBus {
    fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
}

#[derive(Debug)]
struct Memory {
    state: Mutex<State>,
    /// The database for the effects of handlers, made for the first of them.
    effects: Mutex<Option<Connection>>,
    signals: Arc<Signals>,
    clock: Arc<dyn Clock>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_all(&self, ops: &[Op]) -> Vec<Result<Reply>> {
        let mut state = self.state();
        let replies: Vec<_> =
            ops.iter().map(|op| fencepost_model::apply(&mut state, self.clock.now(), op)).collect();
        drop(state);
        let changes: Vec<_> =
            ops.iter().zip(&replies).filter_map(|(op, reply)| Change::of(op, reply)).collect();
        self.signals.announce(&changes);
        replies.into_iter().map(Ok).collect()
    }

    /// The operations change a copy of the state, which takes the place of the state when the effects are committed.
    fn transact(&self, op: Option<&Op>, work: Work) -> Transacted {
        let mut effects = self.effects.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = match &mut *effects {
            Some(conn) => conn,
            none => none.insert(Connection::open_in_memory().map_err(Error::from)?),
        };
        let transaction = conn.transaction().map_err(Error::from)?;
        let mut state = self.state();
        let (trial, changes) = (RefCell::new(state.clone()), RefCell::new(Vec::new()));
        let apply = |op: &Op| {
            let reply = fencepost_model::apply(&mut trial.borrow_mut(), self.clock.now(), op);
            changes.borrow_mut().extend(Change::of(op, &reply));
            Ok(reply)
        };
        let reply = op.map(&apply).transpose()?;
        if let Some(Reply::Refused(refusal)) = &reply {
            return Err(Error::from(refusal.clone()).into());
        }
        let open = OpenTransaction { conn: &transaction, limits: self.limits(), apply: Box::new(apply) };
        let worked = match catch_unwind(AssertUnwindSafe(|| work(open))) {
            Ok(worked) => worked.map_err(Undone::Work)?,
            Err(panic) => return Err(Undone::Panicked(panic)),
        };
        if transaction.is_autocommit() {
            return Err(Error::TransactionEnded.into());
        }
        transaction.commit().map_err(Error::from)?;
        *state = trial.into_inner();
        drop(state);
        worked.after_commit.into_iter().for_each(|run| run());
        self.signals.announce(&changes.into_inner());
        Ok((reply, worked.value))
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn next_due(&self, interest: &Interest) -> Option<Timestamp> {
        let (state, now) = (self.state(), self.clock.now());
        match interest {
            Interest::Commands(names) => {
                if !state.unreadable.is_empty() {
                    return Some(Timestamp::ZERO);
                }
                let wanted = state
                    .queue
                    .values()
                    .filter(|command| command.body.name().is_some_and(|name| names.contains(name)));
                wanted.map(|command| command.due_at).min()
            }
            Interest::Group(group, _) => {
                let cursor = state.groups.get(group)?;
                if cursor.due_at > now {
                    return Some(cursor.due_at);
                }
                cursor.entries.values().map(|entry| entry.due_at).min()
            }
        }
    }
}

/// The memory as a backend, whose futures own it.
#[derive(Debug)]
struct MemoryBackend(Arc<Memory>);

impl Backend for MemoryBackend {
    fn apply_all(&self, ops: Vec<Op>) -> BoxFuture<'static, Vec<Result<Reply>>> {
        let memory = Arc::clone(&self.0);
        Box::pin(async move { memory.apply_all(&ops) })
    }

    fn apply_all_blocking(&self, ops: Vec<Op>) -> Vec<Result<Reply>> {
        self.0.apply_all(&ops)
    }

    fn transact(&self, op: Option<Op>, work: Work) -> BoxFuture<'static, Transacted> {
        let memory = Arc::clone(&self.0);
        Box::pin(async move { memory.transact(op.as_ref(), work) })
    }

    fn transact_blocking(&self, op: Option<Op>, work: Work) -> Transacted {
        self.0.transact(op.as_ref(), work)
    }

    fn overview(&self) -> BoxFuture<'static, Result<Overview>> {
        let overview = overview_of(&self.0.state(), self.0.clock.now());
        Box::pin(async move { Ok(overview) })
    }

    fn next_due(&self, interest: &Interest) -> BoxFuture<'static, Result<Option<Timestamp>>> {
        let due = self.0.next_due(interest);
        Box::pin(async move { Ok(due) })
    }

    fn signals(&self) -> &Arc<Signals> {
        &self.0.signals
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }
}
