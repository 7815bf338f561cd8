//! Scenarios of requests to the writing thread: each is answered after its commit, once, and with its own answer.
//!
//! Invariant: each task sends one request.
//! Does not depend on: how schedules are chosen, the mutants.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{PlayedTasks, ThreadScenario};
use crate::thread_harness::fixture::{Fixture, NAME, command};
use crate::threads::promises::PromiseBroken;
use crate::threads::promises::{ANSWERED, SMALL};
use fencepost::error::{Error, Result};
use fencepost::internals::bus::Bus as _;
use fencepost::internals::bus::sqlite::BATCH_OPS_MAX;

pub(super) const ALL: &[ThreadScenario] = &[
    ThreadScenario::bounded("two senders", ANSWERED, two_senders),
    ThreadScenario::bounded("a line with room for one", ANSWERED, room_for_one),
    ThreadScenario::bounded("a caller that goes away", ANSWERED, caller_goes_away),
    ThreadScenario::bounded("more than a transaction takes", ANSWERED, more_than_it_takes),
];

fn two_senders(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(8)?;
    for (name, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.begin_task(name, async move { here.send(&bus, text).await });
    }
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(|fixture| fixture.check_answers(2, false)) })
}

/// Senders wait until there is room in the request queue, one of them without an async runtime.
fn room_for_one(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(1)?;
    for (name, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.begin_task(name, async move { here.send(&bus, text).await });
    }
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.begin_task("sender three", async move {
        let answer = its.backend().apply_all_blocking(vec![command(NAME, "c")]).pop();
        here.answered("c", answer.unwrap_or(Err(Error::Closed)));
    });
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(|fixture| fixture.check_answers(3, false)) })
}

/// A caller drops its future before the answer. The answers to the other callers stay correct.
fn caller_goes_away(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    let bus = fixture.bus(1)?;
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.begin_task("a caller that goes away", async move {
        let mut asked = its.backend().apply_all(vec![command(NAME, "gone")]);
        let answered = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_ready())).await;
        fencepost::internals::threads::point("goes away");
        drop(asked);
        here.tasks.note(if answered { "was answered at once" } else { "is gone" });
    });
    for (name, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.begin_task(name, async move { here.send(&bus, text).await });
    }
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(|fixture| fixture.check_answers(2, false)) })
}

/// Two senders send more operations than one transaction may take.
fn more_than_it_takes(fixture: &Arc<Fixture>) -> Result<PlayedTasks> {
    const EACH: usize = BATCH_OPS_MAX / 2 + 1;
    let bus = fixture.bus(8)?;
    let before = fixture.commits()?;
    for name in ["sender one", "sender two"] {
        let bus = bus.clone();
        fixture.tasks.begin_task(name, async move {
            drop(bus.backend().apply_all(vec![command(NAME, name); EACH]).await);
        });
    }
    let check = move |fixture: &Fixture| {
        let failed = |error: Error| PromiseBroken::new(ANSWERED, error.to_string());
        let there = fixture.committed().map_err(failed)?.queue.len();
        let commits = fixture.commits().map_err(failed)? - before;
        if there == 2 * EACH && commits == 2 {
            return Ok(());
        }
        Err(PromiseBroken::new(SMALL, format!("{there} operations were done in {commits} transactions")))
    };
    Ok(PlayedTasks { bus: Some(bus), check: Box::new(check) })
}
