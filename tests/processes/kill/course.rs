//! The steps of one process, played on the model: each with the answer that it must give and the state that it must
//! leave. It checks what a kill left.
//!
//! Invariant: the same seed gives the same steps, wherever kills fall.
//!
//! Does not depend on: processes and files.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use fencepost_model::coverage::Tally;
use fencepost_model::explanation;
use fencepost_model::generate::choose;
use fencepost_model::op::{Op, Reply};
use fencepost_model::scope::{self, Scope};
use fencepost_model::state::State;
use fencepost_model::step;
use fencepost_model::vocabulary::{Kind, Message, Timestamp};
use fencepost_model::world::{Contract, Move, World};
use fencepost_verify::system::{AGREES, StoreCall as Call, call, compare, undigest};
use serde::{Deserialize, Serialize};

use crate::kill::{Broken, Chance, HALF, LOST};

/// What one step asks of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Apply(Timestamp, Arc<Op>),
    /// Close the file and open it again.
    Reopen,
}

/// A word for an answer, short enough for a pipe and equal when the answers are.
pub(crate) fn gist(reply: Option<&Reply>) -> u64 {
    let mut hasher = DefaultHasher::new();
    reply.hash(&mut hasher);
    hasher.finish()
}

struct Step {
    action: Move,
    task: Task,
    reply: Option<Reply>,
    after: State,
}

/// How far a process got, as far as its pipe says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The answers that were written into the pipe, one step after the other.
    pub(crate) acknowledged: Vec<u64>,
    /// Whether it had begun another step.
    pub(crate) in_flight: bool,
}

/// The fate of the step in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// There was none.
    None,
    /// It was done, although no answer was given.
    Done,
    /// It was not done.
    Undone,
    /// It would have left no trace: it was refused, or asked for nothing.
    Traceless,
}

/// The course of one file: where it stands for certain, and what comes next.
pub(crate) struct Course {
    scope: Scope,
    numbers: Chance,
    /// The world after the last step that is planned.
    world: World,
    /// The state that was last found in the file.
    found: State,
    /// The steps after that.
    steps: VecDeque<Step>,
    /// How many of these are certain, although the file was not looked at since.
    certain: usize,
}

impl Course {
    /// The beginning of a course, with an empty file.
    pub(crate) fn new(seed: u64) -> Self {
        let wide = scope::by_name("wide").unwrap();
        assert!(wide.start.is_empty() && wide.fall_back.is_none());
        // A row that is damaged on purpose would hide one that a kill damaged.
        let mut scope = Scope { wounds_queue: Vec::new(), wounds_log: Vec::new(), ..wide };
        // Some commits are of several pages: they take longer, and can be cut in more places.
        let long = |kind| {
            let message = scope.offers.iter().find_map(|op| match &**op {
                Op::Send { message, .. } if message.kind == kind && message.id.is_none() => Some(message),
                _ => None,
            });
            Arc::new(Message { payload: vec![b'x'; 20_000].into(), ..Message::clone(message.unwrap()) })
        };
        let (command, event) = (long(Kind::Command), long(Kind::Event));
        scope.offers.push(Arc::new(Op::Send { message: command, delay_ms: 0 }));
        scope.offers.push(Arc::new(Op::Publish { message: event }));
        let world = scope.world();
        let found = world.state.clone();
        Self { scope, numbers: Chance(seed), world, found, steps: VecDeque::new(), certain: 0 }
    }

    /// What to do next, this many steps.
    pub(crate) fn next(&mut self, count: usize) -> Vec<Task> {
        while self.steps.len() < self.certain + count {
            let action = choose(&self.scope, &self.world, self.numbers.number()).unwrap();
            let task = match call(&self.world, &action) {
                Call::Nothing => None,
                Call::Reopen => Some(Task::Reopen),
                Call::Operation(now, op) => Some(Task::Apply(now, op)),
                other => panic!("the scope does not offer this: {other:?}"),
            };
            let reply = self.world.perform(&action, &Contract, &Tally::new());
            assert_eq!(self.world.violations, Vec::new(), "the model keeps its own guarantees");
            if let Some(task) = task {
                self.steps.push_back(Step { action, task, reply, after: self.world.state.clone() });
            }
        }
        self.steps.range(self.certain..).take(count).map(|step| step.task.clone()).collect()
    }

    /// Believes a process if nothing was in flight and it gave the right answers: then it is certain what
    /// the file holds.
    pub(crate) fn believe(&mut self, progress: &Progress) -> bool {
        let certain = !progress.in_flight && self.check_answers(progress).is_ok();
        if certain {
            self.certain += progress.acknowledged.len();
        }
        certain
    }

    /// Checks what a process said, and what was found in the file after its end.
    pub(crate) fn check(&mut self, progress: &Progress, found: &State) -> Result<Fate, Broken> {
        let done = self.certain + progress.acknowledged.len();
        let without = same(found, self.state(done));
        let with = progress.in_flight && same(found, self.state(done + 1));
        let fate = match (without, with) {
            (true, true) => Fate::Traceless,
            (true, false) if progress.in_flight => Fate::Undone,
            (true, false) => Fate::None,
            (false, true) => Fate::Done,
            (false, false) => return Err(self.blame(done, progress.in_flight, found)),
        };
        self.check_answers(progress)?;
        let done = if fate == Fate::Done { done + 1 } else { done };
        self.found = self.state(done).clone();
        self.steps.drain(..done);
        self.certain = 0;
        Ok(fate)
    }

    /// The state after this many of the steps.
    fn state(&self, steps: usize) -> &State {
        steps.checked_sub(1).map_or(&self.found, |last| &self.steps[last].after)
    }

    fn check_answers(&self, progress: &Progress) -> Result<(), Broken> {
        for (step, given) in self.steps.range(self.certain..).zip(&progress.acknowledged) {
            if gist(step.reply.as_ref()) != *given {
                let line = explanation::line(&step.action, step.reply.as_ref());
                return Err(Broken::new(AGREES, format!("another answer was given: {line}")));
            }
        }
        Ok(())
    }

    /// Says what is wrong with a file that holds neither of the two states that it may hold.
    fn blame(&self, done: usize, in_flight: bool, found: &State) -> Broken {
        let line = |index: usize| {
            let step = &self.steps[index];
            let note = if index < done { "acknowledged" } else { "in flight" };
            format!("  {note}: {}\n", explanation::line(&step.action, step.reply.as_ref()))
        };
        let told: String = (0..done + usize::from(in_flight)).map(line).collect();
        let mut differing = found.clone();
        undigest(&mut differing, self.state(done));
        let difference = compare((None, self.state(done)), &Ok((None, differing)));
        let difference = difference.map(|difference| difference.what).unwrap_or_default();
        let difference: String = difference.lines().take(60).map(|line| format!("{line}\n")).collect();
        let (guarantee, why) = if let Some(kept) = (0..done).rev().find(|kept| same(found, self.state(*kept)))
        {
            (LOST, format!("what is found ends {} steps before the last acknowledged one", done - kept))
        } else if let Some(gone) = (0..done).find(|gone| {
            same(found, &self.without(*gone, done))
                || (in_flight && same(found, &self.without(*gone, done + 1)))
        }) {
            (LOST, format!("what is found lacks this, and has the rest:\n{}", line(gone)))
        } else {
            (HALF, "what is found is no state that the model passes through".to_owned())
        };
        Broken::new(guarantee, format!("{why}\nsince it was last looked at:\n{told}{difference}"))
    }

    /// The state after this many steps, had one of them not been done.
    fn without(&self, gone: usize, steps: usize) -> State {
        let mut state = self.found.clone();
        for (index, step) in self.steps.iter().take(steps).enumerate() {
            if let Task::Apply(now, op) = &step.task
                && index != gone
            {
                step::apply(&mut state, *now, op);
            }
        }
        state
    }
}

/// Whether the store shows this state, which has digests in the place of contents.
fn same(found: &State, model: &State) -> bool {
    let mut found = found.clone();
    undigest(&mut found, model);
    found == *model
}
