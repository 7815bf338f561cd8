//! The known ways to get a bus wrong, each a switch on the model.
//!
//! A mutant plays by the contract except for one mistake, which stands around `step` and never in it: it changes
//! what goes in or what comes out. For each one we named the guarantee that it breaks, and a scope in which that
//! shows, before it was run. One that is not caught by that guarantee means that a check is too weak.

mod of_log;
mod of_others;
mod of_queue;
mod of_repairs;
mod of_store;

use crate::op::{Op, Refusal, Reply};
use crate::state::State;
use crate::step;
use crate::vocabulary::Timestamp;
use crate::world::Rules;

/// A way to get it wrong.
#[derive(Clone, Copy)]
pub struct Mutant {
    /// Its name, a sentence.
    pub name: &'static str,
    /// Who builds such a thing, and why it seems right.
    pub story: &'static str,
    /// The name of the guarantee or liveness property that it breaks.
    pub breaks: &'static str,
    /// The scope in which that shows.
    pub scope: &'static str,
    /// The operation as the mutant performs it.
    pub apply: fn(&mut State, Timestamp, &Op) -> Reply,
}

/// All mutants.
pub fn all() -> Vec<Mutant> {
    let families =
        [of_queue::MUTANTS, of_log::MUTANTS, of_store::MUTANTS, of_repairs::MUTANTS, of_others::MUTANTS];
    families.concat()
}

/// The mutant of this name.
pub fn by_name(name: &str) -> Option<Mutant> {
    all().into_iter().find(|mutant| mutant.name == name)
}

impl Rules for Mutant {
    fn apply(&self, state: &mut State, now: Timestamp, op: &Op) -> Reply {
        let Op::Atomic(ops) = op else { return (self.apply)(state, now, op) };
        if self.name == of_store::IN_PARTS {
            return (self.apply)(state, now, op);
        }
        let mut trial = state.clone();
        let mut replies = Vec::new();
        for (index, op) in (0..).zip(ops) {
            match self.apply(&mut trial, now, op) {
                Reply::Refused(refusal) => {
                    return Reply::Refused(Refusal::Aborted { index, refusal: Box::new(refusal) });
                }
                reply => replies.push(reply),
            }
        }
        *state = trial;
        Reply::Done(replies)
    }
}

/// The operation as the contract has it.
fn contract(state: &mut State, now: Timestamp, op: &Op) -> Reply {
    step::apply(state, now, op)
}
