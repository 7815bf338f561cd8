//! One power cut, run again: to check it again, to make it smaller, and to explain it.
//!
//! Invariant: the same case and cut give the same explanation. A failure is made smaller by leaving out acts, and by
//! keeping writes that were lost, as long as the same promise is broken.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::crash::case::CrashCase;
use crate::crash::images::ImageChecker;
use crate::crash::search::{BrokenByCut, Cut, CutLimits, CutSearch};
use crate::disk::{Budget, DurableContent, Event, Fate, Mark, NameFate};
use crate::rig::act::Act;
use crate::rig::promises::{Replayed, Violation, guarantee};
use crate::rig::recorder::{DiskRecorder, DiskRecording, StartPoint, Unrecorded};
use crate::rig::recovery::in_words;
use crate::rig::setting::Setting;

/// A cut is looked at in every way: by a fresh process after a reboot, worked on, and cut again.
fn limits(seed: u64) -> CutLimits {
    let budget = Budget { subsets: 8, samples: 0, thorough: false, combinations: 200 };
    CutLimits { depth: 0, heavy: 0, budget, reboot_in: 1, again_in: 1, seed }
}

/// What was done before a power cut, and what the cut left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerCut {
    /// What was done.
    pub case: CrashCase,
    /// What was left.
    pub cut: Cut,
}

fn start_of(case: &CrashCase) -> std::result::Result<StartPoint, Unrecorded> {
    let honest = Setting::honest(case.setting.level, case.setting.profile);
    let in_rollback_mode = case.setting.mutant == Some(crate::rig::setting::RigMutant::DeleteMode);
    DiskRecorder::new(if in_rollback_mode { case.setting } else { honest })?.start_of(case.scope().as_ref())
}

/// Makes a cut again, and checks it.
///
/// # Errors
/// If the store cannot do the acts, in words.
pub fn replay(case: &CrashCase, cut: &Cut) -> std::result::Result<Replayed, String> {
    let in_text = |unrecorded| match unrecorded {
        Unrecorded::Failed(error) => in_words(&error),
        Unrecorded::Differs(why) => why,
    };
    let start = start_of(case).map_err(in_text)?;
    let recording = DiskRecorder::new(case.setting)
        .map_err(|error| in_words(&error))?
        .record(&start, &case.acts)
        .map_err(in_text)?;
    let mut search = CutSearch::new(&start, case.setting, limits(1)).map_err(|error| in_words(&error))?;
    let checker = ImageChecker::new(case.setting.level, &case.acts, &recording.moments, &start.earlier);
    let violation = search.again(&recording, &checker, cut);
    Ok(Replayed { explanation: explain(case, cut, &recording, violation.as_ref()), violation })
}

/// Makes what is broken as small as it gets: the fewest acts, and then the fewest losses.
pub fn shrink(broken: &BrokenByCut) -> BrokenByCut {
    let mut best = broken.clone();
    while let Some(shorter) = (0..best.case.acts.len()).find_map(|left_out| without(&best, left_out)) {
        best = shorter;
    }
    if best.cut.again.is_none() {
        fewer_losses(&mut best);
    }
    best
}

/// The same without one act, if the same promise is broken then.
fn without(broken: &BrokenByCut, left_out: usize) -> Option<BrokenByCut> {
    let mut case = broken.case.clone();
    case.acts.remove(left_out);
    if case.acts.is_empty() {
        return None;
    }
    let start = start_of(&case).ok()?;
    let mut search = CutSearch::new(&start, case.setting, limits(1)).ok()?.until(broken.violation.property);
    search.look_at(&case.acts, 0);
    search.finish().broken.into_iter().find(|other| other.violation.property == broken.violation.property)
}

fn fewer_losses(best: &mut BrokenByCut) {
    let same = |case: &CrashCase, cut: &Cut, property: &str| {
        replay(case, cut)
            .ok()
            .and_then(|replayed| replayed.violation)
            .filter(|violation| violation.property == property)
    };
    let shape: Vec<usize> = best.cut.choice.files.iter().map(|(_, fates)| fates.len()).collect();
    let names = best.cut.choice.names.len();
    let mut try_it = |change: &dyn Fn(&mut Cut) -> bool| {
        let mut cut = best.cut.clone();
        if change(&mut cut)
            && let Some(violation) = same(&best.case, &cut, best.violation.property)
        {
            best.cut = cut;
            best.violation = violation;
        }
    };
    let keep = |fate: &mut Fate| std::mem::replace(fate, Fate::Kept) != Fate::Kept;
    for (file, count) in shape.iter().enumerate() {
        for index in 0..*count {
            try_it(&|cut| keep(&mut cut.choice.files[file].1[index]));
        }
    }
    for index in 0..names {
        try_it(&|cut| std::mem::replace(&mut cut.choice.names[index], NameFate::Kept) != NameFate::Kept);
    }
}

/// The explanation of a cut: what was done, what the disk saw, what was lost, and what was found.
fn explain(case: &CrashCase, cut: &Cut, recording: &DiskRecording, violation: Option<&Violation>) -> String {
    let mut text = String::new();
    let setting = &case.setting;
    let start = case.start.as_deref().unwrap_or("a disk without a store");
    let disk = match setting.profile.overwrites_safely() {
        true => "where an overwrite harms no byte beside it",
        false => "that promises nothing",
    };
    let _ = writeln!(text, "{} from {start}, on a disk {disk}", setting.level.name());
    if let Some(mutant) = setting.mutant {
        let _ = writeln!(text, "with the mutant {mutant:?}");
    }
    let mut durable = recording.base.clone();
    for (index, event) in recording.events.iter().take(cut.events).enumerate() {
        durable.advance(event);
        line(&mut text, case, &durable, index, event);
    }
    let _ = writeln!(text, "the power is cut after event {}; of what was not durable", cut.events);
    losses(&mut text, &durable, cut);
    if let Some((events, choice)) = &cut.again {
        let lost = choice.losses();
        let _ = writeln!(
            text,
            "  and cut again after event {events} of the recovery, which loses {lost} changes more"
        );
    }
    match violation {
        None => text += "what was found may be found there\n",
        Some(violation) => {
            let id = guarantee(violation.property).map(|id| format!("{id} ")).unwrap_or_default();
            let _ = writeln!(text, "found: {}\nbroken: {id}{}", violation.why, violation.property);
        }
    }
    text
}

fn line(text: &mut String, case: &CrashCase, durable: &DurableContent, index: usize, event: &Event) {
    let number = index + 1;
    let _ = match event {
        Event::Mark(Mark::Called(act)) => {
            let act = &case.acts[*act];
            match act {
                Act::Apply(op) | Act::Effect(op) | Act::Beside(op) => {
                    writeln!(text, "  {}: {op:?}", act.kind())
                }
                Act::Batch(ops) => writeln!(text, "  batch: {ops:?}"),
                act => writeln!(text, "  {}", act.kind()),
            }
        }
        Event::Mark(Mark::Answered(act)) => {
            writeln!(text, "{number:>6}  {} is answered", case.acts[*act].kind())
        }
        Event::Write { file, offset, bytes } => {
            writeln!(text, "{number:>6}  write {} bytes at {offset} of {}", bytes.len(), durable.name(*file))
        }
        Event::Resize { file, bytes } => {
            writeln!(text, "{number:>6}  size {bytes} of {}", durable.name(*file))
        }
        Event::Sync { file } => writeln!(text, "{number:>6}  sync {}", durable.name(*file)),
        Event::SyncFailed { file } => writeln!(text, "{number:>6}  a sync of {} fails", durable.name(*file)),
        Event::SyncDirectory => writeln!(text, "{number:>6}  sync the directory"),
        Event::Create { name, .. } => writeln!(text, "{number:>6}  create {name}"),
        Event::Link { name, .. } => writeln!(text, "{number:>6}  link {name}"),
        Event::Unlink { name } => writeln!(text, "{number:>6}  unlink {name}"),
    };
}

fn losses(text: &mut String, durable: &DurableContent, cut: &Cut) {
    let mut kept = 0_usize;
    for (file, fates) in &cut.choice.files {
        for (index, fate) in fates.iter().enumerate() {
            let what = durable.describe(*file, index);
            let _ = match fate {
                Fate::Kept => {
                    kept += 1;
                    Ok(())
                }
                Fate::Lost => writeln!(text, "        lost: {what}"),
                Fate::Torn(mask) => writeln!(text, "        torn (sectors kept: {mask:#b}): {what}"),
                Fate::Grown => writeln!(text, "        grown, and nothing in it: {what}"),
                Fate::Spoiled => writeln!(text, "        spoiled, with its sectors: {what}"),
            };
        }
    }
    for (index, fate) in cut.choice.names.iter().enumerate() {
        match fate {
            NameFate::Kept => kept += 1,
            NameFate::Lost => {
                let _ = writeln!(text, "        lost: {}", durable.describe_name(index));
            }
        }
    }
    let _ = writeln!(text, "        kept: {kept} other changes");
}
