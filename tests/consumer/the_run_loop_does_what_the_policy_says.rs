//! Checks the run loop against the policy function of the model, and that every mutant of the run loop is caught.
//!
//! Scenarios run in paused time. A failure prints its scenario, and keeps its seed beside this file, in a file whose name
//! ends in `.regressions`.
//!
//! Invariant: every settlement is the one that the policy gives, and no rule of `fencepost_verify::run_loop` is broken.
//! Does not depend on: the code of the run loop.

use std::time::Duration;

use fencepost::clock::TokioClock;
use fencepost::{
    Bus, BusConsumer, CancellationToken, Delivery, Error, HandlerError, Handlers, MemoryBus, Message,
    RetryPolicy, RunCause, RunOptions, Settlement, Timestamp, Tx,
};
use fencepost_verify::run_loop::scenario::scenario;
use fencepost_verify::run_loop::{RunLoopMutant, breaks, run, survived};
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseError, TestError, TestRunner};

const SEED: u64 = 20_261_124;

#[test]
fn every_settlement_is_what_the_policy_says() {
    let config = Config {
        cases: std::env::var("FENCEPOST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000),
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    println!("seed {SEED}");
    let ran = TestRunner::new(config).run(&scenario(), |scenario| {
        let ran = run(&scenario, None).unwrap();
        ran.checked.map_err(|broken| TestCaseError::fail(broken.to_string()))
    });
    if let Err(TestError::Fail(why, scenario)) = ran {
        let ran = run(&scenario, None).unwrap();
        for note in &ran.notes {
            println!("{} {:?}", note.at, note.what);
        }
        panic!("seed {SEED}: {why}\n{}\n{scenario:#?}", ran.ended);
    }
    ran.unwrap();
}

#[test]
fn every_mutant_breaks_the_rule_that_was_named_for_it() {
    let mut survivors = Vec::new();
    for mutant in RunLoopMutant::ALL {
        match survived(*mutant, SEED, 3_000).unwrap() {
            Some(scenarios) => println!("{mutant:?}: {:?} after {scenarios}", breaks(*mutant)),
            None => survivors.push((mutant, breaks(*mutant))),
        }
    }
    assert!(survivors.is_empty(), "seed {SEED}: {survivors:?}");
}

fn paused() -> MemoryBus {
    MemoryBus::with_clock(std::sync::Arc::new(TokioClock::new(Timestamp::from(1_000_000))))
}

fn drain() -> RunOptions {
    RunOptions::new().retry(RetryPolicy { first_ms: 0, max_ms: 0, seed: 1 }).drain()
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_was_rolled_back_settles_nothing() {
    let bus = paused();
    bus.send(Message::command("work")).await.unwrap();
    let handlers = {
        let bus = bus.clone();
        Handlers::new().on_command("work", move |delivery: Delivery| {
            let bus = bus.clone();
            async move {
                if delivery.attempt() > 1 {
                    return Ok(());
                }
                let work = |tx: &Tx<'_>| tx.ack(delivery).and(Err::<(), _>(Error::NotFound));
                bus.transaction(work).await.map_err(HandlerError::retryable)
            }
        })
    };
    let report = bus.listen(handlers, drain()).await.unwrap();
    assert_eq!((report.retried, report.acked), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_settlement_in_a_transaction_that_was_committed_is_not_repeated() {
    let bus = paused();
    bus.send(Message::command("work")).await.unwrap();
    let handlers = {
        let bus = bus.clone();
        Handlers::new().on_command("work", move |delivery: Delivery| {
            let bus = bus.clone();
            async move { bus.transaction(|tx: &Tx<'_>| tx.ack(delivery)).await.map_err(HandlerError::retryable) }
        })
    };
    let report = bus.listen(handlers, drain()).await.unwrap();
    assert_eq!((report.acked, report.stale), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_does_not_decode_is_a_permanent_failure_and_reaches_no_handler() {
    let bus = paused();
    bus.send(Message::command("work").text("no number")).await.unwrap();
    let handlers = Handlers::new().on_command("work", |_: Delivery<fencepost::Json<u32>>| async {
        panic!("the handler was called");
    });
    let report = bus.listen(handlers, drain()).await.unwrap();
    assert_eq!((report.dead_lettered, report.retried, report.panicked), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_its_handler_nacks_is_handled_again_before_later_events() {
    let bus = paused();
    for text in ["first", "second"] {
        bus.publish(Message::event("work").text(text)).await.unwrap();
    }
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let handlers = {
        let seen = std::sync::Arc::clone(&seen);
        Handlers::new().named("service").on_event("work", move |delivery: Delivery<String>| {
            let seen = std::sync::Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(delivery.payload.clone());
                if delivery.attempt() == 1 && delivery.payload == "first" {
                    delivery.settle(Settlement::Nack { delay_ms: 0, reason: "not yet".into() }).await?;
                }
                Ok(())
            }
        })
    };
    let report = bus.subscribe(handlers, drain()).await.unwrap();
    assert_eq!((report.retried, report.acked, report.stale), (1, 2, 0));
    assert_eq!(*seen.lock().unwrap(), ["first", "first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn events_that_a_shutdown_releases_are_in_the_report() {
    let bus = paused();
    for _ in 0..3 {
        bus.publish(Message::event("work")).await.unwrap();
    }
    let handlers = Handlers::new().named("service").on_event("work", |_: Delivery| async {
        std::future::pending::<()>().await;
        Ok(())
    });
    let shutdown = CancellationToken::new();
    let options = RunOptions::new().shutdown(shutdown.clone()).grace(Duration::from_secs(1));
    let run = tokio::spawn({
        let bus = bus.clone();
        async move { bus.subscribe(handlers, options).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    shutdown.cancel();
    assert_eq!(run.await.unwrap().unwrap().released.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_stops_gives_other_handlers_the_grace_period_and_no_more() {
    let bus = paused();
    for text in ["fails", "hangs"] {
        bus.send(Message::command("work").text(text)).await.unwrap();
    }
    let handlers = Handlers::new().on_command("work", |delivery: Delivery<String>| async move {
        if delivery.payload == "hangs" {
            std::future::pending::<()>().await;
        }
        Err(HandlerError::permanent("never"))
    });
    let options = RunOptions::new().policy(fencepost::FailurePolicy::Stop).grace(Duration::from_secs(1));
    let ended = tokio::time::timeout(Duration::from_secs(5), bus.listen(handlers, options)).await.unwrap();
    let error = ended.unwrap_err();
    assert!(matches!(error.cause, RunCause::Stopped { .. }));
    assert_eq!(error.report.released.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_replica_stands_by_until_the_first_has_ended() {
    let bus = paused();
    bus.publish(Message::event("work")).await.unwrap();
    let run = |hangs: bool, shutdown: &CancellationToken| {
        let handlers = Handlers::new().named("service").on_event("work", move |_: Delivery| async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(())
        });
        let options = RunOptions::new().shutdown(shutdown.clone()).grace(Duration::from_secs(1));
        let bus = bus.clone();
        tokio::spawn(async move { bus.subscribe(handlers, options).await })
    };
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let holds = run(true, &first);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stands_by = run(false, &second);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!stands_by.is_finished(), "the second replica ended");
    first.cancel();
    assert_eq!(holds.await.unwrap().unwrap().released.len(), 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    second.cancel();
    assert_eq!(stands_by.await.unwrap().unwrap().acked, 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_nacked_is_delivered_again_after_its_delay() {
    let bus = paused();
    bus.publish(Message::event("work")).await.unwrap();
    let begun = tokio::time::Instant::now();
    let (shutdown, again) = (CancellationToken::new(), std::sync::Arc::new(std::sync::Mutex::new(None)));
    let handlers = {
        let (shutdown, again) = (shutdown.clone(), std::sync::Arc::clone(&again));
        Handlers::new().named("service").on_event("work", move |delivery: Delivery| {
            let (shutdown, again) = (shutdown.clone(), std::sync::Arc::clone(&again));
            async move {
                if delivery.attempt() == 1 {
                    delivery.settle(Settlement::Nack { delay_ms: 1_234, reason: "not yet".into() }).await?;
                } else {
                    *again.lock().unwrap() = Some(begun.elapsed());
                    shutdown.cancel();
                }
                Ok(())
            }
        })
    };
    bus.subscribe(handlers, RunOptions::new().shutdown(shutdown)).await.unwrap();
    let again = again.lock().unwrap().unwrap().as_millis();
    assert!((1_234..1_300).contains(&again), "after {again} ms");
}
