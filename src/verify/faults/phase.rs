//! The phase `faults`: every call and allocation that fails, syncs before a cut, flipped bits and controls, side by
//! side.
//!
//! Invariant: the reach and the seed alone decide what is tried.
//! Does not depend on: how anything is checked.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fencepost_model::scope::cuts;
use serde::Serialize;

use crate::disk::{AllocationFaults, DiskFault, FaultKind, Profile};
use crate::faults::answers::{PANIC, SUCCESS};
use crate::faults::case::{Deed, FaultCase, FaultSetting, Manner, Trouble};
use crate::faults::control;
use crate::faults::control::FaultControl;
use crate::faults::flips::{FlipOutcome, Flipped, flips};
use crate::faults::harness::{FaultHarness, FaultStart};
use crate::faults::replay::FaultRecord;
use crate::faults::sync::{Going, Syncs};
use crate::plan::{
    Controls, Failure, Phase, PhaseFigures, PhaseOutcome, PhaseParts, Plan, Progress, Reach, grouped,
};
use crate::pool;
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
    /// How often a store, or a fresh process after a reboot, found an allowed state and worked on it.
    pub recovered: u64,
    /// How often each error was answered.
    pub errors: BTreeMap<&'static str, u64>,
    /// Reads that found too little: on such a disk the one promise is that nothing panics.
    pub short_reads: ShortReads,
    /// How many syncs failed before a power cut.
    pub failed_syncs: u64,
    /// Bits that were flipped at rest.
    pub flips: Flips,
    /// The positive controls.
    pub controls: Controls,
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
    /// How many left a file, or a connection, in which another promise was found broken.
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
    /// How many changed the bookkeeping, and led to no message that was not sent.
    #[serde(rename = "books")]
    pub bookkeeping: u64,
}

/// Faults other than crashes.
#[derive(Clone, Copy, Debug)]
pub struct FaultsPhase;

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
    broken: Vec<Failure<FaultRecord>>,
    complaints: Vec<String>,
}

impl Phase for FaultsPhase {
    type Figures = FaultsFigures;
    type Counterexample = FaultRecord;

    fn name(&self) -> &'static str {
        "faults"
    }

    fn run(
        &self,
        plan: &Plan,
        progress: &mut (dyn Progress + Send),
    ) -> Result<PhaseOutcome<FaultsFigures, FaultRecord>> {
        let allocations = super::prepare();
        let mut all = FaultsDone::default();
        if allocations.is_none() {
            let why = "no allocation was made to fail: SQLite was in use before this was prepared";
            all.complaints.push(why.to_owned());
        }
        let mut starts = Vec::new();
        for setting in settings(plan.reach) {
            for scope in cuts() {
                match FaultStart::new(&scope, setting) {
                    Ok(start) => starts.push((setting, start)),
                    Err(why) => all.complaints.push(format!("{} cannot begin: {why}", scope.name)),
                }
            }
            starts.push((setting, FaultStart::nothing()));
        }
        let work = all_work(plan.reach, &starts, allocations);
        let mut parts = PhaseParts::new(progress, self.name(), work.len());
        let done = pool::map(
            plan.threads,
            &work,
            |work| parts.begin(&work.name()),
            |work| do_work(work, plan.seed, allocations),
        );
        for done in done {
            all.add(done?);
        }
        all.complain(plan.reach, allocations);
        let FaultsDone { figures, broken, complaints } = all;
        Ok(PhaseOutcome { figures, complaints, failure: broken.into_iter().next(), tallies: None })
    }
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

fn all_work(
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
            let mut harness = FaultHarness::new(*setting, allocations)?;
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
                    mutant: None,
                };
                if at > CALLS_MAX {
                    done.complaints.push(format!("no run meets no fault: {}", case.explanation()));
                }
                let outcome = harness.run(beginning, &case);
                if at > CALLS_MAX || !done.count(&case, outcome) {
                    break;
                }
            }
        }
        FaultsWork::Syncs(beginning, level, act) => {
            let mut syncs = Syncs::new(*level)?;
            for going in Going::ALL {
                for at in 0..CALLS_MAX {
                    match syncs.run(beginning, act, at, going) {
                        Ok(None) => break,
                        Ok(Some(synced)) => done.figures.failed_syncs += u64::from(synced),
                        Err(violation) => {
                            let start = beginning.name.map(str::to_owned);
                            let (level, act) = (*level, act.clone());
                            done.broken(violation, FaultRecord::Sync { start, level, act, at, going });
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
                match flipped.run(beginning, image, &flip) {
                    Ok(FlipOutcome::Refused) => figures.refused += 1,
                    Ok(FlipOutcome::Corrupt) => figures.corrupt += 1,
                    Ok(FlipOutcome::Same) => figures.unnoticed += 1,
                    Ok(FlipOutcome::Earlier) => figures.earlier += 1,
                    Ok(FlipOutcome::Bookkeeping) => figures.bookkeeping += 1,
                    Err(violation) => {
                        let (start, closed) = (beginning.scope.name.to_owned(), *shut);
                        done.broken(violation, FaultRecord::Flip { start, closed, flip });
                    }
                }
            }
        }
        FaultsWork::Control(control) => {
            let caught = control.run()?;
            done.complaints.extend(done.figures.controls.count(control.name, caught));
        }
    }
    Ok(done)
}

impl FaultsDone {
    /// Counts a case. Says whether to try the next call.
    fn count(&mut self, case: &FaultCase, outcome: Result<super::harness::FaultRun, Violation>) -> bool {
        let figures = &mut self.figures;
        if let Trouble::Call(DiskFault { kind: FaultKind::Short, .. }) = case.trouble {
            let short = &mut figures.short_reads;
            match outcome {
                Ok(outcome) if outcome.met == 0 => return false,
                Ok(_) => short.harmless += 1,
                Err(violation) if violation.property == PANIC => {
                    self.broken(violation, FaultRecord::Call(case.clone()))
                }
                Err(violation) if violation.property == SUCCESS => short.wrong_answers += 1,
                Err(_) => short.noticed += 1,
            }
            self.figures.short_reads.total += 1;
            return true;
        }
        match outcome {
            Ok(outcome) if outcome.met == 0 => return false,
            Ok(outcome) => {
                figures.recovered += outcome.recovered;
                for name in outcome.errors {
                    *figures.errors.entry(name).or_default() += 1;
                }
                match case.trouble {
                    Trouble::Call(DiskFault { kind: FaultKind::Full, .. }) => figures.disk_full += 1,
                    Trouble::Call(_) => figures.io_errors += 1,
                    Trouble::Allocation(_) => figures.allocations += 1,
                }
            }
            Err(violation) => {
                self.broken(violation, FaultRecord::Call(case.clone()));
                return false;
            }
        }
        true
    }

    fn broken(&mut self, violation: Violation, record: FaultRecord) {
        let property = violation.property.to_owned();
        let explanation = record.explain(Some(&violation));
        self.broken.push(Failure { property, explanation, counterexample: record });
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
        mine.flips.bookkeeping += its.flips.bookkeeping;
        mine.controls.add(its.controls);
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
            // Of few bits, none may be in a message.
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

impl PhaseFigures for FaultsFigures {
    fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    fn lines(&self, text: &mut String) {
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
            "            {} syncs failed before a cut; {} bits flipped: {} refused, {} corrupt, {} earlier, {} in the bookkeeping, {} unnoticed",
            grouped(self.failed_syncs),
            grouped(self.flips.total),
            grouped(self.flips.refused),
            grouped(self.flips.corrupt),
            grouped(self.flips.earlier),
            grouped(self.flips.bookkeeping),
            grouped(self.flips.unnoticed)
        );
        let short = &self.short_reads;
        let _ = writeln!(
            text,
            "            {} short reads: {} harmless, {} answers that are not the model's, {} found later; controls caught: {} of {}; {:.1} s",
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
