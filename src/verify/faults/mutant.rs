//! Mutants of a store, so that each promise is seen to be checked.
//!
//! Invariant: without a mutant, this module only passes calls on.
//! Does not depend on: what is checked.

use std::panic::resume_unwind;

use fencepost_model::op::Reply;
use fencepost_model::vocabulary::Timestamp;

use crate::faults::case::FaultMutant;
use crate::rig::act;
use crate::rig::act::{Act, Moment};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::Store;

/// Does an act, and answers as the mutant does.
pub(super) fn perform(
    store: &mut Store,
    act: &Act,
    now: Timestamp,
    effect: i64,
    before: &Moment,
    mutant: Option<FaultMutant>,
) -> Vec<Result<Reply>> {
    let answers = act::perform(store, act, now, effect);
    match mutant {
        Some(FaultMutant::BusyAfterCommit) => {
            let busy = |answer| match answer {
                Ok(reply) if !matches!(reply, Reply::Refused(_)) => Err(Error::Busy),
                answer => answer,
            };
            answers.into_iter().map(busy).collect()
        }
        Some(FaultMutant::FailedCommitIgnored) => {
            let expected = before.clone().perform(act);
            answers.into_iter().zip(expected).map(|(answer, expected)| answer.or(Ok(expected))).collect()
        }
        Some(FaultMutant::Panics) if answers.iter().any(Result::is_err) => {
            resume_unwind(Box::new("a deliberate panic"));
        }
        _ => answers,
    }
}

/// What a mutant does to a store once something has failed in it. What it returns stays in the way of the store.
///
/// # Errors
/// Whatever SQLite reports.
pub(super) fn after_an_error(
    store: &Store,
    mutant: Option<FaultMutant>,
    another: impl FnOnce() -> Result<Store>,
) -> Result<Option<Store>> {
    match mutant {
        Some(FaultMutant::BusyForEver) => {
            let other = another()?;
            other.connection().execute_batch("BEGIN IMMEDIATE")?;
            Ok(Some(other))
        }
        Some(FaultMutant::LeaseWithoutEnd) => {
            store.connection().execute_batch("UPDATE queue SET due_at = 1 << 50")?;
            Ok(None)
        }
        _ => Ok(None),
    }
}
