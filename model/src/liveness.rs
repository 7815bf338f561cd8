//! L1 to L4 as bounded properties: once faults stop, so many fair rounds are enough.
//!
//! From a state, consumers that poll for every name are run to a bound that is worked out from what is there, with
//! a clock that goes on and handlers of one temper. What must have happened by then, has. (A checker's `eventually`
//! is not rested on: stateright's misses cycles.)

use std::collections::{BTreeMap, BTreeSet};

use crate::op::{Delivery, Op, Reply, Settlement, Target};
use crate::scope::count;
use crate::state::{LogRow, State};
use crate::vocabulary::{Names, Reason, Seq, Timestamp};
use crate::world::{Rules, World};

/// What a liveness property says of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// There was nothing to wait for.
    Vacuous,
    /// It came about within the bound.
    Held,
    /// It did not, and this is what is left.
    Broken(String),
}

/// One operation of a fair run, with its time and its answer.
pub type Step = (Timestamp, Op, Reply);

/// A liveness property of the contract.
#[derive(Clone, Copy)]
pub struct Property {
    /// Its number in the contract.
    pub id: &'static str,
    /// Its name, a sentence.
    pub name: &'static str,
    judge: fn(&mut Fair<'_>) -> Liveness,
}

impl Property {
    /// What the property says of a world, under some rules.
    pub fn check(&self, world: &World, rules: &dyn Rules) -> Liveness {
        (self.judge)(&mut Fair { world, rules, steps: None })
    }

    /// If the property does not hold: why, and the fair run from this world that shows it.
    pub fn counterexample(&self, world: &World, rules: &dyn Rules) -> Option<(String, Vec<Step>)> {
        let mut fair = Fair { world, rules, steps: Some(Vec::new()) };
        match (self.judge)(&mut fair) {
            Liveness::Broken(why) => Some((why, fair.steps.unwrap_or_default())),
            Liveness::Vacuous | Liveness::Held => None,
        }
    }
}

/// All liveness properties.
pub const LIVENESS: [Property; 4] = [
    Property { id: "L1", name: "every_command_comes_to_rest", judge: every_command_comes_to_rest },
    Property { id: "L2", name: "an_abandoned_lease_is_claimed_again", judge: abandoned_leases },
    Property {
        id: "L3",
        name: "a_poison_message_holds_up_others_only_for_a_bounded_number_of_attempts",
        judge: poison_is_bounded,
    },
    Property {
        id: "L4",
        name: "every_group_reaches_every_head_that_was",
        judge: every_group_reaches_the_head,
    },
];

/// Fair runs from one world. The operations of the last one are kept if somebody wants to read them.
struct Fair<'a> {
    world: &'a World,
    rules: &'a dyn Rules,
    steps: Option<Vec<Step>>,
}

/// How handlers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    /// They handle everything.
    Ack,
    /// They fail every time.
    Fail,
    /// Their worker dies with every delivery.
    Die,
    /// Their worker dies with this one and handles the others.
    DieOf(Poison),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poison {
    Command(Seq),
    Event(Seq),
}

const ATTEMPTS_MAX: u32 = 2;

/// What a fair run did.
struct Run {
    state: State,
    handed: BTreeMap<Target, u32>,
    aside: BTreeSet<Seq>,
    steps: Option<Vec<Step>>,
}

/// All names that anybody could ask for.
fn every_name(state: &State) -> Names {
    let queued = state.queue.values().filter_map(|command| command.body.name());
    let read = state.groups.values().flat_map(|cursor| cursor.names.keys());
    queued.chain(read).cloned().collect()
}

/// A bound on the rounds that are needed: until the last thing is due, and for each thing all its attempts, each
/// with a lease that runs out.
fn rounds(state: &State, now: Timestamp) -> u64 {
    let commands = state.queue.values().map(|command| command.due_at);
    let cursors = state.groups.values().map(|cursor| cursor.due_at);
    let entries = state.groups.values().flat_map(|cursor| cursor.entries.values().map(|entry| entry.due_at));
    let last = commands.chain(cursors).chain(entries).max().unwrap_or(now);
    let waiting = last.get().saturating_sub(now.get());
    let entries: usize = state.groups.values().map(|cursor| cursor.entries.len()).sum();
    let things = state.queue.len() + state.unreadable.len() + entries + state.log.len();
    waiting + things as u64 * (u64::from(ATTEMPTS_MAX) + 1) + 2
}

impl Fair<'_> {
    fn run(&mut self, temper: Temper) -> Run {
        let (world, rules) = (self.world, self.rules);
        let steps = self.steps.as_ref().map(|_| Vec::new());
        let mut run =
            Run { state: world.state.clone(), handed: BTreeMap::new(), aside: BTreeSet::new(), steps };
        let names = every_name(&run.state);
        let groups: Vec<_> = run.state.groups.keys().cloned().collect();
        let mut now = world.now;
        for _ in 0..rounds(&world.state, world.now) {
            now = now.plus(1);
            let (max, attempts_max) = (count(1), count(ATTEMPTS_MAX));
            let claim = Op::Claim { names: names.clone(), max, lease_ms: 1, attempts_max };
            run.take(rules, now, &claim, temper);
            for group in &groups {
                let (group, names) = (group.clone(), names.clone());
                let poll = Op::Poll { group, names, token: None, max, lease_ms: 1, attempts_max };
                run.take(rules, now, &poll, temper);
            }
        }
        self.steps.clone_from(&run.steps);
        run
    }
}

impl Run {
    fn apply(&mut self, rules: &dyn Rules, now: Timestamp, op: &Op) -> Reply {
        let reply = rules.apply(&mut self.state, now, op);
        if let Some(steps) = &mut self.steps {
            steps.push((now, op.clone(), reply.clone()));
        }
        reply
    }

    /// One consumer takes one delivery and handles it after its temper.
    fn take(&mut self, rules: &dyn Rules, now: Timestamp, op: &Op, temper: Temper) {
        let Reply::HandedOut { deliveries, dead_lettered } = self.apply(rules, now, op) else {
            return;
        };
        for record in dead_lettered.iter().filter_map(|id| self.state.records.get(id)) {
            if let crate::state::Origin::Queue { seq } = record.origin {
                self.aside.insert(seq);
            }
        }
        for delivery in deliveries {
            *self.handed.entry(delivery.target.clone()).or_default() += 1;
            let reason = Reason::from("fair");
            let how = match temper {
                Temper::Die => continue,
                Temper::DieOf(poison) if is(poison, &delivery) => continue,
                _ if !delivery.body.is_sound() => Settlement::DeadLetter { reason },
                Temper::Fail => Settlement::Nack { delay_ms: 0, reason },
                Temper::Ack | Temper::DieOf(_) => Settlement::Ack,
            };
            let settle = Op::Settle { target: delivery.target, token: delivery.token, how };
            self.apply(rules, now, &settle);
        }
    }
}

fn is(poison: Poison, delivery: &Delivery) -> bool {
    match (poison, &delivery.target) {
        (Poison::Command(seq), Target::Command(of)) => seq == *of,
        (Poison::Event(seq), Target::Event { .. } | Target::Entry { .. }) => seq == delivery.seq,
        _ => false,
    }
}

/// L1: whatever the handlers do, every command is acked or dead in the end, or parked.
fn every_command_comes_to_rest(fair: &mut Fair<'_>) -> Liveness {
    if fair.world.state.queue.is_empty() && fair.world.state.unreadable.is_empty() {
        return Liveness::Vacuous;
    }
    for temper in [Temper::Ack, Temper::Fail, Temper::Die] {
        let run = fair.run(temper);
        let left: Vec<&Seq> = run.state.queue.keys().chain(run.state.unreadable.keys()).collect();
        if !left.is_empty() {
            return Liveness::Broken(format!(
                "commands {left:?} never come to rest when handlers {temper:?}"
            ));
        }
    }
    Liveness::Held
}

/// L2: what a worker held and never settled is handed out again, or moved aside with its attempts used up.
fn abandoned_leases(fair: &mut Fair<'_>) -> Liveness {
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
        return Liveness::Vacuous;
    }
    let run = fair.run(Temper::Ack);
    for seq in held {
        if !run.handed.contains_key(&Target::Command(seq)) && !run.aside.contains(&seq) {
            return Liveness::Broken(format!("the abandoned lease of command {seq} is never claimed again"));
        }
    }
    for group in cursors {
        if run.state.groups.get(group).is_some_and(|cursor| behind(&run.state, cursor).is_some()) {
            return Liveness::Broken(format!("the abandoned cursor of {group} is never taken again"));
        }
    }
    Liveness::Held
}

/// L3: one that kills its worker each time is handed out no more often than allowed, and all others are handled.
fn poison_is_bounded(fair: &mut Fair<'_>) -> Liveness {
    let command = fair.world.state.queue.keys().next().map(|seq| Poison::Command(*seq));
    let event = fair.world.state.log.keys().next().map(|seq| Poison::Event(*seq));
    let poisons: Vec<Poison> = command.into_iter().chain(event).collect();
    if poisons.is_empty() {
        return Liveness::Vacuous;
    }
    for poison in poisons {
        let run = fair.run(Temper::DieOf(poison));
        if !run.state.queue.is_empty() {
            let left: Vec<&Seq> = run.state.queue.keys().collect();
            return Liveness::Broken(format!("{poison:?} holds up commands {left:?}"));
        }
        if run.state.groups.values().any(|cursor| behind(&run.state, cursor).is_some()) {
            return Liveness::Broken(format!("{poison:?} holds up a group"));
        }
        // A redriven event is an entry of its own, with attempts of its own.
        let worst = run.handed.values().max().copied().unwrap_or(0);
        if worst > ATTEMPTS_MAX {
            return Liveness::Broken(format!("{poison:?} was handed out {worst} times"));
        }
    }
    Liveness::Held
}

/// L4: whatever the handlers do, each group passes every event that is there.
fn every_group_reaches_the_head(fair: &mut Fair<'_>) -> Liveness {
    if fair.world.state.groups.is_empty() || fair.world.state.log.is_empty() {
        return Liveness::Vacuous;
    }
    for temper in [Temper::Ack, Temper::Fail, Temper::Die] {
        let run = fair.run(temper);
        for (group, cursor) in &run.state.groups {
            if let Some(seq) = behind(&run.state, cursor) {
                return Liveness::Broken(format!("{group} never passes {seq} when handlers {temper:?}"));
            }
            if !cursor.entries.is_empty() {
                return Liveness::Broken(format!("an entry of {group} never comes to rest"));
            }
        }
    }
    Liveness::Held
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
