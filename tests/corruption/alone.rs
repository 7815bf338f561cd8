//! Tests that need a process of their own, since they change what all of SQLite in a process shares.
//!
//! Allocations can be made to fail only before the first use of SQLite in the process. The random numbers of SQLite, and
//! with them the salts of a WAL, are one sequence for the whole process: they are pinned only where nothing else draws
//! from it.
//!
//! Invariant: a test runs once, in a process where no other test runs.

use std::path::Path;

use crate::role::{self, Role};

/// Runs this test in a process of its own. True in the first process, once the test has passed in the other; false in
/// the other, where the test goes on.
pub(crate) fn ran_alone<T: Fn()>(test: T) -> bool {
    if role::file().is_some() {
        return false;
    }
    let role = Role::of(test);
    role.play(&mut role.command(Path::new("no file")));
    true
}
