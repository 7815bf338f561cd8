//! The phase `history`: histories are recorded and checked, and so are those of mutants, and some in which an answer
//! was changed.
//!
//! Invariant: the seed alone decides what clients ask for; what happens depends on the machine too. A run in which no
//! client was killed, stalled, refused or late has shown nothing, and complains.
//! Does not depend on: how anything is checked.

use std::fmt::Write as _;
use std::path::Path;

use fencepost_model::op::{Refusal, Reply};
use serde::Serialize;

use crate::history::checkers::{HistoryVerdict, Rejection, Verdicts, check};
use crate::history::client::Theme;
use crate::history::control::HistoryControl;
use crate::history::record::{History, HistoryAnswer, HistoryEntry};
use crate::history::recording::{ClientKind, RecordedHistory, RecordingPlan, record};
use crate::history::replay::replay;
use crate::history::shrink::shrink;
use crate::history::{alter, commit_order, control, linearizability};
use crate::plan::{
    Controls, Failure, Phase, PhaseFigures, PhaseOutcome, PhaseParts, Plan, Progress, Reach, grouped,
};
use crate::pool;
use crate::rig::recovery::in_words;
use fencepost::error::Result;

/// Figures of the phase `history`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HistoryFigures {
    /// How many histories.
    pub histories: u64,
    /// How many operations were called.
    pub operations: u64,
    /// How many clients were killed.
    pub kills: u64,
    /// How many were stopped past their leases, and went on.
    pub stalls: u64,
    /// How many operations found the file locked for too long.
    pub busy: u64,
    /// How many operations were not answered.
    pub unanswered: u64,
    /// How many of those took a number, and so happened.
    pub unanswered_done: u64,
    /// How many leases were found lost.
    pub leases_lost: u64,
    /// How many histories were checked in commit order too: all but those of buses.
    pub numbered: u64,
    /// How many pairs of operations and state the search for an order looked at.
    pub pairs: u64,
    /// How many histories no checker refused, and for which the search gave up.
    pub inconclusive: u64,
    /// Histories with one answer changed, which both checks must refuse.
    pub altered: Controls,
    /// Mutants of clients, whose histories the checkers named for them must refuse.
    pub controls: Controls,
    /// How long it took.
    pub seconds: f64,
}

/// A history that is refused, made small.
#[derive(Clone, Debug)]
pub struct RejectedHistory {
    /// By whom, and why.
    pub refused: Rejection,
    /// What is left of it.
    pub history: History,
}

/// Recorded histories of real clients.
#[derive(Clone, Copy, Debug)]
pub struct HistoryPhase;

/// What pieces of work found.
#[derive(Debug, Default)]
struct HistoryFindings {
    figures: HistoryFigures,
    /// The smallest history that is refused.
    broken: Option<RejectedHistory>,
    /// What is wrong with the search itself.
    complaints: Vec<String>,
}

/// One piece of work.
enum HistoryWork {
    Control(&'static HistoryControl),
    Record(RecordingPlan),
}

impl HistoryWork {
    fn name(&self) -> String {
        match self {
            Self::Control(control) => format!("control: {}", control.name),
            Self::Record(plan) => format!("{} seed {}", plan.kind.name(), plan.seed),
        }
    }
}

fn work(reach: Reach, seed: u64) -> Vec<HistoryWork> {
    let histories = match reach {
        Reach::Quick => 6,
        Reach::Standard => 30,
        Reach::Deep => 8_000,
    };
    let plan = |index: u64| RecordingPlan {
        kind: match index % 5 {
            2 => ClientKind::Threads,
            4 => ClientKind::Buses,
            _ => ClientKind::Processes,
        },
        seed: seed.wrapping_mul(1_000_003).wrapping_add(index),
        lanes: 8,
        operations: 110,
        kills: 8,
        stalls: 5,
        theme: match index % 4 {
            1 => Theme::Queue,
            3 => Theme::Log,
            _ => Theme::Everything,
        },
        mutant: None,
    };
    control::ALL
        .iter()
        .map(HistoryWork::Control)
        .chain((0..histories).map(plan).map(HistoryWork::Record))
        .collect()
}

impl Phase for HistoryPhase {
    type Figures = HistoryFigures;
    type Counterexample = History;

    fn name(&self) -> &'static str {
        "history"
    }

    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<HistoryFigures, History>> {
        let Plan { reach, seed, threads, program, .. } = plan;
        let work = work(*reach, *seed);
        let mut parts = PhaseParts::new(progress, self.name(), work.len());
        let done = pool::map(
            *threads,
            &work,
            |work| parts.begin(&work.name()),
            |work| match work {
                HistoryWork::Control(control) => of_control(control, *seed, program),
                HistoryWork::Record(plan) => of_plan(plan, program),
            },
        );
        let mut found = HistoryFindings::default();
        for done in done {
            add(&mut found, done?);
        }
        complain(&mut found);
        let HistoryFindings { figures, broken, complaints } = found;
        let failure = broken.map(|broken| Failure {
            property: broken.refused.checker.to_owned(),
            explanation: replay(&broken.history).explanation,
            counterexample: broken.history,
        });
        Ok(PhaseOutcome { figures, complaints, failure, tallies: None })
    }
}

fn of_control(control: &HistoryControl, seed: u64, program: &Path) -> Result<HistoryFindings> {
    let mut found = HistoryFindings::default();
    let caught = control.run(seed, program)?;
    found.complaints.extend(found.figures.controls.count(control.name, caught));
    Ok(found)
}

fn of_plan(plan: &RecordingPlan, program: &Path) -> Result<HistoryFindings> {
    let mut found = HistoryFindings::default();
    let recorded = match record(plan, program) {
        Ok(recorded) => recorded,
        // A client that ended by itself, or a file that is damaged afterwards.
        Err(error) => {
            let (kind, seed, why) = (plan.kind.name(), plan.seed, in_words(&error));
            found.complaints.push(format!("a history of {kind} (seed {seed}) came to nothing: {why}"));
            return Ok(found);
        }
    };
    let history = &recorded.history;
    let verdicts = check(history);
    count(&mut found.figures, &recorded, &verdicts);
    if let Some(refused) = verdicts.refused().into_iter().next() {
        let small = shrink(history, refused);
        found.broken = Some(RejectedHistory { refused: refused.clone(), history: small });
    } else if plan.kind != ClientKind::Buses {
        change(&mut found, history, plan.seed);
    }
    Ok(found)
}

/// How many answers are changed in each history.
const CHANGED: usize = 2;

/// Changes a few answers, and runs both checks.
fn change(found: &mut HistoryFindings, history: &History, seed: u64) {
    let all = alter::all(history);
    let every = (all.len() / CHANGED).max(1);
    let from = usize::try_from(seed).unwrap_or_default() % every;
    for alteration in all.iter().skip(from).step_by(every) {
        let altered = alteration.of(history);
        found.figures.altered.total += 1;
        let refused = |verdict: &HistoryVerdict| matches!(verdict, HistoryVerdict::Refused(_));
        let (by_number, by_order) = (commit_order::check(&altered), linearizability::check(&altered));
        if refused(&by_number) && refused(&by_order) {
            found.figures.altered.caught += 1;
        } else if by_number == HistoryVerdict::Allowed || by_order == HistoryVerdict::Allowed {
            let entry = &history.entries[alteration.entry];
            let (what, was, is) = (alteration.what, &entry.answer, &alteration.answer);
            found.complaints.push(format!(
                "a changed answer was allowed ({what}; seed {seed}): {:?} was answered {was:?}, and {is:?} instead",
                entry.op
            ));
        }
    }
}

fn count(figures: &mut HistoryFigures, recorded: &RecordedHistory, verdicts: &Verdicts) {
    let entries = &recorded.history.entries;
    let of =
        |which: &dyn Fn(&HistoryEntry) -> bool| entries.iter().filter(|entry| which(entry)).count() as u64;
    figures.histories = 1;
    figures.operations = entries.len() as u64;
    figures.kills = u64::from(recorded.kills);
    figures.stalls = u64::from(recorded.stalls);
    figures.busy = of(&|entry| entry.answer == HistoryAnswer::Busy);
    figures.unanswered = of(&|entry| entry.is_open());
    figures.leases_lost = of(&|entry| entry.reply() == Some(&Reply::Refused(Refusal::LeaseLost)));
    figures.pairs = verdicts.pairs as u64;
    figures.inconclusive = u64::from(verdicts.is_inconclusive());
    if verdicts.by_commit_order != HistoryVerdict::Inconclusive {
        figures.numbered = 1;
        let answered = of(&|entry| entry.place().is_some_and(|place| place.changed));
        let taken = recorded.history.end.as_ref().map_or(0, |end| end.commit_seq);
        figures.unanswered_done = taken.saturating_sub(answered);
    }
}

fn add(found: &mut HistoryFindings, other: HistoryFindings) {
    let (to, from) = (&mut found.figures, other.figures);
    to.histories += from.histories;
    to.operations += from.operations;
    to.kills += from.kills;
    to.stalls += from.stalls;
    to.busy += from.busy;
    to.unanswered += from.unanswered;
    to.unanswered_done += from.unanswered_done;
    to.leases_lost += from.leases_lost;
    to.numbered += from.numbered;
    to.pairs += from.pairs;
    to.inconclusive += from.inconclusive;
    to.altered.add(from.altered);
    to.controls.add(from.controls);
    found.complaints.extend(other.complaints);
    let size =
        |broken: &Option<RejectedHistory>| broken.as_ref().map_or(usize::MAX, |it| it.history.entries.len());
    if size(&other.broken) < size(&found.broken) {
        found.broken = other.broken;
    }
}

/// A search that never saw what it is for has shown nothing.
fn complain(found: &mut HistoryFindings) {
    let figures = &found.figures;
    if found.broken.is_some() {
        return;
    }
    let mut need = |seen: bool, what: &str| {
        if !seen {
            found.complaints.push(format!("no history had {what}, so the search shows nothing"));
        }
    };
    if cfg!(unix) {
        need(figures.kills > 0, "a kill");
        need(figures.stalls > 0, "a stall");
        need(figures.unanswered > 0, "an operation without an answer");
    }
    need(figures.busy > 0, "a busy answer");
    need(figures.leases_lost > 0, "a lost lease");
    need(figures.altered.caught > 0, "a changed answer");
}

impl PhaseFigures for HistoryFigures {
    fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    fn lines(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "history   {} histories, {} operations: {} kills, {} stalls, {} busy, {} unanswered ({} of them done), {} leases lost",
            grouped(self.histories),
            grouped(self.operations),
            grouped(self.kills),
            grouped(self.stalls),
            grouped(self.busy),
            grouped(self.unanswered),
            grouped(self.unanswered_done),
            grouped(self.leases_lost)
        );
        let _ = writeln!(
            text,
            "            {} checked in commit order, all by the linearizability search ({} pairs), {} inconclusive; changed answers refused: {} of {}; controls caught: {} of {}; {:.1} s",
            grouped(self.numbered),
            grouped(self.pairs),
            self.inconclusive,
            self.altered.caught,
            self.altered.total,
            self.controls.caught,
            self.controls.total,
            self.seconds
        );
    }
}
