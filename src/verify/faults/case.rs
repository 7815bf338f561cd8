//! One fault: the start, the setting, what is done, and what fails meanwhile.
//!
//! Invariant: the same [`FaultCase`] runs the same each time.
//! Does not depend on: what is checked.

use fencepost_model::scope::{self, Scope};
use serde::{Deserialize, Serialize};

use crate::disk::{DiskFault, FaultKind, Profile};
use crate::rig::act::Act;
use crate::rig::setting::Level;

/// Something that is done while something fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCase {
    /// The scope with which it begins; none for a disk without a store.
    pub start: Option<String>,
    /// How the store is opened.
    pub setting: FaultSetting,
    /// What is done.
    pub deed: Deed,
    /// What fails meanwhile.
    pub trouble: Trouble,
    /// A mutant that a check must notice.
    pub mutant: Option<FaultMutant>,
}

/// The circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSetting {
    /// The level that the store is opened with.
    pub level: Level,
    /// What the disk says of itself.
    pub profile: Profile,
    /// What the store has read before, and where its last commits are.
    pub manner: Manner,
}

/// What a store has read before something is asked of it, and where its last commits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// It was opened on a file without a WAL, and has read no more than that takes.
    Cold,
    /// It was opened on a file whose last commits are in its WAL, and has read everything.
    Warm,
    /// As [`Self::Warm`], and each commit is followed by a checkpoint.
    Folding,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Something that needs an open store.
    Act(Act),
    /// The store is opened where there was none.
    Create,
    /// The store is opened: a file without a WAL, or if not [`Manner::Cold`], one that a killed process left.
    Open,
    /// The store is opened after a boot of the machine.
    OpenAfterBoot,
    /// The store is closed.
    Close,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// A call of the disk.
    Call(DiskFault),
    /// The n-th allocation, counted from 0.
    Allocation(u64),
}

/// A mutant of a store, which a check must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultMutant {
    /// It says `Busy`, and what was asked was committed.
    BusyAfterCommit,
    /// Its commit failed, and it answers as if it had not.
    FailedCommitIgnored,
    /// It does not know what its commit did, and continues all the same.
    GoesOnAfterIndeterminate,
    /// After an error it is busy for ever.
    BusyForEver,
    /// What it leased before an error is due never again.
    LeaseWithoutEnd,
    /// After an error it panics.
    Panics,
}

impl Deed {
    /// What this is called in tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Act(act) => act.kind(),
            Self::Create => "create",
            Self::Open => "open",
            Self::OpenAfterBoot => "boot",
            Self::Close => "close",
        }
    }
}

impl Trouble {
    /// The same trouble at another call.
    #[must_use]
    pub fn at(self, at: u64) -> Self {
        match self {
            Self::Call(fault) => Self::Call(DiskFault { at, ..fault }),
            Self::Allocation(_) => Self::Allocation(at),
        }
    }

    /// Which call it is.
    pub fn number(self) -> u64 {
        match self {
            Self::Call(fault) => fault.at,
            Self::Allocation(at) => at,
        }
    }

    /// What it is called in tables.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Call(DiskFault { kind: FaultKind::Io, .. }) => "I/O error",
            Self::Call(DiskFault { kind: FaultKind::Full, .. }) => "full disk",
            Self::Call(DiskFault { kind: FaultKind::Short, .. }) => "short read",
            Self::Allocation(_) => "allocation",
        }
    }
}

impl FaultCase {
    /// The scope that it begins with.
    pub fn scope(&self) -> Option<Scope> {
        self.start.as_deref().and_then(scope::by_name)
    }

    /// What happens in it, in words.
    pub fn explanation(&self) -> String {
        let Self { start, setting, deed, trouble, .. } = self;
        let start = start.as_deref().unwrap_or("an empty disk");
        let manner = match setting.manner {
            Manner::Cold => "a store that has read nothing yet",
            Manner::Warm => "a store that has read everything",
            Manner::Folding => "a store that checkpoints after each commit",
        };
        let what = match trouble {
            Trouble::Call(fault) => {
                let after = if fault.lasting { " and all after it" } else { "" };
                format!("call {}{after}: {}", fault.at, trouble.kind())
            }
            Trouble::Allocation(at) => format!("allocation {at} fails"),
        };
        format!("from {start} at {}, {manner}\n{deed:?}\n{what}", setting.level.name())
    }
}
