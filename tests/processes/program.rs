//! The real program in a directory of its own: for tests of the command line.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::process::{Command, Stdio};

pub(crate) struct Program {
    pub(crate) directory: tempfile::TempDir,
}

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fencepost"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs what has to succeed; returns what it printed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status, Some(0), "{arguments:?}: {}", ran.error);
        ran.out
    }

    pub(crate) fn stats(&self) -> serde_json::Value {
        serde_json::from_str(&self.done(&["stats", "b.db", "--json"])).unwrap()
    }
}
