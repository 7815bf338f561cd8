//! The phase `faults`: every call and allocation that fails, syncs before a cut, flipped bits and controls, side by side.
//!
//! What always holds: what is tried depends on the reach and the seed alone. This module must not know how anything is
//! judged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use fencepost_model::scope::cuts;
use serde::Serialize;

use crate::disk::{AllocationFaults, DiskFault, FaultKind, Profile};
use crate::faults::answers::{PANIC, SUCCESS};
use crate::faults::case::{Deed, FaultCase, FaultSetting, Manner, Trouble};
use crate::faults::control;
use crate::faults::control::FaultControl;
use crate::faults::flips::{FlipOutcome, Flipped, flips};
use crate::faults::harness::{FaultHarness, FaultStart};
use crate::faults::sync::{Going, Syncs};
use crate::plan::Reach;
use crate::pool;
use crate::report::grouped;
use crate::rig::act::{Act, next};
use crate::rig::promises::Violation;
use crate::rig::setting::Level;
use fencepost::error::Result;

/// Figures of the phase `faults`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct FaultsFigures {
    /// How many runs met an I/O error of the disk.
    pub io_errors: u64,
    /// How many met a full disk.
    pub disk_full: u64,
    /// In how many an allocation failed.
    pub allocations: u64,
    /// How often a store, or a stranger, found what may be there and went on with it.
    pub recovered: u64,
    /// How often each error was answered.
    pub errors: BTreeMap<&'static str, u64>,
    /// Reads that found too little: such a disk lies, and nothing is promised on it but that nothing panics.
    pub short_reads: ShortReads,
    /// How many syncs failed before a power cut.
    pub failed_syncs: u64,
    /// Bits that were flipped at rest.
    pub flips: Flips,
    /// The positive controls.
    pub controls: FaultsControls,
    /// How long it took.
    pub seconds: f64,
}

/// What came of reads that found too little.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct ShortReads {
    /// How many there were.
    pub total: u64,
    /// How many were answered with an error, or did no harm.
    pub harmless: u64,
    /// How many were followed by an answer that is not the model's.
    pub wrong_answers: u64,
    /// How many left a file, or a connection, in which something else was found wrong.
    pub noticed: u64,
}

/// What came of flipped bits.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Flips {
    /// How many there were.
    pub total: u64,
    /// How many led to a typed error.
    pub refused: u64,
    /// How many led to a delivery that says that it is corrupt.
    pub corrupt: u64,
    /// How many changed nothing that can be read.
    pub unnoticed: u64,
    /// How many led to an earlier moment.
    pub earlier: u64,
    /// How many led to books that say something else, and to no message that was not sent.
    pub books: u64,
}

/// The positive controls.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct FaultsControls {
    /// How many were caught, by the promise that was named for each.
    pub caught: usize,
    /// How many there are.
    pub total: usize,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenByFault {
    /// Which promise.
    pub property: &'static str,
    /// What was found.
    pub why: String,
    /// What happened.
    pub story: String,
}

/// What the phase found.
#[derive(Debug)]
pub struct FaultsFindings {
    /// Its figures.
    pub figures: FaultsFigures,
    /// The first thing that is broken.
    pub broken: Option<BrokenByFault>,
    /// What is wrong with the search itself.
    pub complaints: Vec<String>,
}

/// One piece of work.
enum FaultsWork<'a> {
    /// A deed, and each so many-th call or allocation in it that fails.
    Trouble(&'a FaultStart, FaultSetting, Deed, Trouble, u64),
    /// An act, and each sync in it that fails.
    Syncs(&'a FaultStart, Level, Act),
    /// So many bits of each piece of what a store left or, if `true`, of what it closed.
    Flips(&'a FaultStart, bool, u64),
    /// A control.
    Control(&'static FaultControl),
}

impl FaultsWork<'_> {
    fn name(&self) -> String {
        let name = |beginning: &FaultStart| beginning.name.unwrap_or("nothing");
        match self {
            Self::Trouble(beginning, setting, deed, trouble, _) => {
                format!("{} {} {}: {}", setting.level.name(), name(beginning), deed.kind(), trouble.kind())
            }
            Self::Syncs(beginning, level, act) => {
                format!("{} {} {}: failed syncs", level.name(), name(beginning), act.kind())
            }
            Self::Flips(beginning, ..) => format!("{}: flipped bits", name(beginning)),
            Self::Control(control) => format!("control: {}", control.name),
        }
    }
}

/// What came of a piece of work.
#[derive(Default)]
struct FaultsDone {
    figures: FaultsFigures,
    broken: Vec<BrokenByFault>,
    complaints: Vec<String>,
}

/// Runs the phase. `at` is told of each part.
///
/// # Errors
/// If it could not be run.
pub fn run(
    reach: Reach,
    seed: u64,
    threads: usize,
    at: impl FnMut(&str, usize) + Send,
) -> Result<FaultsFindings> {
    let began = Instant::now();
    let allocations = super::prepare();
    let mut all = FaultsDone::default();
    if allocations.is_none() {
        let why = "no allocation was made to fail: SQLite was in use before this was prepared";
        all.complaints.push(why.to_owned());
    }
    let mut beginnings = Vec::new();
    for setting in settings(reach) {
        for scope in cuts() {
            match FaultStart::new(&scope, setting) {
                Ok(beginning) => beginnings.push((setting, beginning)),
                Err(why) => all.complaints.push(format!("{} cannot begin: {why}", scope.name)),
            }
        }
        beginnings.push((setting, FaultStart::nothing()));
    }
    let work = plan(reach, &beginnings, allocations);
    let total = work.len();
    let mut at = at;
    let done =
        pool::map(threads, &work, |work| at(&work.name(), total), |work| do_work(work, seed, allocations));
    for done in done {
        all.add(done?);
    }
    all.complain(reach, allocations);
    let FaultsDone { mut figures, broken, complaints } = all;
    figures.seconds = began.elapsed().as_secs_f64();
    Ok(FaultsFindings { figures, broken: broken.into_iter().next(), complaints })
}

/// The circumstances, what is used most first.
fn settings(reach: Reach) -> Vec<FaultSetting> {
    let setting = |level, manner| FaultSetting { level, profile: Profile::UNIX, manner };
    let mut settings = vec![setting(Level::PowerLoss, Manner::Cold)];
    if reach != Reach::Quick {
        settings.push(setting(Level::ProcessCrash, Manner::Cold));
    }
    settings.push(setting(Level::PowerLoss, Manner::Warm));
    if reach == Reach::Deep {
        settings.push(setting(Level::ProcessCrash, Manner::Warm));
        settings.push(setting(Level::PowerLoss, Manner::Folding));
        settings.push(setting(Level::ProcessCrash, Manner::Folding));
    }
    settings
}

fn plan(
    reach: Reach,
    beginnings: &[(FaultSetting, FaultStart)],
    allocations: Option<AllocationFaults>,
) -> Vec<FaultsWork<'_>> {
    let mut work: Vec<FaultsWork<'_>> = control::ALL.iter().map(FaultsWork::Control).collect();
    for (setting, beginning) in beginnings {
        let main = setting.level == Level::PowerLoss;
        let (cold, warm) = (setting.manner == Manner::Cold, setting.manner == Manner::Warm);
        for deed in deeds(setting.level, beginning) {
            let mut troubles = Vec::new();
            // A quick run tries every other call.
            let each = if reach == Reach::Quick { 2 } else { 1 };
            let mut calls =
                |kind, lasting| troubles.push((Trouble::Call(DiskFault { kind, at: 0, lasting }), each));
            if reach != Reach::Quick || cold {
                calls(FaultKind::Io, false);
                calls(FaultKind::Full, false);
            }
            if reach == Reach::Deep || (reach == Reach::Standard && cold && main) {
                calls(FaultKind::Io, true);
                calls(FaultKind::Full, true);
            }
            if main && cold {
                calls(FaultKind::Short, false);
            }
            if allocations.is_some() && main && warm {
                troubles.push((Trouble::Allocation(0), step(reach, &deed)));
            }
            let of = |(trouble, step)| FaultsWork::Trouble(beginning, *setting, deed.clone(), trouble, step);
            work.extend(troubles.into_iter().map(of));
            if let Deed::Act(act) = deed
                && cold
            {
                work.push(FaultsWork::Syncs(beginning, setting.level, act));
            }
        }
        if main && cold && beginning.name.is_some() {
            let each = match reach {
                Reach::Quick => 2,
                Reach::Standard => 4,
                Reach::Deep => 40,
            };
            work.push(FaultsWork::Flips(beginning, false, each));
            // Without a WAL, and so without SQLite's checksums, more can happen.
            work.push(FaultsWork::Flips(beginning, true, 8 * each));
        }
    }
    work
}

/// Opening takes a thousand allocations, which are not all tried each time.
fn step(reach: Reach, deed: &Deed) -> u64 {
    match (reach, deed) {
        (Reach::Deep, _) => 1,
        (Reach::Standard, Deed::Act(_)) => 1,
        (Reach::Standard, _) => 16,
        (Reach::Quick, Deed::Act(_)) => 8,
        (Reach::Quick, _) => 128,
    }
}

fn deeds(level: Level, beginning: &FaultStart) -> Vec<Deed> {
    if beginning.name.is_none() {
        return vec![Deed::Create];
    }
    let acts = next(&beginning.scope, level, &beginning.moment, true);
    // What opens a store is a deed of its own; copies and migrations are cut, and not yet looked at here.
    let mut deeds: Vec<Deed> = acts
        .into_iter()
        .filter(|act| !matches!(act, Act::Reopen | Act::Boot | Act::Migrate | Act::Backup | Act::Beside(_)))
        .map(Deed::Act)
        .collect();
    deeds.extend([Deed::Open, Deed::OpenAfterBoot, Deed::Close]);
    deeds
}

/// More calls and allocations than a deed has: a search that comes so far does not end.
const CALLS_MAX: u64 = 100_000;

fn do_work(work: &FaultsWork<'_>, seed: u64, allocations: Option<AllocationFaults>) -> Result<FaultsDone> {
    let mut done = FaultsDone::default();
    match work {
        FaultsWork::Trouble(beginning, setting, deed, trouble, step) => {
            let mut stage = FaultHarness::new(*setting, allocations)?;
            let start = beginning.name.map(str::to_owned);
            // Of those that are not all tried, other seeds try others.
            let first = seed % step;
            for at in (first..).step_by(usize::try_from(*step).unwrap_or(1)) {
                let trouble = trouble.at(at);
                let case = FaultCase {
                    start: start.clone(),
                    setting: *setting,
                    deed: deed.clone(),
                    trouble,
                    lie: None,
                };
                if at > CALLS_MAX {
                    done.complaints.push(format!("no run meets no fault: {}", case.story()));
                }
                let played = stage.play(beginning, &case);
                if at > CALLS_MAX || !done.count(&case, played) {
                    break;
                }
            }
        }
        FaultsWork::Syncs(beginning, level, act) => {
            let mut syncs = Syncs::new(*level)?;
            for going in Going::ALL {
                for at in 0..CALLS_MAX {
                    match syncs.play(beginning, act, at, going) {
                        Ok(None) => break,
                        Ok(Some(synced)) => done.figures.failed_syncs += u64::from(synced),
                        Err(wrong) => {
                            let story = format!(
                                "from {} at {}\n{act:?}\ncall {at} fails, a sync; the store is {going:?}, opened \
                                 again and worked on; the power is cut",
                                beginning.name.unwrap_or("nothing"),
                                level.name()
                            );
                            done.broken(wrong, story);
                            break;
                        }
                    }
                }
            }
        }
        FaultsWork::Flips(beginning, shut, each) => {
            let image = if *shut { &beginning.shut } else { &beginning.left };
            let mut flipped = Flipped::new()?;
            for flip in flips(image, *each, seed) {
                let figures = &mut done.figures.flips;
                figures.total += 1;
                match flipped.play(beginning, image, &flip) {
                    Ok(FlipOutcome::Refused) => figures.refused += 1,
                    Ok(FlipOutcome::Corrupt) => figures.corrupt += 1,
                    Ok(FlipOutcome::Same) => figures.unnoticed += 1,
                    Ok(FlipOutcome::Earlier) => figures.earlier += 1,
                    Ok(FlipOutcome::Books) => figures.books += 1,
                    Err(wrong) => {
                        done.broken(wrong, format!("from {}\n{flip:?}", beginning.scope.name));
                    }
                }
            }
        }
        FaultsWork::Control(control) => {
            let caught = control.run()?;
            done.figures.controls = FaultsControls { caught: usize::from(caught.is_ok()), total: 1 };
            let complaint = caught.err();
            let told = |why| format!("a mistake was not noticed ({}): {why}", control.name);
            done.complaints.extend(complaint.map(told));
        }
    }
    Ok(done)
}

impl FaultsDone {
    /// Counts a case. Says whether to go on to the next call.
    fn count(&mut self, case: &FaultCase, played: Result<super::harness::FaultRun, Violation>) -> bool {
        let figures = &mut self.figures;
        if let Trouble::Call(DiskFault { kind: FaultKind::Short, .. }) = case.trouble {
            let short = &mut figures.short_reads;
            match played {
                Ok(played) if played.met == 0 => return false,
                Ok(_) => short.harmless += 1,
                Err(wrong) if wrong.property == PANIC => self.broken(wrong, case.story()),
                Err(wrong) if wrong.property == SUCCESS => short.wrong_answers += 1,
                Err(_) => short.noticed += 1,
            }
            self.figures.short_reads.total += 1;
            return true;
        }
        match played {
            Ok(played) if played.met == 0 => return false,
            Ok(played) => {
                figures.recovered += played.recovered;
                for name in played.errors {
                    *figures.errors.entry(name).or_default() += 1;
                }
                match case.trouble {
                    Trouble::Call(DiskFault { kind: FaultKind::Full, .. }) => figures.disk_full += 1,
                    Trouble::Call(_) => figures.io_errors += 1,
                    Trouble::Allocation(_) => figures.allocations += 1,
                }
            }
            Err(wrong) => {
                self.broken(wrong, case.story());
                return false;
            }
        }
        true
    }

    fn broken(&mut self, wrong: Violation, story: String) {
        self.broken.push(BrokenByFault { property: wrong.property, why: wrong.why, story });
    }

    fn add(&mut self, other: Self) {
        let (mine, its) = (&mut self.figures, other.figures);
        mine.io_errors += its.io_errors;
        mine.disk_full += its.disk_full;
        mine.allocations += its.allocations;
        mine.recovered += its.recovered;
        mine.failed_syncs += its.failed_syncs;
        mine.short_reads.total += its.short_reads.total;
        mine.short_reads.harmless += its.short_reads.harmless;
        mine.short_reads.wrong_answers += its.short_reads.wrong_answers;
        mine.short_reads.noticed += its.short_reads.noticed;
        mine.flips.total += its.flips.total;
        mine.flips.refused += its.flips.refused;
        mine.flips.corrupt += its.flips.corrupt;
        mine.flips.unnoticed += its.flips.unnoticed;
        mine.flips.earlier += its.flips.earlier;
        mine.flips.books += its.flips.books;
        mine.controls.caught += its.controls.caught;
        mine.controls.total += its.controls.total;
        for (name, count) in its.errors {
            *mine.errors.entry(name).or_default() += count;
        }
        self.broken.extend(other.broken);
        self.complaints.extend(other.complaints);
    }

    /// A search that never saw what it is for has shown nothing.
    fn complain(&mut self, reach: Reach, allocations: Option<AllocationFaults>) {
        let figures = &self.figures;
        let seen = [
            (figures.io_errors > 0, "I/O error"),
            (figures.disk_full > 0, "full disk"),
            (figures.allocations > 0 || allocations.is_none(), "failed allocation"),
            (figures.failed_syncs > 0, "failed sync"),
            (figures.short_reads.total > 0, "short read"),
            (figures.flips.refused > 0, "flipped bit that was refused"),
            (figures.flips.earlier > 0, "flipped bit that left an earlier moment"),
            // Of few bits, none may lie in what a message is made of.
            (figures.flips.corrupt > 0 || reach == Reach::Quick, "flipped bit that was delivered as corrupt"),
            (figures.errors.contains_key("Indeterminate"), "operation of unknown effect"),
            (figures.errors.contains_key("Full"), "operation that found no room"),
        ];
        if self.broken.is_empty() {
            let missed = seen.into_iter().filter(|(seen, _)| !seen);
            self.complaints.extend(missed.map(|(_, what)| format!("no {what}, so the search shows nothing")));
        }
    }
}

impl FaultsFigures {
    /// The figures for people.
    pub fn figures(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "faults    {} I/O errors, {} full disks, {} failed allocations: {} times found sound, and worked on",
            grouped(self.io_errors),
            grouped(self.disk_full),
            grouped(self.allocations),
            grouped(self.recovered)
        );
        let _ = writeln!(
            text,
            "            {} syncs failed before a cut; {} bits flipped: {} refused, {} corrupt, {} earlier, {} in the books, {} unnoticed",
            grouped(self.failed_syncs),
            grouped(self.flips.total),
            grouped(self.flips.refused),
            grouped(self.flips.corrupt),
            grouped(self.flips.earlier),
            grouped(self.flips.books),
            grouped(self.flips.unnoticed)
        );
        let short = &self.short_reads;
        let _ = writeln!(
            text,
            "            {} short reads: {} harmless, {} wrong answers, {} found wrong later; controls caught: {} of {}; {:.1} s",
            grouped(short.total),
            grouped(short.harmless),
            grouped(short.wrong_answers),
            grouped(short.noticed),
            self.controls.caught,
            self.controls.total,
            self.seconds
        );
    }
}
