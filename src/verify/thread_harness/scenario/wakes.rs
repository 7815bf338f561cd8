//! Who sleeps is woken by a change, wherever it falls between its last look and its sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use fencepost_model::vocabulary::Name;

use super::{Played, Scenario};
use crate::thread_harness::fixture::{Fixture, NAME, OTHER, command, event};
use crate::threads::PromiseBroken;
use crate::threads::{SHUTDOWN, WOKEN};
use fencepost::error::{Error, Result};
use fencepost::internals::bus::signals::{Change, Interest, Signals};
use fencepost::internals::threads::point;
use fencepost::{
    Bus as _, BusConsumer as _, CancellationToken, Delivery, Handlers, RunError, RunOptions, RunReport,
    SqliteBus,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario::whole("one who waits and one who tells", WOKEN, waits_and_tells),
    Scenario::bounded("a consumer and a sender", WOKEN, consumer_and_sender),
    Scenario::bounded("a group and a publisher", WOKEN, group_and_publisher),
    Scenario::bounded("a consumer and a stranger", WOKEN, consumer_and_stranger),
    Scenario::bounded("a stranger during a look", WOKEN, stranger_during_a_look),
    Scenario::bounded("a stranger among senders", WOKEN, stranger_among_senders),
];

/// The smallest case: who waits looks, and sleeps; who tells changes something, and says so.
fn waits_and_tells(fixture: &Arc<Fixture>) -> Result<Played> {
    let (signals, changed) = (Arc::<Signals>::default(), Arc::<AtomicBool>::default());
    let name = Name::new(NAME).map_err(|_| Error::NotFound)?;
    let (interest, change) = (Interest::Commands([name.clone()].into()), Change::Command(name));
    let (here, seen) = (Arc::clone(&signals), Arc::clone(&changed));
    fixture.tasks.act("who waits", async move {
        let waiter = here.register(interest);
        while !{
            point("looks");
            seen.load(Ordering::SeqCst)
        } {
            waiter.wait().await;
        }
    });
    fixture.tasks.act("who tells", async move {
        point("changes something");
        changed.store(true, Ordering::SeqCst);
        signals.announce(&[change]);
    });
    Ok(Played { bus: None, judge: Box::new(|_| Ok(())) })
}

/// A commit of another connection is noticed at the next look but one.
const LOOKS_MS: u32 = 20;

/// The first look comes so long after somebody fell asleep.
pub(super) const FIRST_LOOK_MS: u64 = 10;

/// What a consumer was handed, and when.
#[derive(Default)]
pub(super) struct Handled {
    pub(super) count: AtomicU32,
    at_ms: AtomicU32,
}

/// Handlers that take note, work for so long, and end the run.
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

/// A consumer until it has handled one message, and a clone of the bus.
fn consumer<F: Future<Output = Result<RunReport, RunError>> + Send>(
    fixture: &Arc<Fixture>,
    bus: &SqliteBus,
    run: impl FnOnce(SqliteBus, Handlers, RunOptions) -> F + Send + 'static,
) -> Arc<Handled> {
    let (handled, stop) = (Arc::new(Handled::default()), CancellationToken::new());
    let handlers = handlers(fixture, &handled, Duration::ZERO, &stop);
    let (here, bus) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.act("consumer", async move {
        match run(bus, handlers, options(&stop)).await {
            Ok(report) if report.acked == 1 && report.released.is_empty() => {}
            other => here.tasks.caught(PromiseBroken::new(SHUTDOWN, format!("the run ended with {other:?}"))),
        }
    });
    handled
}

fn handled_within(bus: SqliteBus, handled: Arc<Handled>, most_ms: u32) -> Played {
    let judge = move |_: &Fixture| {
        let (count, at_ms) = (handled.count.load(Ordering::SeqCst), handled.at_ms.load(Ordering::SeqCst));
        if count == 1 && at_ms <= most_ms {
            return Ok(());
        }
        let why = format!("it was handled {count} times, after {at_ms} ms, and {most_ms} are allowed");
        Err(PromiseBroken::new(WOKEN, why))
    };
    Played { bus: Some(bus), judge: Box::new(judge) }
}

/// Within a process no time has to pass: no timer, and no look at what others have committed.
fn consumer_and_sender(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    let sent = bus.backend().apply_all(vec![command(NAME, "a")]);
    fixture.tasks.act("sender", async move { drop(sent.await) });
    Ok(handled_within(bus, handled, 0))
}

fn group_and_publisher(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(
            fixture,
            &bus,
            |bus, handlers, options| async move { bus.subscribe(handlers, options).await },
        );
    let sent = bus.backend().apply_all(vec![event(NAME, "a")]);
    fixture.tasks.act("publisher", async move { drop(sent.await) });
    Ok(handled_within(bus, handled, 0))
}

/// Commits on another connection, as another process does, when it is chosen: not before this time.
fn stranger(fixture: &Arc<Fixture>, at_ms: u64) {
    let here = Arc::clone(fixture);
    fixture.tasks.act("stranger", async move {
        fencepost::internals::threads::sleep(Duration::from_millis(at_ms)).await;
        point("commits on its own connection");
        if let Err(error) = here.commit_elsewhere(&command(NAME, "a")) {
            here.tasks.caught(PromiseBroken::new(WOKEN, format!("a stranger could not send: {error}")));
        }
    });
}

fn consumer_and_stranger(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    stranger(fixture, 0);
    Ok(handled_within(bus, handled, LOOKS_MS))
}

/// The same at the moment of the first look.
fn stranger_during_a_look(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    stranger(fixture, FIRST_LOOK_MS);
    Ok(handled_within(bus, handled, LOOKS_MS))
}

/// What the bus itself commits for others must not hide what a stranger commits.
fn stranger_among_senders(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    let handled =
        consumer(fixture, &bus, |bus, handlers, options| async move { bus.listen(handlers, options).await });
    stranger(fixture, 0);
    let sent = bus.backend().apply_all(vec![command(OTHER, "b")]);
    fixture.tasks.act("sender", async move { drop(sent.await) });
    Ok(handled_within(bus, handled, LOOKS_MS))
}
