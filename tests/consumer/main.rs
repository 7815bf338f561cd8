//! A consumer settles each delivery as the policy says, sleeps while nothing is due, and wakes when something is.

#[path = "../common/role.rs"]
mod role;
#[path = "../common/walk.rs"]
mod walk;

mod a_consumer_wakes_when_something_is_due;
mod a_sleeping_consumer_is_woken;
mod the_run_loop_does_what_the_policy_says;
