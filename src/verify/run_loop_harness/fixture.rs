//! The fixture: a bus in memory, handlers that follow their scripts, and the surroundings of the run, in tokio's paused
//! time.
//!
//! Invariant: nothing here waits for the wall clock, and the same scenario gives the same notes.
//! Does not depend on: the rules.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fencepost_model::op::{Op, Settlement};
use fencepost_model::policy::HandlerOutcome;
use fencepost_model::state::{Body, LogRow, State};
use fencepost_model::vocabulary::{Group, Kind, Message, Name, Names, Raw, RawValue, Timestamp, Token};

use crate::run_loop::notes::{Note, Requester, RunAnswer, RunEvent};
use crate::run_loop::scenario::{
    Accident, AfterSettling, HandlerEnd, HandlerScript, PlannedMessage, RunScenario, RunStop,
};
use crate::run_loop::scenario::{GROUP, NAME, ONWARD, OWN_TRACE, trace_of};
use crate::run_loop_harness::recording::{Faults, HANDLING, NoteLog, RecordedBus, RecordingBackend};
use fencepost::clock::TokioClock;
use fencepost::internals::bus::backend::Backend;
use fencepost::internals::bus::request;
use fencepost::internals::consumer::options::RunOptions;
use fencepost::internals::consumer::report::{RunError, RunReport};
use fencepost::internals::delivery::Delivery;
use fencepost::internals::handlers::{HandlerError, HandlerResult, Handlers};
use fencepost::telemetry::TRACEPARENT;
use fencepost::{Bus, BusConsumer, CancellationToken, MemoryBus};

/// A run that has ended: its notes, its result, and the state it left.
#[derive(Debug)]
pub(super) struct PlayedRun {
    /// What happened, in order.
    pub(super) notes: Vec<Note>,
    /// The result of the run; `None` if it was dropped or did not end.
    pub(super) ended: Option<Result<RunReport, RunError>>,
    /// The state of the bus when it ended.
    pub(super) left: State,
}

/// A run that takes longer than this, in paused time, does not end.
const HANGS: Duration = Duration::from_secs(3_600);
/// Notes are taken for so long after the end of the run.
const AFTERWARDS: Duration = Duration::from_secs(5);
const OTHER_LEASE_MS: u64 = 300;

/// Runs a scenario.
///
/// # Errors
/// If no runtime can be built.
pub(super) fn play(scenario: &RunScenario) -> std::io::Result<PlayedRun> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(run(scenario)))
}

async fn run(scenario: &RunScenario) -> PlayedRun {
    let clock = Arc::new(TokioClock::new(Timestamp::from(1_000_000)));
    let memory = MemoryBus::with_clock(Arc::clone(&clock) as _);
    let record = NoteLog::new(clock);
    let backend: Arc<dyn Backend> = Arc::new(RecordingBackend {
        inner: Arc::clone(memory.backend()),
        record: record.clone(),
        faults: Mutex::new(Faults::new(&scenario.faults)),
    });
    let bus = RecordedBus(backend);
    let shutdown = CancellationToken::new();
    let surroundings =
        Surroundings { scenario, memory: memory.clone(), record: record.clone(), shutdown: shutdown.clone() };
    surroundings.put_initial_messages().await;
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
    if matches!(scenario.stop, RunStop::Drained | RunStop::DrainedOrShutdown(_)) {
        options = options.drain();
    }
    let mut run = Box::pin(bus.run(handlers(&bus, &record, scenario), options));
    let ended = tokio::select! {
        biased;
        ended = tokio::time::timeout(HANGS, &mut run) => ended.ok(),
        () = surroundings.run() => {
            record.note(RunEvent::Dropped);
            None
        }
    };
    if ended.is_some() {
        record.note(RunEvent::Returned);
    }
    let left = memory.state();
    drop(run);
    tokio::time::sleep(AFTERWARDS).await;
    PlayedRun { notes: record.all(), ended, left }
}

/// What happens around the run: messages, other consumers, the shutdown.
struct Surroundings<'a> {
    scenario: &'a RunScenario,
    memory: MemoryBus,
    record: NoteLog,
    shutdown: CancellationToken,
}

enum OutsideEvent {
    Message(usize),
    Accident(Accident),
    Shutdown,
    Drop,
}

impl Surroundings<'_> {
    async fn put_initial_messages(&self) {
        for (index, planned) in self.scenario.messages.iter().enumerate() {
            if planned.at_ms == 0 {
                self.put(index, planned).await;
            }
        }
    }

    /// Runs all outside events at their times. Returns when the run must be dropped, and otherwise never.
    async fn run(&self) {
        let began = tokio::time::Instant::now();
        let messages = self.scenario.messages.iter().enumerate().filter(|(_, planned)| planned.at_ms > 0);
        let messages = messages.map(|(index, planned)| (planned.at_ms, OutsideEvent::Message(index)));
        let accidents = self.scenario.accidents.iter();
        let accidents = accidents.map(|(at_ms, accident)| (*at_ms, OutsideEvent::Accident(*accident)));
        let mut events: Vec<_> = messages.chain(accidents).collect();
        match self.scenario.stop {
            RunStop::Drained => {}
            RunStop::Shutdown(at_ms) | RunStop::DrainedOrShutdown(at_ms) => {
                events.push((at_ms, OutsideEvent::Shutdown));
            }
            RunStop::Dropped(at_ms) => events.push((at_ms, OutsideEvent::Drop)),
        }
        events.sort_by_key(|(at_ms, _)| *at_ms);
        for (at_ms, event) in events {
            tokio::time::sleep_until(began + Duration::from_millis(at_ms.into())).await;
            match event {
                OutsideEvent::Message(index) => self.put(index, &self.scenario.messages[index]).await,
                OutsideEvent::Accident(accident) => self.act(accident).await,
                OutsideEvent::Shutdown => {
                    self.record.note(RunEvent::Shutdown);
                    self.shutdown.cancel();
                }
                OutsideEvent::Drop => return,
            }
        }
        std::future::pending().await
    }

    async fn put(&self, index: usize, planned: &PlannedMessage) {
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

    async fn act(&self, accident: Accident) {
        let (Ok(group), Ok(names)) = (Group::new(GROUP), request::names(&[NAME])) else { return };
        let now = self.memory.backend().clock().now();
        let ops = match accident {
            Accident::CommandStolen => {
                // The clocks differ: for the other consumer the lease has expired.
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
        self.record.note(RunEvent::Asked(Requester::OtherConsumer, ops.clone()));
        let replies = self.memory.backend().apply_all(ops.clone()).await;
        let answers = replies.into_iter().map(|reply| reply.map_or(RunAnswer::Closed, RunAnswer::Reply));
        self.record
            .note(RunEvent::Answered(Requester::OtherConsumer, ops.into_iter().zip(answers).collect()));
    }

    fn claim(&self, names: Names) -> Op {
        let (max, attempts_max) = (request::at_least_one(1), request::at_least_one(u32::MAX));
        Op::Claim { names, max, lease_ms: OTHER_LEASE_MS, attempts_max }
    }

    fn poll(&self, group: Group, names: Names) -> Op {
        let (max, attempts_max) = (request::at_least_one(1), request::at_least_one(u32::MAX));
        Op::Poll { group, names, token: None, max, lease_ms: OTHER_LEASE_MS, attempts_max }
    }
}

/// What all handlers share.
struct HandlerContext {
    bus: RecordedBus,
    record: NoteLog,
    messages: Vec<(PlannedMessage, AtomicUsize)>,
}

impl HandlerContext {
    /// The script of the next attempt at a message. After the last script, attempts succeed.
    fn script(&self, delivery: &Delivery<String>) -> HandlerScript {
        let done = HandlerScript { work_ms: 0, extends_ms: None, sends: None, end: HandlerEnd::Handled };
        let index: Option<usize> = delivery.payload.parse().ok();
        let Some((planned, began)) = index.and_then(|index| self.messages.get(index)) else { return done };
        planned.scripts.get(began.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(done)
    }
}

fn handlers(bus: &RecordedBus, record: &NoteLog, scenario: &RunScenario) -> Handlers {
    let messages = scenario.messages.iter().map(|planned| (planned.clone(), AtomicUsize::new(0))).collect();
    let context = Arc::new(HandlerContext { bus: bus.clone(), record: record.clone(), messages });
    let other = Arc::clone(&context);
    Handlers::new()
        .named(GROUP)
        .on_command(NAME, move |delivery| handle(Arc::clone(&context), delivery))
        .on_event(NAME, move |delivery| handle(Arc::clone(&other), delivery))
}

/// Takes a note of the end of a handler, also after a panic or a cancellation.
struct EndNote {
    record: NoteLog,
    token: Token,
    target: fencepost::Target,
    outcome: Option<HandlerOutcome>,
}

impl Drop for EndNote {
    fn drop(&mut self) {
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| if std::thread::panicking() { panicked() } else { HandlerOutcome::Cancelled });
        self.record.note(RunEvent::Ended(self.token, self.target.clone(), outcome));
    }
}

fn panicked() -> HandlerOutcome {
    HandlerOutcome::Panicked { reason: "the handler panicked: as its script says".into() }
}

async fn handle(context: Arc<HandlerContext>, delivery: Delivery<String>) -> HandlerResult {
    let (token, target) = (delivery.token(), delivery.target().clone());
    context.record.note(RunEvent::Began(token, target.clone()));
    let record = context.record.clone();
    let mut ending = EndNote { record, token, target: target.clone(), outcome: None };
    let script = context.script(&delivery);
    let lost = delivery.lost();
    let listens = async {
        lost.await;
        context.record.note(RunEvent::LossReported(token, target));
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        biased;
        () = listens => Ok(()),
        ended = HANDLING.scope(token, perform(&context, &script, delivery)) => ended,
    };
    ending.outcome =
        Some(ended.as_ref().map_or_else(|error| error.outcome().clone(), |()| HandlerOutcome::Handled));
    ended
}

async fn perform(
    context: &HandlerContext,
    script: &HandlerScript,
    delivery: Delivery<String>,
) -> HandlerResult {
    if let Some(by_ms) = script.extends_ms {
        delivery.extend(Duration::from_millis(by_ms.into())).await?;
    }
    if script.work_ms > 0 {
        tokio::time::sleep(Duration::from_millis(script.work_ms.into())).await;
    }
    if let Some(own) = script.sends {
        let draft = Message::command(ONWARD).text(&delivery.payload);
        context.bus.send(if own { draft.metadata(TRACEPARENT, OWN_TRACE) } else { draft }).await?;
    }
    match script.end {
        HandlerEnd::Handled => Ok(()),
        HandlerEnd::Retryable(None) => Err(HandlerError::retryable("not yet")),
        HandlerEnd::Retryable(Some(ms)) => {
            Err(HandlerError::retry_after(Duration::from_millis(ms.into()), "later"))
        }
        HandlerEnd::Permanent => Err(HandlerError::permanent("never")),
        HandlerEnd::Park => Err(HandlerError::park("look at this")),
        HandlerEnd::Panic => panics(),
        HandlerEnd::Transaction(then) => {
            match delivery.transaction(|_| Ok::<_, fencepost::Error>(())).await {
                Ok(()) => {}
                Err(error) => return Err(HandlerError::retryable(error)),
            }
            match then {
                AfterSettling::Return => Ok(()),
                AfterSettling::Fail => Err(HandlerError::permanent("never, although it is done")),
                AfterSettling::Panic => panics(),
            }
        }
        HandlerEnd::TakenBack => {
            let work = |tx: &fencepost::Tx<'_>| {
                tx.ack(delivery)?;
                Err::<(), _>(fencepost::Error::NotFound)
            };
            match context.bus.transaction(work).await {
                Ok(()) => Ok(()),
                Err(error) => Err(HandlerError::retryable(error)),
            }
        }
        HandlerEnd::NackByHand(ms) => {
            let how = Settlement::Nack { delay_ms: ms.into(), reason: "by hand".into() };
            Ok(delivery.settle(how).await.map(|_| ())?)
        }
        HandlerEnd::DeadLetterByHand => Ok(delivery.dead_letter("by hand").await.map(|_| ())?),
        HandlerEnd::ReleaseByHand => Ok(delivery.release().await?),
    }
}

/// Panics, and prints nothing.
fn panics() -> HandlerResult {
    std::panic::resume_unwind(Box::new("as its script says"))
}
