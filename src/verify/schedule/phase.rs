//! The phase `schedule`: all cells, all controls, and their figures. A cell is a start and what a few connections do
//! from there.
//!
//! Invariant: the reach and the seed alone decide which cells are searched, and how far.
//! Does not depend on: how a run is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::plan::{
    Controls, Failure, Phase, PhaseFigures, PhaseOutcome, PhaseParts, Plan, Progress, Reach, grouped,
};
use crate::rig::promises::Violation;
use crate::rig::recorder::StartPoint;
use crate::schedule::case::{ClientAct, ScheduleCase, ScheduledClient, WalAtStart, acts};
use crate::schedule::connections::Connections;
use crate::schedule::control::{LATE_MS, PATIENCE_MS, ScheduleControl};
use crate::schedule::orders::{ENDS, OrderChecker};
use crate::schedule::replay::{BrokenBySchedule, ConnectionSchedule, look_for, replay, shrink, start_of};
use crate::schedule::{control, cuts};
use crate::scheduler::Strategy;
use crate::{pool, threads};
use fencepost::error::Result;

/// Figures of the phase `schedule`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct ScheduleFigures {
    /// How many cells: a beginning, and what each connection does.
    pub cells: u64,
    /// How many schedules were run, all cells together.
    pub schedules: u64,
    /// How many choices were made.
    pub steps: u64,
    /// How many cells were exhausted: every schedule does what one does that was run.
    pub exhausted: u64,
    /// How many cells were searched at random (PCT), since there are too many schedules.
    pub by_chance: u64,
    /// How often each busy code of SQLite was met.
    pub busy_codes: BTreeMap<String, u64>,
    /// Cuts of the power at each I/O event of schedules.
    pub cuts: CutsLine,
    /// The positive controls.
    pub controls: Controls,
    /// The threads of a bus.
    pub threads: threads::ThreadFigures,
    /// How long it took.
    pub seconds: f64,
}

/// Cuts of the power at each I/O event of schedules.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct CutsLine {
    /// How many schedules were cut.
    pub schedules: u64,
    /// After how many I/O events.
    pub events: u64,
    /// How many contents of the disk were checked.
    pub images: u64,
    /// How many of them were different.
    pub distinct: u64,
}

/// Schedules of several connections, and of the threads of a bus.
#[derive(Clone, Copy, Debug)]
pub struct SchedulePhase;

/// A schedule in which a promise is broken: of connections, or of the threads of a bus.
#[derive(Clone, Debug)]
pub enum BrokenSchedule {
    /// Of connections.
    Connections(ConnectionSchedule),
    /// Of the threads of a bus.
    Threads(ThreadSchedule),
}

/// A scenario of the threads of a bus, and which of them went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSchedule {
    /// The scenario.
    pub scenario: String,
    /// The thread that went on at each point where several could: by their numbers from 1.
    pub choices: Vec<u8>,
}

impl ThreadSchedule {
    /// Runs the schedule again. Says whether a promise is broken, and explains it.
    ///
    /// # Errors
    /// If there is no such scenario.
    pub fn replay(&self) -> Result<(bool, String)> {
        Ok(match threads::replay(&self.scenario, None, &self.choices)?.broken {
            Some(broken) => (true, explain_threads(&broken)),
            None => (false, format!("held: {}\n", self.scenario)),
        })
    }
}

fn explain_threads(broken: &threads::ThreadCounterexample) -> String {
    format!("{}\nfound: {}\nbroken: {}\n", broken.explanation, broken.violation.why, broken.violation.promise)
}

/// What pieces of work found.
#[derive(Debug, Default)]
struct ScheduleFindings {
    /// Its figures.
    figures: ScheduleFigures,
    /// Something that is broken, made small.
    broken: Option<BrokenBySchedule>,
    /// What is wrong with the search itself.
    complaints: Vec<String>,
}

/// One piece of work.
#[derive(Debug)]
enum ScheduleWork {
    /// Schedules of cases that begin alike.
    Search(String, Vec<ScheduleCase>, Strategy),
    /// Schedules of one case, each cut.
    Cut(ScheduleCase, Strategy),
    /// A control.
    Control(&'static ScheduleControl),
}

impl ScheduleWork {
    fn name(&self) -> String {
        match self {
            Self::Search(name, ..) => name.clone(),
            Self::Cut(case, _) => format!("cut {}", case.name()),
            Self::Control(control) => control.name.to_owned(),
        }
    }
}

/// The codes that must be met, or else no client was ever in the way of another: busy, busy while the WAL is recovered,
/// and a snapshot that is too old to become a write.
const EXPECTED_CODES: [(i32, &str); 3] =
    [(5, "SQLITE_BUSY"), (261, "SQLITE_BUSY_RECOVERY"), (517, "SQLITE_BUSY_SNAPSHOT")];

fn code_name(code: i32) -> String {
    let known = EXPECTED_CODES.iter().find(|(known, _)| *known == code);
    known.map_or_else(|| format!("SQLITE_BUSY ({code})"), |(_, name)| (*name).to_owned())
}

/// How many cells a reach has, and how many schedules are run in them, whatever the seed. A change of the store, of
/// SQLite or of the search moves them, and is to be looked at. The deep run was not run to its end yet.
const fn pinned(reach: Reach) -> Option<(u64, u64)> {
    match reach {
        Reach::Quick => Some((181, 15_916)),
        Reach::Standard => Some((1_402, 185_058)),
        Reach::Deep => None,
    }
}

/// A search that has not ended after this is not called exhausted.
const EXHAUSTED_WITHIN: u64 = 200_000;

fn client(acts: Vec<ClientAct>, late_ms: u64, patience_ms: u32) -> ScheduledClient {
    ScheduledClient { late_ms, acts, patience_ms, mutant: None }
}

/// Every ordered pair of acts of these kinds, the second client's clock past the leases.
fn pairs(start: &str, wal: WalAtStart, acts: &[ClientAct], patience_ms: u32) -> Vec<ScheduleWork> {
    let all = Strategy::Dpor { schedules_max: EXHAUSTED_WITHIN };
    let of = |one: &ClientAct| {
        let cases = acts.iter().map(|other| ScheduleCase {
            start: start.to_owned(),
            wal,
            clients: vec![
                client(vec![one.clone()], 0, patience_ms),
                client(vec![other.clone()], LATE_MS, patience_ms),
            ],
        });
        ScheduleWork::Search(format!("{start} {}: {}", wal.name(), one.kind()), cases.collect(), all.clone())
    };
    acts.iter().map(of).collect()
}

/// What three or four connections do: kinds of acts, one after the other.
const CROWDS: &[(&str, &[&[&str]])] = &[
    ("cuts-queue", &[&["claim"], &["ack"], &["claim"]]),
    ("cuts-queue", &[&["send"], &["send"], &["claim"]]),
    ("cuts-queue", &[&["effect"], &["nack"], &["empty the WAL"]]),
    ("cuts-queue", &[&["batch"], &["claim", "read"], &["checkpoint"]]),
    ("cuts-log", &[&["poll"], &["ack"], &["seek"]]),
    ("cuts-log", &[&["publish"], &["poll", "read"], &["prune"]]),
    ("cuts-log", &[&["poll"], &["poll"], &["reset"]]),
    ("cuts-queue", &[&["claim"], &["claim"], &["ack"], &["read"]]),
    ("cuts-queue", &[&["send"], &["claim"], &["dead-letter"], &["checkpoint"]]),
    ("cuts-log", &[&["publish"], &["poll"], &["ack"], &["empty the WAL"]]),
];

/// What is cut: pairs of kinds.
const CUT: &[(&str, WalAtStart, [&str; 2])] = &[
    ("cuts-empty", WalAtStart::Full, ["send", "publish"]),
    ("cuts-queue", WalAtStart::Full, ["claim", "ack"]),
    ("cuts-queue", WalAtStart::Full, ["effect", "send"]),
    ("cuts-queue", WalAtStart::Full, ["batch", "checkpoint"]),
    ("cuts-queue", WalAtStart::Copied, ["send", "claim"]),
    ("cuts-log", WalAtStart::Full, ["poll", "publish"]),
    ("cuts-log", WalAtStart::Copied, ["ack", "read"]),
];

fn of_kinds(all: &[ClientAct], kinds: &[&str]) -> Vec<ClientAct> {
    kinds.iter().filter_map(|kind| all.iter().find(|act| act.kind() == *kind).cloned()).collect()
}

/// All the work of a reach.
fn all_work(starts: &[StartPoint], reach: Reach, seed: u64) -> (Vec<ScheduleWork>, Vec<String>) {
    let (mut work, mut complaints) = (Vec::new(), Vec::new());
    for start in starts {
        let all = acts(start);
        let without_reopening: Vec<ClientAct> =
            all.iter().filter(|act| !matches!(act, ClientAct::Reopen)).cloned().collect();
        let some = |kinds: &[&str]| of_kinds(&all, kinds);
        let few = some(&["send", "publish", "claim", "poll", "ack", "effect", "read", "checkpoint"]);
        let name = start.name();
        match reach {
            Reach::Quick => work.extend(pairs(name, WalAtStart::Full, &few, PATIENCE_MS)),
            Reach::Standard => {
                work.extend(pairs(name, WalAtStart::Full, &without_reopening, PATIENCE_MS));
                work.extend(pairs(name, WalAtStart::Copied, &few, PATIENCE_MS));
            }
            Reach::Deep => {
                for wal in [WalAtStart::Full, WalAtStart::Copied] {
                    work.extend(pairs(name, wal, &all, PATIENCE_MS));
                }
                work.extend(pairs(name, WalAtStart::Unknown, &few, PATIENCE_MS));
            }
        }
        // A client that does not wait is refused, and nothing happens.
        work.extend(pairs(name, WalAtStart::Full, &some(&["send", "claim", "poll", "read"]), 0));
        work.extend(pairs(name, WalAtStart::Unknown, &some(&["read"]), 0));
    }
    let mut find = |start: &str, kinds: &[&str]| {
        let start = starts.iter().find(|known| known.name() == start);
        let acts = start.map(|start| of_kinds(&acts(start), kinds)).unwrap_or_default();
        if acts.len() != kinds.len() {
            complaints.push(format!("not all of {kinds:?} can be done in a cell of the schedules"));
        }
        acts
    };
    let schedules = match reach {
        Reach::Quick => 500,
        Reach::Standard => 10_000,
        Reach::Deep => 200_000,
    };
    for (start, crowd) in CROWDS {
        let clients = (0..)
            .zip(*crowd)
            .map(|(number, kinds)| client(find(start, kinds), number * LATE_MS, PATIENCE_MS));
        let case =
            ScheduleCase { start: (*start).to_owned(), wal: WalAtStart::Full, clients: clients.collect() };
        let search = Strategy::Pct { seed, depth: 3, schedules };
        work.push(ScheduleWork::Search(case.name(), vec![case], search));
    }
    for (start, wal, kinds) in CUT {
        let acts = find(start, kinds);
        let clients = acts
            .into_iter()
            .enumerate()
            .map(|(number, act)| client(vec![act], number as u64 * LATE_MS, PATIENCE_MS));
        let case = ScheduleCase { start: (*start).to_owned(), wal: *wal, clients: clients.collect() };
        let schedules_max = match reach {
            Reach::Quick => 8,
            Reach::Standard => 60,
            Reach::Deep => EXHAUSTED_WITHIN,
        };
        work.push(ScheduleWork::Cut(case, Strategy::Dpor { schedules_max }));
    }
    work.extend(control::ALL.iter().map(ScheduleWork::Control));
    (work, complaints)
}

impl Phase for SchedulePhase {
    type Figures = ScheduleFigures;
    type Counterexample = BrokenSchedule;

    fn name(&self) -> &'static str {
        "schedule"
    }

    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<ScheduleFigures, BrokenSchedule>> {
        let mut found = ScheduleFindings::default();
        let names: BTreeSet<&str> = CROWDS.iter().map(|(start, _)| *start).chain(["cuts-empty"]).collect();
        let mut starts = Vec::new();
        for name in names {
            match start_of(name) {
                Ok(start) => starts.push(start),
                Err(why) => found.complaints.push(format!("{name}: {why}")),
            }
        }
        let (work, complaints) = all_work(&starts, plan.reach, plan.seed);
        found.complaints.extend(complaints);
        let mut parts = PhaseParts::new(&mut *progress, self.name(), work.len());
        let begin = |part: &ScheduleWork| parts.begin(&part.name());
        for part in pool::map(plan.threads, &work, begin, |work| do_work(work, &starts, plan.seed)) {
            found.add(part?);
        }
        found.complain(plan.reach);
        // The threads of a bus are a list of parts of their own.
        let (mut done, name) = (0, self.name());
        let of_threads = threads::run(plan.reach, plan.seed, plan.threads, |part, total| {
            progress.at(name, part, done, total);
            done += 1;
        })?;
        found.figures.threads = of_threads.figures;
        found.complaints.extend(of_threads.complaints);
        let of_threads = of_threads.broken.map(|broken| Failure {
            property: broken.violation.promise.to_owned(),
            explanation: explain_threads(&broken),
            counterexample: BrokenSchedule::Threads(ThreadSchedule {
                scenario: broken.scenario.to_owned(),
                choices: broken.choices,
            }),
        });
        let of_connections = found.broken.as_ref().map(shrink).transpose()?.map(failure);
        let ScheduleFindings { figures, complaints, .. } = found;
        Ok(PhaseOutcome { figures, complaints, failure: of_connections.or(of_threads), tallies: None })
    }
}

fn failure(broken: BrokenBySchedule) -> Failure<BrokenSchedule> {
    let property = broken.violation.property.to_owned();
    let schedule = ConnectionSchedule { case: broken.case, choices: broken.choices };
    let explanation = replay(&schedule.case, &schedule.choices)
        .map_or_else(|why| format!("it cannot be replayed: {why}"), |replayed| replayed.explanation);
    Failure { property, explanation, counterexample: BrokenSchedule::Connections(schedule) }
}

impl ScheduleFindings {
    /// What a search must have seen: the pinned number of schedules, and every busy code.
    fn complain(&mut self, reach: Reach) {
        let (cells, schedules) = (self.figures.cells, self.figures.schedules);
        if let Some(pinned) =
            pinned(reach).filter(|pinned| self.broken.is_none() && *pinned != (cells, schedules))
        {
            self.complaints.push(format!(
                "the schedules are {schedules} in {cells} cells, and {} in {} are pinned",
                pinned.1, pinned.0
            ));
        }
        for (code, name) in EXPECTED_CODES {
            if !self.figures.busy_codes.contains_key(&code_name(code)) {
                self.complaints.push(format!("no schedule met {name}: no client was in the way of another"));
            }
        }
    }

    fn add(&mut self, other: Self) {
        let (mine, theirs) = (&mut self.figures, other.figures);
        mine.cells += theirs.cells;
        mine.schedules += theirs.schedules;
        mine.steps += theirs.steps;
        mine.exhausted += theirs.exhausted;
        mine.by_chance += theirs.by_chance;
        for (code, count) in theirs.busy_codes {
            *mine.busy_codes.entry(code).or_default() += count;
        }
        mine.cuts.schedules += theirs.cuts.schedules;
        mine.cuts.events += theirs.cuts.events;
        mine.cuts.images += theirs.cuts.images;
        mine.cuts.distinct += theirs.cuts.distinct;
        mine.controls.add(theirs.controls);
        self.complaints.extend(other.complaints);
        // Of several the one with the fewest clients is kept.
        let clients = |broken: &Option<BrokenBySchedule>| {
            broken.as_ref().map_or(usize::MAX, |broken| broken.case.clients.len())
        };
        if clients(&other.broken) < clients(&self.broken) {
            self.broken = other.broken;
        }
    }
}

fn do_work(work: &ScheduleWork, starts: &[StartPoint], seed: u64) -> Result<ScheduleFindings> {
    let mut found = ScheduleFindings::default();
    let name = match work {
        ScheduleWork::Search(_, cases, _) => {
            cases.first().map(|case| case.start.as_str()).unwrap_or_default()
        }
        ScheduleWork::Cut(case, _) => &case.start,
        ScheduleWork::Control(control) => control.start,
    };
    let Some(start) = starts.iter().find(|start| start.name() == name) else {
        return Ok(found);
    };
    let mut connections = Connections::new(start)?;
    match work {
        ScheduleWork::Search(_, cases, search) => {
            for case in cases {
                search_case(&mut connections, start, case, search, &mut found)?;
            }
        }
        ScheduleWork::Cut(case, search) => {
            let cuts = cuts::cut(&mut connections, case, search, seed)?;
            let (schedules, events) = (cuts.schedules, cuts.events);
            if schedules == 0 || events == 0 {
                found.complaints.push(format!("{}: nothing was there to be cut", case.name()));
            }
            if cuts.misfit {
                found.complaints.push(unlike(case));
            }
            found.figures.cuts = CutsLine { schedules, events, images: cuts.images, distinct: cuts.distinct };
            found.broken = cuts.broken;
        }
        ScheduleWork::Control(control) => {
            let missed = match control.case(start) {
                None => Some("its acts cannot be done".to_owned()),
                Some(case) => try_control(&mut connections, start, &case, control, &mut found)?,
            };
            let complaint = found.figures.controls.count(control.name, missed.map_or(Ok(()), Err));
            found.complaints.extend(complaint);
        }
    }
    Ok(found)
}

fn search_case(
    connections: &mut Connections,
    start: &StartPoint,
    case: &ScheduleCase,
    search: &Strategy,
    found: &mut ScheduleFindings,
) -> Result<()> {
    let checker = OrderChecker::new(case, &start.moment);
    let seen = Arc::<Mutex<(BTreeMap<i32, u64>, Option<BrokenBySchedule>)>>::default();
    let (keep, of) = (Arc::clone(&seen), case.clone());
    let explored = connections.explore(case, search, false, move |run| {
        let mut seen = keep.lock().unwrap_or_else(PoisonError::into_inner);
        for (code, count) in &run.busy {
            *seen.0.entry(*code).or_default() += count;
        }
        let violation = checker.check(run).err();
        seen.1 = violation.map(|violation| BrokenBySchedule {
            case: of.clone(),
            choices: run.choices.clone(),
            violation,
        });
        seen.1.is_some()
    })?;
    let (codes, broken) = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let figures = &mut found.figures;
    figures.cells += 1;
    figures.schedules += explored.schedules;
    figures.steps += explored.steps;
    figures.exhausted += u64::from(explored.exhausted);
    for (code, count) in codes {
        *figures.busy_codes.entry(code_name(code)).or_default() += count;
    }
    if explored.misfit {
        found.complaints.push(unlike(case));
    }
    let sound = broken.is_none() && explored.ended.is_none();
    match search {
        Strategy::Pct { schedules, .. } => {
            figures.by_chance += 1;
            if sound && explored.schedules != *schedules {
                let run = explored.schedules;
                found.complaints.push(format!("{}: {run} schedules of {schedules} were run", case.name()));
            }
        }
        _ if !explored.exhausted && sound => {
            found.complaints.push(format!(
                "{}: not exhausted within {} schedules",
                case.name(),
                explored.schedules
            ));
        }
        _ => {}
    }
    if let Some(why) = explored.ended {
        let violation = Violation { property: ENDS, why };
        found.broken =
            Some(BrokenBySchedule { case: case.clone(), choices: connections.board().choices(), violation });
    } else if broken.is_some() {
        found.broken = broken;
    }
    Ok(())
}

fn unlike(case: &ScheduleCase) -> String {
    format!("{}: the same choices did not do the same", case.name())
}

/// Whether a control is caught; if not, why.
fn try_control(
    connections: &mut Connections,
    start: &StartPoint,
    case: &ScheduleCase,
    control: &ScheduleControl,
    found: &mut ScheduleFindings,
) -> Result<Option<String>> {
    let all = Strategy::Dpor { schedules_max: EXHAUSTED_WITHIN };
    // Without the mutant no promise is broken, so what is found is the mutant.
    let mut honest = case.clone();
    honest.clients.iter_mut().for_each(|client| client.mutant = None);
    if let Some(broken) = look_for(connections, &honest, &all, None)? {
        return Ok(Some(format!("without its mutant {} is broken already", broken.violation.property)));
    }
    let mut with = ScheduleFindings::default();
    search_case(connections, start, case, &all, &mut with)?;
    for (code, count) in with.figures.busy_codes {
        *found.figures.busy_codes.entry(code).or_default() += count;
    }
    Ok(match with.broken {
        None => Some("nothing noticed it".to_owned()),
        Some(broken) if broken.violation.property != control.breaks => {
            Some(format!("it was taken for {}: {}", broken.violation.property, broken.violation.why))
        }
        Some(_) => None,
    })
}

impl PhaseFigures for ScheduleFigures {
    fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    fn lines(&self, text: &mut String) {
        let codes: Vec<String> =
            self.busy_codes.iter().map(|(code, count)| format!("{code} {}", grouped(*count))).collect();
        let _ = writeln!(
            text,
            "schedule  {} cells, {} exhausted, {} at random, {} schedules; {}; {} schedules cut after {} events, {} images, {} distinct; {} of {} controls caught, {:.1} s",
            grouped(self.cells),
            grouped(self.exhausted),
            self.by_chance,
            grouped(self.schedules),
            codes.join(", "),
            grouped(self.cuts.schedules),
            grouped(self.cuts.events),
            grouped(self.cuts.images),
            grouped(self.cuts.distinct),
            self.controls.caught,
            self.controls.total,
            self.seconds
        );
        let threads = &self.threads;
        let controls = match threads.controls_skipped {
            Some(why) => format!("controls skipped: {why}"),
            None => format!("{} of {} controls caught", threads.controls.caught, threads.controls.total),
        };
        let _ = writeln!(
            text,
            "          threads of a bus: {} scenarios, {} schedules, {controls}",
            threads.scenarios,
            grouped(threads.schedules)
        );
    }
}
