//! Who asks the writing thread is answered: after the commit, once, with the own answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{Played, Scenario};
use crate::threads::director::Wrong;
use crate::threads::scene::{NAME, Scene, command};
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

fn two_who_send(scene: &Arc<Scene>) -> Result<Played> {
    let bus = scene.bus(8)?;
    for (who, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(scene), bus.clone());
        scene.director.act(who, async move { here.send(&bus, text).await });
    }
    Ok(Played { bus: Some(bus), judge: Box::new(|scene| scene.judge_answers(2, false)) })
}

/// Some wait until there is room in the line; one of them without an async runtime.
fn room_for_one(scene: &Arc<Scene>) -> Result<Played> {
    let bus = scene.bus(1)?;
    for (who, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(scene), bus.clone());
        scene.director.act(who, async move { here.send(&bus, text).await });
    }
    let (here, its) = (Arc::clone(scene), bus.clone());
    scene.director.act("sender three", async move {
        let answer = its.backend().apply_all_blocking(vec![command(NAME, "c")]).pop();
        here.answered("c", answer.unwrap_or(Err(Error::Closed)));
    });
    Ok(Played { bus: Some(bus), judge: Box::new(|scene| scene.judge_answers(3, false)) })
}

/// A caller drops its future before the answer: the effect is there or not, and nobody else notices.
fn one_who_goes_away(scene: &Arc<Scene>) -> Result<Played> {
    let bus = scene.bus(1)?;
    let (here, its) = (Arc::clone(scene), bus.clone());
    scene.director.act("one who goes away", async move {
        let mut asked = its.backend().apply_all(vec![command(NAME, "gone")]);
        let answered = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_ready())).await;
        fencepost::internals::threads::point("goes away");
        drop(asked);
        here.director.note(if answered { "was answered at once" } else { "is gone" });
    });
    for (who, text) in [("sender one", "a"), ("sender two", "b")] {
        let (here, bus) = (Arc::clone(scene), bus.clone());
        scene.director.act(who, async move { here.send(&bus, text).await });
    }
    Ok(Played { bus: Some(bus), judge: Box::new(|scene| scene.judge_answers(2, false)) })
}

/// Two ask for so much that one transaction must not take it all.
fn more_than_it_takes(scene: &Arc<Scene>) -> Result<Played> {
    const EACH: usize = BATCH_OPS_MAX / 2 + 1;
    let bus = scene.bus(8)?;
    let before = scene.commits()?;
    for who in ["sender one", "sender two"] {
        let bus = bus.clone();
        scene.director.act(who, async move {
            drop(bus.backend().apply_all(vec![command(NAME, who); EACH]).await);
        });
    }
    let judge = move |scene: &Scene| {
        let failed = |error: Error| Wrong::new(ANSWERED, error.to_string());
        let there = scene.committed().map_err(failed)?.queue.len();
        let commits = scene.commits().map_err(failed)? - before;
        if there == 2 * EACH && commits == 2 {
            return Ok(());
        }
        Err(Wrong::new(SMALL, format!("{there} operations were done in {commits} transactions")))
    };
    Ok(Played { bus: Some(bus), judge: Box::new(judge) })
}
