//! What a store may answer during a fault, and which states it may leave.
//!
//! An operation that was answered did what the model says. One that failed with a typed error did nothing. One that is
//! [`Indeterminate`](Error::Indeterminate) did one or the other, and the store is closed from then on.
//!
//! Does not depend on: any disk or store.

use std::sync::Arc;

use fencepost_model::op::Reply;

use crate::rig::act::{Act, Moment};
use crate::rig::promises::Violation;
use crate::rig::recovery::{Contents, digested};
use fencepost::error::{Error, Result};

/// An answer that is no error is the model's.
pub const SUCCESS: &str = "a_success_is_what_the_model_says";
/// After a success what was asked is there; after an error it is not, unless it says that its effect is unknown.
pub const SAID: &str = "an_error_says_what_it_left";
/// After an operation of unknown effect a store does nothing more.
pub const CLOSED: &str = "after_an_unknown_effect_the_store_is_closed";
/// Once nothing fails any more, a store works, or says that it is closed.
pub const WORKS: &str = "the_store_works_again_or_says_that_it_does_not";
/// What was leased when something failed is due again in time.
pub const LEASES: &str = "no_lease_leaks_past_its_time";
/// SQLite and the store find the file sound.
pub const SOUND: &str = "the_file_is_sound_after_a_fault";
/// Nothing panics.
pub const PANIC: &str = "no_fault_makes_it_panic";
/// A message that is delivered is one that was sent.
pub const SENT: &str = "nothing_is_delivered_that_was_not_sent";

/// The moments that may follow one, after an act was answered like this.
///
/// # Errors
/// If an answer is one that may not be.
pub fn possible(before: &Moment, act: &Act, answers: &[Result<Reply>]) -> Result<Vec<Moment>, Violation> {
    let unknown = answers.iter().position(is_unknown).unwrap_or(answers.len());
    if let Some(late) = answers[unknown..].iter().find(|answer| !is_unknown(answer) && !is_closed(answer)) {
        let why = format!("after an effect that is not known, {late:?} was answered");
        return Err(Violation { property: CLOSED, why });
    }
    let parts: Vec<Act> = match act {
        Act::Apply(_) | Act::Effect(_) => vec![act.clone()],
        Act::Batch(ops) => ops.iter().map(|op| Act::Apply(Arc::new(op.clone()))).collect(),
        _ => return Ok(vec![before.clone()]),
    };
    if parts.len() != answers.len() {
        let why = format!("{} operations have {} answers", parts.len(), answers.len());
        return Err(Violation { property: SUCCESS, why });
    }
    let mut moments = vec![before.clone()];
    let mut index = 0;
    while index < parts.len() {
        match &answers[index] {
            Ok(reply) => {
                let mut expected = Vec::new();
                moments.retain_mut(|moment| {
                    let replies = at_the_same_time(before, moment, &parts[index]);
                    let same = replies == std::slice::from_ref(reply);
                    expected.extend(replies);
                    same
                });
                if moments.is_empty() {
                    let why = format!("the model answers {expected:?}, the store {reply:?}");
                    return Err(Violation { property: SUCCESS, why });
                }
                index += 1;
            }
            Err(Error::Indeterminate { .. }) => {
                // Those that stand together shared one commit.
                let count = answers[index..].iter().take_while(|answer| is_unknown(answer)).count();
                let mut after = moments.clone();
                for moment in &mut after {
                    for part in &parts[index..index + count] {
                        at_the_same_time(before, moment, part);
                    }
                }
                moments.extend(after);
                index += count;
            }
            Err(_) => index += 1,
        }
    }
    Ok(moments)
}

/// Does a part of an act on the model: all parts happen at one time, the one after `before`.
fn at_the_same_time(before: &Moment, moment: &mut Moment, part: &Act) -> Vec<Reply> {
    moment.world.now = before.world.now;
    moment.perform(part)
}

/// The contents of a store at a moment.
pub fn contents(moment: &Moment) -> Contents {
    Contents {
        state: digested(moment.state()),
        effects: moment.effects.clone(),
        migrated: moment.migrated,
        booted: false,
    }
}

fn is_unknown(answer: &Result<Reply>) -> bool {
    matches!(answer, Err(Error::Indeterminate { .. }))
}

fn is_closed(answer: &Result<Reply>) -> bool {
    matches!(answer, Err(Error::Closed))
}

/// Whether answers say that the store is closed.
pub fn say_closed(answers: &[Result<Reply>]) -> bool {
    answers.iter().any(|answer| is_unknown(answer) || is_closed(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fencepost_model::scope;

    fn acts() -> (Moment, Act) {
        let scope = scope::by_name("cuts-queue").unwrap();
        let moment = Moment { world: scope.world(), ..Moment::empty(1) };
        let ops = scope.offers[..2].iter().map(|op| (**op).clone()).collect();
        (moment, Act::Batch(ops))
    }

    fn unknown() -> Result<Reply> {
        Err(Error::Indeterminate { source: Box::new(Error::Full) })
    }

    #[test]
    fn each_operation_of_a_batch_is_there_or_not_as_its_own_answer_says() {
        let (before, act) = acts();
        let replies = before.clone().perform(&act);
        let answered_with = |first: bool| match first {
            true => vec![Ok(replies[0].clone()), Err(Error::Full)],
            false => vec![Err(Error::Full), Err(Error::Full)],
        };
        let one = possible(&before, &act, &answered_with(true)).unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].state().queue.len(), before.state().queue.len() + 1);
        let none = possible(&before, &act, &answered_with(false)).unwrap();
        assert_eq!(none[0].state(), before.state());
    }

    #[test]
    fn what_shared_a_commit_of_unknown_effect_is_there_together_or_not_at_all() {
        let (before, act) = acts();
        let moments = possible(&before, &act, &[unknown(), unknown()]).unwrap();
        let mut after = before.clone();
        after.perform(&act);
        let states: Vec<_> = moments.iter().map(Moment::state).collect();
        assert_eq!(states, [before.state(), after.state()]);
    }

    #[test]
    fn an_answer_after_an_unknown_effect_may_only_be_that_the_store_is_closed() {
        let (before, act) = acts();
        let replies = before.clone().perform(&act);
        assert_eq!(possible(&before, &act, &[unknown(), Err(Error::Closed)]).unwrap().len(), 2);
        for late in [Ok(replies[1].clone()), Err(Error::Busy)] {
            assert_eq!(possible(&before, &act, &[unknown(), late]).unwrap_err().property, CLOSED);
        }
    }

    #[test]
    fn an_answer_that_is_not_the_models_is_noticed() {
        let (before, act) = acts();
        let replies = before.clone().perform(&act);
        let violation = possible(&before, &act, &[Ok(replies[1].clone()), Err(Error::Full)]).unwrap_err();
        assert_eq!(violation.property, SUCCESS);
    }
}
