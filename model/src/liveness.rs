//! The liveness guarantees L1 to L4, as bounded properties: once faults stop, a bounded number of fair rounds is
//! enough.
//!
//! From a state, consumers that ask for every name run to a bound that follows from the content of the state. The
//! property must hold at the end. A model checker's `eventually` is not used, because stateright's misses cycles.
//!
//! Invariant: a result of "held" means that there was something to wait for.
//! Does not depend on: `step`, and scopes.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::invariant::CheckResult;
use crate::op::{Delivery, Op, Reply, Settlement, Target};
use crate::state::{LogRow, State};
use crate::vocabulary::{Names, Reason, Seq, Timestamp};
use crate::world::{Rules, World};

/// One operation of a fair run, with its time and its answer.
pub type FairStep = (Timestamp, Op, Reply);

/// A liveness property of the contract.
#[derive(Clone, Copy)]
pub struct LivenessProperty {
    /// Its number in the contract.
    pub id: &'static str,
    /// Its name, a sentence.
    pub name: &'static str,
    check: fn(&mut FairRuns<'_>) -> CheckResult,
}

impl LivenessProperty {
    /// Checks the property in a world, under some rules.
    pub fn check(&self, world: &World, rules: &dyn Rules) -> CheckResult {
        (self.check)(&mut FairRuns { world, rules, steps: None })
    }

    /// If the property does not hold: the reason, and the fair run from this world that shows it.
    pub fn counterexample(&self, world: &World, rules: &dyn Rules) -> Option<(String, Vec<FairStep>)> {
        let mut fair = FairRuns { world, rules, steps: Some(Vec::new()) };
        match (self.check)(&mut fair) {
            CheckResult::Violated(why) => Some((why, fair.steps.unwrap_or_default())),
            CheckResult::Vacuous | CheckResult::Held => None,
        }
    }
}

/// All liveness properties.
pub const LIVENESS: [LivenessProperty; 4] = [
    LivenessProperty { id: "L1", name: "every_command_comes_to_rest", check: every_command_comes_to_rest },
    LivenessProperty { id: "L2", name: "an_abandoned_lease_is_claimed_again", check: abandoned_leases },
    LivenessProperty {
        id: "L3",
        name: "a_poison_message_holds_up_others_only_for_a_bounded_number_of_attempts",
        check: poison_is_bounded,
    },
    LivenessProperty {
        id: "L4",
        name: "every_group_reaches_every_head_that_was",
        check: every_group_reaches_the_head,
    },
];

/// Runs fair consumers from one world. Keeps the operations of the last run if `steps` asks for them.
struct FairRuns<'a> {
    world: &'a World,
    rules: &'a dyn Rules,
    steps: Option<Vec<FairStep>>,
}

/// How the handlers of a fair run behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandlerBehaviour {
    /// They ack every delivery.
    Ack,
    /// They fail every delivery.
    Fail,
    /// Their worker dies with every delivery.
    Die,
    /// Their worker dies with this message, and acks the others.
    DieOf(Poison),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poison {
    Command(Seq),
    Event(Seq),
}

/// The limit on attempts that fair consumers pass to the bus.
const ATTEMPTS_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// A fair run, with the deliveries that it handed out and the commands that it set aside.
struct FairRun {
    state: State,
    handed: BTreeMap<Target, u32>,
    set_aside: BTreeSet<Seq>,
    steps: Option<Vec<FairStep>>,
}

/// All names of the queue and of the groups.
fn every_name(state: &State) -> Names {
    let queued = state.queue.values().filter_map(|command| command.body.name());
    let read = state.groups.values().flat_map(|cursor| cursor.names.keys());
    queued.chain(read).cloned().collect()
}

/// A bound on the rounds: until the last message is due, and then for each message all its attempts, each with a lease
/// that expires.
fn rounds(state: &State, now: Timestamp) -> u64 {
    let commands = state.queue.values().map(|command| command.due_at);
    let cursors = state.groups.values().map(|cursor| cursor.due_at);
    let entries = state.groups.values().flat_map(|cursor| cursor.entries.values().map(|entry| entry.due_at));
    let last = commands.chain(cursors).chain(entries).max().unwrap_or(now);
    let waiting = last.get().saturating_sub(now.get());
    let entries: usize = state.groups.values().map(|cursor| cursor.entries.len()).sum();
    let things = state.queue.len() + state.unreadable.len() + entries + state.log.len();
    waiting + things as u64 * (u64::from(ATTEMPTS_MAX.get()) + 1) + 2
}

impl FairRuns<'_> {
    fn run(&mut self, behaviour: HandlerBehaviour) -> FairRun {
        let (world, rules) = (self.world, self.rules);
        let steps = self.steps.as_ref().map(|_| Vec::new());
        let mut run = FairRun {
            state: world.state.clone(),
            handed: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            steps,
        };
        let names = every_name(&run.state);
        let groups: Vec<_> = run.state.groups.keys().cloned().collect();
        let mut now = world.now;
        for _ in 0..rounds(&world.state, world.now) {
            now = now.plus(1);
            let (max, attempts_max) = (NonZeroU32::MIN, ATTEMPTS_MAX);
            let claim = Op::Claim { names: names.clone(), max, lease_ms: 1, attempts_max };
            run.take(rules, now, &claim, behaviour);
            for group in &groups {
                let (group, names) = (group.clone(), names.clone());
                let poll = Op::Poll { group, names, token: None, max, lease_ms: 1, attempts_max };
                run.take(rules, now, &poll, behaviour);
            }
        }
        self.steps.clone_from(&run.steps);
        run
    }
}

impl FairRun {
    fn apply(&mut self, rules: &dyn Rules, now: Timestamp, op: &Op) -> Reply {
        let reply = rules.apply(&mut self.state, now, op);
        if let Some(steps) = &mut self.steps {
            steps.push((now, op.clone(), reply.clone()));
        }
        reply
    }

    /// One consumer takes one delivery and handles it according to its behaviour.
    fn take(&mut self, rules: &dyn Rules, now: Timestamp, op: &Op, behaviour: HandlerBehaviour) {
        let Reply::HandedOut { deliveries, dead_lettered } = self.apply(rules, now, op) else {
            return;
        };
        for record in dead_lettered.iter().filter_map(|id| self.state.records.get(id)) {
            if let crate::state::Origin::Queue { seq } = record.origin {
                self.set_aside.insert(seq);
            }
        }
        for delivery in deliveries {
            *self.handed.entry(delivery.target.clone()).or_default() += 1;
            let reason = Reason::from("fair");
            let how = match behaviour {
                HandlerBehaviour::Die => continue,
                HandlerBehaviour::DieOf(poison) if is_poison(poison, &delivery) => continue,
                _ if !delivery.body.is_sound() => Settlement::DeadLetter { reason },
                HandlerBehaviour::Fail => Settlement::Nack { delay_ms: 0, reason },
                HandlerBehaviour::Ack | HandlerBehaviour::DieOf(_) => Settlement::Ack,
            };
            let settle = Op::Settle { target: delivery.target, token: delivery.token, how };
            self.apply(rules, now, &settle);
        }
    }
}

fn is_poison(poison: Poison, delivery: &Delivery) -> bool {
    match (poison, &delivery.target) {
        (Poison::Command(seq), Target::Command(of)) => seq == *of,
        (Poison::Event(seq), Target::Event { .. } | Target::Entry { .. }) => seq == delivery.seq,
        _ => false,
    }
}

/// L1: for every behaviour of handlers, every command ends acked, dead or parked.
fn every_command_comes_to_rest(fair: &mut FairRuns<'_>) -> CheckResult {
    if fair.world.state.queue.is_empty() && fair.world.state.unreadable.is_empty() {
        return CheckResult::Vacuous;
    }
    for behaviour in [HandlerBehaviour::Ack, HandlerBehaviour::Fail, HandlerBehaviour::Die] {
        let run = fair.run(behaviour);
        let left: Vec<&Seq> = run.state.queue.keys().chain(run.state.unreadable.keys()).collect();
        if !left.is_empty() {
            return CheckResult::Violated(format!(
                "commands {left:?} are still in the queue when handlers {behaviour:?}"
            ));
        }
    }
    CheckResult::Held
}

/// L2: a delivery that a worker held and never settled is handed out again, or set aside with its attempts exhausted.
fn abandoned_leases(fair: &mut FairRuns<'_>) -> CheckResult {
    let world = fair.world;
    let held: Vec<Seq> = world
        .state
        .queue
        .iter()
        .filter(|(_, command)| command.lease.is_some())
        .map(|(seq, _)| *seq)
        .collect();
    let cursors: Vec<_> = world
        .state
        .groups
        .iter()
        .filter(|(_, cursor)| cursor.lease.is_some())
        .map(|(group, _)| group)
        .collect();
    if held.is_empty() && cursors.is_empty() {
        return CheckResult::Vacuous;
    }
    let run = fair.run(HandlerBehaviour::Ack);
    for seq in held {
        if !run.handed.contains_key(&Target::Command(seq)) && !run.set_aside.contains(&seq) {
            return CheckResult::Violated(format!(
                "the abandoned lease of command {seq} is never claimed again"
            ));
        }
    }
    for group in cursors {
        if run.state.groups.get(group).is_some_and(|cursor| behind(&run.state, cursor).is_some()) {
            return CheckResult::Violated(format!("the abandoned cursor of {group} is never taken again"));
        }
    }
    CheckResult::Held
}

/// L3: a message that kills its worker each time is handed out no more often than allowed, and all others are handled.
fn poison_is_bounded(fair: &mut FairRuns<'_>) -> CheckResult {
    let command = fair.world.state.queue.keys().next().map(|seq| Poison::Command(*seq));
    let event = fair.world.state.log.keys().next().map(|seq| Poison::Event(*seq));
    let poisons: Vec<Poison> = command.into_iter().chain(event).collect();
    if poisons.is_empty() {
        return CheckResult::Vacuous;
    }
    for poison in poisons {
        let run = fair.run(HandlerBehaviour::DieOf(poison));
        if !run.state.queue.is_empty() {
            let left: Vec<&Seq> = run.state.queue.keys().collect();
            return CheckResult::Violated(format!("{poison:?} holds up commands {left:?}"));
        }
        if run.state.groups.values().any(|cursor| behind(&run.state, cursor).is_some()) {
            return CheckResult::Violated(format!("{poison:?} holds up a group"));
        }
        // A redriven event is an entry with attempts of its own.
        let worst = run.handed.values().max().copied().unwrap_or(0);
        if worst > ATTEMPTS_MAX.get() {
            return CheckResult::Violated(format!("{poison:?} was handed out {worst} times"));
        }
    }
    CheckResult::Held
}

/// L4: for every behaviour of handlers, each group passes every event of the log.
fn every_group_reaches_the_head(fair: &mut FairRuns<'_>) -> CheckResult {
    if fair.world.state.groups.is_empty() || fair.world.state.log.is_empty() {
        return CheckResult::Vacuous;
    }
    for behaviour in [HandlerBehaviour::Ack, HandlerBehaviour::Fail, HandlerBehaviour::Die] {
        let run = fair.run(behaviour);
        for (group, cursor) in &run.state.groups {
            if let Some(seq) = behind(&run.state, cursor) {
                return CheckResult::Violated(format!(
                    "{group} never passes {seq} when handlers {behaviour:?}"
                ));
            }
            if !cursor.entries.is_empty() {
                return CheckResult::Violated(format!("an entry of {group} is never settled"));
            }
        }
    }
    CheckResult::Held
}

/// The lowest event that a group has not passed.
fn behind(state: &State, cursor: &crate::state::Cursor) -> Option<Seq> {
    state.log.iter().find_map(|(seq, row)| {
        let LogRow::Event(body) = row else { return None };
        let unread = match body.name() {
            None => true,
            Some(name) => cursor.names.get(name).is_some_and(|progress| progress.position < *seq),
        };
        unread.then_some(*seq)
    })
}
