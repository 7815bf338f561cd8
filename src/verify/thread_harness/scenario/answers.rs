//! Who asks the writing thread is answered: after the commit, once, with the own answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{Played, Scenario};
use crate::thread_harness::fixture::{Fixture, NAME, command};
use crate::threads::PromiseBroken;
use crate::threads::{ANSWERED, SMALL};
use fencepost::error::{Error, Result};
use fencepost::internals::bus::Bus as _;
use fencepost::internals::bus::sqlite::BATCH_OPS_MAX;

pub(super) const ALL: &[Scenario] = &[
    Scenario::bounded("two who send", ANSWERED, two_who_send),
    Scenario::bounded("a line with room for one", ANSWERED, room_for_one),
    Scenario::bounded("one who goes away", ANSWERED, one_who_goes_away),
    Scenario::bounded("more than a transaction takes", ANSWERED, more_than_it_takes),
];

fn two_who_send(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(8)?;
    for (who, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.act(who, async move { here.send(&bus, text).await });
    }
    Ok(Played { bus: Some(bus), judge: Box::new(|fixture| fixture.judge_answers(2, false)) })
}

/// Some wait until there is room in the line; one of them without an async runtime.
fn room_for_one(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(1)?;
    for (who, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.act(who, async move { here.send(&bus, text).await });
    }
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.act("sender three", async move {
        let answer = its.backend().apply_all_blocking(vec![command(NAME, "c")]).pop();
        here.answered("c", answer.unwrap_or(Err(Error::Closed)));
    });
    Ok(Played { bus: Some(bus), judge: Box::new(|fixture| fixture.judge_answers(3, false)) })
}

/// A caller drops its future before the answer: the effect is there or not, and nobody else notices.
fn one_who_goes_away(fixture: &Arc<Fixture>) -> Result<Played> {
    let bus = fixture.bus(1)?;
    let (here, its) = (Arc::clone(fixture), bus.clone());
    fixture.tasks.act("one who goes away", async move {
        let mut asked = its.backend().apply_all(vec![command(NAME, "gone")]);
        let answered = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_ready())).await;
        fencepost::internals::threads::point("goes away");
        drop(asked);
        here.tasks.note(if answered { "was answered at once" } else { "is gone" });
    });
    for (who, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(fixture), bus.clone());
        fixture.tasks.act(who, async move { here.send(&bus, text).await });
    }
    Ok(Played { bus: Some(bus), judge: Box::new(|fixture| fixture.judge_answers(2, false)) })
}

/// Two ask for so much that one transaction must not take it all.
fn more_than_it_takes(fixture: &Arc<Fixture>) -> Result<Played> {
    const EACH: usize = BATCH_OPS_MAX / 2 + 1;
    let bus = fixture.bus(8)?;
    let before = fixture.commits()?;
    for who in ["sender one", "sender two"] {
        let bus = bus.clone();
        fixture.tasks.act(who, async move {
            drop(bus.backend().apply_all(vec![command(NAME, who); EACH]).await);
        });
    }
    let judge = move |fixture: &Fixture| {
        let failed = |error: Error| PromiseBroken::new(ANSWERED, error.to_string());
        let there = fixture.committed().map_err(failed)?.queue.len();
        let commits = fixture.commits().map_err(failed)? - before;
        if there == 2 * EACH && commits == 2 {
            return Ok(());
        }
        Err(PromiseBroken::new(SMALL, format!("{there} operations were done in {commits} transactions")))
    };
    Ok(Played { bus: Some(bus), judge: Box::new(judge) })
}
