//! Signals: which consumers of this process wait for what, and which of them a change wakes.
//!
//! Invariant: a change after a waiter's last look wakes the waiter, since a signal is kept until the waiter waits. Waking too
//! often is harmless.
//! Does not depend on: what is due; where a change comes from.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fencepost_model::op::{Lease, Op, Reply, Settlement, Target};
use fencepost_model::vocabulary::{Group, Name, Names};
use tokio::sync::Notify;

use crate::threads::mutant::Mutant;
use crate::threads::{mutates, point};

/// What a consumer waits for.
#[derive(Clone, Debug)]
pub enum Interest {
    /// Commands of these names.
    Commands(Names),
    /// Events of these names, for this group.
    Group(Group, Names),
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A command of this name is there.
    Command(Name),
    /// Some command may be due sooner than it was.
    Queue,
    /// An event of this name is there.
    Event(Name),
    /// The cursor, the position or an entry of this group moved.
    Group(Group),
    /// Anything may have changed.
    Everything,
}

impl Interest {
    fn meets(&self, change: &Change) -> bool {
        match (self, change) {
            (_, Change::Everything) | (Self::Commands(_), Change::Queue) => true,
            (Self::Commands(names), Change::Command(name)) => names.contains(name),
            (Self::Group(_, names), Change::Event(name)) => names.contains(name),
            (Self::Group(group, _), Change::Group(changed)) => group == changed,
            _ => false,
        }
    }
}

impl Change {
    /// What an operation with this reply may have made due for other consumers.
    pub fn of(op: &Op, reply: &Reply) -> Option<Self> {
        Some(match (op, reply) {
            (_, Reply::Refused(_)) => return None,
            (Op::Send { message, .. }, Reply::Accepted { fresh: true, .. }) => {
                Self::Command(message.name.clone())
            }
            (Op::Publish { message }, Reply::Accepted { fresh: true, .. }) => {
                Self::Event(message.name.clone())
            }
            (Op::Settle { target: Target::Command(_), how: Settlement::Nack { .. }, .. }, _)
            | (Op::Release { lease: Lease::Command(_), .. }, _) => Self::Queue,
            (
                Op::Settle {
                    target: Target::Event { group, .. } | Target::Entry { group, .. },
                    how: Settlement::Nack { .. },
                    ..
                },
                _,
            ) => Self::Group(group.clone()),
            (
                Op::Release { lease: Lease::Cursor(group), .. }
                | Op::Seek { group, .. }
                | Op::Subscribe { group, .. }
                | Op::Unsubscribe { group, .. },
                _,
            ) => Self::Group(group.clone()),
            (Op::Redrive { .. } | Op::Reset { .. } | Op::Restore { .. } | Op::Atomic(_), _) => {
                Self::Everything
            }
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Registered {
    id: usize,
    interest: Interest,
    notify: Arc<Notify>,
}

/// All consumers in this process that wait for one bus.
#[derive(Default)]
pub struct Signals {
    registered: Mutex<Vec<Registered>>,
    ids: AtomicUsize,
    /// How many are asleep.
    asleep: Arc<AtomicUsize>,
    /// Called when a consumer falls asleep, so that changes by other processes are looked for.
    watch: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").field("registered", &self.registered).finish_non_exhaustive()
    }
}

impl Signals {
    /// How many consumers are asleep, as a shared counter.
    pub fn asleep(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.asleep)
    }

    /// Calls this whenever a consumer falls asleep. Only the first call of `watch` counts.
    pub fn watch(&self, watch: impl Fn() + Send + Sync + 'static) {
        let _ = self.watch.set(Box::new(watch));
    }

    /// Begins to notice changes of this interest.
    pub fn register(self: &Arc<Self>, interest: Interest) -> Waiter {
        let notify = Arc::new(Notify::new());
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        point("begins to notice");
        self.list().push(Registered { id, interest, notify: Arc::clone(&notify) });
        Waiter { id, notify, signals: Arc::clone(self) }
    }

    /// Wakes the waiters that are interested in these changes.
    pub fn announce(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        point("wakes those who wait");
        for registered in self.list().iter() {
            if !changes.iter().any(|change| registered.interest.meets(change)) {
                continue;
            }
            if mutates(Mutant::SignalsAreNotKept) {
                registered.notify.notify_waiters();
            } else {
                registered.notify.notify_one();
            }
        }
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Registered>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer that waits.
#[derive(Debug)]
pub struct Waiter {
    id: usize,
    notify: Arc<Notify>,
    signals: Arc<Signals>,
}

impl Waiter {
    /// Completes at the next change of interest, or at once if there was one since the last time.
    pub async fn wait(&self) {
        let poke = || {
            point("tells the watcher");
            if let Some(watch) = self.signals.watch.get() {
                watch();
            }
        };
        if mutates(Mutant::PokesBeforeItSleeps) {
            poke();
        }
        let _asleep = Asleep::new(&self.signals.asleep);
        if !mutates(Mutant::PokesBeforeItSleeps) {
            poke();
        }
        point("sleeps until a change");
        self.notify.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        point("notices no more");
        self.signals.list().retain(|registered| registered.id != self.id);
    }
}

struct Asleep<'a>(&'a AtomicUsize);

impl<'a> Asleep<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        point("counts as asleep");
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        point("counts as awake");
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_before_the_wait_is_not_missed_and_a_foreign_one_wakes_nobody() {
        let name = |text| Name::new(text).unwrap();
        let signals = Arc::new(Signals::default());
        let waiter = signals.register(Interest::Commands([name("a")].into()));
        let soon = std::time::Duration::from_millis(20);
        signals.announce(&[Change::Command(name("b")), Change::Event(name("a"))]);
        assert!(tokio::time::timeout(soon, waiter.wait()).await.is_err());
        signals.announce(&[Change::Command(name("a"))]);
        waiter.wait().await;
        signals.announce(&[Change::Queue]);
        waiter.wait().await;
        assert_eq!(signals.asleep().load(Ordering::SeqCst), 0);
        drop(waiter);
        assert!(signals.list().is_empty());
    }
}
