//! The stage: who decides, on this thread of the operating system, who goes on and how time passes.
//!
//! What always holds: without [`put_up`] there is none, and every function of `threads` is the plain call.
//! This module must not know who directs: that is `verify::threads`.

use std::cell::RefCell;
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;

use super::mutant::Mutant;

/// What directs a stage.
pub trait Stage {
    /// Another may go on. What whoever runs does next is told for the timeline.
    fn point(&self, what: &'static str);

    /// Waits until a future is done, and lets others go on meanwhile.
    fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>);

    /// Begins a thread.
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Player;

    /// The time.
    fn now(&self) -> Instant;

    /// Is done when so much time has passed from now on.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Whether this mistake is to be made.
    fn mutates(&self, mutant: Mutant) -> bool;
}

thread_local! {
    static STAGE: RefCell<Option<Rc<dyn Stage>>> = const { RefCell::new(None) };
}

/// Puts up a stage on this thread of the operating system, for as long as what is returned lives.
pub fn put_up(stage: Rc<dyn Stage>) -> PutUp {
    STAGE.with(|here| *here.borrow_mut() = Some(stage));
    PutUp
}

/// A stage that is up.
#[derive(Debug)]
pub struct PutUp;

impl Drop for PutUp {
    fn drop(&mut self) {
        STAGE.with(|here| here.borrow_mut().take());
    }
}

/// The stage that whoever asks is on.
#[derive(Clone)]
pub struct Here(Rc<dyn Stage>);

/// The stage of this thread of the operating system, if there is one.
#[inline]
pub fn here() -> Option<Here> {
    STAGE.with(|here| here.borrow().clone().map(Here))
}

impl Here {
    /// [`Stage::point`].
    pub fn point(&self, what: &'static str) {
        // Nobody else is let in while a panic goes through.
        if !std::thread::panicking() {
            self.0.point(what);
        }
    }

    /// [`Stage::mutates`].
    pub fn mutates(&self, mutant: Mutant) -> bool {
        self.0.mutates(mutant)
    }

    /// [`Stage::now`].
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// [`Stage::sleep`].
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    /// [`Stage::wait`], with the result of the future.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut done = None;
        self.0.wait(pin!(async { done = Some(future.await) }));
        done.unwrap_or_else(|| unreachable!("a wait ends when its future is done"))
    }

    /// [`Stage::spawn`].
    pub fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Player {
        self.0.spawn(name, work)
    }
}

/// Someone who was begun on a stage.
pub struct Player {
    /// Whether this task is the one that asks.
    pub is_current: Box<dyn Fn() -> bool + Send + Sync>,
    /// Waits until this task has ended.
    pub join: Box<dyn FnOnce() + Send + Sync>,
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").finish_non_exhaustive()
    }
}

impl Player {
    /// Whether this task is the one that asks.
    pub fn is_current(&self) -> bool {
        (self.is_current)()
    }

    /// Waits until this task has ended.
    pub fn join(self) {
        (self.join)();
    }
}
