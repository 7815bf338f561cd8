//! Threads, tasks and waits: the one place where they begin, and where a thread of this crate waits.
//!
//! Invariant: each function is the plain call that its first line names, and [`point`] does nothing, unless a checker has
//! installed a [`scheduler`] on this thread of the operating system. Under a scheduler every thread and task is a coroutine:
//! the scheduler decides at each point and each wait which one goes on, and when time passes. No lock is held at a point.
//! Does not depend on: what the threads do.

#[cfg_attr(not(feature = "unstable-internals"), path = "threads/no_scheduler.rs")]
pub mod scheduler;

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::panics::catch_panic;
use scheduler::{Task, current};

/// Where another thread may go on: before each lock, each shared number, and each message to another thread.
#[inline]
pub fn point(what: &'static str) {
    if let Some(scheduler) = current() {
        scheduler.point(what);
    }
}

/// Whether a scheduler decides which task goes on. Then nothing is heard of the file system.
pub fn is_scheduled() -> bool {
    current().is_some()
}

/// `Instant::now`.
pub fn now() -> Instant {
    current().map_or_else(Instant::now, |scheduler| scheduler.now())
}

/// `tokio::time::sleep`.
pub async fn sleep(duration: Duration) {
    let scheduled = current().map(|scheduler| scheduler.sleep(duration));
    match scheduled {
        Some(sleep) => sleep.await,
        None => tokio::time::sleep(duration).await,
    }
}

/// A thread that was begun by [`spawn`].
#[derive(Debug)]
pub struct Thread(Kind);

#[derive(Debug)]
enum Kind {
    Plain(JoinHandle<()>),
    Scheduled(Task, Arc<Notify>),
}

/// Lets a thread that was begun by [`spawn`] park.
#[derive(Debug)]
pub struct Rest(Option<Arc<Notify>>);

/// `std::thread::Builder::spawn`.
///
/// # Errors
/// The operating system has no thread to spare.
pub fn spawn(name: &'static str, work: impl FnOnce(Rest) + Send + 'static) -> io::Result<Thread> {
    if let Some(scheduler) = current() {
        let bell = Arc::new(Notify::new());
        let rest = Rest(Some(Arc::clone(&bell)));
        let task = scheduler.spawn(name, Box::new(move || work(rest)));
        return Ok(Thread(Kind::Scheduled(task, bell)));
    }
    let thread = thread::Builder::new().name(format!("fencepost-{name}"));
    thread.spawn(move || work(Rest(None))).map(|thread| Thread(Kind::Plain(thread)))
}

impl Thread {
    /// `Thread::unpark`.
    pub fn unpark(&self) {
        match &self.0 {
            Kind::Plain(thread) => thread.thread().unpark(),
            Kind::Scheduled(_, bell) => {
                point("wakes a thread");
                bell.notify_one();
            }
        }
    }

    /// Whether this is the thread that asks.
    pub fn is_current(&self) -> bool {
        match &self.0 {
            Kind::Plain(thread) => thread.thread().id() == thread::current().id(),
            Kind::Scheduled(task, _) => task.is_current(),
        }
    }

    /// `JoinHandle::join`. A panic in the thread has said so already.
    pub fn join(self) {
        match self.0 {
            Kind::Plain(thread) => drop(thread.join()),
            Kind::Scheduled(task, _) => task.join(),
        }
    }
}

impl Rest {
    /// `thread::park`, or `thread::park_timeout`.
    pub fn park(&self, timeout: Option<Duration>) {
        match (current(), &self.0, timeout) {
            (Some(scheduler), Some(bell), timeout) => {
                scheduler.point("rests");
                let over = timeout.map(|timeout| scheduler.sleep(timeout));
                scheduler.block_on(async {
                    match over {
                        Some(over) => tokio::select! {
                            biased;
                            () = bell.notified() => {}
                            () = over => {}
                        },
                        None => bell.notified().await,
                    }
                });
            }
            (_, _, Some(timeout)) => thread::park_timeout(timeout),
            (_, _, None) => thread::park(),
        }
    }
}

/// `Receiver::blocking_recv`.
pub fn receive<T>(line: &mut mpsc::Receiver<T>) -> Option<T> {
    match current() {
        Some(scheduler) => {
            scheduler.point("waits for a request");
            scheduler.block_on(line.recv())
        }
        None => line.blocking_recv(),
    }
}

/// `Sender::blocking_send`. What could not be sent is gone.
///
/// # Errors
/// The receiver is gone.
pub fn send<T>(line: &mpsc::Sender<T>, value: T) -> Result<(), Lost> {
    match current() {
        Some(scheduler) => {
            scheduler.point("sends a request");
            scheduler.block_on(line.send(value)).map_err(|_| Lost)
        }
        None => line.blocking_send(value).map_err(|_| Lost),
    }
}

/// `oneshot::Receiver::blocking_recv`.
///
/// # Errors
/// The sender of the answer is gone.
pub fn wait<T>(answer: oneshot::Receiver<T>) -> Result<T, Lost> {
    let answered = match current() {
        Some(scheduler) => {
            scheduler.point("waits for an answer");
            scheduler.block_on(answer)
        }
        None => answer.blocking_recv(),
    };
    answered.map_err(|_| Lost)
}

/// Ends a wait.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future for no longer than this, without a runtime. It may eat a token of `thread::unpark`.
pub fn at_most<T>(longest: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    if let Some(scheduler) = current() {
        let over = scheduler.sleep(longest);
        return scheduler.block_on(async {
            tokio::select! {
                biased;
                done = future => Some(done),
                () = over => None,
            }
        });
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let until = Instant::now() + longest;
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

/// What was begun will not end in its own way: its runtime shut down, or it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// `tokio::task::spawn_blocking`.
///
/// # Errors
/// As there.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
    let (done, result) = oneshot::channel();
    let scheduled = current().is_some();
    if scheduled {
        let work = move |_: Rest| drop(done.send(work()));
        spawn("beside", work).map_err(|_| Lost)?;
        return result.await.map_err(|_| Lost);
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Lost)
}

/// `JoinSet`: tasks that end at the latest when this is dropped.
#[derive(Debug)]
pub struct Tasks<T>(Set<T>);

/// The number of a task that has ended, and what came of it.
type End<T> = (u64, Option<T>);

#[derive(Debug)]
enum Set<T> {
    Plain(JoinSet<T>),
    Scheduled {
        /// Each ends at its next poll when its token is cancelled.
        running: BTreeMap<u64, CancellationToken>,
        begun: u64,
        ends: (mpsc::UnboundedSender<End<T>>, mpsc::UnboundedReceiver<End<T>>),
    },
}

impl<T: Send + 'static> Default for Tasks<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + 'static> Tasks<T> {
    /// `JoinSet::new`.
    pub fn new() -> Self {
        Self(match current() {
            Some(_) => Set::Scheduled { running: BTreeMap::new(), begun: 0, ends: mpsc::unbounded_channel() },
            None => Set::Plain(JoinSet::new()),
        })
    }

    /// `JoinSet::spawn`.
    pub fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        match &mut self.0 {
            Set::Plain(set) => drop(set.spawn(task)),
            Set::Scheduled { running, begun, ends } => {
                let Some(scheduler) = current() else { return };
                *begun += 1;
                let (number, ends) = (*begun, ends.0.clone());
                let abort = CancellationToken::new();
                running.insert(number, abort.clone());
                let task = async move {
                    tokio::select! {
                        biased;
                        () = abort.cancelled() => None,
                        ended = catch_panic(task) => ended.ok(),
                    }
                };
                let work = move || {
                    let Some(scheduler) = scheduler::current() else { return };
                    let ended = scheduler.block_on(task);
                    scheduler.point("ends a task");
                    // Who waited for it may have gone.
                    let _ = ends.send((number, ended));
                };
                let _ = scheduler.spawn("task", Box::new(work));
            }
        }
    }

    /// `JoinSet::join_next`: nothing, if there is none.
    pub async fn next(&mut self) -> Option<Result<T, Lost>> {
        match &mut self.0 {
            Set::Plain(set) => Some(set.join_next().await?.map_err(|_| Lost)),
            Set::Scheduled { running, .. } if running.is_empty() => None,
            Set::Scheduled { running, ends, .. } => {
                let (number, ended) = ends.1.recv().await?;
                running.remove(&number);
                Some(ended.ok_or(Lost))
            }
        }
    }

    /// `JoinSet::try_join_next`: nothing, if none has ended.
    pub fn try_next(&mut self) -> Option<Result<T, Lost>> {
        match &mut self.0 {
            Set::Plain(set) => Some(set.try_join_next()?.map_err(|_| Lost)),
            Set::Scheduled { running, ends, .. } => {
                let (number, ended) = ends.1.try_recv().ok()?;
                running.remove(&number);
                Some(ended.ok_or(Lost))
            }
        }
    }

    /// `JoinSet::len`.
    pub fn len(&self) -> usize {
        match &self.0 {
            Set::Plain(set) => set.len(),
            Set::Scheduled { running, .. } => running.len(),
        }
    }

    /// `JoinSet::is_empty`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Tasks<T> {
    fn drop(&mut self) {
        match &mut self.0 {
            Set::Scheduled { running, .. } => {
                running.values().for_each(CancellationToken::cancel);
            }
            Set::Plain(_) => {}
        }
    }
}
