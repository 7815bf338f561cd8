//! The harness of a fault: a store on a disk in memory, something that is done with it, and something that fails
//! meanwhile.
//!
//! Invariant: each case begins with a connection of its own, and once the deed is done nothing fails any more. Then the
//! same store is looked at and worked with, and a fresh process after a reboot opens what is on the disk: as a killed
//! process would have left it, and as the closed store leaves it.
//! Does not depend on: which states are allowed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use fencepost_model::op::Reply;
use fencepost_model::scope::Scope;

use crate::disk::{AllocationFaults, Disk, DiskImage, Mounted};
use crate::faults::answers::{CLOSED, PANIC, SAID, SUCCESS, WORKS};
use crate::faults::case::{Deed, FaultCase, FaultMutant, FaultSetting, Manner, Trouble};
use crate::faults::reboot::{RebootedProcess, booted, leases_end, options, which, work};
use crate::faults::{answers, mutant};
use crate::rig::act::{Act, Moment, perform, routine};
use crate::rig::promises::Violation;
use crate::rig::recorder::{BOOT, DiskRecorder, FILE, Unrecorded};
use crate::rig::recovery::{contents, in_words};
use crate::rig::setting::Setting;
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::Store;

/// The boot after [`BOOT`], before that of the fresh process.
const LATER_BOOT: &str = "the boot after that";

/// A start: the state of the model, and the content of the disk.
#[derive(Clone, Debug)]
pub struct FaultStart {
    /// The name of its scope; none for a disk without a store.
    pub name: Option<&'static str>,
    /// The scope.
    pub scope: Scope,
    /// The model's side.
    pub moment: Moment,
    /// The disk's side, as a killed process left it.
    pub left: DiskImage,
    /// The disk's side, as the store leaves it that is closed.
    pub shut: DiskImage,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRun {
    /// How many times something failed.
    pub met: u64,
    /// The names of the errors that were answered.
    pub errors: Vec<&'static str>,
    /// How often an allowed state was found: by the same store, and by each fresh process.
    pub recovered: u64,
}

/// A disk with a store on it, and another for fresh processes.
#[derive(Debug)]
pub struct FaultHarness {
    setting: FaultSetting,
    allocations: Option<AllocationFaults>,
    mounted: Mounted,
    rebooted: RebootedProcess,
}

impl FaultStart {
    /// The content of the disk after the operations with which a scope begins.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn new(scope: &Scope, setting: FaultSetting) -> Result<Self, String> {
        let setting = Setting::honest(setting.level, setting.profile);
        let recorder = DiskRecorder::new(setting);
        let started = recorder.map_err(Unrecorded::from).and_then(|mut recorder| recorder.start(scope));
        let start = started.map_err(|error| match error {
            Unrecorded::Failed(error) => in_words(&error),
            Unrecorded::Differs(why) => why,
        })?;
        let shut = shut(&start.image, &setting).map_err(|error| in_words(&error))?;
        let (scope, moment, left) = (start.scope, start.moment, start.image);
        Ok(Self { name: Some(scope.name), scope, moment, left, shut })
    }

    /// A disk without a store.
    pub fn nothing() -> Self {
        let start = DiskRecorder::nothing();
        let (left, shut) = (start.image.clone(), start.image);
        Self { name: None, scope: start.scope, moment: start.moment, left, shut }
    }
}

/// The content of a disk once the store was opened on it and closed.
fn shut(image: &DiskImage, setting: &Setting) -> Result<DiskImage> {
    let mounted = Mounted::new(Disk::new(setting.profile)).ok_or(Error::Closed)?;
    mounted.disk().exchange(image);
    Store::open(Path::new(FILE), &options(&mounted, setting.level.durability(), BOOT))?.close()?;
    let shut = mounted.disk().image();
    Ok(shut)
}

impl FaultHarness {
    /// # Errors
    /// If SQLite refuses a disk.
    pub fn new(setting: FaultSetting, allocations: Option<AllocationFaults>) -> Result<Self> {
        let mounted = Mounted::new(Disk::new(setting.profile)).ok_or(Error::Closed)?;
        Ok(Self { setting, allocations, mounted, rebooted: RebootedProcess::new()? })
    }

    /// Runs a case.
    ///
    /// # Errors
    /// The broken promise.
    pub fn run(&mut self, beginning: &FaultStart, case: &FaultCase) -> Result<FaultRun, Violation> {
        let moment = &beginning.moment;
        match &case.deed {
            Deed::Act(act) => self.act(beginning, case, act),
            Deed::Close => self.close(beginning, case),
            Deed::Create => {
                // A later process finds nothing, and then creates the store, or it finds what was created a boot ago.
                let left = [moment.clone(), booted(moment)];
                self.open(&DiskImage::default(), BOOT, moment, &left, case)
            }
            Deed::Open => self.open(self.image_of(beginning), BOOT, moment, &[booted(moment)], case),
            Deed::OpenAfterBoot => {
                let after = booted(moment);
                let left = [after.clone(), booted(&after)];
                self.open(self.image_of(beginning), LATER_BOOT, &after, &left, case)
            }
        }
    }

    /// A store that fails: does it, and is looked at.
    fn act(&mut self, beginning: &FaultStart, case: &FaultCase, act: &Act) -> Result<FaultRun, Violation> {
        let before = &beginning.moment;
        let mut store = self.ready(beginning, act).map_err(unprepared)?;
        let (now, effect) = (before.next_time(), before.next_effect());
        let (answers, met) = self
            .troubled(case.trouble, || mutant::perform(&mut store, act, now, effect, before, case.mutant))?;
        let left = self.image();
        let mut outcome = FaultRun { met, errors: errors(&answers), recovered: 0 };
        if met == 0 && case.mutant.is_none() {
            return Ok(outcome);
        }
        let property = if outcome.errors.is_empty() { SUCCESS } else { SAID };
        let moments = answers::possible(before, act, &answers)?;
        let is_closed = answers::say_closed(&answers);
        if case.mutant == Some(FaultMutant::GoesOnAfterIndeterminate) && is_closed {
            drop(store);
            store = self.open_in(BOOT).map_err(unprepared)?;
        }
        let after = self.same_store(&mut store, moments.clone(), is_closed, property, case)?;
        drop(store);
        let moments: Vec<Moment> = moments.iter().map(booted).collect();
        self.rebooted.find(&left, &moments, property)?;
        let after: Vec<Moment> = after.iter().map(booted).collect();
        self.rebooted.find(&self.mounted.disk().image(), &after, property)?;
        outcome.recovered = 3;
        Ok(outcome)
    }

    /// Opens a store and lets it read as much as the setting says.
    fn ready(&self, beginning: &FaultStart, act: &Act) -> Result<Store> {
        self.mounted.disk().exchange(self.image_of(beginning));
        let mut store = self.open_in(BOOT)?;
        if self.setting.manner == Manner::Cold {
            return Ok(store);
        }
        store.snapshot()?;
        for op in act.ops() {
            store.rehearse(beginning.moment.next_time(), op)?;
        }
        if self.setting.manner == Manner::Folding {
            store.connection().pragma_update(None, "wal_autocheckpoint", 1)?;
        }
        Ok(store)
    }

    /// Looks at the store in which something failed, and works with it if it says that it can. Says at which moments it
    /// may be then.
    fn same_store(
        &self,
        store: &mut Store,
        moments: Vec<Moment>,
        is_closed: bool,
        property: &'static str,
        case: &FaultCase,
    ) -> Result<Vec<Moment>, Violation> {
        let found = contents(store.connection(), false)
            .map_err(|error| Violation { property: WORKS, why: in_words(&error) })?;
        let index = which(&found, &moments, property)?;
        if is_closed {
            stays_closed(store, &moments[index])?;
            return Ok(moments);
        }
        let mut moment = moments[index].clone();
        let _in_the_way =
            mutant::after_an_error(store, case.mutant, || self.open_in(BOOT)).map_err(unprepared)?;
        leases_end(store, &moment)?;
        work(store, &mut moment)?;
        Ok(vec![moment])
    }

    /// Opens a store while something fails, and then again.
    fn open(
        &mut self,
        image: &DiskImage,
        boot: &str,
        after: &Moment,
        left_at: &[Moment],
        case: &FaultCase,
    ) -> Result<FaultRun, Violation> {
        self.mounted.disk().exchange(image);
        let (opened, met) = self.troubled(case.trouble, || self.open_in(boot))?;
        let left = self.image();
        if met == 0 {
            return Ok(FaultRun { met, errors: Vec::new(), recovered: 0 });
        }
        let (store, errors) = match opened {
            Ok(store) => (store, Vec::new()),
            Err(error) => {
                let again = self.open_in(boot);
                (
                    again.map_err(|error| Violation { property: WORKS, why: in_words(&error) })?,
                    vec![name(&error)],
                )
            }
        };
        let property = if errors.is_empty() { SUCCESS } else { SAID };
        self.open_store(store, after, &left, left_at, property)?;
        Ok(FaultRun { met, errors, recovered: 3 })
    }

    /// Closes a store while something fails, and opens it again.
    fn close(&mut self, beginning: &FaultStart, case: &FaultCase) -> Result<FaultRun, Violation> {
        let store = self.ready(beginning, &Act::Reopen).map_err(unprepared)?;
        let (closed, met) = self.troubled(case.trouble, || store.close())?;
        let left = self.image();
        let errors = closed.err().iter().map(name).collect();
        if met == 0 {
            return Ok(FaultRun { met, errors, recovered: 0 });
        }
        let again =
            self.open_in(BOOT).map_err(|error| Violation { property: WORKS, why: in_words(&error) })?;
        let moment = &beginning.moment;
        self.open_store(again, moment, &left, &[booted(moment)], SAID)?;
        Ok(FaultRun { met, errors, recovered: 3 })
    }

    /// Looks at a store that was opened after something failed, and at what the failure left on the disk.
    fn open_store(
        &mut self,
        mut store: Store,
        at: &Moment,
        left: &DiskImage,
        left_at: &[Moment],
        property: &'static str,
    ) -> Result<(), Violation> {
        let found = contents(store.connection(), false)
            .map_err(|error| Violation { property: WORKS, why: in_words(&error) })?;
        which(&found, std::slice::from_ref(at), property)?;
        let mut moment = at.clone();
        leases_end(&mut store, &moment)?;
        work(&mut store, &mut moment)?;
        drop(store);
        self.rebooted.find(left, left_at, property)?;
        self.rebooted.find(&self.mounted.disk().image(), &[booted(&moment)], property)?;
        Ok(())
    }

    fn image_of<'a>(&self, beginning: &'a FaultStart) -> &'a DiskImage {
        match self.setting.manner {
            Manner::Cold => &beginning.shut,
            Manner::Warm | Manner::Folding => &beginning.left,
        }
    }

    fn image(&self) -> DiskImage {
        self.mounted.disk().image()
    }

    fn open_in(&self, boot: &str) -> Result<Store> {
        Store::open(Path::new(FILE), &options(&self.mounted, self.setting.level.durability(), boot))
    }

    /// Does work while something fails; says how often it did.
    fn troubled<T>(&self, trouble: Trouble, work: impl FnOnce() -> T) -> Result<(T, u64), Violation> {
        let work = AssertUnwindSafe(work);
        let (done, met) = match (trouble, self.allocations) {
            (Trouble::Call(fault), _) => {
                self.mounted.disk().set_fault(Some(fault));
                let done = catch_unwind(work);
                let met = self.mounted.disk().faults_met();
                self.mounted.disk().set_fault(None);
                (done, met)
            }
            (Trouble::Allocation(at), Some(allocations)) => {
                allocations.begin(Some(at));
                let done = catch_unwind(work);
                (done, u64::from(allocations.end() > at))
            }
            (Trouble::Allocation(_), None) => (catch_unwind(work), 0),
        };
        match done {
            Ok(done) => Ok((done, met)),
            Err(panic) => Err(Violation { property: PANIC, why: said(&*panic) }),
        }
    }
}

/// Whether a store that does not know what its commit did does nothing more.
///
/// # Errors
/// If it does.
fn stays_closed(store: &mut Store, moment: &Moment) -> Result<(), Violation> {
    let now = moment.next_time();
    for op in routine(moment) {
        let mut answers = vec![store.apply(now, &op)];
        answers.extend(store.apply_all(|| now, &[&op, &op]));
        answers.extend(perform(store, &Act::Effect(Arc::new(op)), now, moment.next_effect()));
        if let Some(answer) = answers.iter().find(|answer| !matches!(answer, Err(Error::Closed))) {
            return Err(Violation { property: CLOSED, why: format!("it answers {answer:?}") });
        }
    }
    Ok(())
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// An error before anything was made to fail.
fn unprepared(error: Error) -> Violation {
    Violation { property: WORKS, why: format!("before anything failed: {}", in_words(&error)) }
}

fn errors(answers: &[Result<Reply>]) -> Vec<&'static str> {
    answers.iter().filter_map(|answer| answer.as_ref().err().map(name)).collect()
}

/// The name of an error.
fn name(error: &Error) -> &'static str {
    match error {
        Error::Busy => "Busy",
        Error::Full => "Full",
        Error::ReadOnly => "ReadOnly",
        Error::Corrupt { .. } => "Corrupt",
        Error::NotADatabase => "NotADatabase",
        Error::NotOurs { .. } => "NotOurs",
        Error::NewerVersion { .. } => "NewerVersion",
        Error::NotFound => "NotFound",
        Error::CannotOpen { .. } => "CannotOpen",
        Error::NotWal => "NotWal",
        Error::Closed => "Closed",
        Error::Indeterminate { .. } => "Indeterminate",
        Error::TransactionEnded => "TransactionEnded",
        Error::Io { .. } => "Io",
        Error::Sqlite { .. } => "Sqlite",
        _ => "other",
    }
}
