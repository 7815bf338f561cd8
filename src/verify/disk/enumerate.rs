//! Which choices of fates are looked at, at one cut: all of them where that is possible, and otherwise which.
//!
//! Two things make "all" finite. **Recovery equivalence**: SQLite reads a WAL up to its first bad frame, so all that
//! follows the first write that is not kept whole is one class; while a WAL or a rollback journal is durable, SQLite
//! does not read what is written to the database file below it, so the fates of those writes are one class too; and so
//! are the fates of a file under a name that SQLite does not open (`.partial`). Of each class several images are made.
//! Any other file with up to [`Budget::subsets`] pending changes gets all subsets; with more, all prefixes, all single
//! and double losses, all single survivors and a seeded sample, and the point is *capped*.
//!
//! Invariant: the same durable content, budget and seed give the same choices; a point at which not everything was
//! enumerated is counted as capped.

use super::cut::{CutChoice, Fate, NameFate};
use super::durable::{DurableContent, DurableFile, FileChange, Pending, TEAR_BYTES};
use super::event::FileId;

/// How many choices to make.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Up to how many pending changes all subsets of them are taken.
    pub subsets: usize,
    /// How many seeded choices are added to each class, or to a capped point.
    pub samples: usize,
    /// Whether all members that this knows of a class are taken, or the extreme ones.
    pub thorough: bool,
    /// How many combinations of the fates of several files are taken at most.
    pub combinations: usize,
}

/// The choices at one cut.
#[derive(Debug)]
pub struct Enumerated {
    /// The choices.
    pub choices: Vec<CutChoice>,
    /// Whether there are others that are in no class of these.
    pub capped: bool,
}

/// A small pinned source of chance (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct SampleSource(pub(super) u64);

impl SampleSource {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

type Fates = Vec<Fate>;

impl DurableContent {
    /// The choices at this moment. With `newest`, only those in which the last change of that file is not simply lost:
    /// the others were there before it.
    pub fn choices(&self, budget: &Budget, seed: u64, newest: Option<FileId>) -> Enumerated {
        let mut chance = SampleSource(seed);
        let mut capped = false;
        let mut of_files: Vec<(FileId, Vec<Fates>)> = Vec::new();
        for (file, durable) in self.files.iter().filter(|(_, durable)| !durable.pending.is_empty()) {
            let mut options = match self.name(*file).ends_with("-wal") {
                true => self.of_wal(durable, budget, &mut chance),
                false => self.of_file(*file, durable, budget, &mut chance, &mut capped),
            };
            if newest == Some(*file) {
                options.retain(|fates| fates.last() != Some(&Fate::Lost));
            }
            options.sort_unstable_by_key(|fates| fates.iter().map(|fate| weight(*fate)).sum::<u64>());
            options.dedup();
            of_files.push((*file, options));
        }
        let names = of_names(self.pending_names.len(), budget, &mut capped);
        let choices = combine(&of_files, &names, budget, &mut chance, &mut capped);
        Enumerated { choices, capped }
    }

    /// The classes of a WAL: by the first write that is not kept whole. If that is the header, the frames of the WAL
    /// that it would have replaced are good up to the first that was written over, so each of those is a class too.
    fn of_wal(&self, durable: &DurableFile, budget: &Budget, chance: &mut SampleSource) -> Vec<Fates> {
        let pending = &durable.pending;
        let mut all = vec![vec![Fate::Kept; pending.len()]];
        for (first, Pending { change, .. }) in pending.iter().enumerate() {
            let mut add = |fate: Fate, rest: &mut dyn FnMut(usize) -> Fate| {
                let fates = (0..pending.len()).map(|index| match index {
                    before if before < first => Fate::Kept,
                    at if at == first => fate,
                    after => rest(after),
                });
                all.push(fates.collect());
            };
            add(Fate::Lost, &mut |_| Fate::Lost);
            for (index, fate) in self.harms(durable, change, budget, chance).into_iter().enumerate() {
                let rest = if index % 2 == 0 { Fate::Kept } else { Fate::Lost };
                add(fate, &mut |_| rest);
            }
            if budget.thorough {
                add(Fate::Lost, &mut |_| Fate::Kept);
            }
            for _ in 0..budget.samples {
                let mut own = chance.clone();
                chance.next();
                add(Fate::Lost, &mut |_| if own.next() & 1 == 0 { Fate::Kept } else { Fate::Lost });
            }
        }
        if matches!(pending[0].change, FileChange::Write { offset: 0, .. }) {
            for kept_from in 2..pending.len() {
                let fate = |index| if index < kept_from { Fate::Lost } else { Fate::Kept };
                all.push((0..pending.len()).map(fate).collect());
            }
        }
        all
    }

    fn of_file(
        &self,
        file: FileId,
        durable: &DurableFile,
        budget: &Budget,
        chance: &mut SampleSource,
        capped: &mut bool,
    ) -> Vec<Fates> {
        let pending = &durable.pending;
        let count = pending.len();
        let one_class = self.is_covered(file);
        let kept_where = |kept: &dyn Fn(usize) -> bool| -> Fates {
            (0..count).map(|index| if kept(index) { Fate::Kept } else { Fate::Lost }).collect()
        };
        let mut all = vec![kept_where(&|_| true), kept_where(&|_| false)];
        if !budget.thorough && self.name(file).contains(".partial") {
            return all;
        }
        if count <= budget.subsets && (budget.thorough || !one_class) {
            all.extend((0..1_u64 << count).map(|kept| kept_where(&|index| kept >> index & 1 == 1)));
        } else {
            *capped |= !one_class;
            all.extend((0..count).map(|end| kept_where(&|index| index < end)));
            if budget.thorough || !one_class {
                all.extend((0..count).map(|lost| kept_where(&|index| index != lost)));
                all.extend((0..count).map(|kept| kept_where(&|index| index == kept)));
                let pairs = (0..count).flat_map(|a| (0..a).map(move |b| (a, b)));
                all.extend(pairs.map(|(a, b)| kept_where(&|index| index != a && index != b)));
            }
            for _ in 0..budget.samples * 2 + 2 {
                let bits: Vec<bool> = (0..count).map(|_| chance.next() & 1 == 1).collect();
                all.push(kept_where(&|index| bits[index]));
            }
        }
        let few = one_class && !budget.thorough;
        for (at, Pending { change, .. }) in pending.iter().enumerate() {
            // Of a class that is one, each write is torn in one way.
            let harms = self.harms(durable, change, budget, chance);
            for (index, fate) in harms.into_iter().enumerate().take(if few { 1 } else { usize::MAX }) {
                let mut fates = kept_where(&|other| index % 2 == 0 || other < at);
                fates[at] = fate;
                all.push(fates);
            }
        }
        all
    }

    /// Whether what is written to this file is not read until it is synced: since all of it is also in a WAL that
    /// is durable, or is taken back by a journal that is.
    fn is_covered(&self, file: FileId) -> bool {
        ["-wal", "-journal"].iter().any(|suffix| {
            let name = format!("{}{suffix}", self.name(file));
            let found = self.names.get(&name[..]).and_then(|found| self.files.get(found));
            found.is_some_and(|found| found.pending.is_empty() && !found.content.is_empty())
        })
    }

    /// How a change can be neither kept nor lost.
    fn harms(
        &self,
        durable: &DurableFile,
        change: &FileChange,
        budget: &Budget,
        chance: &mut SampleSource,
    ) -> Vec<Fate> {
        let FileChange::Write { offset, bytes } = change else { return Vec::new() };
        let end = offset + bytes.len();
        let sectors = end.div_ceil(TEAR_BYTES) - offset / TEAR_BYTES;
        let mut harms = Vec::new();
        if sectors > 1 {
            let all = if sectors >= 64 { u64::MAX } else { (1 << sectors) - 1 };
            harms.push(Fate::Torn(1));
            harms.push(Fate::Torn(all >> 1));
            if budget.thorough {
                harms.push(Fate::Torn(all & !1));
                harms.push(Fate::Torn(chance.next() & all));
            }
        }
        if !self.profile.overwrites_safely() {
            harms.push(Fate::Spoiled);
        }
        if end > durable.content.len() && (budget.thorough || harms.is_empty()) {
            harms.push(Fate::Grown);
        }
        harms
    }
}

/// A number for sorting that hardly two different fates share.
fn weight(fate: Fate) -> u64 {
    match fate {
        Fate::Kept => 1,
        Fate::Lost => 1 << 20,
        Fate::Grown => 1 << 21,
        Fate::Spoiled => 1 << 22,
        Fate::Torn(mask) => (1 << 23) + mask % (1 << 20),
    }
}

fn of_names(count: usize, budget: &Budget, capped: &mut bool) -> Vec<Vec<NameFate>> {
    let fates = |kept: u64| {
        (0..count).map(|index| if kept >> index & 1 == 1 { NameFate::Kept } else { NameFate::Lost }).collect()
    };
    if count <= budget.subsets {
        return (0..1_u64 << count).rev().map(fates).collect();
    }
    *capped = true;
    let all = u64::MAX;
    let prefixes = (0..count).map(|end| (1_u64 << end) - 1);
    std::iter::once(all).chain(prefixes).chain((0..count).map(|lost| all & !(1 << lost))).map(fates).collect()
}

fn combine(
    of_files: &[(FileId, Vec<Fates>)],
    names: &[Vec<NameFate>],
    budget: &Budget,
    chance: &mut SampleSource,
    capped: &mut bool,
) -> Vec<CutChoice> {
    let counts: Vec<usize> = of_files.iter().map(|(_, options)| options.len()).chain([names.len()]).collect();
    let total =
        counts.iter().try_fold(1_usize, |total, count| total.checked_mul(*count)).unwrap_or(usize::MAX);
    let choice = |at: &[usize]| CutChoice {
        files: of_files.iter().zip(at).map(|((file, options), at)| (*file, options[*at].clone())).collect(),
        names: names[at[of_files.len()]].clone(),
    };
    if total == 0 {
        return Vec::new();
    }
    if total <= budget.combinations {
        return (0..total)
            .map(|mut number| {
                let digit = |count: &usize| {
                    let digit = number % count;
                    number /= count;
                    digit
                };
                choice(&counts.iter().map(digit).collect::<Vec<_>>())
            })
            .collect();
    }
    *capped = true;
    let mut all = Vec::new();
    // Each file by itself, beside the extremes of the others (the first option keeps the most), then a sample.
    for (varied, count) in counts.iter().enumerate() {
        for option in 0..*count {
            for others_last in [false, true] {
                let at = counts.iter().enumerate().map(|(index, count)| match index {
                    own if own == varied => option,
                    _ if others_last => count - 1,
                    _ => 0,
                });
                all.push(choice(&at.collect::<Vec<_>>()));
            }
        }
    }
    for _ in 0..budget.combinations {
        let at = counts.iter().map(|count| usize::try_from(chance.next()).unwrap_or(0) % count);
        all.push(choice(&at.collect::<Vec<_>>()));
    }
    all
}
