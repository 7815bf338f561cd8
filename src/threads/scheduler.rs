//! The seam at which a scheduler takes the threads of a bus over: it decides which task goes on, and how time passes.
//!
//! Invariant: without [`install`], no thread has a scheduler, and every function of `threads` is the plain call.
//! Does not depend on: the scheduler behind the seam. fencepost-verify has one.

use std::cell::RefCell;
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;

/// Decides which task goes on. All tasks are coroutines of one thread of the operating system.
pub trait Scheduler {
    /// Another task may go on. `what` says what the current task does next, for a timeline.
    fn point(&self, what: &'static str);

    /// Waits until a future is done, and lets other tasks go on meanwhile.
    fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>);

    /// Begins a task that stands for a thread.
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Task;

    /// The time.
    fn now(&self) -> Instant;

    /// A future that is done when this much time has passed from now on.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

thread_local! {
    static SCHEDULER: RefCell<Option<Rc<dyn Scheduler>>> = const { RefCell::new(None) };
}

/// Installs a scheduler on this thread of the operating system, for as long as the guard lives.
pub fn install(scheduler: Rc<dyn Scheduler>) -> Installed {
    SCHEDULER.with(|current| *current.borrow_mut() = Some(scheduler));
    Installed
}

/// The guard of an installed scheduler.
#[derive(Debug)]
pub struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        SCHEDULER.with(|current| current.borrow_mut().take());
    }
}

/// The scheduler of the current task.
#[derive(Clone)]
pub struct Current(Rc<dyn Scheduler>);

/// The scheduler of this thread of the operating system, if there is one.
#[inline]
pub fn current() -> Option<Current> {
    SCHEDULER.with(|current| current.borrow().clone().map(Current))
}

impl Current {
    /// [`Scheduler::point`].
    pub fn point(&self, what: &'static str) {
        // While a panic unwinds, no other task goes on.
        if !std::thread::panicking() {
            self.0.point(what);
        }
    }

    /// [`Scheduler::now`].
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// [`Scheduler::sleep`].
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    /// [`Scheduler::wait`], with the result of the future.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut done = None;
        self.0.wait(pin!(async { done = Some(future.await) }));
        done.unwrap_or_else(|| unreachable!("a wait ends when its future is done"))
    }

    /// [`Scheduler::spawn`].
    pub fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Task {
        self.0.spawn(name, work)
    }
}

/// A task of a scheduler.
pub struct Task {
    /// Whether this task is the current one.
    pub is_current: Box<dyn Fn() -> bool + Send + Sync>,
    /// Waits until this task has ended.
    pub join: Box<dyn FnOnce() + Send + Sync>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

impl Task {
    /// Whether this task is the current one.
    pub fn is_current(&self) -> bool {
        (self.is_current)()
    }

    /// Waits until this task has ended.
    pub fn join(self) {
        (self.join)();
    }
}
