//! Whatever ends, a bus, a run or a lease, ends for everyone: nobody waits for ever, and nothing is left behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::wakes::{FIRST_LOOK_MS, Handled, handlers, options};
use super::{Played, Scenario};
use crate::thread_harness::fixture::{Fixture, NAME, OTHER, command};
use crate::threads::PromiseBroken;
use crate::threads::{ANSWERED, KEPT, LEFT_BEHIND, SETTLED, SHUTDOWN};
use fencepost::error::{Error, Result};
use fencepost::internals::bus::erased::erase;
use fencepost::internals::bus::signals::Interest;
use fencepost::internals::threads::{point, sleep};
use fencepost::{Bus as _, BusConsumer as _, CancellationToken, RunCause, RunReport, SqliteBus};
use fencepost_model::vocabulary::{Name, Names};

pub(super) const ALL: &[Scenario] = &[
    Scenario::bounded("a close among senders", SHUTDOWN, close_among_senders),
    Scenario::bounded("a close while a consumer sleeps", SHUTDOWN, close_while_asleep),
    Scenario::bounded("a close during a look", SHUTDOWN, close_during_a_look),
    Scenario::bounded("the last clone in the writing thread", SHUTDOWN, last_clone),
    Scenario::bounded("a run that is dropped", LEFT_BEHIND, dropped_run),
    Scenario::bounded("a shutdown with a handler at work", SHUTDOWN, shutdown_at_work),
    Scenario::bounded("a handler that outlasts its lease", SHUTDOWN, outlasts),
    Scenario::bounded("a clock that leaps over a lease", SHUTDOWN, leaps),
];

/// Two send and one closes: each is answered, and what was answered is true.
fn close_among_senders(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(1)?;
    for (who, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.act(who, async move { here.send(&bus, text).await });
    }
    let here = Arc::clone(fixture);
    fixture.tasks.act("closer", async move {
        if let Err(error) = bus.close().await {
            here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("a close was answered with {error}")));
        }
    });
    Ok(Played { bus: None, judge: Box::new(|fixture| fixture.judge_answers(2, true)) })
}

fn close_while_asleep(fixture: &Arc<Fixture>) -> Result<Played> {
    close_at(fixture, 0)
}

fn close_during_a_look(fixture: &Arc<Fixture>) -> Result<Played> {
    close_at(fixture, FIRST_LOOK_MS)
}

/// A consumer that sleeps learns of the end from nobody but the bus.
fn close_at(fixture: &Arc<Fixture>, at_ms: u64) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::ZERO, &stop);
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.act("consumer", async move {
        match its.listen(handlers, options(&stop)).await {
            Err(error)
                if matches!(error.cause, RunCause::Bus(Error::Closed | Error::Indeterminate { .. })) => {}
            other => here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("the run ended with {other:?}"))),
        }
    });
    let here = Arc::clone(fixture);
    fixture.tasks.act("closer", async move {
        sleep(Duration::from_millis(at_ms)).await;
        if let Err(error) = bus.close().await {
            here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("a close was answered with {error}")));
        }
    });
    Ok(Played { bus: None, judge: Box::new(|_| Ok(())) })
}

/// The last clone of the bus goes in work that the writing thread does, while a look is under way, or waits for room in
/// a full line.
fn last_clone(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(1)?;
    let (signals, names) =
        (Arc::clone(bus.backend().signals()), Name::new(NAME).map(|name| Names::from([name])));
    let waiter = signals.register(Interest::Commands(names.unwrap_or_default()));
    fixture.tasks.act("sleeper", async move { waiter.wait().await });
    let (here, asked) = (Arc::clone(fixture), bus.backend().apply_all(vec![command(OTHER, "b")]));
    fixture.tasks.act("sender", async move {
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
    fixture.tasks.act("owner", async move {
        sleep(Duration::from_millis(FIRST_LOOK_MS)).await;
        match asked.await {
            Ok(_) => {}
            Err(_) => here.tasks.caught(PromiseBroken::new(ANSWERED, "a transaction failed")),
        }
    });
    Ok(Played { bus: None, judge: Box::new(|fixture| fixture.judge_answers(1, false)) })
}

/// A run that is dropped takes its handlers with it.
fn dropped_run(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    fixture.commit_elsewhere(&command(NAME, "a"))?;
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::MAX, &stop);
    let (its, dropped) = (bus.clone(), CancellationToken::new());
    let seen = dropped.clone();
    fixture.tasks.act("consumer", async move {
        tokio::select! {
            biased;
            () = seen.cancelled() => {}
            _ = its.listen(handlers, options(&stop)) => {}
        }
    });
    fixture.tasks.act("who drops it", async move {
        point("drops the run");
        dropped.cancel();
    });
    Ok(Played { bus: Some(bus), judge: Box::new(|_| Ok(())) })
}

/// What a shutdown cuts off is given back before the run ends.
fn shutdown_at_work(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    fixture.commit_elsewhere(&command(NAME, "a"))?;
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::from_millis(20), &CancellationToken::new());
    let run = options(&stop).grace(Duration::from_millis(5));
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.act("consumer", async move {
        match its.listen(handlers, run).await {
            Ok(report) if report.abandoned.is_empty() => {}
            other => here.tasks.caught(PromiseBroken::new(KEPT, format!("the run ended with {other:?}"))),
        }
    });
    fixture.tasks.act("who shuts it down", async move {
        point("shuts the run down");
        stop.cancel();
    });
    let judge = |fixture: &Fixture| {
        let state = fixture.committed().map_err(|error| PromiseBroken::new(KEPT, error.to_string()))?;
        let kept = state.queue.values().find(|command| command.lease.is_some() || command.attempts > 0);
        match kept {
            Some(command) => {
                Err(PromiseBroken::new(KEPT, format!("the run has ended, and left {command:?}")))
            }
            None => Ok(()),
        }
    };
    Ok(Played { bus: Some(bus), judge: Box::new(judge) })
}

/// What two runs did together.
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

    /// The command is acked, once, or it is there for the next.
    fn judge(&self, fixture: &Fixture) -> std::result::Result<(), PromiseBroken> {
        let state = fixture.committed().map_err(|error| PromiseBroken::new(SETTLED, error.to_string()))?;
        let left = state.queue.values().filter(|command| command.lease.is_none()).count() as u64;
        let acked = self.acked.load(Ordering::SeqCst);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if acked + left == 1 && ended.is_empty() {
            return Ok(());
        }
        let stale = self.stale.load(Ordering::SeqCst);
        let why = format!("{acked} acks, {stale} of them too late, and it is left {left} times; {ended:?}");
        Err(PromiseBroken::new(SETTLED, why))
    }
}

/// How long a handler works. A lease lasts 30.
const WORK: Duration = Duration::from_millis(45);

/// Two consumers, and one command that takes longer than its lease. The first ends when nothing is due any more, the
/// second when a handler has ended.
fn two_consumers(fixture: &Arc<Fixture>, bus: &SqliteBus) -> Result<(Arc<Handled>, Arc<Together>)> {
    fixture.commit_elsewhere(&command(NAME, "a"))?;
    let (handled, together) = (Arc::new(Handled::default()), Arc::new(Together::default()));
    let over = CancellationToken::new();
    let drains = options(&CancellationToken::new()).drain();
    for (who, run) in [("consumer one", drains), ("consumer two", options(&over))] {
        let handlers = handlers(fixture, &handled, WORK, &over);
        let (its, together) = (bus.clone(), Arc::clone(&together));
        fixture.tasks.act(who, async move { together.add(its.listen(handlers, run).await) });
    }
    Ok((handled, together))
}

/// The heartbeat keeps a lease for as long as its handler works.
fn outlasts(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let (handled, together) = two_consumers(fixture, &bus)?;
    let judge = move |fixture: &Fixture| {
        together.judge(fixture)?;
        match handled.count.load(Ordering::SeqCst) {
            1 => Ok(()),
            count => Err(PromiseBroken::new(SETTLED, format!("it was handled {count} times"))),
        }
    };
    Ok(Played { bus: Some(bus), judge: Box::new(judge) })
}

/// A clock that leaps ends a lease under its handler, at any moment: another may get the command, and one of them
/// settles it, or gives it back.
fn leaps(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let (_, together) = two_consumers(fixture, &bus)?;
    let clock = Arc::clone(&fixture.clock);
    fixture.tasks.act("who sets the clock", async move {
        sleep(WORK / 3).await;
        point("sets the clock ahead");
        clock.jump(40);
    });
    Ok(Played { bus: Some(bus), judge: Box::new(move |fixture| together.judge(fixture)) })
}
