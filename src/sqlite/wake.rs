//! Notices that another process may have committed: a thread listens to the file system and, while a consumer sleeps, looks
//! whether the data has changed.
//!
//! A file system event only says when to look. Frames are written and synced before their commit can be seen, so the looks
//! go on after an event, at growing gaps, and become a slow poll. A missed event costs promptness and nothing else.
//!
//! Invariant: while no consumer sleeps, the thread does not look. The module opens no file, because closing another descriptor
//! of the database would drop SQLite's locks.
//! Does not depend on: SQL, connections and consumers. The caller says what a look does.

#[cfg_attr(not(target_os = "linux"), path = "wake/elsewhere.rs")]
mod files;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::threads::{self, Rest, Thread};
use files::{Bell, Files};

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The data is not what it was at the look before.
    Changed,
    /// It is.
    Unchanged,
    /// There is nothing to look at any more. It was the last look.
    Gone,
}

/// When to look.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Whether to listen to the file system. An event calls for a look at once, and for shorter gaps again.
    pub listen: bool,
    /// No two looks are closer than this.
    pub gap_min: Duration,
    /// No two looks are further apart than this.
    pub gap_max: Duration,
    /// In between, the gap is this part of the time since the last event. So a commit whose sync takes long is noticed
    /// late by this part of its sync, at most.
    pub gap_percent: u32,
}

impl Way {
    /// The best of the ways that were measured (docs/decisions/wake-up.md).
    pub const BEST: Self = Self {
        listen: true,
        gap_min: Duration::from_micros(500),
        gap_max: Duration::from_millis(250),
        gap_percent: 25,
    };

    /// The way where the system reports no changes: on systems other than Linux, and where inotify is not available. A
    /// shorter interval would cost an idle consumer more than the promptness is worth.
    pub const DEAF: Self = Self::poll(Duration::from_millis(10));

    /// Looks at a fixed interval.
    pub const fn poll(gap: Duration) -> Self {
        Self { listen: false, gap_min: gap, gap_max: gap, gap_percent: 0 }
    }

    /// When to look next.
    fn due(&self, heard_at: Instant, looked_at: Instant) -> Instant {
        let since = looked_at.saturating_duration_since(heard_at);
        let gap = since.saturating_mul(self.gap_percent) / 100;
        looked_at + gap.clamp(self.gap_min, self.gap_max)
    }
}

/// How long events may pile up while no consumer sleeps. It bounds the wake-ups of a process that only sends.
const DRAIN_GAP: Duration = Duration::from_millis(20);

/// Notices that another process may have changed a file. A spurious look is harmless, a missed one is not.
///
/// Dropping the watcher stops its thread and waits for it.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    bell: Option<Bell>,
    thread: Option<Thread>,
}

/// The state of the thread.
struct Listener<L> {
    way: Way,
    files: Option<Files>,
    rest: Rest,
    waiting: Arc<AtomicUsize>,
    look: L,
    /// When the newest event was heard. It may be younger than the event itself, never older.
    heard_at: Instant,
    looked_at: Instant,
    /// Until then events may pile up.
    deaf_until: Instant,
}

impl Watcher {
    /// Watches the database at `path`, an existing file, in the best [`Way`].
    ///
    /// `waiting` counts the consumers that are asleep; while it is zero, `look` is not called. A consumer that goes to sleep
    /// raises it, calls [`Watcher::poke`] if it was zero, and then looks at the store once more: that look sees what was
    /// committed before, and the watcher notices what is committed after.
    ///
    /// # Errors
    /// The operating system has no thread to spare. If it reports no changes, the watcher polls.
    pub fn start(
        path: &Path,
        waiting: Arc<AtomicUsize>,
        look: impl FnMut() -> Look + Send + 'static,
    ) -> Result<Self> {
        Self::start_in(Way::BEST, path, waiting, look)
    }

    /// The same in another way, to measure it.
    ///
    /// # Errors
    /// As [`Watcher::start`].
    pub fn start_in(
        way: Way,
        path: &Path,
        waiting: Arc<AtomicUsize>,
        look: impl FnMut() -> Look + Send + 'static,
    ) -> Result<Self> {
        // Under a scheduler there are no file system events.
        let files = if way.listen && !threads::is_scheduled() { Files::new(path) } else { None };
        let way = if way.listen && files.is_none() { Way::DEAF } else { way };
        let bell = files.as_ref().map(Files::bell);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let now = threads::now();
        let thread = threads::spawn("wake", move |rest| {
            let (heard_at, looked_at, deaf_until) = (now, now, now);
            Listener { way, files, rest, waiting, look, heard_at, looked_at, deaf_until }.run(&stopped);
        })?;
        Ok(Self { stop, bell, thread: Some(thread) })
    }

    /// Tells the thread that a consumer has fallen asleep. Costs a system call and a wake-up.
    pub fn poke(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
        // Also when there is a bell: the thread parks where listening has failed.
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        threads::point("stops the watcher");
        self.stop.store(true, Ordering::SeqCst);
        self.poke();
        // A look may drop the last handle of the bus in this very thread; then the thread ends by itself.
        if let Some(thread) = self.thread.take().filter(|own| !own.is_current()) {
            thread.join();
        }
    }
}

impl<L: FnMut() -> Look> Listener<L> {
    fn run(mut self, stop: &AtomicBool) {
        while !is_set(stop) {
            let now = threads::now();
            let due = self.is_awaited().then(|| self.way.due(self.heard_at, self.looked_at));
            if due.is_some_and(|due| due <= now) {
                if self.look().is_break() {
                    return;
                }
                continue;
            }
            let deaf_until = Some(self.deaf_until).filter(|until| *until > now && self.files.is_some());
            let until = due.into_iter().chain(deaf_until).min();
            let heard = self.wait(until.map(|until| until - now), deaf_until.is_none());
            // A consumer that falls asleep may wait for what was written while the thread did not listen.
            self.drain();
            if heard {
                let gap = if self.is_awaited() { self.way.gap_min } else { DRAIN_GAP };
                self.deaf_until = threads::now() + gap;
            }
        }
    }

    fn is_awaited(&self) -> bool {
        threads::point("asks whether a consumer sleeps");
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn look(&mut self) -> ControlFlow<()> {
        // Whether it found a change does not matter: what was heard may belong to another commit, still unseen.
        let found = (self.look)();
        self.looked_at = threads::now();
        // Events that call for a look which may not be yet need not be heard yet.
        self.deaf_until = self.looked_at + self.way.gap_min;
        match found {
            Look::Gone => ControlFlow::Break(()),
            Look::Changed | Look::Unchanged => ControlFlow::Continue(()),
        }
    }

    /// Waits for a poke, for the file system if that is wanted, and for no longer than `timeout`. Says whether it was
    /// the file system.
    fn wait(&mut self, timeout: Option<Duration>, listen: bool) -> bool {
        let heard = match &self.files {
            Some(files) => files.wait(timeout, listen),
            None => {
                self.rest.park(timeout);
                return false;
            }
        };
        heard.unwrap_or_else(|_| {
            self.stop_listening();
            false
        })
    }

    /// Takes what the file system has said.
    fn drain(&mut self) {
        match self.files.as_mut().map(Files::drain) {
            Some(Ok(true)) => self.heard_at = threads::now(),
            Some(Ok(false)) | None => {}
            Some(Err(_)) => self.stop_listening(),
        }
    }

    fn stop_listening(&mut self) {
        self.files = None;
        self.way = Way::DEAF;
    }
}

fn is_set(stop: &AtomicBool) -> bool {
    threads::point("asks whether to stop");
    stop.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_grow_from_the_event_on_and_stay_within_their_bounds() {
        let heard = Instant::now();
        let gap = |since_us| {
            let looked = heard + Duration::from_micros(since_us);
            (Way::BEST.due(heard, looked) - looked).as_micros()
        };
        assert_eq!([0, 100, 2_000].map(gap), [500, 500, 500]);
        assert_eq!([4_000, 40_000, 1_000_000].map(gap), [1_000, 10_000, 250_000]);
        assert_eq!(gap(3_600_000_000), 250_000);
    }

    #[test]
    fn an_event_calls_for_a_look_at_once_but_not_sooner_than_the_smallest_gap() {
        let looked = Instant::now();
        for heard in [looked, looked + Duration::from_secs(9)] {
            assert_eq!(Way::BEST.due(heard, looked), looked + Way::BEST.gap_min);
        }
    }

    #[test]
    fn polling_knows_no_events() {
        let looked = Instant::now();
        let way = Way::poll(Duration::from_millis(7));
        for heard in [looked - Duration::from_millis(1), looked + Duration::from_secs(9)] {
            assert_eq!(way.due(heard, looked), looked + Duration::from_millis(7));
        }
    }
}
