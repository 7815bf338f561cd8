//! The phase `crash`: all searches and all controls, side by side, and their figures.
//!
//! Invariant: the reach and the seed alone decide which sequences are cut, and how far.
//! Does not depend on: how an image is checked.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fencepost_model::scope::{cuts, cuts_with_damage};
use serde::Serialize;

use crate::crash::control;
use crate::crash::control::CrashControl;
use crate::crash::replay::{PowerCut, replay, shrink};
use crate::crash::search::{BrokenByCut, CutClass, CutFigures, CutLimits, CutSearch};
use crate::disk::{Budget, Profile};
use crate::plan::{
    Controls, Failure, Phase, PhaseFigures, PhaseOutcome, PhaseParts, Plan, Progress, Reach, grouped,
};
use crate::pool;
use crate::rig::act::{Act, next};
use crate::rig::promises::NOTHING_LOST;
use crate::rig::recorder::{DiskRecorder, StartPoint, Unrecorded};
use crate::rig::seed::mix;
use crate::rig::setting::{Level, Setting};
use fencepost::error::{Error, Result};

/// Figures of the phase `crash`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct CrashFigures {
    /// How many sequences of acts.
    pub sequences: u64,
    /// How many I/O events the power was cut after.
    pub events: u64,
    /// How many distinct images, by a hash of their content, were recovered.
    pub images: usize,
    /// How many images were checked, at one cut or another.
    #[serde(rename = "judged")]
    pub checked: u64,
    /// After how many events not every legal content of the disk was made, up to recovery equivalence.
    pub capped: u64,
    /// How many cuts lost what was acknowledged, or brought it back in part.
    pub lost: usize,
    /// How many cuts left what cannot be read or worked on.
    pub corrupt: usize,
    /// How many cuts took the newest acknowledged operations of `ProcessCrash`, as they may.
    pub suffixes: u64,
    /// How often an operation in flight was found there.
    pub in_flight_kept: u64,
    /// How often it was not.
    pub in_flight_gone: u64,
    /// How many images were opened by a fresh process after a reboot as well, which found the same.
    pub both_ways: u64,
    /// How many images were worked on side by side with the model.
    pub worked_on: u64,
    /// How many images of second cuts, during recovery.
    pub again: u64,
    /// The positive controls.
    pub controls: Controls,
    /// How many images were checked: level by act by what the cut did.
    pub cells: Vec<CrashCell>,
    /// How long it took.
    pub seconds: f64,
}

/// A cell of the table.
#[derive(Debug, PartialEq, Serialize)]
pub struct CrashCell {
    /// The durability level.
    pub level: &'static str,
    /// What was in flight, or was done last.
    pub act: &'static str,
    /// What the cut did.
    pub class: &'static str,
    /// How many images were checked.
    pub images: u64,
}

/// Power cuts, at every I/O event of short sequences of acts.
#[derive(Clone, Copy, Debug)]
pub struct CrashPhase;

/// One piece of work.
enum CrashWork<'a> {
    /// Every sequence that begins with this act.
    Explore(&'a StartPoint, Setting, CutLimits, Act),
    /// Long sequences, chosen by these seeds.
    Walk(&'a StartPoint, Setting, CutLimits, std::ops::Range<u64>),
    /// A control.
    Control(&'static CrashControl),
}

impl CrashWork<'_> {
    fn name(&self) -> String {
        match self {
            Self::Explore(start, setting, _, act) => {
                format!("{} {} {}", setting.level.name(), start.name(), act.kind())
            }
            Self::Walk(start, setting, ..) => format!("{} {} long", setting.level.name(), start.name()),
            Self::Control(control) => format!("control: {}", control.name),
        }
    }
}

/// How far searches go in a setting.
fn limits(reach: Reach, setting: &Setting, seed: u64) -> CutLimits {
    // What is used everywhere goes the furthest: PowerLoss, on what SQLite takes a disk of Unix for.
    let main = *setting == Setting::honest(Level::PowerLoss, Profile::UNIX);
    let (depth, heavy) = match reach {
        Reach::Quick => (1, 1),
        Reach::Standard => (if main { 3 } else { 2 }, if main { 2 } else { 1 }),
        Reach::Deep => (3, 3),
    };
    let thorough = reach == Reach::Deep && main;
    let budget = Budget { subsets: 10, samples: usize::from(thorough) * 2, thorough, combinations: 1_000 };
    let (reboot_in, again_in) = if reach == Reach::Deep { (64, 8) } else { (256, 16) };
    CutLimits { depth, heavy, budget, reboot_in, again_in, seed }
}

/// The settings without a mutant.
pub fn settings() -> Vec<Setting> {
    let levels = [Level::PowerLoss, Level::ProcessCrash];
    let of = |level| [Profile::UNIX, Profile::PLAIN].map(|profile| Setting::honest(level, profile));
    levels.into_iter().flat_map(of).collect()
}

impl Phase for CrashPhase {
    type Figures = CrashFigures;
    type Counterexample = PowerCut;

    fn name(&self) -> &'static str {
        "crash"
    }

    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<CrashFigures, PowerCut>> {
        let mut complaints = Vec::new();
        let mut starts = Vec::new();
        // What a store leaves in its WAL depends on what the disk says of itself.
        for profile in [Profile::UNIX, Profile::PLAIN] {
            let mut recorder = DiskRecorder::new(Setting::honest(Level::PowerLoss, profile))?;
            for scope in cuts().into_iter().chain([cuts_with_damage()]) {
                match recorder.start(&scope) {
                    Ok(start) => starts.push((profile, start)),
                    Err(Unrecorded::Failed(error)) => return Err(error),
                    Err(Unrecorded::Differs(why)) => {
                        complaints.push(format!("{} cannot begin: {why}", scope.name));
                    }
                }
            }
        }
        let nothing = DiskRecorder::nothing();
        let work = all_work(plan.reach, plan.seed, &starts, &nothing);
        let mut parts = PhaseParts::new(progress, self.name(), work.len());
        let done = pool::map(plan.threads, &work, |work| parts.begin(&work.name()), do_work);
        let mut figures = CutFigures::default();
        let mut controls = Controls::default();
        for done in done {
            match done? {
                CrashDone::Searched(found) => figures.add(*found),
                CrashDone::Control(name, caught) => complaints.extend(controls.count(name, caught)),
            }
        }
        complaints.extend(std::mem::take(&mut figures.unrecorded));
        complain(&mut complaints, &figures);
        let size =
            |broken: &&BrokenByCut| (broken.case.acts.len(), broken.cut.choice.losses(), broken.cut.events);
        let failure = figures.broken.iter().min_by_key(size).map(shrink).map(failure);
        Ok(PhaseOutcome { figures: summary(figures, controls), complaints, failure, tallies: None })
    }
}

fn failure(broken: BrokenByCut) -> Failure<PowerCut> {
    let property = broken.violation.property.to_owned();
    let counterexample = PowerCut { case: broken.case, cut: broken.cut };
    let explanation = replay(&counterexample.case, &counterexample.cut)
        .map_or_else(|why| format!("it cannot be replayed: {why}"), |replayed| replayed.explanation);
    Failure { property, explanation, counterexample }
}

fn all_work<'a>(
    reach: Reach,
    seed: u64,
    starts: &'a [(Profile, StartPoint)],
    nothing: &'a StartPoint,
) -> Vec<CrashWork<'a>> {
    let mut work: Vec<CrashWork<'_>> = control::ALL.iter().map(CrashWork::Control).collect();
    let (walks, chunk) = match reach {
        Reach::Quick => (2, 1),
        Reach::Standard => (16, 4),
        Reach::Deep => (800, 20),
    };
    for setting in settings() {
        let limits = limits(reach, &setting, seed);
        for (_, start) in starts.iter().filter(|(profile, _)| *profile == setting.profile) {
            let acts = next(&start.scope, setting.level, &start.moment, limits.heavy > 0);
            work.extend(acts.into_iter().map(|act| CrashWork::Explore(start, setting, limits, act)));
            for from in (0..walks).step_by(chunk) {
                let seeds = from..(from + chunk as u64).min(walks);
                work.push(CrashWork::Walk(start, setting, limits, seeds));
            }
        }
        // What is not there yet is created, and then worked on.
        let created = CutLimits { depth: limits.depth.min(2), ..limits };
        work.push(CrashWork::Explore(nothing, setting, created, Act::Create));
    }
    work
}

/// What came of a piece of work.
enum CrashDone {
    Searched(Box<CutFigures>),
    /// A control, and whether it was caught.
    Control(&'static str, std::result::Result<(), String>),
}

/// How many acts a walk has.
const WALK: usize = 12;

fn do_work(work: &CrashWork<'_>) -> Result<CrashDone> {
    match work {
        CrashWork::Control(control) => Ok(CrashDone::Control(control.name, control.run()?.map(drop))),
        CrashWork::Explore(start, setting, limits, act) => {
            let mut search = CutSearch::new(start, *setting, *limits)?;
            search.explore(&mut vec![act.clone()]);
            Ok(CrashDone::Searched(Box::new(search.finish())))
        }
        CrashWork::Walk(start, setting, limits, seeds) => {
            let mut search = CutSearch::new(start, *setting, *limits)?;
            for seed in seeds.clone() {
                let mut acts = Vec::new();
                let mut moment = start.moment.clone();
                for step in 0..WALK as u64 {
                    let mut all = next(&start.scope, setting.level, &moment, step % 4 == 3);
                    if all.is_empty() {
                        return Err(Error::NotFound);
                    }
                    let which = mix(limits.seed, &[seed, step]);
                    let act = all.swap_remove(usize::try_from(which).unwrap_or(0) % all.len());
                    moment.perform(&act);
                    acts.push(act);
                }
                search.look_at(&acts, 0);
            }
            Ok(CrashDone::Searched(Box::new(search.finish())))
        }
    }
}

/// A search that never saw what it is for has shown nothing.
fn complain(complaints: &mut Vec<String>, figures: &CutFigures) {
    let mut need = |seen: bool, what: &str| {
        if !seen && figures.broken.is_empty() {
            complaints.push(format!("no cut {what}, so the search shows nothing"));
        }
    };
    need(figures.in_flight[0] > 0, "left an operation in flight behind");
    need(figures.in_flight[1] > 0, "took an operation in flight away");
    need(figures.suffixes > 0, "took acknowledged operations of ProcessCrash");
    need(figures.both_ways > 0, "was recovered in both ways");
    need(figures.gone_on > 0, "was followed by work");
    for class in CutClass::ALL {
        let seen = figures.cells.keys().any(|(_, _, seen)| *seen == class);
        need(seen, &format!("was of the class {}", class.name()));
    }
}

fn summary(figures: CutFigures, controls: Controls) -> CrashFigures {
    let lost = figures.broken.iter().filter(|broken| broken.violation.property == NOTHING_LOST).count();
    let cell = |((level, act, class), images): (&(Level, &'static str, CutClass), &u64)| CrashCell {
        level: level.name(),
        act,
        class: class.name(),
        images: *images,
    };
    CrashFigures {
        sequences: figures.sequences,
        events: figures.events,
        images: figures.images.len(),
        checked: figures.checked,
        capped: figures.capped,
        lost,
        corrupt: figures.broken.len() - lost,
        suffixes: figures.suffixes,
        in_flight_kept: figures.in_flight[0],
        in_flight_gone: figures.in_flight[1],
        both_ways: figures.both_ways,
        worked_on: figures.gone_on,
        again: figures.again,
        controls,
        cells: figures.cells.iter().map(cell).collect(),
        seconds: 0.0,
    }
}

impl PhaseFigures for CrashFigures {
    fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    fn lines(&self, text: &mut String) {
        let (sequences, events) = (grouped(self.sequences), grouped(self.events));
        let _ = writeln!(
            text,
            "crash     {sequences} sequences, cut after {events} I/O events: {} distinct images, checked {} times; {} points capped",
            grouped(self.images as u64),
            grouped(self.checked),
            self.capped
        );
        let _ = writeln!(
            text,
            "            {} lost, {} corrupt; {} cuts took acknowledged operations of ProcessCrash, as they may",
            self.lost,
            self.corrupt,
            grouped(self.suffixes)
        );
        let _ = writeln!(
            text,
            "            opened by a fresh process after a reboot: {}, worked on: {}, cut again: {}; controls caught: {} of {}; {:.1} s, {} images a second",
            grouped(self.both_ways),
            grouped(self.worked_on),
            grouped(self.again),
            self.controls.caught,
            self.controls.total,
            self.seconds,
            grouped((self.images as f64 / self.seconds.max(0.001)) as u64)
        );
    }

    /// The table for people: durability level by act by what the cut did.
    fn table(&self) -> Option<String> {
        let mut text = format!("{:13} {:27}", "level", "act");
        for class in CutClass::ALL {
            let _ = write!(text, " {:>9}", class.name());
        }
        text.push('\n');
        let mut rows: BTreeMap<(&str, &str), BTreeMap<&str, u64>> = BTreeMap::new();
        for cell in &self.cells {
            *rows.entry((cell.level, cell.act)).or_default().entry(cell.class).or_default() += cell.images;
        }
        for ((level, act), row) in rows {
            let _ = write!(text, "{level:13} {act:27}");
            for class in CutClass::ALL {
                let images = row.get(class.name()).map_or("-".to_owned(), |images| images.to_string());
                let _ = write!(text, " {images:>9}");
            }
            text.push('\n');
        }
        Some(text)
    }
}
