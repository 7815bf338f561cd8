//! The harness for processes that are killed: this executable again, in a role, with a pipe each way.
//!
//! Invariant: a line is in the pipe whole or not at all, and what was written before a kill is heard after it. No process
//! outlives its test.
//!
//! Does not depend on: what the processes do.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

pub(crate) mod competitor;
pub(crate) mod course;
pub(crate) mod ledger;
mod rejects;
pub(crate) mod rivals;
pub(crate) mod trial;
pub(crate) mod writer;

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::role::{self, Role};

/// What a test can show to be broken.
pub(crate) const LOST: &str = "nothing acknowledged is lost";
pub(crate) const HALF: &str = "nothing is half done";
pub(crate) const G1: &str = "G1 every_accepted_command_is_in_exactly_one_place";
pub(crate) const G4: &str = "G4 tokens_only_grow";
pub(crate) const G15: &str = "G15 sequence_numbers_are_dense_and_never_reused";
pub(crate) const ALIVE: &str = "a process ends only when it is killed";

/// A guarantee that was found broken, and how.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) guarantee: &'static str,
    pub(crate) why: String,
}

impl Broken {
    pub(crate) fn new(guarantee: &'static str, why: impl Into<String>) -> Self {
        Self { guarantee, why: why.into() }
    }
}

/// A broken guarantee, with what is needed to look for it again.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) broken: Broken,
    pub(crate) seed: u64,
    pub(crate) kill: u32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { guarantee, why } = &self.broken;
        write!(f, "broken: {guarantee}\n(seed {}, kill {})\n{why}", self.seed, self.kill)
    }
}

/// A positive control: a fault that a process is told to have, and that a check must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(crate) enum Fault {
    /// It acknowledges an operation before its commit.
    SaysDoneTooEarly,
    /// One operation in a hundred is answered and not committed.
    ForgetsACommit,
    /// It commits one transaction in two.
    CommitsInTwo,
    /// One claim in a hundred is answered and not committed, so that its tokens are minted again.
    ForgetsAClaim,
}

/// A pinned source of chance: what is done is the same for the same seed; when the kill falls differs all the same,
/// as the machine's moments do.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn number(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        u32::try_from(mixed >> 32).unwrap()
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.number() % limit
    }

    pub(crate) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

pub(crate) fn pause(us: u32) {
    let until = Instant::now() + Duration::from_micros(u64::from(us));
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Begins the lines that are meant for the test; the test harness of the process writes others.
const MARK: &str = "> ";

/// A process that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process in a role, whose lines are `L`.
pub(crate) struct Actor<L> {
    process: Child,
    lines: Receiver<String>,
    heard: Vec<L>,
}

impl<L: DeserializeOwned> Actor<L> {
    /// Begins a role on a file, and tells it what to do.
    pub(crate) fn begin(role: Role, file: &Path, told: &impl Serialize) -> Self {
        let mut process = role.command(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = serde_json::to_string(told).unwrap() + "\n";
        process.stdin.as_mut().unwrap().write_all(told.as_bytes()).unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            let mut ours = lines.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned));
            // This fails when the test has ended, and with it the receiver.
            let _ = ours.try_for_each(|line| tell.send(line));
        });
        Self { process, lines, heard: Vec::new() }
    }

    /// Waits until this many lines of a kind were heard, or the process has ended.
    pub(crate) fn listen(&mut self, count: u32, of_kind: impl Fn(&L) -> bool) {
        let mut left = count;
        while left > 0 {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let line = serde_json::from_str(&line).unwrap();
                    left -= u32::from(of_kind(&line));
                    self.heard.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("a process says nothing any more"),
            }
        }
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Kills a process that has no end of its own. Returns all that it ever said.
    pub(crate) fn kill(self) -> Result<Vec<L>, Broken> {
        match self.kill_if_it_works()? {
            (true, heard) => Ok(heard),
            (false, _) => Err(Broken::new(ALIVE, "it has ended its work")),
        }
    }

    /// Kills a process, unless it has ended its work. Returns whether it was killed, and all that it ever said.
    pub(crate) fn kill_if_it_works(mut self) -> Result<(bool, Vec<L>), Broken> {
        self.process.kill().unwrap();
        let status = self.process.wait().unwrap();
        self.heard.extend(self.lines.iter().map(|line| serde_json::from_str::<L>(&line).unwrap()));
        let killed = status.signal() == Some(9);
        if killed || status.success() {
            return Ok((killed, std::mem::take(&mut self.heard)));
        }
        Err(Broken::new(ALIVE, format!("it ended by itself: {status}; what it said stands above")))
    }
}

impl<L> Drop for Actor<L> {
    fn drop(&mut self) {
        // Both fail when it was killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the process: the file, and what it was told to do.
pub(crate) fn told<T: DeserializeOwned>() -> (PathBuf, T) {
    let file = role::file().expect("this is a role of another test, which names the file");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    // The harness has begun a line that it ends later.
    std::io::stdout().write_all(b"\n").unwrap();
    (file, serde_json::from_str(&line).unwrap())
}

/// In the process: writes a line into the pipe, at once and in one piece.
pub(crate) fn say(line: &impl Serialize) {
    let line = format!("{MARK}{}\n", serde_json::to_string(line).unwrap());
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// In the process: does nothing until it is killed. It ends with its test, too.
pub(crate) fn rest() {
    std::io::stdin().lock().read_to_end(&mut Vec::new()).unwrap();
}
