//! The stage: a bus in memory, handlers that play their scripts, and the world around them, in tokio's paused time.
//!
//! What always holds: nothing here waits for the wall clock, and a scenario plays the same each time. Handlers decide
//! nothing but what their script says. This module does not judge.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fencepost_model::op::{Op, Settlement};
use fencepost_model::policy::HandlerOutcome;
use fencepost_model::state::{Body, LogRow, State};
use fencepost_model::vocabulary::{Group, Kind, Message, Name, Names, Raw, RawValue, Timestamp, Token};

use crate::run_loop::notes::{Answer, Note, What, Who};
use crate::run_loop::scenario::{Accident, End, Planned, Scenario, Script, Stop, Then};
use crate::run_loop::scenario::{GROUP, NAME, ONWARD, OWN_TRACE, trace_of};
use crate::run_loop_harness::recording::{Faults, HANDLING, Record, RecordedBus, Recording};
use fencepost::clock::TokioClock;
use fencepost::internals::bus::backend::Backend;
use fencepost::internals::bus::request;
use fencepost::internals::consumer::options::RunOptions;
use fencepost::internals::consumer::report::{RunError, RunReport};
use fencepost::internals::delivery::Delivery;
use fencepost::internals::handlers::{HandlerError, HandlerResult, Handlers};
use fencepost::telemetry::TRACEPARENT;
use fencepost::{Bus, BusConsumer, CancellationToken, MemoryBus};

/// What a run did, and what it left.
#[derive(Debug)]
pub(super) struct Played {
    /// What happened, in order.
    pub(super) notes: Vec<Note>,
    /// How the run ended; nothing if it was dropped, or never ended.
    pub(super) ended: Option<Result<RunReport, RunError>>,
    /// The state of the bus when it ended.
    pub(super) left: State,
}

/// Longer than any run takes that ends, in its own time.
const HANGS: Duration = Duration::from_secs(3_600);
/// What still happens afterwards is noted for this long.
const AFTERWARDS: Duration = Duration::from_secs(5);
const STRANGERS_LEASE_MS: u64 = 300;

/// Runs a scenario.
///
/// # Errors
/// There is no runtime.
pub(super) fn play(scenario: &Scenario) -> std::io::Result<Played> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(act(scenario)))
}

async fn act(scenario: &Scenario) -> Played {
    let clock = Arc::new(TokioClock::new(Timestamp::from(1_000_000)));
    let memory = MemoryBus::with_clock(Arc::clone(&clock) as _);
    let record = Record::new(clock);
    let backend: Arc<dyn Backend> = Arc::new(Recording {
        inner: Arc::clone(memory.backend()),
        record: record.clone(),
        faults: Mutex::new(Faults::new(&scenario.faults)),
    });
    let bus = RecordedBus(backend);
    let shutdown = CancellationToken::new();
    let world =
        World { scenario, memory: memory.clone(), record: record.clone(), shutdown: shutdown.clone() };
    world.put_what_is_there().await;
    let mut options = RunOptions::new()
        .concurrency(scenario.concurrency)
        .batch(scenario.batch)
        .lease(Duration::from_millis(scenario.lease_ms.into()))
        .attempts_max(scenario.attempts_max)
        .policy(scenario.policy)
        .retry(scenario.retry)
        .heartbeat(scenario.heartbeat)
        .grace(Duration::from_millis(scenario.grace_ms.into()))
        .shutdown(shutdown);
    if matches!(scenario.stop, Stop::Drained | Stop::DrainedOrShutdown(_)) {
        options = options.drain();
    }
    let mut run = Box::pin(bus.run(handlers(&bus, &record, scenario), options));
    let ended = tokio::select! {
        biased;
        ended = tokio::time::timeout(HANGS, &mut run) => ended.ok(),
        () = world.turn() => {
            record.note(What::Dropped);
            None
        }
    };
    if ended.is_some() {
        record.note(What::Returned);
    }
    let left = memory.state();
    drop(run);
    tokio::time::sleep(AFTERWARDS).await;
    Played { notes: record.all(), ended, left }
}

/// What happens around the run.
struct World<'a> {
    scenario: &'a Scenario,
    memory: MemoryBus,
    record: Record,
    shutdown: CancellationToken,
}

enum Happening {
    Message(usize),
    Accident(Accident),
    Shutdown,
    Drop,
}

impl World<'_> {
    async fn put_what_is_there(&self) {
        for (index, planned) in self.scenario.messages.iter().enumerate() {
            if planned.at_ms == 0 {
                self.put(index, planned).await;
            }
        }
    }

    /// Lets everything happen in its time. Ends when the run is to be dropped, and otherwise never.
    async fn turn(&self) {
        let began = tokio::time::Instant::now();
        let messages = self.scenario.messages.iter().enumerate().filter(|(_, planned)| planned.at_ms > 0);
        let messages = messages.map(|(index, planned)| (planned.at_ms, Happening::Message(index)));
        let accidents = self.scenario.accidents.iter();
        let accidents = accidents.map(|(at_ms, accident)| (*at_ms, Happening::Accident(*accident)));
        let mut happenings: Vec<_> = messages.chain(accidents).collect();
        match self.scenario.stop {
            Stop::Drained => {}
            Stop::Shutdown(at_ms) | Stop::DrainedOrShutdown(at_ms) => {
                happenings.push((at_ms, Happening::Shutdown));
            }
            Stop::Dropped(at_ms) => happenings.push((at_ms, Happening::Drop)),
        }
        happenings.sort_by_key(|(at_ms, _)| *at_ms);
        for (at_ms, happening) in happenings {
            tokio::time::sleep_until(began + Duration::from_millis(at_ms.into())).await;
            match happening {
                Happening::Message(index) => self.put(index, &self.scenario.messages[index]).await,
                Happening::Accident(accident) => self.suffer(accident).await,
                Happening::Shutdown => {
                    self.record.note(What::Shutdown);
                    self.shutdown.cancel();
                }
                Happening::Drop => return,
            }
        }
        std::future::pending().await
    }

    async fn put(&self, index: usize, planned: &Planned) {
        let draft = if planned.kind == Kind::Command { Message::command(NAME) } else { Message::event(NAME) };
        let mut draft = draft.text(index.to_string());
        if planned.traced {
            draft = draft.metadata(TRACEPARENT, trace_of(index));
        }
        let kept = match planned.kind {
            Kind::Command => self.memory.send(draft).await,
            Kind::Event => self.memory.publish(draft).await,
        };
        if let (Ok(receipt), true, Ok(name)) = (kept, planned.corrupt, Name::new(NAME)) {
            let raw = Raw([(Arc::from("payload"), RawValue::Null)].into());
            let body = Body::Corrupt { name, raw };
            self.memory.tamper(|state| match planned.kind {
                Kind::Command => {
                    if let Some(command) = state.queue.get_mut(&receipt.seq) {
                        command.body = body;
                    }
                }
                Kind::Event => {
                    state.log.insert(receipt.seq, LogRow::Event(body));
                }
            });
        }
    }

    async fn suffer(&self, accident: Accident) {
        let (Ok(group), Ok(names)) = (Group::new(GROUP), request::names(&[NAME])) else { return };
        let now = self.memory.backend().clock().now();
        let ops = match accident {
            Accident::CommandStolen => {
                // Their clocks differ: the other finds the lease over.
                self.memory.tamper(|state| {
                    if let Some(command) = state.queue.values_mut().find(|command| command.lease.is_some()) {
                        command.due_at = now;
                    }
                });
                vec![self.claim(names)]
            }
            Accident::CursorStolen => {
                self.memory.tamper(|state| {
                    if let Some(cursor) = state.groups.get_mut(&group).filter(|cursor| cursor.lease.is_some())
                    {
                        cursor.due_at = now;
                    }
                });
                vec![self.poll(group, names)]
            }
            Accident::Redriven => {
                let records = self.memory.state().records.into_keys();
                records.map(|record| Op::Redrive { record }).collect()
            }
        };
        self.record.note(What::Asked(Who::Stranger, ops.clone()));
        let replies = self.memory.backend().apply_all(ops.clone()).await;
        let answers = replies.into_iter().map(|reply| reply.map_or(Answer::Closed, Answer::Reply));
        self.record.note(What::Answered(Who::Stranger, ops.into_iter().zip(answers).collect()));
    }

    fn claim(&self, names: Names) -> Op {
        let (max, attempts_max) = (request::at_least_one(1), request::at_least_one(u32::MAX));
        Op::Claim { names, max, lease_ms: STRANGERS_LEASE_MS, attempts_max }
    }

    fn poll(&self, group: Group, names: Names) -> Op {
        let (max, attempts_max) = (request::at_least_one(1), request::at_least_one(u32::MAX));
        Op::Poll { group, names, token: None, max, lease_ms: STRANGERS_LEASE_MS, attempts_max }
    }
}

/// What handlers share.
struct Cast {
    bus: RecordedBus,
    record: Record,
    messages: Vec<(Planned, AtomicUsize)>,
}

impl Cast {
    /// The script of the next attempt at a message: the last is followed by success.
    fn script(&self, delivery: &Delivery<String>) -> Script {
        let done = Script { work_ms: 0, extends_ms: None, sends: None, end: End::Handled };
        let index: Option<usize> = delivery.payload.parse().ok();
        let Some((planned, began)) = index.and_then(|index| self.messages.get(index)) else { return done };
        planned.scripts.get(began.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(done)
    }
}

fn handlers(bus: &RecordedBus, record: &Record, scenario: &Scenario) -> Handlers {
    let messages = scenario.messages.iter().map(|planned| (planned.clone(), AtomicUsize::new(0))).collect();
    let cast = Arc::new(Cast { bus: bus.clone(), record: record.clone(), messages });
    let other = Arc::clone(&cast);
    Handlers::new()
        .named(GROUP)
        .on_command(NAME, move |delivery| handle(Arc::clone(&cast), delivery))
        .on_event(NAME, move |delivery| handle(Arc::clone(&other), delivery))
}

/// Takes note of a handler's end, however it ends.
struct Ending {
    record: Record,
    token: Token,
    target: fencepost::Target,
    outcome: Option<HandlerOutcome>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| if std::thread::panicking() { panicked() } else { HandlerOutcome::Cancelled });
        self.record.note(What::Ended(self.token, self.target.clone(), outcome));
    }
}

fn panicked() -> HandlerOutcome {
    HandlerOutcome::Panicked { reason: "the handler panicked: as its script says".into() }
}

async fn handle(cast: Arc<Cast>, delivery: Delivery<String>) -> HandlerResult {
    let (token, target) = (delivery.token(), delivery.target().clone());
    cast.record.note(What::Began(token, target.clone()));
    let record = cast.record.clone();
    let mut ending = Ending { record, token, target: target.clone(), outcome: None };
    let script = cast.script(&delivery);
    let lost = delivery.lost();
    let listens = async {
        lost.await;
        cast.record.note(What::Told(token, target));
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        biased;
        () = listens => Ok(()),
        ended = HANDLING.scope(token, perform(&cast, &script, delivery)) => ended,
    };
    ending.outcome =
        Some(ended.as_ref().map_or_else(|error| error.outcome().clone(), |()| HandlerOutcome::Handled));
    ended
}

async fn perform(cast: &Cast, script: &Script, delivery: Delivery<String>) -> HandlerResult {
    if let Some(by_ms) = script.extends_ms {
        delivery.extend(Duration::from_millis(by_ms.into())).await?;
    }
    if script.work_ms > 0 {
        tokio::time::sleep(Duration::from_millis(script.work_ms.into())).await;
    }
    if let Some(own) = script.sends {
        let draft = Message::command(ONWARD).text(&delivery.payload);
        cast.bus.send(if own { draft.metadata(TRACEPARENT, OWN_TRACE) } else { draft }).await?;
    }
    match script.end {
        End::Handled => Ok(()),
        End::Retryable(None) => Err(HandlerError::retryable("not yet")),
        End::Retryable(Some(ms)) => Err(HandlerError::retry_after(Duration::from_millis(ms.into()), "later")),
        End::Permanent => Err(HandlerError::permanent("never")),
        End::Park => Err(HandlerError::park("look at this")),
        End::Panic => panics(),
        End::Transaction(then) => {
            match delivery.transaction(|_| Ok::<_, fencepost::Error>(())).await {
                Ok(()) => {}
                Err(error) => return Err(HandlerError::retryable(error)),
            }
            match then {
                Then::Return => Ok(()),
                Then::Fail => Err(HandlerError::permanent("never, although it is done")),
                Then::Panic => panics(),
            }
        }
        End::TakenBack => {
            let work = |tx: &fencepost::Tx<'_>| {
                tx.ack(delivery)?;
                Err::<(), _>(fencepost::Error::NotFound)
            };
            match cast.bus.transaction(work).await {
                Ok(()) => Ok(()),
                Err(error) => Err(HandlerError::retryable(error)),
            }
        }
        End::NackByHand(ms) => {
            let how = Settlement::Nack { delay_ms: ms.into(), reason: "by hand".into() };
            Ok(delivery.settle(how).await.map(|_| ())?)
        }
        End::DeadLetterByHand => Ok(delivery.dead_letter("by hand").await.map(|_| ())?),
        End::ReleaseByHand => Ok(delivery.release().await?),
    }
}

/// Panics, and prints nothing.
fn panics() -> HandlerResult {
    std::panic::resume_unwind(Box::new("as its script says"))
}
