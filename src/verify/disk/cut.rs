//! A crash image, and the choice of fates that made it.
//!
//! Invariant: a choice names fates by position among what was pending at the cut, so that it can be written down and
//! made again.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::content::FileContent;
use super::event::FileId;

/// What one pending change of a file comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is on the disk.
    Kept,
    /// It is not.
    Lost,
    /// Of the sectors of 512 bytes that it touches, those whose bits are set are on the disk.
    Torn(u64),
    /// The file has grown for it, and nothing but zeros is there.
    Grown,
    /// The sectors in which it begins and ends, of the size that the device reports, hold nothing of use.
    Spoiled,
}

/// What a pending change of the directory comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameFate {
    /// It is on the disk.
    Kept,
    /// It is not.
    Lost,
}

/// One of the things that a cut may leave. Changes that are not named are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutChoice {
    /// The fates of what was pending in files, in the order in which it was written.
    pub files: Vec<(FileId, Vec<Fate>)>,
    /// The fates of what was pending in the directory.
    pub names: Vec<NameFate>,
}

/// What is on the disk, name by name.
#[derive(Clone, Debug, Default)]
pub struct DiskImage {
    /// The content of each file.
    pub files: BTreeMap<Arc<str>, FileContent>,
}

impl DiskImage {
    /// A number that differs for different images, as far as 64 bits can tell.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (name, content) in &self.files {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
            hasher.write_u64(content.digest());
        }
        hasher.finish()
    }
}

impl CutChoice {
    /// How many changes it does not keep whole.
    pub fn losses(&self) -> usize {
        let of_files = self.files.iter().flat_map(|(_, fates)| fates).filter(|fate| **fate != Fate::Kept);
        of_files.count() + self.names.iter().filter(|fate| **fate == NameFate::Lost).count()
    }
}
