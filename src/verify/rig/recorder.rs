//! Does acts on a store on a simulated disk, and records the I/O events.
//!
//! The store is the real one, opened as a program opens it. Between two cases it stays open, and the disk is exchanged
//! under it.
//!
//! Invariant: the same start and acts give the same recording, byte for byte: the salts of the WAL are drawn from a
//! pinned seed while nothing else in the process draws any. The answers are the model's.
//! Does not depend on: what is checked afterwards.

use std::path::Path;
use std::sync::{Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fencepost_model::coverage::Tally;
use fencepost_model::op::Reply;
use fencepost_model::scope::Scope;
use fencepost_model::state::State;
use fencepost_model::world::Move;
use rusqlite::{Connection, OpenFlags};

use crate::disk::{Disk, DiskImage, DurableContent, Event, Mark, Mounted, seed_salts};
use crate::rig::act::{Act, EFFECTS, Moment, NEXT_VERSION, perform};
use crate::rig::setting::{RigMutant, Setting};
use crate::system::{Remains, damage};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::backup::backup_on;
use fencepost::internals::sqlite::{OpenOptions, Store, execute};

/// The name of the database on the disk.
pub const FILE: &str = "/bus.db";

/// The name of its copy.
pub const COPY: &str = "/copy.db";

/// The boot in which everything happens that comes before the cut.
pub const BOOT: &str = "the boot before the cut";

/// Everything that draws random numbers from SQLite holds this, so that a recording is the same each time: a recording
/// alone, and others, to whom it does not matter which they draw, together.
static SALTS: RwLock<()> = RwLock::new(());

/// Keeps all others from drawing salts.
pub fn alone_with_salts() -> RwLockWriteGuard<'static, ()> {
    SALTS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps recordings from being made.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    SALTS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a store once in this process, outside of any recording. The first opening works out what the schema ought to be,
/// and draws random numbers for that, so the first recording would differ from the others.
fn open_once(setting: &Setting) {
    static OPENED: Once = Once::new();
    OPENED.call_once(|| {
        let _beside = beside_others();
        if let Some(mounted) = Mounted::new(Disk::new(setting.profile)) {
            // If this fails, so does the first opening of a recording.
            drop(Store::open(Path::new(FILE), &options(&mounted, setting, BOOT, false)));
        }
    });
}

/// A start: the state of the model, and the content of the disk.
#[derive(Clone, Debug)]
pub struct StartPoint {
    /// The scope.
    pub scope: Scope,
    /// The model's side.
    pub moment: Moment,
    /// What the model held before: all that was acknowledged on the way here.
    pub earlier: Vec<State>,
    /// The disk's side. Without a file, there is no store yet.
    pub image: DiskImage,
}

impl StartPoint {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        if self.image.files.is_empty() { "nothing" } else { self.scope.name }
    }
}

/// What happened.
#[derive(Debug)]
pub struct DiskRecording {
    /// The disk before the first event.
    pub base: DurableContent,
    /// What the disk saw.
    pub events: Vec<Event>,
    /// The moments of the model: before the first act, and after each.
    pub moments: Vec<Moment>,
}

/// Why a case could not be recorded.
#[derive(Debug)]
pub enum Unrecorded {
    /// It could not be done.
    Failed(Error),
    /// The answers were not the model's.
    Differs(String),
}

impl From<Error> for Unrecorded {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<rusqlite::Error> for Unrecorded {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The options that a store on this disk is opened with.
pub fn options(mounted: &Mounted, setting: &Setting, boot: &str, migrating: bool) -> OpenOptions {
    OpenOptions {
        durability: setting.level.durability(),
        boot_id: Some(boot.to_owned()),
        vfs: Some(mounted.name().to_owned()),
        busy_timeout_ms: 0,
        next_version: migrating.then_some(NEXT_VERSION),
        ..OpenOptions::default()
    }
}

/// A store that does acts.
#[derive(Debug)]
pub struct DiskRecorder {
    setting: Setting,
    // The store goes before the disk that it is open on.
    store: Option<Store>,
    mounted: Mounted,
    /// Whether the store is opened by the program with the newer schema.
    migrating: bool,
}

impl DiskRecorder {
    /// A store in these circumstances.
    ///
    /// # Errors
    /// If SQLite refuses the disk.
    pub fn new(setting: Setting) -> Result<Self> {
        open_once(&setting);
        let mounted = Mounted::new(Disk::new(setting.profile)).ok_or(Error::Closed)?;
        Ok(Self { setting, store: None, mounted, migrating: false })
    }

    /// Prepares a beginning.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn start(&mut self, scope: &Scope) -> std::result::Result<StartPoint, Unrecorded> {
        let _alone = alone_with_salts();
        seed_salts(1);
        self.store = None;
        self.mounted.disk().exchange(&DiskImage::default());
        let mut store = self.open()?;
        store.connection().execute_batch(EFFECTS)?;
        let mut moment = Moment::empty(scope.workers);
        let mut earlier = Vec::new();
        for (done, op) in scope.start.iter().enumerate() {
            for (row, wound) in scope.damaged_after(done) {
                let left = damage(store.connection_mut(), row, wound)?;
                moment.world.perform(&Move::Damage { row, wound }, &Remains(Some(left)), &Tally::new());
            }
            let act = Act::Apply(std::sync::Arc::new(op.clone()));
            let now = moment.next_time();
            earlier.push(moment.state().clone());
            let expected = moment.perform(&act);
            compare(&act, &expected, perform(&mut store, &act, now, 0))?;
        }
        let image = self.mounted.disk().image();
        self.store = None;
        Ok(StartPoint { scope: scope.clone(), moment, earlier, image })
    }

    /// The beginning of a disk without a store.
    pub fn nothing() -> StartPoint {
        let scope = Scope { name: "", workers: 1, ..Scope::default() };
        StartPoint {
            moment: Moment::empty(scope.workers),
            earlier: Vec::new(),
            image: DiskImage::default(),
            scope,
        }
    }

    /// The start of a scope, or a disk without a store.
    ///
    /// # Errors
    /// As [`DiskRecorder::start`].
    pub fn start_of(&mut self, scope: Option<&Scope>) -> std::result::Result<StartPoint, Unrecorded> {
        scope.map_or_else(|| Ok(Self::nothing()), |scope| self.start(scope))
    }

    fn open(&self) -> Result<Store> {
        self.open_in(BOOT)
    }

    fn open_in(&self, boot: &str) -> Result<Store> {
        if self.setting.mutant == Some(RigMutant::DeleteMode) {
            let flags = OpenFlags::default();
            let conn = Connection::open_with_flags_and_vfs(FILE, flags, self.mounted.name())?;
            return Store::over(conn);
        }
        let store =
            Store::open(Path::new(FILE), &options(&self.mounted, &self.setting, boot, self.migrating))?;
        let synchronous = match self.setting.mutant {
            Some(RigMutant::SynchronousOff) => "OFF",
            Some(RigMutant::SynchronousNormal) => "NORMAL",
            _ => return Ok(store),
        };
        store.connection().pragma_update(None, "synchronous", synchronous)?;
        Ok(store)
    }

    /// Does acts from a beginning, and keeps the journal.
    ///
    /// # Errors
    /// Whatever the store answers, or how its answers differ from the model's.
    pub fn record(
        &mut self,
        start: &StartPoint,
        acts: &[Act],
    ) -> std::result::Result<DiskRecording, Unrecorded> {
        let done = self.try_record(start, acts);
        self.mounted.disk().take_journal();
        self.mounted.disk().set_lie(None);
        // What booted or failed is not what the next one begins with.
        if done.is_err() || acts.iter().any(|act| matches!(act, Act::Boot | Act::Migrate)) {
            self.store = None;
        }
        self.migrating = false;
        done
    }

    fn try_record(
        &mut self,
        start: &StartPoint,
        acts: &[Act],
    ) -> std::result::Result<DiskRecording, Unrecorded> {
        let _alone = alone_with_salts();
        seed_salts(2);
        // Without a WAL an open connection does not notice that its file was exchanged.
        if start.image.files.is_empty() || self.setting.mutant == Some(RigMutant::DeleteMode) {
            self.store = None;
        }
        self.mounted.disk().exchange(&start.image);
        if self.store.is_none() && !start.image.files.is_empty() {
            // Opening it may have copied the WAL into the file; every sequence begins with the same image.
            self.store = Some(self.open()?);
            self.mounted.disk().exchange(&start.image);
        }
        let base = DurableContent::settled(&self.mounted.disk());
        self.mounted.disk().record();
        if let Some(RigMutant::Disk(mutant)) = self.setting.mutant {
            self.mounted.disk().set_lie(Some(mutant));
        }
        let mut moments = vec![start.moment.clone()];
        let mut boots = 0;
        for (index, act) in acts.iter().enumerate() {
            let mut moment = moments[index].clone();
            let (now, effect) = (moment.next_time(), moment.next_effect());
            let expected = moment.perform(act);
            self.mounted.disk().mark(Mark::Called(index));
            let actual = match act {
                Act::Create => {
                    self.store = Some(self.open()?);
                    Vec::new()
                }
                Act::Reopen | Act::Boot | Act::Migrate => {
                    if let Some(store) = self.store.take() {
                        store.close()?;
                    }
                    boots += u32::from(*act == Act::Boot);
                    self.migrating |= *act == Act::Migrate;
                    self.store = Some(self.open_in(&boot(boots))?);
                    expected.iter().cloned().map(Ok).collect()
                }
                Act::Beside(_) => {
                    let mut other = self.open_in(&boot(boots))?;
                    let answers = perform(&mut other, act, now, effect);
                    // It is answered before it is closed.
                    self.mounted.disk().mark(Mark::Answered(index));
                    other.close()?;
                    answers
                }
                Act::Backup => {
                    let vfs = Some(self.mounted.name());
                    backup_on(&self.mounted, vfs, Path::new(FILE), Path::new(COPY), |_, _| {})?;
                    Vec::new()
                }
                _ => self.perform(act, now, effect, index)?,
            };
            self.mounted.disk().mark(Mark::Answered(index));
            compare(act, &expected, actual)?;
            moments.push(moment);
        }
        let events = self.mounted.disk().take_journal();
        Ok(DiskRecording { base, events, moments })
    }

    /// Does an act, with the mutant of this setting if that is one of the store's.
    fn perform(
        &mut self,
        act: &Act,
        now: fencepost_model::vocabulary::Timestamp,
        effect: i64,
        index: usize,
    ) -> Result<Vec<Result<Reply>>> {
        let mutant = self.setting.mutant;
        let store = self.store.as_mut().ok_or(Error::Closed)?;
        match (mutant, act) {
            (Some(RigMutant::AnswerBeforeCommit), Act::Apply(op)) => {
                store.connection().execute_batch("BEGIN IMMEDIATE")?;
                let reply = execute(store.connection(), store.statements(), now, op);
                self.mounted.disk().mark(Mark::Answered(index));
                store.connection().execute_batch("COMMIT")?;
                Ok(vec![reply])
            }
            (Some(RigMutant::BatchInTwoCommits), Act::Batch(ops)) => {
                let (first, second) = ops.split_at(ops.len() / 2);
                let mut replies = store.apply_all(|| now, &first.iter().collect::<Vec<_>>());
                replies.extend(store.apply_all(|| now, &second.iter().collect::<Vec<_>>()));
                Ok(replies)
            }
            (Some(RigMutant::EffectAfterwards), Act::Effect(op)) => {
                let reply = store.apply(now, op);
                if matches!(reply, Ok(ref reply) if !matches!(reply, Reply::Refused(_))) {
                    store.connection().execute("INSERT INTO effects (number) VALUES (?1)", [effect])?;
                }
                Ok(vec![reply])
            }
            _ => Ok(perform(store, act, now, effect)),
        }
    }
}

/// The name of the boot after so many others.
fn boot(boots: u32) -> String {
    if boots == 0 { BOOT.to_owned() } else { format!("{BOOT}, {boots}") }
}

/// Compares answers with the model's.
fn compare(act: &Act, expected: &[Reply], actual: Vec<Result<Reply>>) -> std::result::Result<(), Unrecorded> {
    let actual = actual.into_iter().collect::<Result<Vec<_>>>()?;
    if actual == expected {
        return Ok(());
    }
    Err(Unrecorded::Differs(format!("{act:?}: the model answers {expected:?}, the store {actual:?}")))
}
