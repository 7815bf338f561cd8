//! The durable content of a disk, and the changes that are not durable yet.
//!
//! Events go in one after the other; at any of them a [`CutChoice`] of fates gives a crash image.
//!
//! Does not depend on: which choices are worth looking at (that is `enumerate`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::FileContent;
use super::cut::{CutChoice, DiskImage, Fate, NameFate};
use super::device::{Disk, Profile};
use super::event::{Event, FileId};

/// What a sector of a disk is made of, whatever it says: the unit that is written whole or not.
pub(super) const TEAR_BYTES: usize = 512;

/// A change of a file that is not durable.
#[derive(Clone, Debug)]
pub(super) enum FileChange {
    Write { offset: usize, bytes: Arc<[u8]> },
    Resize { bytes: usize },
}

/// A change of the directory that is not durable.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add { name: Arc<str>, file: FileId },
    Remove { name: Arc<str> },
}

/// A change that is pending, and the file if it and all before it are kept.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) change: FileChange,
    after: FileContent,
}

/// A file with its durable content.
#[derive(Clone, Debug, Default)]
pub(super) struct DurableFile {
    pub(super) content: FileContent,
    pub(super) pending: Vec<Pending>,
}

impl DurableFile {
    fn push(&mut self, change: FileChange, profile: Profile) {
        let mut after = self.pending.last().map_or(&self.content, |last| &last.after).clone();
        apply(&mut after, &change, Fate::Kept, profile);
        self.pending.push(Pending { change, after });
    }

    fn settle(&mut self) {
        if let Some(last) = self.pending.drain(..).next_back() {
            self.content = last.after;
        }
    }

    /// The file, if this is what becomes of what is pending. What is not named is kept.
    fn content(&self, fates: &[Fate], profile: Profile) -> FileContent {
        let kept = fates.iter().take_while(|fate| **fate == Fate::Kept).count();
        if kept == fates.len() {
            return self.pending.last().map_or(&self.content, |last| &last.after).clone();
        }
        let begin = kept.checked_sub(1).and_then(|last| self.pending.get(last));
        let mut content = begin.map_or(&self.content, |pending| &pending.after).clone();
        for (index, pending) in self.pending.iter().enumerate().skip(kept) {
            let fate = fates.get(index).copied().unwrap_or(Fate::Kept);
            apply(&mut content, &pending.change, fate, profile);
        }
        content
    }
}

/// What is on the disk, and what is on its way there.
#[derive(Clone, Debug)]
pub struct DurableContent {
    pub(super) files: BTreeMap<FileId, DurableFile>,
    pub(super) names: BTreeMap<Arc<str>, FileId>,
    pub(super) pending_names: Vec<NameChange>,
    /// Every name that a file ever had, the last one first: what it is for.
    pub(super) known_as: BTreeMap<FileId, Arc<str>>,
    pub(super) profile: Profile,
}

impl DurableContent {
    /// A disk on which everything that is there is durable.
    pub fn settled(disk: &Disk) -> Self {
        let image = disk.image();
        let mut durable = Self {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            pending_names: Vec::new(),
            known_as: BTreeMap::new(),
            profile: disk.profile(),
        };
        for (name, file) in disk.files() {
            let content = image.files.get(name).cloned().unwrap_or_default();
            durable.files.insert(file, DurableFile { content, pending: Vec::new() });
            durable.names.insert(Arc::clone(name), file);
            durable.known_as.insert(file, Arc::clone(name));
        }
        durable
    }

    /// One more event has happened.
    pub fn advance(&mut self, event: &Event) {
        match event {
            Event::Create { file, name } => {
                self.files.entry(*file).or_default();
                self.known_as.insert(*file, Arc::clone(name));
                self.pending_names.push(NameChange::Add { name: Arc::clone(name), file: *file });
            }
            Event::Link { file, name } => {
                self.known_as.insert(*file, Arc::clone(name));
                self.pending_names.push(NameChange::Add { name: Arc::clone(name), file: *file });
            }
            Event::Unlink { name } => self.pending_names.push(NameChange::Remove { name: Arc::clone(name) }),
            Event::Write { file, offset, bytes } => {
                let change = FileChange::Write { offset: *offset, bytes: Arc::clone(bytes) };
                self.files.entry(*file).or_default().push(change, self.profile);
            }
            Event::Resize { file, bytes } => {
                let change = FileChange::Resize { bytes: *bytes };
                self.files.entry(*file).or_default().push(change, self.profile);
            }
            Event::Sync { file } => self.files.entry(*file).or_default().settle(),
            Event::SyncFailed { file } => self.files.entry(*file).or_default().pending.clear(),
            Event::SyncDirectory => {
                for change in std::mem::take(&mut self.pending_names) {
                    rename(&mut self.names, &change);
                }
            }
            Event::Mark(_) => {}
        }
    }

    /// What a cut leaves now, if this is what becomes of what is pending.
    pub fn image(&self, choice: &CutChoice) -> DiskImage {
        let mut names = self.names.clone();
        for (index, change) in self.pending_names.iter().enumerate() {
            if choice.names.get(index) != Some(&NameFate::Lost) {
                rename(&mut names, change);
            }
        }
        let content = |file: FileId| {
            let Some(durable) = self.files.get(&file) else { return FileContent::default() };
            let fates = choice.files.iter().find(|(of, _)| *of == file).map(|(_, fates)| &fates[..]);
            durable.content(fates.unwrap_or_default(), self.profile)
        };
        DiskImage { files: names.iter().map(|(name, file)| (Arc::clone(name), content(*file))).collect() }
    }

    /// What the n-th pending change of a file is, in words.
    pub fn describe(&self, file: FileId, index: usize) -> String {
        let name = self.name(file);
        match self.files.get(&file).and_then(|file| file.pending.get(index)).map(|pending| &pending.change) {
            Some(FileChange::Write { offset, bytes }) => {
                format!("write of {} bytes at {offset} of {name}", bytes.len())
            }
            Some(FileChange::Resize { bytes }) => format!("size {bytes} of {name}"),
            None => format!("change {index} of {name}"),
        }
    }

    /// What the n-th pending change of the directory is, in words.
    pub fn describe_name(&self, index: usize) -> String {
        match self.pending_names.get(index) {
            Some(NameChange::Add { name, .. }) => format!("name {name} in the directory"),
            Some(NameChange::Remove { name }) => format!("unlinking of {name}"),
            None => format!("change {index} of the directory"),
        }
    }

    /// The last name that a file had.
    pub fn name(&self, file: FileId) -> &str {
        self.known_as.get(&file).map_or("a file without a name", |name| name)
    }
}

fn rename(names: &mut BTreeMap<Arc<str>, FileId>, change: &NameChange) {
    match change {
        NameChange::Add { name, file } => {
            names.insert(Arc::clone(name), *file);
        }
        NameChange::Remove { name } => {
            names.remove(name);
        }
    }
}

/// What spoils a sector: no magic number, no checksum, no header of SQLite's is made of this.
const RUBBISH: u8 = 0xa5;

fn apply(content: &mut FileContent, change: &FileChange, fate: Fate, profile: Profile) {
    let (offset, bytes) = match change {
        FileChange::Resize { bytes } => {
            if fate == Fate::Kept {
                content.resize(*bytes);
            }
            return;
        }
        FileChange::Write { offset, bytes } => (*offset, bytes),
    };
    let end = offset + bytes.len();
    match fate {
        Fate::Kept => content.write(offset, bytes),
        Fate::Lost => {}
        Fate::Grown => {
            if end > content.len() {
                content.resize(end);
            }
        }
        Fate::Torn(mask) => {
            for (index, sector) in (offset / TEAR_BYTES..end.div_ceil(TEAR_BYTES)).enumerate() {
                if mask >> index.min(63) & 1 == 1 {
                    let from = (sector * TEAR_BYTES).max(offset);
                    let to = ((sector + 1) * TEAR_BYTES).min(end);
                    content.write(from, &bytes[from - offset..to - offset]);
                }
            }
        }
        Fate::Spoiled => {
            let size = profile.sector_bytes;
            for sector in [offset / size, (end - 1) / size] {
                // A file does not become longer by a sector that cannot be read.
                let from = sector * size;
                let to = ((sector + 1) * size).min(content.len().max(end));
                content.write(from, &vec![RUBBISH; to - from]);
            }
        }
    }
}
