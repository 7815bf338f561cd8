//! What a cut is looked for in: where the store begins, in which setting, and which acts are done.
//!
//! Invariant: the same case gives the same recording.
//! Does not depend on: how an image is checked.

use fencepost_model::scope::{self, Scope};
use serde::{Deserialize, Serialize};

use crate::rig::act::Act;
use crate::rig::setting::Setting;

/// Where, how, and with which acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashCase {
    /// The scope with which it begins; none for a disk without a store.
    pub start: Option<String>,
    /// The circumstances.
    pub setting: Setting,
    /// What is done.
    pub acts: Vec<Act>,
}

impl CrashCase {
    /// The scope that it begins with.
    pub fn scope(&self) -> Option<Scope> {
        self.start.as_deref().and_then(scope::by_name)
    }
}
