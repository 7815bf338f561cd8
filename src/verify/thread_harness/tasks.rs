//! The tasks of a run: [`Board`](crate::scheduler::Board) chooses which task continues, time passes when all tasks wait,
//! and every step is noted.
//!
//! Invariant: the same choices give the same notes. No other task continues while a lock of this module is held, or
//! within a waker. A run ends when all tasks have ended, or when all tasks wait and no timer is left.
//! Does not depend on: the scenarios.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use fencepost_model::vocabulary::Timestamp;
use futures_core::future::BoxFuture;
use tokio::sync::Notify;

use crate::scheduler::Board;
use crate::threads::promises::{LEFT_BEHIND, PromiseBroken};
use fencepost::clock::Clock;
use fencepost::internals::threads::scheduler::{Scheduler, Task};

/// A step of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TaskNote {
    /// The lane of the task.
    pub(super) lane: usize,
    /// The time since the run began.
    pub(super) at: Duration,
    /// The step.
    pub(super) what: String,
}

/// A run in which a promise was broken, up to that point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caught {
    pub(super) violation: PromiseBroken,
    pub(super) lanes: BTreeMap<usize, String>,
    pub(super) notes: Vec<TaskNote>,
    pub(super) choices: Vec<u8>,
}

/// No timer later than this is waited for, in the run's own time.
const LONGEST: Duration = Duration::from_secs(5);

/// The time of the clock of a bus when a run begins, in milliseconds.
const BEGAN_AT: u32 = 1_000_000;

struct TaskState {
    began: Instant,
    passed: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_made: u64,
    /// The threads and tasks of the bus that have begun and not ended.
    live: BTreeMap<u64, &'static str>,
    /// How many tasks of the scenario have not ended.
    running: usize,
    begun: u64,
    lanes: BTreeMap<usize, String>,
    notes: Vec<TaskNote>,
    caught: Option<Caught>,
    /// The promise that is broken if a task waits for ever.
    stuck: &'static str,
    main: Main,
}

/// What the main task of the run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Main {
    Runs,
    /// All other tasks wait.
    UntilQuiet,
    /// The tasks of the scenario have ended.
    UntilTasksEnded,
    /// All threads and tasks have ended.
    UntilOver,
}

/// What to do when all tasks wait.
enum Idle {
    /// Wake the main task.
    Signalled,
    /// Wake it, and end.
    Over,
    /// Wake the tasks whose timers are due.
    Passed(Vec<Waker>),
    /// No timer is left.
    Stuck(PromiseBroken),
}

/// The scheduler of the tasks of a run. Clones share their state.
#[derive(Clone)]
pub(super) struct TaskScheduler(Arc<Inner>);

struct Inner {
    board: Arc<Board>,
    state: Mutex<TaskState>,
    quiet: Notify,
    jumped: Notify,
    ahead_ms: Mutex<u64>,
}

impl std::fmt::Debug for TaskScheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskScheduler").finish_non_exhaustive()
    }
}

impl TaskScheduler {
    pub(super) fn new(board: Arc<Board>, stuck: &'static str) -> Self {
        let state = TaskState {
            began: Instant::now(),
            passed: Duration::ZERO,
            timers: BTreeMap::new(),
            timers_made: 0,
            live: BTreeMap::new(),
            running: 0,
            begun: 0,
            lanes: BTreeMap::new(),
            notes: Vec::new(),
            caught: None,
            stuck,
            main: Main::Runs,
        };
        let (quiet, jumped) = (Notify::new(), Notify::new());
        Self(Arc::new(Inner { board, state: Mutex::new(state), quiet, jumped, ahead_ms: Mutex::new(0) }))
    }

    fn state(&self) -> MutexGuard<'_, TaskState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run, and the task that lets time pass.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.passed = Duration::ZERO;
        state.timers.clear();
        state.live.clear();
        (state.running, state.begun, state.timers_made) = (0, 0, 0);
        state.lanes.clear();
        state.notes.clear();
        state.main = Main::Runs;
        drop(state);
        *self.0.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        let tasks = self.clone();
        drop(shuttle::thread::spawn(move || tasks.pass_time()));
    }

    /// Lets time pass whenever all tasks wait, until the run is over.
    fn pass_time(&self) {
        loop {
            // No release of a lock wakes this task: it continues when no other task can.
            self.0.board.refused(crate::disk::Footprint::default());
            self.0.board.sleep();
            match self.when_all_wait() {
                Idle::Signalled => self.0.quiet.notify_one(),
                Idle::Over => return self.0.quiet.notify_one(),
                Idle::Passed(due) => due.into_iter().for_each(Waker::wake),
                Idle::Stuck(violation) => {
                    self.caught(violation);
                    self.0.board.abandon();
                }
            }
        }
    }

    fn when_all_wait(&self) -> Idle {
        let mut state = self.state();
        match state.main {
            Main::Runs => {}
            Main::UntilQuiet => {
                state.main = Main::Runs;
                return Idle::Signalled;
            }
            Main::UntilTasksEnded if state.running == 0 => {
                state.main = Main::Runs;
                return Idle::Signalled;
            }
            Main::UntilTasksEnded => {}
            Main::UntilOver if state.running == 0 && state.live.is_empty() => return Idle::Over,
            Main::UntilOver => {}
        }
        let next = state.timers.keys().next().map(|(at, _)| *at).filter(|at| *at <= LONGEST);
        if let Some(next) = next {
            state.passed = state.passed.max(next);
            let later = state.timers.split_off(&(next, u64::MAX));
            let due = std::mem::replace(&mut state.timers, later);
            return Idle::Passed(due.into_values().collect());
        }
        Idle::Stuck(if state.running > 0 {
            PromiseBroken::new(
                state.stuck,
                format!("tasks of the scenario that wait for ever: {}", state.running),
            )
        } else {
            let left: Vec<&str> = state.live.values().copied().collect();
            PromiseBroken::new(LEFT_BEHIND, format!("left behind: {}", left.join(", ")))
        })
    }

    /// Waits until all other tasks wait.
    pub(super) fn until_quiet(&self) {
        self.state().main = Main::UntilQuiet;
        self.wait(std::pin::pin!(self.0.quiet.notified()));
    }

    /// Waits until the tasks of the scenario have ended. It is a violation if one never ends.
    pub(super) fn until_tasks_ended(&self) {
        self.state().main = Main::UntilTasksEnded;
        self.wait(std::pin::pin!(self.0.quiet.notified()));
    }

    /// Waits until all threads and tasks have ended. It is a violation if one never ends.
    pub(super) fn until_over(&self) {
        self.state().main = Main::UntilOver;
        self.wait(std::pin::pin!(self.0.quiet.notified()));
    }

    /// Begins a task of the scenario.
    pub(super) fn begin_task(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.state().running += 1;
        let tasks = self.clone();
        drop(shuttle::thread::spawn(move || {
            tasks.enter(name);
            tasks.wait(std::pin::pin!(work));
            tasks.state().running -= 1;
        }));
    }

    fn enter(&self, name: &str) {
        let lane = self.0.board.running();
        self.state().lanes.insert(lane, name.to_owned());
    }

    /// Keeps the first violation, and ends the search with this run.
    pub(super) fn caught(&self, violation: PromiseBroken) {
        let mut state = self.state();
        if state.caught.is_none() {
            let (lanes, notes) = (state.lanes.clone(), state.notes.clone());
            state.caught = Some(Caught { violation, lanes, notes, choices: self.0.board.choices() });
        }
        drop(state);
        self.0.board.stop();
    }

    pub(super) fn into_caught(self) -> Option<Caught> {
        self.state().caught.take()
    }

    /// How much time has passed since the run began.
    pub(super) fn passed(&self) -> Duration {
        self.state().passed
    }

    /// Notes a step of the running task.
    pub(super) fn note(&self, what: impl Into<String>) {
        let lane = self.0.board.running();
        let mut state = self.state();
        let at = state.passed;
        state.notes.push(TaskNote { lane, at, what: what.into() });
    }
}

/// A sleep in the run's own time.
struct Sleep {
    tasks: TaskScheduler,
    until: Duration,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.tasks.state();
        if state.passed >= self.until {
            return Poll::Ready(());
        }
        state.timers.insert((self.until, self.number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.tasks.state().timers.remove(&(self.until, self.number));
    }
}

/// A wait for a future.
#[derive(Default)]
struct Waits {
    woken: AtomicBool,
    inner: Mutex<Option<Waker>>,
}

impl Wake for Waits {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let waker = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Scheduler for TaskScheduler {
    fn point(&self, what: &'static str) {
        self.note(what);
        self.0.board.pause();
    }

    /// Waits can nest, since a drop within a poll can join a thread. Each wait has its own waker.
    fn wait(&self, mut future: Pin<&mut dyn Future<Output = ()>>) {
        let waits = Arc::new(Waits::default());
        let waker = Waker::from(Arc::clone(&waits));
        let mut context = Context::from_waker(&waker);
        loop {
            waits.woken.store(false, Ordering::SeqCst);
            if future.as_mut().poll(&mut context).is_ready() {
                return;
            }
            shuttle::future::block_on(poll_fn(|context| {
                if waits.woken.load(Ordering::SeqCst) {
                    return Poll::Ready(());
                }
                *waits.inner.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
                Poll::Pending
            }));
        }
    }

    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Task {
        let mut state = self.state();
        state.begun += 1;
        let number = state.begun;
        state.live.insert(number, name);
        drop(state);
        let tasks = self.clone();
        let thread = shuttle::thread::spawn(move || {
            tasks.enter(name);
            work();
            tasks.state().live.remove(&number);
        });
        let id = thread.thread().id();
        Task {
            is_current: Box::new(move || shuttle::thread::current().id() == id),
            join: Box::new(move || drop(thread.join())),
        }
    }

    fn now(&self) -> Instant {
        let state = self.state();
        state.began + state.passed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.state();
        state.timers_made += 1;
        let (number, until) = (state.timers_made, state.passed.saturating_add(duration));
        drop(state);
        Box::pin(Sleep { tasks: self.clone(), until, number })
    }
}

/// The clock of a bus under the scheduler: it follows the run's own time, and can be set ahead.
#[derive(Clone, Debug)]
pub(super) struct TaskClock(pub(super) TaskScheduler);

impl TaskClock {
    /// Sets the clock ahead, in milliseconds.
    pub(super) fn jump(&self, by_ms: u64) {
        *self.0.0.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner) += by_ms;
        self.0.0.jumped.notify_waiters();
    }
}

impl Clock for TaskClock {
    fn now(&self) -> Timestamp {
        let ahead_ms = *self.0.0.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let passed_ms = u64::try_from(self.0.passed().as_millis()).unwrap_or(u64::MAX);
        Timestamp::from(BEGAN_AT).plus(passed_ms).plus(ahead_ms)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let jumped = self.0.0.jumped.notified();
                let left @ 1.. = at.get().saturating_sub(self.now().get()) else { return };
                tokio::select! {
                    biased;
                    () = self.0.sleep(Duration::from_millis(left)) => {}
                    () = jumped => {}
                }
            }
        })
    }
}
