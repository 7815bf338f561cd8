//! Explains a counterexample: each move of a path, its answer, the state after it, and what is violated at the end.
//!
//! Invariant: the same path under the same rules always gives the same text.
//! Does not depend on: how the path was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::coverage::Tally;
use crate::description;
use crate::invariant::GUARANTEES;
use crate::liveness::{FairStep, LIVENESS};
use crate::op::{Op, Reply};
use crate::scope::Scope;
use crate::state::State;
use crate::vocabulary::Timestamp;
use crate::world::{Contract, Move, OpOutcome, Row, Rules, World, Wound};

/// Explains a path of a scope under some rules, up to the guarantee that it violates.
pub fn explain(scope: &Scope, path: &[Move], rules: &dyn Rules) -> String {
    let mut text = String::new();
    let width = scope.start.len() + scope.damaged.len() + path.len();
    let mut steps = NumberedSteps { number: 0, digits: width.to_string().len(), state: String::new() };
    let mut early = World::new(scope.workers);
    for (done, op) in scope.start.iter().enumerate() {
        for (row, wound) in scope.damaged_after(done) {
            let action = Move::Damage { row, wound };
            early.perform(&action, &Contract, &Tally::new());
            steps.add(&mut text, early.now, &early.state, &action, None);
        }
        let action = Move::Do { worker: 0, op: Arc::new(op.clone()), outcome: OpOutcome::Told };
        let reply = early.perform(&action, &Contract, &Tally::new());
        steps.add(&mut text, early.now, &early.state, &action, reply.as_ref());
    }
    let mut world = scope.world();
    for action in path {
        let before = world.now;
        let reply = world.perform(action, rules, &Tally::new());
        steps.add(&mut text, before, &world.state, action, reply.as_ref());
    }
    text.push('\n');
    text.push_str(&violations(&world, rules));
    text
}

/// What is violated in a world. If its last operation violated no guarantee: the liveness properties that fail from
/// here, after the fair run that shows it.
pub fn violations(world: &World, rules: &dyn Rules) -> String {
    let mut text = String::new();
    for violation in &world.violations {
        let guarantee = &GUARANTEES[violation.guarantee];
        let _ = writeln!(text, "broken: {} {}\n        {}", guarantee.id, guarantee.name, violation.why);
    }
    if world.violations.is_empty() {
        let broken = LIVENESS.iter().filter_map(|property| {
            let (why, steps) = property.counterexample(world, rules)?;
            Some((property, why, steps))
        });
        for (index, (property, why, steps)) in broken.enumerate() {
            if index == 0 {
                text.push_str(&fair_run(world, &steps));
            }
            let _ = writeln!(text, "broken: {} {}\n        {why}", property.id, property.name);
        }
    }
    text
}

/// One move and its answer in one line, for a running log.
pub fn line(action: &Move, reply: Option<&Reply>) -> String {
    let (actor, what) = actor_and_action(action);
    match reply {
        Some(reply) => format!("{actor}: {what}  ->  {}", description::reply(reply)),
        None => format!("{actor}: {what}"),
    }
}

/// A fair run is cut after this many lines. By then it repeats itself.
const RUN_LINES_MAX: usize = 8;

/// The answers that fair consumers get from this world on: each answer once, until it changes.
fn fair_run(world: &World, steps: &[FairStep]) -> String {
    let mut text =
        "From here on the clock goes on, and consumers ask for every name again and again:\n\n".to_owned();
    let no_commands = world.state.queue.is_empty() && world.state.unreadable.is_empty();
    let mut last = BTreeMap::new();
    let mut lines = Vec::new();
    for (at, op, reply) in steps {
        if no_commands && matches!(op, Op::Claim { .. }) {
            continue;
        }
        let (what, answer) = (description::operation(op), description::reply(reply));
        if last.insert(what.clone(), answer.clone()).as_ref() != Some(&answer) {
            lines.push(format!("    t={at}  a consumer {what}  ->  {answer}\n"));
        }
    }
    text.extend(lines.iter().take(RUN_LINES_MAX).map(String::as_str));
    let end = match steps.last() {
        Some((at, _, _)) if lines.len() <= RUN_LINES_MAX => format!("the same until t={at}"),
        _ => "and so on".to_owned(),
    };
    let _ = writeln!(text, "    ... {end}\n");
    text
}

/// Numbers the steps of a path, and repeats the state only where it changed.
struct NumberedSteps {
    number: usize,
    digits: usize,
    /// The state as it was last described.
    state: String,
}

impl NumberedSteps {
    fn add(&mut self, text: &mut String, at: Timestamp, state: &State, action: &Move, reply: Option<&Reply>) {
        self.number += 1;
        let (actor, what) = actor_and_action(action);
        let (number, digits) = (self.number, self.digits);
        let _ = writeln!(text, "{number:digits$}  t={at}  {actor:8}  {what}");
        let pad = " ".repeat(digits + 7);
        if let Some(reply) = reply {
            let unheard = matches!(action, Move::Do { outcome: OpOutcome::Unheard, .. });
            let heard = if unheard { " (this answer is lost)" } else { "" };
            let _ = writeln!(text, "{pad}-> {}{heard}", description::reply(reply));
        }
        let state = description::state(state);
        if state != self.state {
            let _ = writeln!(text, "{pad}   [{state}]");
            self.state = state;
        }
    }
}

fn actor_and_action(action: &Move) -> (String, String) {
    let worker_of = |worker: &u8| format!("worker {}", char::from(b'A' + *worker));
    let (actor, what) = match action {
        Move::Do { worker, op, outcome } => {
            let lost = if *outcome == OpOutcome::Lost { " (this request is lost)" } else { "" };
            let actor = actor_of(op).map_or_else(|| worker_of(worker), ToOwned::to_owned);
            return (actor, format!("{}{lost}", description::operation(op)));
        }
        Move::Crash { worker } => {
            return (worker_of(worker), "crashes and forgets what it holds".to_owned());
        }
        Move::Clock(now) => ("clock", format!("shows {now}")),
        Move::Damage { row, wound } => {
            let row = match row {
                Row::Queue(seq) => format!("command {seq}"),
                Row::Log(seq) => format!("event {seq}"),
            };
            let what = match wound {
                Wound::Body => "is no longer what was sent",
                Wound::Name => "has a name that cannot be read",
                Wound::Bookkeeping => "has a due time that cannot be read",
            };
            ("damage", format!("{row} {what}"))
        }
        Move::Copy => ("owner", "copies the store".to_owned()),
        Move::FallBack { restore: None } => {
            ("power", "is cut; every change after the copy is lost; the machine boots".to_owned())
        }
        Move::FallBack { restore: Some(epoch) } => ("owner", format!("restores the copy into epoch {epoch}")),
        Move::Reopen => ("owner", "closes the store and opens it again".to_owned()),
    };
    (actor.to_owned(), what)
}

/// The actor of an operation, if it is not a worker.
fn actor_of(op: &Op) -> Option<&'static str> {
    match op {
        Op::Send { .. } | Op::Publish { .. } => Some("sender"),
        Op::Claim { .. } | Op::Poll { .. } | Op::Settle { .. } | Op::Release { .. } | Op::Extend { .. } => {
            None
        }
        Op::Reboot => Some("machine"),
        Op::Atomic(ops) => ops.iter().map(actor_of).collect::<Option<Vec<_>>>().map(|_| "sender"),
        _ => Some("owner"),
    }
}
