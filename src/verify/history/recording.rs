//! Records a history: clients on one real file, as processes that are killed and stalled, as threads, or as clones of
//! buses that share their commits.
//!
//! Invariant: no client outlives the recording; the seat of a killed client is taken by a new one until all operations
//! of the seat were called; the file is looked at when all have ended. The seed decides what is asked for; the machine
//! decides when.
//! Does not depend on: what is allowed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

use fencepost_model::state::State;
use fencepost_model::vocabulary::Timestamp;

use crate::history::client::{HistoryClient, Theme};
use crate::history::journal::Journal;
use crate::history::mutant::HistoryMutant;
use crate::history::record::{
    History, HistoryAnswer, HistoryChance, HistoryEnd, HistoryEntry, JournalLine, clock_ns, read,
};
use crate::history::task::{ClientTask, EPOCH_MS, answered, options, run_task};
use crate::rig::recovery::contents;
use fencepost::clock::{Clock as _, ManualClock};
use fencepost::error::{Error, Result};
use fencepost::internals::bus::Bus as _;
use fencepost::internals::bus::backend::Backend;
use fencepost::internals::bus::sqlite::SqliteBus;
use fencepost::internals::sqlite::Store;

/// What the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Processes, each with a store of its own.
    Processes,
    /// Threads of this process, each with a store of its own.
    Threads,
    /// Threads of this process that share two buses, and so their commits. They do not learn the numbers of those.
    Buses,
}

impl ClientKind {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Threads => "threads",
            Self::Buses => "buses",
        }
    }
}

/// How a history is recorded.
#[derive(Clone, Copy, Debug)]
pub struct RecordingPlan {
    /// What the clients are.
    pub kind: ClientKind,
    /// The seed of all that is asked for.
    pub seed: u64,
    /// How many clients at a time.
    pub lanes: u32,
    /// How many operations each seat does.
    pub operations: u32,
    /// How many clients are killed at most, if they are processes.
    pub kills: u32,
    /// How many clients are stalled at most, if they are processes.
    pub stalls: u32,
    /// What the clients are about.
    pub theme: Theme,
    /// The mutant that they make.
    pub mutant: Option<HistoryMutant>,
}

/// What was recorded.
#[derive(Clone, Debug)]
pub struct RecordedHistory {
    /// What happened.
    pub history: History,
    /// How many clients were killed.
    pub kills: u32,
    /// How many were stalled.
    pub stalls: u32,
}

/// Records a history. `program` is this program, which runs as a client under the command `history-client`.
///
/// # Errors
/// If it cannot be run: no directory, no process, a client that ends by itself, a file that is damaged afterwards.
pub fn record(plan: &RecordingPlan, program: &Path) -> Result<RecordedHistory> {
    let directory = tempfile::tempdir()?;
    let harness = RecordingRun { plan, directory: directory.path(), began_ns: clock_ns() };
    let first = harness.part(0, 0, 0);
    let store = Store::open(&first.file, &options(&first))?;
    if store.snapshot()? != State::new() || store.commit_seq()? != 0 {
        return Err(Error::Exists);
    }
    store.close()?;
    let (kills, stalls) = match plan.kind {
        ClientKind::Processes => processes::run(&harness, program)?,
        ClientKind::Threads => (harness.threads()?, 0),
        ClientKind::Buses => (harness.buses()?, 0),
    };
    let store = Store::open(&first.file, &options(&first))?;
    let found = contents(store.connection(), false)?;
    let end = HistoryEnd { state: found.state, commit_seq: store.commit_seq()? };
    let mut entries = harness.entries()?;
    entries.sort_by_key(|entry| (entry.called_ns, entry.lane));
    let history = History { start: State::new(), start_seq: 0, entries, end: Some(end), checker: None };
    Ok(RecordedHistory { history, kills, stalls })
}

struct RecordingRun<'a> {
    plan: &'a RecordingPlan,
    directory: &'a Path,
    began_ns: u64,
}

/// A thread of ours panicked.
fn panicked<T>(_: T) -> Error {
    std::io::Error::other("a client panicked").into()
}

impl RecordingRun<'_> {
    fn journal(&self, lane: u32, life: u32) -> PathBuf {
        self.directory.join(format!("client-{lane}-{life}"))
    }

    /// How long those of a seat wait for a lock: a few lose patience at once, most never.
    fn patience_ms(&self, lane: u32) -> u32 {
        match lane % 8 {
            1 => 0,
            5 => 3,
            _ => 20_000,
        }
    }

    fn part(&self, lane: u32, life: u32, operations: u32) -> ClientTask {
        ClientTask {
            file: self.directory.join("bus.db"),
            journal: self.journal(lane, life),
            seed: self.plan.seed,
            lane,
            life,
            operations,
            theme: self.plan.theme,
            patience_ms: self.patience_ms(lane),
            began_ns: self.began_ns,
            mutant: self.plan.mutant,
        }
    }

    /// What a client wrote.
    fn of_client(&self, lane: u32, life: u32) -> Result<Option<Vec<HistoryEntry>>> {
        match std::fs::read_to_string(self.journal(lane, life)) {
            Ok(text) => {
                let entries =
                    read(&text, lane, life, self.patience_ms(lane)).map_err(std::io::Error::other)?;
                Ok(Some(entries))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What all clients wrote.
    fn entries(&self) -> Result<Vec<HistoryEntry>> {
        let mut all = Vec::new();
        for lane in 0..self.plan.lanes {
            let mut life = 0;
            // A client that was killed before it wrote anything has left no file.
            while life <= self.plan.kills + self.plan.operations {
                all.extend(self.of_client(lane, life)?.unwrap_or_default());
                life += 1;
            }
        }
        Ok(all)
    }

    fn threads(&self) -> Result<u32> {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.plan.lanes)
                .map(|lane| {
                    let part = self.part(lane, 0, self.plan.operations);
                    scope.spawn(move || run_task(&part))
                })
                .collect();
            clients.into_iter().try_for_each(|client| client.join().map_err(panicked)?)
        })?;
        Ok(0)
    }

    /// In rounds, since only the writing thread knows at which time an operation is done: the clock of all stands
    /// still during a round, and jumps between two.
    fn buses(&self) -> Result<u32> {
        let clock = Arc::new(ManualClock::new(Timestamp::ZERO.plus(EPOCH_MS)));
        let first = self.part(0, 0, 0);
        let open = || {
            SqliteBus::builder(&first.file)
                .clock(Arc::clone(&clock) as Arc<dyn fencepost::clock::Clock>)
                .store_options(|of| *of = options(&first))
                .open_blocking()
        };
        let buses = [open()?, open()?];
        let lanes = usize::try_from(self.plan.lanes).unwrap_or(1);
        let barrier = Barrier::new(lanes + 1);
        let rounds = self.plan.operations.div_ceil(ROUND);
        let mut chance = HistoryChance::new(self.plan.seed, &[13]);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.plan.lanes)
                .map(|lane| {
                    let part = self.part(lane, 0, rounds);
                    let backend = Arc::clone(buses[(lane % 2) as usize].backend());
                    let (clock, barrier) = (Arc::clone(&clock), &barrier);
                    scope.spawn(move || play_rounds(&part, &backend, &clock, barrier))
                })
                .collect();
            for _ in 0..rounds {
                clock.set(Timestamp::ZERO.plus(EPOCH_MS + chance.below(200)));
                barrier.wait();
                barrier.wait();
            }
            clients.into_iter().try_for_each(|client| client.join().map_err(panicked)?)
        })?;
        Ok(0)
    }
}

/// How many operations a client of a bus does in a round.
const ROUND: u32 = 5;

fn play_rounds(
    part: &ClientTask,
    backend: &Arc<dyn Backend>,
    clock: &ManualClock,
    barrier: &Barrier,
) -> Result<()> {
    let mut journal = Journal::create(&part.journal)?;
    let mut client = HistoryClient::new(part.seed, part.lane, part.life, part.theme);
    let mut round = |journal: &mut Journal| {
        for _ in 0..ROUND {
            let op = client.next();
            journal.write(&JournalLine::Called { at_ns: clock_ns(), now: clock.now(), op: op.clone() })?;
            let done = backend.apply_all_blocking(vec![op.clone()]).pop().unwrap_or(Err(Error::Closed));
            let (answer, _) = answered(done.map(|reply| HistoryAnswer::Replied { reply, place: None }));
            journal.write(&JournalLine::Answered { at_ns: clock_ns(), answer: answer.clone() })?;
            if let HistoryAnswer::Replied { reply, .. } = &answer {
                client.learn(&op, reply);
            }
        }
        Ok(())
    };
    let mut outcome = Ok(());
    for _ in 0..part.operations {
        barrier.wait();
        // A client that failed still keeps step with the others.
        if outcome.is_ok() {
            outcome = round(&mut journal);
        }
        barrier.wait();
    }
    outcome
}

#[cfg(not(unix))]
mod processes {
    use super::{Path, RecordingRun, Result};

    /// Where processes cannot be killed and stalled, threads take their place.
    pub(super) fn run(harness: &RecordingRun<'_>, _program: &Path) -> Result<(u32, u32)> {
        Ok((harness.threads()?, 0))
    }
}

#[cfg(unix)]
mod processes {
    use std::io::{Read as _, Write as _};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command, ExitStatus, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::{Error, HistoryChance, Path, RecordingRun, Result};
    use crate::history::journal::pause;

    /// A seat, and the client in it.
    struct Seat {
        lane: u32,
        life: u32,
        left: u32,
        child: Option<Child>,
    }

    impl Drop for Seat {
        fn drop(&mut self) {
            if let Some(child) = &mut self.child {
                // Both fail when it has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    fn begin(harness: &RecordingRun<'_>, program: &Path, seat: &mut Seat) -> Result<()> {
        let part = harness.part(seat.lane, seat.life, seat.left);
        let text = serde_json::to_string(&part).map_err(std::io::Error::other)?;
        let mut child = Command::new(program)
            .arg("history-client")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        seat.child = Some(child);
        Ok(())
    }

    /// The client of a seat has ended: by a kill, or because it was done.
    fn ended(
        harness: &RecordingRun<'_>,
        program: &Path,
        seat: &mut Seat,
        mut child: Child,
        status: ExitStatus,
    ) -> Result<()> {
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        if !killed && !status.success() {
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut said)?;
            }
            return Err(std::io::Error::other(format!("a client ended by itself, {status}: {said}")).into());
        }
        let called = harness.of_client(seat.lane, seat.life)?.map_or(0, |entries| entries.len());
        seat.left = seat.left.saturating_sub(u32::try_from(called).unwrap_or(u32::MAX));
        if killed && seat.left > 0 {
            seat.life += 1;
            begin(harness, program, seat)?;
        }
        Ok(())
    }

    pub(super) fn run(harness: &RecordingRun<'_>, program: &Path) -> Result<(u32, u32)> {
        let plan = harness.plan;
        let mut seats: Vec<Seat> =
            (0..plan.lanes).map(|lane| Seat { lane, life: 0, left: plan.operations, child: None }).collect();
        for seat in &mut seats {
            begin(harness, program, seat)?;
        }
        let mut chance = HistoryChance::new(plan.seed, &[17]);
        let (mut kills, mut stalls) = (0, 0);
        loop {
            for seat in &mut seats {
                let over = seat.child.as_mut().and_then(|child| child.try_wait().transpose()).transpose()?;
                if let (Some(status), Some(child)) = (over, over.and_then(|_| seat.child.take())) {
                    ended(harness, program, seat, child, status)?;
                }
            }
            let mut at_work: Vec<&mut Seat> = seats.iter_mut().filter(|seat| seat.child.is_some()).collect();
            if at_work.is_empty() {
                return Ok((kills, stalls));
            }
            pause(2_000 + chance.below(20_000));
            let left = (u64::from(plan.kills - kills), u64::from(plan.stalls - stalls));
            let which = chance.below(at_work.len() as u64);
            let seat = &mut at_work[usize::try_from(which).unwrap_or_default()];
            let Some(child) = &mut seat.child else { return Err(Error::Closed) };
            if chance.below(left.0 + left.1) < left.0 {
                child.kill()?;
                let status = child.wait()?;
                kills += u32::from(status.signal().is_some());
                if let Some(child) = seat.child.take() {
                    ended(harness, program, seat, child, status)?;
                }
            } else if left.1 > 0 {
                stalls += u32::from(stall(child, 10_000 + chance.below(50_000)));
            }
        }
    }

    /// Stops a client in the middle of whatever it does, for longer than most leases last.
    fn stall(child: &Child, us: u64) -> bool {
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return false };
        let stopped = kill_process(pid, Signal::STOP).is_ok();
        pause(us);
        stopped && kill_process(pid, Signal::CONT).is_ok()
    }
}
