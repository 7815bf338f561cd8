//! The disk as running processes see it: files, names, locks, shared memory, and a journal of events.
//!
//! Invariant: a change that is seen is an event of the journal, if one is kept, unless a mutant hides it.
//! Does not depend on: which changes a cut leaves (that is `durable`).

mod locks;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use super::content::FileContent;
use super::cut::DiskImage;
use super::event::{Event, FileId, Mark};

/// An open file of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HandleId(u64);

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// SQLite's `SQLITE_IOCAP_` bits.
    pub characteristics: i32,
    /// What it says its sectors are, in bytes.
    pub sector_bytes: usize,
}

const IOCAP_ATOMIC: i32 = 0x1;
const IOCAP_SAFE_APPEND: i32 = 0x200;
const IOCAP_SEQUENTIAL: i32 = 0x400;
const IOCAP_POWERSAFE_OVERWRITE: i32 = 0x1000;

impl Profile {
    /// A plain disk, which promises nothing.
    pub const PLAIN: Self = Self { characteristics: 0, sector_bytes: 4_096 };
    /// What SQLite assumes on Unix unless it is configured otherwise: an overwrite harms no byte beside it.
    pub const UNIX: Self = Self { characteristics: IOCAP_POWERSAFE_OVERWRITE, ..Self::PLAIN };
    /// A device that claims more than it keeps.
    pub const BOASTFUL: Self =
        Self { characteristics: IOCAP_ATOMIC | IOCAP_SAFE_APPEND | IOCAP_SEQUENTIAL, ..Self::PLAIN };

    /// Whether an overwrite harms no byte beside it.
    pub fn overwrites_safely(self) -> bool {
        self.characteristics & IOCAP_POWERSAFE_OVERWRITE != 0
    }
}

/// A mutant of the disk: what it reports as done and does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskMutant {
    /// Syncs of the WAL report success and do nothing.
    NoSyncOfWal,
    /// Syncs of the database file report success and do nothing.
    NoSyncOfDatabase,
    /// Syncs of the directory report success and do nothing.
    NoSyncOfDirectory,
}

/// A call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskCall {
    /// Opening.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Setting the size.
    Resize,
    /// Syncing.
    Sync,
    /// Unlinking.
    Unlink,
    /// Asking for the size, or whether there is such a file.
    Look,
    /// Mapping shared memory.
    Map,
    /// Giving a second name.
    Link,
}

/// Which way a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultKind {
    /// With an I/O error; of a sync, what it should have written is dropped.
    Io,
    /// There is no room: writes and growing fail.
    Full,
    /// A read finds only a part of what is there.
    Short,
}

/// The n-th call that can fail in this way fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFault {
    /// In which way.
    pub kind: FaultKind,
    /// Which call, counted from 0.
    pub at: u64,
    /// Whether all calls after it fail too.
    pub lasting: bool,
}

/// Why a call did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallFailed {
    Io(DiskCall),
    Full,
    Short,
    Busy,
    NotFound,
    /// There is something of that name already.
    Exists,
}

pub(super) type CallResult<T> = Result<T, CallFailed>;

/// A region of shared memory. SQLite writes to it through its own pointers.
pub(super) type Region = Arc<[AtomicU32]>;

const SHM_SLOTS: usize = 8;

#[derive(Default)]
struct DiskFile {
    content: FileContent,
    /// How many connections have it open.
    open: u32,
    shared: BTreeSet<HandleId>,
    reserved: Option<HandleId>,
    pending: Option<HandleId>,
    exclusive: Option<HandleId>,
    shm: Shm,
}

/// Two copies of the header of the WAL's index, and what is noted of checkpoints and readers.
const INDEX_HEADER_WORDS: usize = 34;
/// The marks of readers among them.
const MARK_WORDS: std::ops::Range<usize> = 25..30;

#[derive(Default)]
struct Shm {
    users: BTreeSet<HandleId>,
    regions: Vec<Region>,
    shared: [BTreeSet<HandleId>; SHM_SLOTS],
    exclusive: [Option<HandleId>; SHM_SLOTS],
    /// The header, as it was when it was last looked at.
    seen: Vec<u32>,
}

/// What a connection wants to hold on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    /// Nothing.
    None,
    /// To read.
    Shared,
    /// To write, later.
    Reserved,
    /// To write.
    Exclusive,
}

/// A name without what differs from run to run: while a file is copied, its name has the number of the process.
fn plain(name: &str) -> Cow<'_, str> {
    let Some((head, tail)) = name.split_once(".partial") else { return Cow::Borrowed(name) };
    Cow::Owned(format!("{}.partial{tail}", head.rsplit_once('.').map_or(head, |(head, _)| head)))
}

/// A disk. See the head of this room for what it promises.
pub struct Disk {
    files: Vec<DiskFile>,
    names: BTreeMap<Arc<str>, FileId>,
    /// Files that had names before the last exchange, to be used again under them.
    spare: BTreeMap<Arc<str>, FileId>,
    journal: Option<Vec<Event>>,
    profile: Profile,
    mutant: Option<DiskMutant>,
    fault: Option<DiskFault>,
    calls: u64,
    met: u64,
    handles: u64,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Disk {
    /// An empty disk.
    pub fn new(profile: Profile) -> Self {
        Self {
            files: Vec::new(),
            names: BTreeMap::new(),
            spare: BTreeMap::new(),
            journal: None,
            profile,
            mutant: None,
            fault: None,
            calls: 0,
            met: 0,
            handles: 0,
        }
    }

    /// What it says of itself.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Says something else from now on.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// Pretends from now on.
    pub fn set_lie(&mut self, mutant: Option<DiskMutant>) {
        self.mutant = mutant;
    }

    /// Puts a fault in the way, and counts calls from 0 again.
    pub fn set_fault(&mut self, fault: Option<DiskFault>) {
        self.fault = fault;
        self.calls = 0;
        self.met = 0;
    }

    /// How many calls have failed since the fault was put there.
    pub fn faults_met(&self) -> u64 {
        self.met
    }

    /// Keeps a journal from now on, beginning with nothing.
    pub fn record(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// Ends the journal, and gives it away.
    pub fn take_journal(&mut self) -> Vec<Event> {
        self.journal.take().unwrap_or_default()
    }

    /// How many events the journal has.
    pub fn events(&self) -> usize {
        self.journal.as_ref().map_or(0, Vec::len)
    }

    /// Says something of the moment.
    pub fn mark(&mut self, mark: Mark) {
        self.journal_event(Event::Mark(mark));
    }

    /// What every file holds, as running processes see it.
    pub fn image(&self) -> DiskImage {
        let content = |file: &FileId| self.file(*file).content.clone();
        DiskImage { files: self.names.iter().map(|(name, file)| (Arc::clone(name), content(file))).collect() }
    }

    /// The file of each name.
    pub fn files(&self) -> impl Iterator<Item = (&Arc<str>, FileId)> {
        self.names.iter().map(|(name, file)| (name, *file))
    }

    /// Puts other content in the place of what is there, under connections that stay open: what a connection has
    /// mapped is cleared, so that it recovers what it finds. Names that are there keep their files.
    pub fn exchange(&mut self, image: &DiskImage) {
        if self.files.iter().all(|file| file.open == 0) {
            self.files.clear();
            self.names.clear();
            self.spare.clear();
        }
        let mut known = std::mem::take(&mut self.names);
        known.append(&mut self.spare);
        for (name, content) in &image.files {
            let file = match known.remove(name) {
                Some(file) => file,
                None => self.add(name),
            };
            self.names.insert(Arc::clone(name), file);
            let file = self.file_mut(file);
            file.content = content.clone();
            for region in &file.shm.regions {
                region.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
        }
        self.spare = known;
    }

    fn add(&mut self, name: &Arc<str>) -> FileId {
        let file = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(DiskFile::default());
        self.names.insert(Arc::clone(name), file);
        file
    }

    fn file(&self, file: FileId) -> &DiskFile {
        &self.files[file.0 as usize]
    }

    fn file_mut(&mut self, file: FileId) -> &mut DiskFile {
        &mut self.files[file.0 as usize]
    }

    fn journal_event(&mut self, event: Event) {
        if let Some(journal) = &mut self.journal {
            journal.push(event);
        }
    }

    /// Counts a call that can fail, and lets it fail if its time has come.
    fn may_fail(&mut self, call: DiskCall) -> CallResult<()> {
        let Some(fault) = self.fault else { return Ok(()) };
        let concerned = match fault.kind {
            FaultKind::Io => true,
            FaultKind::Full => matches!(call, DiskCall::Write | DiskCall::Resize),
            FaultKind::Short => call == DiskCall::Read,
        };
        if !concerned {
            return Ok(());
        }
        let number = self.calls;
        self.calls += 1;
        if number != fault.at && !(fault.lasting && number > fault.at) {
            return Ok(());
        }
        self.met += 1;
        Err(match fault.kind {
            FaultKind::Io => CallFailed::Io(call),
            FaultKind::Full => CallFailed::Full,
            FaultKind::Short => CallFailed::Short,
        })
    }

    // What is asked beside SQLite.

    pub(super) fn create_new(&mut self, name: &str) -> CallResult<()> {
        let (file, handle, _) = self.open(name, true, true)?;
        self.close(file, handle);
        Ok(())
    }

    pub(super) fn sync_by_name(&mut self, name: &str) -> CallResult<()> {
        let file = self.names.get(&*plain(name)).copied().ok_or(CallFailed::NotFound)?;
        self.sync(file)
    }

    /// Gives a file a second name; with `instead`, its first one goes, in the same step.
    pub(super) fn link(&mut self, from: &str, to: &str, instead: bool) -> CallResult<()> {
        let file = self.names.get(&*plain(from)).copied().ok_or(CallFailed::NotFound)?;
        if !instead && self.names.contains_key(&*plain(to)) {
            return Err(CallFailed::Exists);
        }
        self.may_fail(DiskCall::Link)?;
        let name: Arc<str> = Arc::from(&*plain(to));
        self.names.insert(Arc::clone(&name), file);
        self.journal_event(Event::Link { file, name });
        if instead && let Some((name, _)) = self.names.remove_entry(&*plain(from)) {
            self.journal_event(Event::Unlink { name });
        }
        Ok(())
    }

    // What SQLite calls.

    pub(super) fn open(
        &mut self,
        name: &str,
        create: bool,
        exclusive: bool,
    ) -> CallResult<(FileId, HandleId, bool)> {
        self.may_fail(DiskCall::Open)?;
        let name = &*plain(name);
        let found = self.names.get(name).copied();
        let (file, created) = match found {
            Some(_) if create && exclusive => return Err(CallFailed::Exists),
            Some(file) => (file, false),
            None if create => {
                let name: Arc<str> = Arc::from(name);
                let file = self.add(&name);
                self.journal_event(Event::Create { file, name });
                (file, true)
            }
            None => return Err(CallFailed::NotFound),
        };
        self.handles += 1;
        self.file_mut(file).open += 1;
        Ok((file, HandleId(self.handles), created))
    }

    /// A file without a name, which is not kept here.
    pub(super) fn anonymous(&mut self) -> CallResult<HandleId> {
        self.may_fail(DiskCall::Open)?;
        self.handles += 1;
        Ok(HandleId(self.handles))
    }

    pub(super) fn close(&mut self, file: FileId, handle: HandleId) {
        self.unlock(file, handle, Lock::None);
        self.shm_unmap(file, handle);
        self.file_mut(file).open -= 1;
    }

    pub(super) fn unlink(&mut self, name: &str, sync: bool) -> CallResult<()> {
        self.may_fail(DiskCall::Unlink)?;
        let (name, _) = self.names.remove_entry(&*plain(name)).ok_or(CallFailed::NotFound)?;
        self.journal_event(Event::Unlink { name });
        if sync {
            self.sync_directory()?;
        }
        Ok(())
    }

    pub(super) fn exists(&mut self, name: &str) -> CallResult<bool> {
        self.may_fail(DiskCall::Look)?;
        Ok(self.names.contains_key(&*plain(name)))
    }

    pub(super) fn read(&mut self, file: FileId, offset: usize, into: &mut [u8]) -> CallResult<()> {
        match self.may_fail(DiskCall::Read) {
            Err(CallFailed::Short) => {
                let half = into.len() / 2;
                self.file(file).content.read(offset, &mut into[..half]);
                into[half..].fill(0);
                return Err(CallFailed::Short);
            }
            other => other?,
        }
        let there = self.file(file).content.read(offset, into);
        if there < into.len() { Err(CallFailed::Short) } else { Ok(()) }
    }

    pub(super) fn write(&mut self, file: FileId, offset: usize, bytes: &[u8]) -> CallResult<()> {
        self.may_fail(DiskCall::Write)?;
        self.file_mut(file).content.write(offset, bytes);
        if self.journal.is_some() {
            self.journal_event(Event::Write { file, offset, bytes: Arc::from(bytes) });
        }
        Ok(())
    }

    pub(super) fn resize(&mut self, file: FileId, bytes: usize) -> CallResult<()> {
        self.may_fail(DiskCall::Resize)?;
        self.file_mut(file).content.resize(bytes);
        self.journal_event(Event::Resize { file, bytes });
        Ok(())
    }

    pub(super) fn size(&mut self, file: FileId) -> CallResult<usize> {
        self.may_fail(DiskCall::Look)?;
        Ok(self.file(file).content.len())
    }

    /// Whether a write up to here makes a file longer.
    pub(super) fn grows(&self, file: FileId, end: usize) -> bool {
        self.file(file).content.len() < end
    }

    pub(super) fn sync(&mut self, file: FileId) -> CallResult<()> {
        if let Err(failed) = self.may_fail(DiskCall::Sync) {
            self.journal_event(Event::SyncFailed { file });
            return Err(failed);
        }
        let is_wal = self.names.iter().any(|(name, id)| *id == file && name.ends_with("-wal"));
        let is_journal = self.names.iter().any(|(name, id)| *id == file && name.ends_with("-journal"));
        match self.mutant {
            Some(DiskMutant::NoSyncOfWal) if is_wal => {}
            Some(DiskMutant::NoSyncOfDatabase) if !is_wal && !is_journal => {}
            _ => self.journal_event(Event::Sync { file }),
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self) -> CallResult<()> {
        self.may_fail(DiskCall::Sync)?;
        if self.mutant != Some(DiskMutant::NoSyncOfDirectory) {
            self.journal_event(Event::SyncDirectory);
        }
        Ok(())
    }
}
