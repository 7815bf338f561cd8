//! The catalogue of mutants: the contract with one known defect each.
//!
//! A mutant changes what goes into [`step`] or what comes out of it. The guarantee that it breaks, and a
//! scope that shows the violation, were named before it was run. A mutant that survives means that a check is too weak.
//!
//! Invariant: `step` contains no defect on purpose; every defect is in this module.
//! Does not depend on: the guarantees, except for their names.

mod incidents;
mod log;
mod queue;
mod repairs;
mod store;

use crate::op::{Op, Refusal, Reply};
use crate::state::State;
use crate::step;
use crate::vocabulary::Timestamp;
use crate::world::Rules;

/// The contract with one defect.
#[derive(Clone, Copy)]
pub struct Mutant {
    /// Its name, a sentence.
    pub name: &'static str,
    /// The defect, and why an implementation has it.
    pub rationale: &'static str,
    /// The name of the guarantee or liveness property that it breaks.
    pub breaks: &'static str,
    /// The scope in which that shows.
    pub scope: &'static str,
    /// Applies an operation as the mutant does.
    pub apply: fn(&mut State, Timestamp, &Op) -> Reply,
}

/// All mutants.
pub fn all() -> Vec<Mutant> {
    let families = [queue::MUTANTS, log::MUTANTS, store::MUTANTS, repairs::MUTANTS, incidents::MUTANTS];
    families.concat()
}

/// The mutant of this name.
pub fn by_name(name: &str) -> Option<Mutant> {
    all().into_iter().find(|mutant| mutant.name == name)
}

impl Rules for Mutant {
    fn apply(&self, state: &mut State, now: Timestamp, op: &Op) -> Reply {
        let Op::Atomic(ops) = op else { return (self.apply)(state, now, op) };
        if self.name == store::IN_PARTS {
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

/// Applies an operation as the contract does.
fn contract(state: &mut State, now: Timestamp, op: &Op) -> Reply {
    step::apply(state, now, op)
}
