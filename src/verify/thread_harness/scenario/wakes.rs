//! Scenarios of sleepers: a change wakes them, also if it comes between their last look and their sleep.
//!
//! Invariant: in each scenario one task sleeps until another task, or another process, changes something.
//! Does not depend on: how schedules are chosen, the mutants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use fencepost_model::vocabulary::Name;

use super::{PlayedTasks, ThreadScenario};
use crate::thread_harness::fixture::{Fixture, NAME, OTHER, command, event};
use crate::threads::promises::PromiseBroken;
use crate::threads::promises::{SHUTDOWN, WOKEN};
use fencepost::error::{Error, Result};
use fencepost::internals::bus::signals::{Change, Interest, Signals};
use fencepost::internals::threads::point;
use fencepost::{
    Bus as _, BusConsumer as _, CancellationToken, Delivery, Handlers, RunError, RunOptions, RunReport,
    SqliteBus,
};

pub(super) const ALL: &[ThreadScenario] = &[
    ThreadScenario::whole("a waiter and an announcer", WOKEN, waiter_and_announcer),
    ThreadScenario::bounded("a consumer and a sender", WOKEN, consumer_and_sender),
    ThreadScenario::bounded("a group and a publisher", WOKEN, group_and_publisher),
    ThreadScenario::bounded("a consumer and another process", WOKEN, consumer_and_other_process),
    ThreadScenario::bounded("another process during a look", WOKEN, other_process_during_a_look),
    ThreadScenario::bounded("another process among senders", WOKEN, other_process_among_senders),
];

/// The smallest case: the waiter looks and sleeps, the announcer changes something and announces it.
fn waiter_and_announcer(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let (signals, changed) = (Arc::<Signals>::default(), Arc::<AtomicBool>::default());
    let name = Name::new(NAME).map_err(|_| Error::NotFound)?;
    let (interest, change) = (Interest::Commands([name.clone()].into()), Change::Command(name));
    let (here, seen) = (Arc::clone(&signals), Arc::clone(&changed));
    fixture.tasks.begin_task("waiter", async move {
        let waiter = here.register(interest);
        while !{
            point("looks");
            seen.load(Ordering::SeqCst)
        } {
            waiter.wait().await;
        }
    });
    fixture.tasks.begin_task("announcer", async move {
        point("changes something");
        changed.store(true, Ordering::SeqCst);
        signals.announce(&[change]);
    });
    Ok(PlayedTasks { bus: None, check: Box::new(|_| Ok(())) })
}

/// A commit of another connection is noticed at the second look at the latest, in milliseconds.
const LOOKS_MS: u32 = 20;

/// The first look comes so many milliseconds after a consumer fell asleep.
pub(super) const FIRST_LOOK_MS: u64 = 10;

/// How many messages the handlers of a consumer got, and when.
#[derive(Default)]
pub(super) struct Handled {
    pub(super) count: AtomicU32,
    at_ms: AtomicU32,
}

/// Handlers that take a note, work for so long, and end the run.
pub(super) fn handlers(
    fixture: &Arc<Fixture>,
    handled: &Arc<Handled>,
    work: Duration,
    stop: &CancellationToken,
) -> Handlers {
    let (fixture, handled, stop) = (Arc::clone(fixture), Arc::clone(handled), stop.clone());
    let handle = move |delivery: Delivery<String>| {
        fixture.tasks.note(format!("handles {}", delivery.payload));
        handled.count.fetch_add(1, Ordering::SeqCst);
        let passed = u32::try_from(fixture.tasks.passed().as_millis()).unwrap_or(u32::MAX);
        handled.at_ms.fetch_max(passed, Ordering::SeqCst);
        let stop = stop.clone();
        async move {
            if !work.is_zero() {
                fencepost::internals::threads::sleep(work).await;
            }
            stop.cancel();
            Ok(())
        }
    };
    Handlers::new().named("group").on_command(NAME, handle.clone()).on_event(NAME, handle)
}

/// The options of all runs.
pub(super) fn options(stop: &CancellationToken) -> RunOptions {
    RunOptions::new().concurrency(1).shutdown(stop.clone()).grace(Duration::from_millis(50))
}

/// Begins a consumer, which ends after it has handled one message.
fn consumer<F: Future<Output = Result<RunReport, RunError>> + Send>(
    fixture: &Arc<Fixture>,
    bus: &SqliteBus,
    run: impl FnOnce(SqliteBus, Handlers, RunOptions) -> F + Send + 'static,
) -> Arc<Handled> {
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::ZERO, &stop);
    let (here, bus) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.begin_task("consumer", async move {
        match run(bus, handlers, options(&stop)).await {
            Ok(report) if report.acked == 1 && report.released.is_empty() => {}
            other => here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("the run ended with {other:?}"))),
        }
    });
    handled
}

fn handled_within(bus: SqliteBus, handled: Arc<Handled>, most_ms: u32) -> PlayedTasks {
    let check = move |_: &Fixture| {
        let (count, at_ms) = (handled.count.load(Ordering::SeqCst), handled.at_ms.load(Ordering::SeqCst));
        if count == 1 && at_ms <= most_ms {
            return Ok(());
        }
        let why = format!("it was handled {count} times, after {at_ms} ms, and {most_ms} are allowed");
        Err(PromiseBroken::new(WOKEN, why))
    };
    PlayedTasks { bus: Some(bus), check: Box::new(check) }
}

/// Within one process a sender wakes a consumer without a timer and without a look of the watcher.
fn consumer_and_sender(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    let sent = bus.backend().apply_all(vec![command(NAME, "a")]);
    fixture.tasks.begin_task("sender", async move { drop(sent.await) });
    Ok(handled_within(bus, handled, 0))
}

fn group_and_publisher(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(
            fixture,
            &bus,
            |bus, handlers, options| async move { bus.subscribe(handlers, options).await },
        );
    let sent = bus.backend().apply_all(vec![event(NAME, "a")]);
    fixture.tasks.begin_task("publisher", async move { drop(sent.await) });
    Ok(handled_within(bus, handled, 0))
}

/// Begins a task that commits on another connection, as another process does, at this time or later.
fn other_process(fixture: &Arc<Fixture>, at_ms: u64) {
    let here = Arc::clone(fixture);
    fixture.tasks.begin_task("another process", async move {
        fencepost::internals::threads::sleep(Duration::from_millis(at_ms)).await;
        point("commits on its own connection");
        if let Err(error) = here.commit_elsewhere(&command(NAME, "a")) {
            here.tasks.caught(PromiseBroken::new(WOKEN, format!("another process could not send: {error}")));
        }
    });
}

fn consumer_and_other_process(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    other_process(fixture, 0);
    Ok(handled_within(bus, handled, LOOKS_MS))
}

/// The same, with the commit at the time of the first look.
fn other_process_during_a_look(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    other_process(fixture, FIRST_LOOK_MS);
    Ok(handled_within(bus, handled, LOOKS_MS))
}

/// A commit of the bus itself must not hide the commit of another process.
fn other_process_among_senders(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    other_process(fixture, 0);
    let sent = bus.backend().apply_all(vec![command(OTHER, "b")]);
    fixture.tasks.begin_task("sender", async move { drop(sent.await) });
    Ok(handled_within(bus, handled, LOOKS_MS))
}
