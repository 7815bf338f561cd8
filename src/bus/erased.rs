//! The caller's own work in a transaction, without its types: a backend takes work of any type and knows none of them.
//!
//! Invariant: what [`erase`] took away [`typed`] gives back; the two are called with the same types.
//! Does not depend on: where the work runs.

use std::any::Any;
use std::panic::resume_unwind;

use fencepost_model::op::Reply;

use crate::bus::transaction::{AfterCommit, OpenTransaction, TransactionError, Tx};
use crate::error::{Error, Result};
use crate::sqlite::Undone;

/// A value whose type only the caller knows.
pub type Anything = Box<dyn Any + Send>;

/// The caller's own work within a transaction.
pub type Work = Box<dyn FnOnce(OpenTransaction<'_>) -> Result<Worked, Anything> + Send>;

/// The result of work that succeeded.
pub struct Worked {
    /// What the work returned.
    pub value: Anything,
    /// What to run after the commit, and only then.
    pub after_commit: AfterCommit,
}

impl std::fmt::Debug for Worked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worked").field("after_commit", &self.after_commit.len()).finish_non_exhaustive()
    }
}

/// The result of a transaction: the reply to the operation that it began with, and what the work returned.
pub type Transacted = Result<(Option<Reply>, Anything), Undone<Anything>>;

/// Takes the types away from the caller's work.
pub fn erase<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
) -> Work {
    Box::new(move |transaction| {
        let tx = Tx::new(transaction);
        match work(&tx) {
            Ok(value) => Ok(Worked { value: Box::new(value), after_commit: tx.into_after_commit() }),
            Err(error) => Err(Box::new(error) as Anything),
        }
    })
}

/// Gives the types back to the result of the caller's work. A panic of the work goes on here.
///
/// # Errors
/// [`TransactionError`].
pub fn typed<T: 'static, E: 'static>(done: Transacted) -> Result<T, TransactionError<E>> {
    let lost = || TransactionError::Store(Error::TransactionEnded);
    match done {
        Ok((_, value)) => value.downcast().map(|value| *value).map_err(|_| lost()),
        Err(Undone::Work(error)) => {
            Err(error.downcast().map_or_else(|_| lost(), |error| TransactionError::Work(*error)))
        }
        Err(Undone::Store(error)) => Err(TransactionError::Store(error)),
        Err(Undone::Panicked(panic)) => resume_unwind(panic),
    }
}
