//! What a client of a history does an operation with: its journal, its pauses, and the operation as it is meant to be done.
//!
//! Does not depend on: mutants of clients.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use fencepost_model::op::Op;
use fencepost_model::vocabulary::Timestamp;

use crate::history::record::{CommitPlace, HistoryAnswer, JournalLine};
use fencepost::error::Result;
use fencepost::internals::sqlite::Store;

/// Where a client writes what it does.
pub(super) struct Journal(File);

impl Journal {
    pub(super) fn create(path: &Path) -> Result<Self> {
        Ok(Self(File::options().append(true).create_new(true).open(path)?))
    }

    pub(super) fn write(&mut self, line: &JournalLine) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(std::io::Error::other)?;
        text.push('\n');
        Ok(self.0.write_all(text.as_bytes())?)
    }
}

/// Waits this long.
pub(super) fn pause(us: u64) {
    let until = Instant::now() + Duration::from_micros(us);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Does an operation as it is meant to be done.
pub(super) fn run_correctly(store: &mut Store, now: Timestamp, op: &Op) -> Result<HistoryAnswer> {
    let done = store.apply_numbered(now, op)?;
    let place = CommitPlace { commit_seq: done.commit_seq, changed: done.changed };
    Ok(HistoryAnswer::Replied { reply: done.reply, place: Some(place) })
}
