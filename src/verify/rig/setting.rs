//! The setting of a case: durability level, kind of disk, and mutant.
//!
//! Does not depend on: what is checked.

use serde::{Deserialize, Serialize};

use crate::disk::{DiskMutant, Profile};
use fencepost::internals::sqlite::Durability;

/// The circumstances of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The level that the store is opened with.
    pub level: Level,
    /// What the disk says of itself.
    pub profile: Profile,
    /// A mutant that a check must notice.
    #[serde(rename = "mistake")]
    pub mutant: Option<RigMutant>,
}

/// A durability level, as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A power cut takes nothing that was acknowledged.
    PowerLoss,
    /// A power cut may take the newest.
    ProcessCrash,
}

impl Level {
    /// What the store calls it.
    pub fn durability(self) -> Durability {
        match self {
            Self::PowerLoss => Durability::PowerLoss,
            Self::ProcessCrash => Durability::ProcessCrash,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerLoss => "PowerLoss",
            Self::ProcessCrash => "ProcessCrash",
        }
    }
}

/// A mutant of the disk or of the store, which a check must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RigMutant {
    /// A mutant of the disk.
    Disk(DiskMutant),
    /// `synchronous=OFF`.
    SynchronousOff,
    /// `synchronous=NORMAL` where `PowerLoss` is promised.
    SynchronousNormal,
    /// A rollback journal with `FULL` instead of a WAL.
    DeleteMode,
    /// An operation is answered before its commit.
    AnswerBeforeCommit,
    /// A batch is committed in two parts.
    BatchInTwoCommits,
    /// An effect is committed after its settlement, not with it.
    EffectAfterwards,
    /// A corrupted token counter: what is minted after a cut was minted before it.
    BootUnnoticed,
}

impl Setting {
    /// A setting without a mutant.
    pub const fn honest(level: Level, profile: Profile) -> Self {
        Self { level, profile, mutant: None }
    }
}
