//! The checks that a store with one changed statement is put through: everything must be as the model and the contract
//! say.
//!
//! Invariant: the standard statements pass, and each examination is the same each time. A mutant shows by an answer, by
//! what the file holds, or by a panic of a promise.
//! Does not depend on: what was changed.

mod damage;
mod opening;
mod set_aside;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fencepost_model::generate::{Numbers, choose};
use fencepost_model::op::{Op, Reply};
use fencepost_model::scope;
use fencepost_model::vocabulary::Timestamp;

use crate::fuzz::decode_row;
use crate::readers;
use crate::system::{StoreCall, call, in_step};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Statements, Store, Undone};

/// What noticed a mutant, and how it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// The examination.
    pub by: &'static str,
    /// What it saw.
    pub why: String,
}

type Examination = fn(&Statements) -> ExaminationResult;

type ExaminationResult = std::result::Result<(), String>;

/// All examinations, those that take longest last.
const ALL: &[(&str, Examination)] = &[
    ("a walk in step with the model", |sql| (1..=3).try_for_each(|seed| walk(sql, "wide", seed, 120))),
    ("a file is opened", |sql| in_words(opening::opening(sql))),
    ("a batch beside damage", |sql| in_words(damage::batches(sql))),
    ("any values in any columns", |sql| decode_row::run_seeds(sql).map_err(|error| error.to_string())),
    ("a log without its end", |sql| in_words(damage::log_short(sql))),
    ("bookkeeping that cannot be read", |sql| in_words(damage::bookkeeping(sql))),
    ("a number that is there twice", |sql| in_words(damage::twice(sql))),
    ("several copies of events that are set aside", |sql| in_words(set_aside::several(sql))),
    ("due times that cannot be read", |sql| in_words(set_aside::due_times(sql))),
    ("numbers that others have too", |sql| in_words(set_aside::same_numbers(sql))),
    ("walks in all scopes of the model", every_scope),
    ("epochs and nacks that the model knows", |sql| in_words(damage::later(sql))),
    ("damage that the model knows", |sql| in_words(damage::damaged(sql))),
    ("long walks in step with the model", |sql| (4..=7).try_for_each(|seed| walk(sql, "wide", seed, 700))),
];

/// Puts a store that runs these statements through everything.
///
/// # Errors
/// What noticed the mutant.
pub fn examine(sql: &Statements) -> std::result::Result<(), Noticed> {
    ALL.iter().try_for_each(|(by, examination)| {
        let seen = catch_unwind(AssertUnwindSafe(|| examination(sql)));
        let why = match seen {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(panic) => match panic.downcast::<String>() {
                Ok(why) => *why,
                Err(panic) => {
                    panic.downcast::<&str>().map_or_else(|_| "a panic".to_owned(), |why| why.to_string())
                }
            },
        };
        Err(Noticed { by, why })
    })
}

/// What differs, or the error of the store.
fn in_words(seen: Result<ExaminationResult>) -> ExaminationResult {
    seen.unwrap_or_else(|error| Err(format!("the store failed: {error}")))
}

fn expect(holds: bool, what: &str) -> ExaminationResult {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Both sides, and what only reads, step by step.
fn walk(sql: &Statements, scope: &str, seed: u64, steps: u32) -> ExaminationResult {
    let failed = |error: Error| format!("the store failed: {error}");
    let Some(scope) = scope::by_name(scope) else { return Err(format!("there is no scope {scope}")) };
    let mut world = scope.world();
    let mut store = Store::in_memory().map_err(failed)?.with_statements(sql.clone());
    for op in &scope.start {
        store.apply(Timestamp::ZERO, op).map_err(failed)?;
    }
    for (step, number) in (0..steps).zip(Numbers::new(seed)) {
        let Some(action) = choose(&scope, &world, number) else { break };
        let (before, number) = (world.state.clone(), store.commit_seq().map_err(failed)?);
        if let StoreCall::Operation(now, op) = call(&world, &action)
            && step % 8 == 0
        {
            let before = store.snapshot().map_err(failed)?;
            store.rehearse(now, &op).map_err(failed)?;
            expect(store.snapshot().map_err(failed)? == before, "a rehearsal changed something")?;
        }
        let reply =
            in_step(&mut store, &mut world, &action, |store, now, op| in_one_way(store, step, now, op))?;
        let grown = store.commit_seq().map_err(failed)?.wrapping_sub(number);
        let changed = reply.is_some() && before != world.state;
        expect(grown <= 1 && (!changed || grown == 1), "a change took no number of its own")?;
        expect(!matches!(reply, Some(Reply::Refused(_))) || grown == 0, "a refusal took a number")?;
        if step % 5 == 0 {
            readers::agree(&store, &world.state, world.now)?;
        }
    }
    Ok(())
}

/// A short walk in each of the small scopes, each of which is about a few rules.
fn every_scope(sql: &Statements) -> ExaminationResult {
    scope::names().into_iter().try_for_each(|scope| (1..=2).try_for_each(|seed| walk(sql, scope, seed, 80)))
}

/// An operation alone, in a batch, or with work of the caller's own.
fn in_one_way(store: &mut Store, step: u32, now: Timestamp, op: &Op) -> Result<Reply> {
    match step % 3 {
        0 => store.apply(now, op),
        1 => store.apply_all(|| now, &[op]).remove(0),
        _ => match store.transact(now, Some(op), |_, _| Ok::<_, Error>(())) {
            Ok((Some(reply), ())) => Ok(reply),
            Err(Undone::Store(Error::Refused { refusal })) => Ok(Reply::Refused(refusal)),
            Err(Undone::Store(error) | Undone::Work(error)) => Err(error),
            Ok((None, ())) | Err(Undone::Panicked(_)) => Err(Error::Closed),
        },
    }
}
