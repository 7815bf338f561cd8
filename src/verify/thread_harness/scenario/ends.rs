//! Scenarios of the end of a bus, a run or a lease: no task waits for ever, and no task or lease is left behind.
//!
//! Invariant: in each scenario one task ends a bus, a run or a lease while other tasks use it.
//! Does not depend on: how schedules are chosen, the mutants.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::wakes::{FIRST_LOOK_MS, Handled, handlers, options};
use super::{PlayedTasks, ThreadScenario};
use crate::thread_harness::fixture::{Fixture, NAME, OTHER, command};
use crate::threads::promises::PromiseBroken;
use crate::threads::promises::{ANSWERED, KEPT, LEFT_BEHIND, SETTLED, SHUTDOWN};
use fencepost::error::{Error, Result};
use fencepost::internals::bus::erased::erase;
use fencepost::internals::bus::signals::Interest;
use fencepost::internals::threads::{point, sleep};
use fencepost::{Bus as _, BusConsumer as _, CancellationToken, RunCause, RunReport, SqliteBus};
use fencepost_model::vocabulary::{Name, Names};

pub(super) const ALL: &[ThreadScenario] = &[
    ThreadScenario::bounded("a close among senders", SHUTDOWN, close_among_senders),
    ThreadScenario::bounded("a close while a consumer sleeps", SHUTDOWN, close_while_asleep),
    ThreadScenario::bounded("a close during a look", SHUTDOWN, close_during_a_look),
    ThreadScenario::bounded("the last clone in the writing thread", SHUTDOWN, last_clone),
    ThreadScenario::bounded("a run that is dropped", LEFT_BEHIND, dropped_run),
    ThreadScenario::bounded("a shutdown with a handler at work", SHUTDOWN, shutdown_at_work),
    ThreadScenario::bounded("a handler that outlasts its lease", SHUTDOWN, outlasts),
    ThreadScenario::bounded("a clock that jumps over a lease", SHUTDOWN, jumps),
];

/// Two tasks send while a third closes the bus. Each is answered, and the answers are correct.
fn close_among_senders(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(1)?;
    for (name, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.begin_task(name, async move { here.send(&bus, text).await });
    }
    let here = Arc::clone(fixture);
    fixture.tasks.begin_task("closer", async move {
        if let Err(error) = bus.close().await {
            here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("a close was answered with {error}")));
        }
    });
    Ok(PlayedTasks { bus: None, check: Box::new(|fixture| fixture.check_answers(2, true)) })
}

fn close_while_asleep(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    close_at(fixture, 0)
}

fn close_during_a_look(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    close_at(fixture, FIRST_LOOK_MS)
}

/// A sleeping consumer learns of the close from the bus alone.
fn close_at(fixture: &Arc<Fixture>, at_ms: u64) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::ZERO, &stop);
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.begin_task("consumer", async move {
        match its.listen(handlers, options(&stop)).await {
            Err(error)
                if matches!(error.cause, RunCause::Bus(Error::Closed | Error::Indeterminate { .. })) => {}
            other => here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("the run ended with {other:?}"))),
        }
    });
    let here = Arc::clone(fixture);
    fixture.tasks.begin_task("closer", async move {
        sleep(Duration::from_millis(at_ms)).await;
        if let Err(error) = bus.close().await {
            here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("a close was answered with {error}")));
        }
    });
    Ok(PlayedTasks { bus: None, check: Box::new(|_| Ok(())) })
}

/// Work on the writing thread drops the last clone of the bus, while a look of the watcher runs or waits for room in a
/// full request queue.
fn last_clone(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(1)?;
    let (signals, names) =
        (Arc::clone(bus.backend().signals()), Name::new(NAME).map(|name| Names::from([name])));
    let waiter = signals.register(Interest::Commands(names.unwrap_or_default()));
    fixture.tasks.begin_task("sleeper", async move { waiter.wait().await });
    let (here, asked) = (Arc::clone(fixture), bus.backend().apply_all(vec![command(OTHER, "b")]));
    fixture.tasks.begin_task("sender", async move {
        sleep(Duration::from_millis(FIRST_LOOK_MS)).await;
        here.answered("b", asked.await.pop().unwrap_or(Err(Error::Closed)));
    });
    let (here, backend) = (Arc::clone(fixture), Arc::clone(bus.backend()));
    let work = erase(move |tx| {
        tx.apply(&command(NAME, "a"))?;
        point("drops the last clone");
        drop(bus);
        Ok::<(), Error>(())
    });
    let asked = backend.transact(None, work);
    drop(backend);
    fixture.tasks.begin_task("owner", async move {
        sleep(Duration::from_millis(FIRST_LOOK_MS)).await;
        match asked.await {
            Ok(_) => {}
            Err(_) => here.tasks.caught(PromiseBroken::new(ANSWERED, "a transaction failed")),
        }
    });
    Ok(PlayedTasks { bus: None, check: Box::new(|fixture| fixture.check_answers(1, false)) })
}

/// When a run is dropped, its handlers end.
fn dropped_run(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    fixture.commit_elsewhere(&command(NAME, "a"))?;
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::MAX, &stop);
    let (its, dropped) = (bus.clone(), CancellationToken::new());
    let seen = dropped.clone();
    fixture.tasks.begin_task("consumer", async move {
        tokio::select! {
            biased;
            () = seen.cancelled() => {}
            _ = its.listen(handlers, options(&stop)) => {}
        }
    });
    fixture.tasks.begin_task("dropper", async move {
        point("drops the run");
        dropped.cancel();
    });
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(|_| Ok(())) })
}

/// A delivery whose handler a shutdown cancels is released before the run ends.
fn shutdown_at_work(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    fixture.commit_elsewhere(&command(NAME, "a"))?;
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::from_millis(20), &CancellationToken::new());
    let run = options(&stop).grace(Duration::from_millis(5));
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.begin_task("consumer", async move {
        match its.listen(handlers, run).await {
            Ok(report) if report.abandoned.is_empty() => {}
            other => here.tasks.caught(PromiseBroken::new(KEPT, format!("the run ended with {other:?}"))),
        }
    });
    fixture.tasks.begin_task("stopper", async move {
        point("shuts the run down");
        stop.cancel();
    });
    let check = |fixture: &Fixture| {
        let state = fixture.committed().map_err(|error| PromiseBroken::new(KEPT, error.to_string()))?;
        let kept = state.queue.values().find(|command| command.lease.is_some() || command.attempts > 0);
        match kept {
            Some(command) => {
                Err(PromiseBroken::new(KEPT, format!("the run has ended, and left {command:?}")))
            }
            None => Ok(()),
        }
    };
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(check) })
}

/// The reports of two runs together.
#[derive(Default)]
struct Together {
    acked: AtomicU64,
    stale: AtomicU64,
    ended: Mutex<Vec<String>>,
}

impl Together {
    fn add<E: std::fmt::Debug>(&self, ended: std::result::Result<RunReport, E>) {
        match ended {
            Ok(report) => {
                self.acked.fetch_add(report.acked, Ordering::SeqCst);
                self.stale.fetch_add(report.stale, Ordering::SeqCst);
            }
            Err(error) => {
                self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:?}"));
            }
        }
    }

    /// Checks that the command was acked once, or is still there without a lease.
    fn check(&self, fixture: &Fixture) -> std::result::Result<(), PromiseBroken> {
        let state = fixture.committed().map_err(|error| PromiseBroken::new(SETTLED, error.to_string()))?;
        let left = state.queue.values().filter(|command| command.lease.is_none()).count() as u64;
        let acked = self.acked.load(Ordering::SeqCst);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if acked + left == 1 && ended.is_empty() {
            return Ok(());
        }
        let stale = self.stale.load(Ordering::SeqCst);
        let why = format!("{acked} acks, {stale} stale settlements, and it is left {left} times; {ended:?}");
        Err(PromiseBroken::new(SETTLED, why))
    }
}

/// How long a handler works. A lease lasts 30 ms.
const WORK: Duration = Duration::from_millis(45);

/// Two consumers, and one command whose handler works longer than its lease. The first consumer ends when nothing is due,
/// the second when a handler has ended.
fn two_consumers(fixture: &Arc<Fixture>, bus: &SqliteBus) -> Result<(Arc<Handled>, Arc<Together>)> {
    fixture.commit_elsewhere(&command(NAME, "a"))?;
    let (handled, together) = (Arc::new(Handled::default()), Arc::new(Together::default()));
    let over = CancellationToken::new();
    let drains = options(&CancellationToken::new()).drain();
    for (name, run) in [("consumer one", drains), ("consumer two", options(&over))] {
        let handlers = handlers(fixture, &handled, WORK, &over);
        let (its, together) = (bus.clone(), Arc::clone(&together));
        fixture.tasks.begin_task(name, async move { together.add(its.listen(handlers, run).await) });
    }
    Ok((handled, together))
}

/// The heartbeat keeps a lease while its handler works.
fn outlasts(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let (handled, together) = two_consumers(fixture, &bus)?;
    let check = move |fixture: &Fixture| {
        together.check(fixture)?;
        match handled.count.load(Ordering::SeqCst) {
            1 => Ok(()),
            count => Err(PromiseBroken::new(SETTLED, format!("it was handled {count} times"))),
        }
    };
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(check) })
}

/// A clock that jumps expires a lease while its handler works. The other consumer may then get the command, and one of
/// them settles or releases it.
fn jumps(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let (_, together) = two_consumers(fixture, &bus)?;
    let clock = Arc::clone(&fixture.clock);
    fixture.tasks.begin_task("clock setter", async move {
        sleep(WORK / 3).await;
        point("sets the clock ahead");
        clock.jump(40);
    });
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(move |fixture| together.check(fixture)) })
}
