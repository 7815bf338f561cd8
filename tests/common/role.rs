//! This executable again, as another process that plays one test.
//!
//! Invariant: the process plays exactly the test that is passed, whatever module it stands in. A test that is not there
//! is a failure, and not a run of no tests.
//!
//! Does not depend on: what the process does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the file that a role works on.
const FILE: &str = "FENCEPOST_TEST_FILE";

/// A test that plays the part of another process. It is ignored when it is not asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role(&'static str);

impl Role {
    /// The role that this test plays.
    pub(crate) fn of<T: Fn()>(_test: T) -> Self {
        // The harness names tests by their path in the crate, as the compiler does.
        Self(std::any::type_name::<T>().split_once("::").expect("a test stands in a crate").1)
    }

    /// The process, not begun yet. Its output is that of the test harness, and what the role prints.
    pub(crate) fn command(self, file: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this executable"));
        command.args(["--exact", self.0, "--include-ignored", "--nocapture"]).env(FILE, file);
        command
    }

    /// Plays the role to its end.
    ///
    /// # Panics
    /// If it fails, or if no test has its name.
    pub(crate) fn play(self, command: &mut Command) {
        let output = command.stderr(Stdio::inherit()).output().expect("this executable again");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("test result: ok. 1 passed"), "{}: {said}", self.0);
    }
}

/// In the other process: the file that it works on. None where a test runs in the first process.
pub(crate) fn file() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}
