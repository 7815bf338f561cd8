//! What the threads of a bus promise, and what a search of their schedules returns.
//!
//! Does not depend on: scenarios and the harness.

use crate::scheduler::Explored;

/// Every request to an open bus is answered.
pub const ANSWERED: &str = "every_request_is_answered";
/// An operation that is answered as done has been committed before its answer, and stays.
pub const BEFORE_COMMIT: &str = "no_answer_comes_before_its_commit";
/// Each request gets its own answer, and not that of another request.
pub const OWN_ANSWER: &str = "each_answer_is_to_its_own_question";
/// An operation that is answered as not done has no effect.
pub const DENIED: &str = "what_was_answered_as_not_done_did_not_happen";
/// A transaction takes a limited number of operations, so that no request waits too long.
pub const SMALL: &str = "a_transaction_takes_no_more_than_it_may";
/// A change of interest wakes its sleepers without a timer, whenever it comes.
pub const WOKEN: &str = "a_change_wakes_every_waiter";
/// When a bus is closed, its last clone is dropped, or a run is shut down, it ends and all waiting requests are answered.
pub const SHUTDOWN: &str = "a_shutdown_ends_and_answers_everyone";
/// Every delivery that a run holds when it ends is settled or released.
pub const KEPT: &str = "what_a_shutdown_cuts_off_is_given_back";
/// A lease is kept while its handler works, and each delivery is settled once.
pub const SETTLED: &str = "a_delivery_is_settled_once_however_long_it_takes";
/// When all clones of a bus have been dropped, its threads and tasks have ended.
pub const LEFT_BEHIND: &str = "no_task_is_left_behind";

/// All promises.
pub const PROMISES: &[&str] =
    &[ANSWERED, BEFORE_COMMIT, OWN_ANSWER, DENIED, SMALL, WOKEN, SHUTDOWN, KEPT, SETTLED, LEFT_BEHIND];

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromiseBroken {
    /// The promise.
    pub promise: &'static str,
    /// How it is broken.
    pub why: String,
}

impl PromiseBroken {
    pub(crate) fn new(promise: &'static str, why: impl Into<String>) -> Self {
        Self { promise, why: why.into() }
    }
}

/// A broken promise, and the choices that replay it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadCounterexample {
    /// The promise, and how it is broken.
    pub violation: PromiseBroken,
    /// The scenario.
    pub scenario: &'static str,
    /// What each task did, one lane each.
    pub explanation: String,
    /// Which task continued at each point where several could. [`replay`](crate::threads::replay) takes them.
    pub choices: Vec<u8>,
}

/// What a search of one scenario found.
#[derive(Clone, Debug)]
pub struct ThreadSearch {
    /// How far it went.
    pub explored: Explored,
    /// A counterexample, if a promise was broken.
    pub broken: Option<ThreadCounterexample>,
}
