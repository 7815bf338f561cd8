//! The search of crash images: every short sequence of acts, every event of its last act, every choice of fates.
//!
//! Invariant: a cut is checked at the shortest sequence that has it, so the first failure is short; an image is
//! recovered once for each start, and checked wherever it may occur; figures are the same for the same seed, however
//! many threads there are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use crate::crash::case::CrashCase;
use crate::crash::images::{BOTH_WAYS, CutProgress, ImageChecker};
use crate::disk::{Budget, CutChoice, DiskImage, DurableContent, Event, Fate, FileId, Mark, NameFate};
use crate::rig::act::{Act, Moment, next};
use crate::rig::promises::Violation;
use crate::rig::recorder::{DiskRecorder, DiskRecording, StartPoint, Unrecorded, beside_others};
use crate::rig::recovery::{Recovered, Recovery, digested, go_on, in_words, rebooted};
use crate::rig::seed::mix;
use crate::rig::setting::{Level, Setting};
use fencepost::error::Result;

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct CutLimits {
    /// How many acts a sequence has at most.
    pub depth: usize,
    /// Up to which length sequences also have acts that open files anew.
    pub heavy: usize,
    /// How many choices there are at a cut.
    pub budget: Budget,
    /// One in so many images is also recovered by a fresh process after a reboot.
    pub reboot_in: u64,
    /// Of one in so many of those the recovery is cut again.
    pub again_in: u64,
    /// The seed of what is sampled.
    pub seed: u64,
}

/// What a cut did to what was not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CutClass {
    /// Nothing: the process was killed.
    Killed,
    /// Writes were lost.
    Lost,
    /// A write was torn.
    Torn,
    /// A file had grown without its data.
    Grown,
    /// A sector was spoiled.
    Spoiled,
    /// A change of the directory was lost.
    Directory,
    /// A second cut, while the store recovered.
    Again,
}

impl CutClass {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Killed, Self::Lost, Self::Torn, Self::Grown, Self::Spoiled, Self::Directory, Self::Again];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Grown => "grown",
            Self::Spoiled => "spoiled",
            Self::Directory => "directory",
            Self::Again => "again",
        }
    }

    fn of(choice: &CutChoice) -> Self {
        let mut class = Self::Killed;
        for fate in choice.files.iter().flat_map(|(_, fates)| fates) {
            class = class.max(match fate {
                Fate::Kept => Self::Killed,
                Fate::Lost => Self::Lost,
                Fate::Torn(_) => Self::Torn,
                Fate::Grown => Self::Grown,
                Fate::Spoiled => Self::Spoiled,
            });
        }
        let names = choice.names.contains(&NameFate::Lost);
        if names { class.max(Self::Directory) } else { class }
    }
}

/// A cut: after which event, and what became of what was not durable.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// How many events had happened.
    pub events: usize,
    /// What became of what was pending.
    pub choice: CutChoice,
    /// If the recovery was cut: how far that had come, and what became of its own changes.
    pub again: Option<(usize, CutChoice)>,
}

/// Something that is broken.
#[derive(Clone, Debug)]
pub struct BrokenByCut {
    /// What was done.
    pub case: CrashCase,
    /// The cut.
    pub cut: Cut,
    /// The broken promise.
    pub violation: Violation,
}

/// What a search did.
#[derive(Debug, Default)]
pub struct CutFigures {
    /// How many sequences.
    pub sequences: u64,
    /// How many I/O events the power was cut after.
    pub events: u64,
    /// The digests of the images that were recovered.
    pub images: HashSet<u64>,
    /// How many images were checked, at one cut or another.
    pub checked: u64,
    /// At how many cuts not everything was enumerated.
    pub capped: u64,
    /// How many cuts took acknowledged operations of `ProcessCrash`, as they may.
    pub suffixes: u64,
    /// How often what was in flight was found, and how often not.
    pub in_flight: [u64; 2],
    /// How many images were recovered both ways.
    pub both_ways: u64,
    /// How many images were worked on.
    pub gone_on: u64,
    /// How many images of second cuts.
    pub again: u64,
    /// How many images were checked by level, act and class.
    pub cells: BTreeMap<(Level, &'static str, CutClass), u64>,
    /// What is broken.
    pub broken: Vec<BrokenByCut>,
    /// What could not be recorded, which is no cut's fault.
    pub unrecorded: Vec<String>,
}

impl CutFigures {
    /// Adds what another search did.
    pub fn add(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.events += other.events;
        self.images.extend(other.images);
        self.checked += other.checked;
        self.capped += other.capped;
        self.suffixes += other.suffixes;
        for (own, other) in self.in_flight.iter_mut().zip(other.in_flight) {
            *own += other;
        }
        self.both_ways += other.both_ways;
        self.gone_on += other.gone_on;
        self.again += other.again;
        for (cell, count) in other.cells {
            *self.cells.entry(cell).or_default() += count;
        }
        self.broken.extend(other.broken);
        self.unrecorded.extend(other.unrecorded);
    }
}

/// A search from one beginning, in one setting.
pub struct CutSearch<'a> {
    start: &'a StartPoint,
    setting: Setting,
    limits: CutLimits,
    recorder: DiskRecorder,
    recovery: Recovery,
    recovered: HashMap<u64, Rc<Recovered>>,
    figures: CutFigures,
    /// Only this ends it: other broken promises are noted, and it continues.
    wanted: Option<&'static str>,
}

impl<'a> CutSearch<'a> {
    /// A search that stops at the first broken promise of each sequence.
    ///
    /// # Errors
    /// If SQLite refuses a disk.
    pub fn new(start: &'a StartPoint, setting: Setting, limits: CutLimits) -> Result<Self> {
        Ok(Self {
            start,
            setting,
            limits,
            recorder: DiskRecorder::new(setting)?,
            recovery: Recovery::new(setting)?,
            recovered: HashMap::new(),
            figures: CutFigures::default(),
            wanted: None,
        })
    }

    /// The same, but it ends when this promise was found broken, and not before.
    #[must_use]
    pub fn until(mut self, property: &'static str) -> Self {
        self.wanted = Some(property);
        self
    }

    /// Whether what it looks for was found.
    fn is_over(&self) -> bool {
        let last = self.figures.broken.last();
        last.is_some_and(|last| self.wanted.is_none_or(|wanted| wanted == last.violation.property))
    }

    /// Makes one cut of a recording again, in every way: the promise that is broken after it, if one is.
    pub fn again(
        &mut self,
        recording: &DiskRecording,
        checker: &ImageChecker,
        cut: &Cut,
    ) -> Option<Violation> {
        let mut durable = recording.base.clone();
        let mut progress = CutProgress { answered: 0, called: 0 };
        for event in recording.events.iter().take(cut.events) {
            durable.advance(event);
            progress.see(event);
        }
        let events = cut.events;
        let place = CutPlace { recording, checker, durable: &durable, progress, events, from: 0 };
        let image = durable.image(&cut.choice);
        let (recovered, _) = self.recover(&image, checker.migrates());
        let checked = self.check(&place, &image, &recovered, CutClass::of(&cut.choice), true);
        let checked = checked.and_then(|moment| self.work_on(&place, &image, moment));
        checked.err().map(|(violation, _)| violation)
    }

    /// Looks at a sequence and at all that continue it, up to the depth.
    pub fn explore(&mut self, acts: &mut Vec<Act>) {
        let Some(moment) = self.look_at(acts, acts.len() - 1) else { return };
        if acts.len() >= self.limits.depth || !self.figures.broken.is_empty() {
            return;
        }
        for act in next(&self.start.scope, self.setting.level, &moment, acts.len() < self.limits.heavy) {
            acts.push(act);
            self.explore(acts);
            acts.pop();
        }
    }

    /// Cuts one sequence at every event from its n-th act on. Returns the moment after it, if it changed anything.
    pub fn look_at(&mut self, acts: &[Act], from: usize) -> Option<Moment> {
        let recording = match self.recorder.record(self.start, acts) {
            Ok(recording) => recording,
            Err(Unrecorded::Failed(error)) => {
                self.figures.unrecorded.push(format!("{acts:?}: {}", in_words(&error)));
                return None;
            }
            Err(Unrecorded::Differs(why)) => {
                self.figures.unrecorded.push(why);
                return None;
            }
        };
        self.figures.sequences += 1;
        let changed = recording.events.iter().any(|event| !matches!(event, Event::Mark(_)));
        self.cut_all(&recording, acts, from);
        let last = recording.moments.last().cloned();
        // What changed nothing on the disk leads nowhere that shorter sequences do not.
        last.filter(|_| changed)
    }

    /// Forgets the images that were recovered, and gives away what was found.
    pub fn finish(self) -> CutFigures {
        self.figures
    }

    fn cut_all(&mut self, recording: &DiskRecording, acts: &[Act], from: usize) {
        let checker = ImageChecker::new(self.setting.level, acts, &recording.moments, &self.start.earlier);
        let mut durable = recording.base.clone();
        let mut progress = CutProgress { answered: 0, called: 0 };
        let mut worked = HashSet::new();
        for (index, event) in recording.events.iter().enumerate() {
            durable.advance(event);
            progress.see(event);
            if progress.called <= from {
                continue;
            }
            let newest = newest(event);
            let events = index + 1;
            let place = CutPlace { recording, checker: &checker, durable: &durable, progress, events, from };
            self.cut(&place, newest, &mut worked);
            if self.is_over() {
                return;
            }
        }
    }

    fn cut(&mut self, place: &CutPlace<'_>, newest: Option<FileId>, worked: &mut HashSet<usize>) {
        let acts = place.checker.acts();
        self.figures.events += u64::from(!matches!(place.recording.events[place.events - 1], Event::Mark(_)));
        let seed = mix(self.limits.seed, &[acts.len() as u64, place.events as u64]);
        let found = place.durable.choices(&self.limits.budget, seed, newest);
        self.figures.capped += u64::from(found.capped);
        for choice in found.choices {
            let image = place.durable.image(&choice);
            let class = CutClass::of(&choice);
            let (recovered, is_new) = self.recover(&image, place.checker.migrates());
            self.figures.checked += 1;
            let kind = acts[place.progress.called - 1].kind();
            *self.figures.cells.entry((self.setting.level, kind, class)).or_default() += 1;
            let reboots = is_new && self.wants_a_reboot(place, newest);
            let checked = self.check(place, &image, &recovered, class, reboots);
            let checked = checked.and_then(|moment| {
                // What shorter sequences led to was worked on there.
                let fresh = is_new && (moment > place.from || place.from == 0) && worked.insert(moment);
                if fresh { self.work_on(place, &image, moment) } else { Ok(()) }
            });
            if let Err((violation, again)) = checked {
                let case = self.case(acts);
                let cut = Cut { events: place.events, choice, again };
                self.figures.broken.push(BrokenByCut { case, cut, violation });
                if self.is_over() {
                    return;
                }
            }
        }
    }

    /// One in so many images, and more of those in which the database file itself is being written: a process that
    /// opens a store looks at that before the WAL.
    fn wants_a_reboot(&self, place: &CutPlace<'_>, newest: Option<FileId>) -> bool {
        let in_database = newest.is_some_and(|file| !place.durable.name(file).ends_with("-wal"));
        let one_in = if in_database { self.limits.reboot_in.div_ceil(4) } else { self.limits.reboot_in };
        (self.figures.images.len() as u64).is_multiple_of(one_in)
    }

    fn case(&self, acts: &[Act]) -> CrashCase {
        let start = (!self.start.image.files.is_empty()).then(|| self.start.scope.name.to_owned());
        CrashCase { start, setting: self.setting, acts: acts.to_vec() }
    }

    /// Recovers an image, unless that was done before. Says whether it is new.
    fn recover(&mut self, image: &DiskImage, migrating: bool) -> (Rc<Recovered>, bool) {
        let digest = image.digest();
        if let Some(known) = self.recovered.get(&digest) {
            return (Rc::clone(known), false);
        }
        let recovered = match self.recovery.quickly(image) {
            Some(recovered) => recovered,
            None => Rc::new(self.recovery.after_reboot(image, migrating, |_| ()).0),
        };
        self.recovered.insert(digest, Rc::clone(&recovered));
        self.figures.images.insert(digest);
        (recovered, true)
    }

    /// Checks what was found, and if asked to, whether a fresh process finds the same, also after a second cut.
    fn check(
        &mut self,
        place: &CutPlace<'_>,
        image: &DiskImage,
        recovered: &Recovered,
        class: CutClass,
        reboots: bool,
    ) -> std::result::Result<usize, (Violation, Option<(usize, CutChoice)>)> {
        let (checker, progress, killed) = (place.checker, place.progress, class == CutClass::Killed);
        let moment = checker.check(recovered, progress, killed).map_err(|violation| (violation, None))?;
        let copy = self.recovery.copy(image);
        checker.check_copy(copy.as_deref(), progress).map_err(|violation| (violation, None))?;
        if moment < progress.answered {
            self.figures.suffixes += 1;
        }
        if progress.called > progress.answered {
            self.figures.in_flight[usize::from(moment < progress.called)] += 1;
        }
        if !reboots {
            return Ok(moment);
        }
        self.figures.both_ways += 1;
        // Tokens that were handed out until the cut, or would have been.
        let last = place.recording.moments.get(progress.called).cloned();
        let at = &place.recording.moments[moment];
        let booted = rebooted(at.state());
        let (fresh, worked) = self.recovery.after_reboot(image, checker.migrates(), |store| {
            // A store that is created only now has not booted since.
            let is_new = store.snapshot().is_ok_and(|found| found == digested(at.state()));
            let after = if is_new { at.state() } else { &booted };
            last.as_ref().map_or(Ok(()), |last| go_on(store, at, after, last, true))
        });
        checker.check(&fresh, progress, killed).map_err(|violation| (violation, None))?;
        if let Some(Err((property, why))) = worked {
            return Err((Violation { property, why }, None));
        }
        if !agree(recovered, &fresh) {
            let why = format!("the quick way finds {recovered:#?},\na fresh process {fresh:#?}");
            return Err((Violation { property: BOTH_WAYS, why }, None));
        }
        self.figures.gone_on += 1;
        if self.figures.both_ways.is_multiple_of(self.limits.again_in) {
            self.cut_again(place, image, killed)?;
        }
        Ok(moment)
    }

    /// Cuts the recovery of an image at each of its events.
    fn cut_again(
        &mut self,
        place: &CutPlace<'_>,
        image: &DiskImage,
        killed: bool,
    ) -> std::result::Result<(), (Violation, Option<(usize, CutChoice)>)> {
        let (mut durable, events) = self.recovery.events_of_recovery(image, place.checker.migrates());
        let budget = Budget { subsets: 4, samples: 0, thorough: false, combinations: 32 };
        let kind = place.checker.acts()[place.progress.called - 1].kind();
        let mut seen = HashSet::new();
        for (index, event) in events.iter().enumerate() {
            durable.advance(event);
            let newest = newest(event);
            let choices = durable.choices(&budget, mix(self.limits.seed, &[index as u64]), newest).choices;
            for choice in choices {
                let image = durable.image(&choice);
                let digest = image.digest();
                if !seen.insert(digest) {
                    continue;
                }
                let (recovered, _) = self.recovery.after_reboot(&image, place.checker.migrates(), |_| ());
                self.figures.images.insert(digest);
                self.figures.again += 1;
                *self.figures.cells.entry((self.setting.level, kind, CutClass::Again)).or_default() += 1;
                let checked = place.checker.check(&recovered, place.progress, killed);
                checked.map_err(|violation| (violation, Some((index + 1, choice))))?;
            }
        }
        Ok(())
    }

    /// Works on the image that was recovered last, if that was the quick way.
    fn work_on(
        &mut self,
        place: &CutPlace<'_>,
        image: &DiskImage,
        moment: usize,
    ) -> std::result::Result<(), (Violation, Option<(usize, CutChoice)>)> {
        let at = &place.recording.moments[moment];
        // The open connection knows the newest schema, and no newer one.
        if at.migrated || self.recovery.quickly(image).is_none() {
            return Ok(());
        }
        let _beside = beside_others();
        let Some(store) = self.recovery.quick_store() else { return Ok(()) };
        self.figures.gone_on += 1;
        go_on(store, at, at.state(), at, false).map_err(|(property, why)| (Violation { property, why }, None))
    }
}

/// Whether a fresh process, after a boot, finds what was found before.
fn agree(recovered: &Recovered, fresh: &Recovered) -> bool {
    match (recovered, fresh) {
        (Recovered::Sound(one), Recovered::Sound(other)) => {
            let state = if one.booted { one.state.clone() } else { rebooted(&one.state) };
            state == other.state && one.effects == other.effects
        }
        _ => recovered == fresh,
    }
}

/// The file whose pending changes have just become one more.
fn newest(event: &Event) -> Option<FileId> {
    match event {
        Event::Write { file, .. } | Event::Resize { file, .. } => Some(*file),
        _ => None,
    }
}

impl CutProgress {
    fn see(&mut self, event: &Event) {
        match event {
            Event::Mark(Mark::Called(act)) => self.called = act + 1,
            Event::Mark(Mark::Answered(act)) => self.answered = self.answered.max(act + 1),
            _ => {}
        }
    }
}

struct CutPlace<'a> {
    recording: &'a DiskRecording,
    checker: &'a ImageChecker,
    durable: &'a DurableContent,
    progress: CutProgress,
    events: usize,
    /// How many acts were cut before, in shorter sequences.
    from: usize,
}
