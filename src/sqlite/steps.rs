//! How long SQLite may work on one thing: no longer than a file of its size can ask for.
//!
//! Nothing read from a file is trusted to end. Pages that point to each other in a ring or a lattice hold rows without
//! end, and SQLite would hand them out for ever. It counts its steps, so a bound needs no clock. This module must not
//! know what is done in these steps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::error::{Damage, Error, Result};
use crate::sqlite::open::beside;

/// How often SQLite asks whether to go on, in steps.
const ASKED_EVERY: u32 = 5_000_000;

/// How many steps are allowed whatever the size of the file.
const STEPS_MIN: u64 = 50_000_000;

/// How many steps are allowed for each byte of the file and its WAL. What is slowest, looking for what is wrong with a
/// file, takes less than 10; a row has at least six bytes.
const STEPS_PER_BYTE: u64 = 500;

/// Counts the steps of one connection.
#[derive(Clone, Debug)]
pub(super) struct Steps(Arc<AtomicU64>);

const EXCEEDED: u64 = u64::MAX;

/// Not counted: what runs is somebody's own work, and no concern of this module.
const PAUSED: u64 = u64::MAX - 1;

impl Steps {
    /// Counts from now on. A file that cannot be found by this path, such as one in memory, has no bound.
    pub(super) fn watch(conn: &mut Connection, path: &Path) -> Result<Self> {
        let steps = Arc::new(AtomicU64::new(0));
        let (counted, path) = (Arc::clone(&steps), PathBuf::from(path));
        let stop = move || {
            let before = counted.load(Ordering::Relaxed);
            if before == PAUSED {
                return false;
            }
            let done = before.saturating_add(u64::from(ASKED_EVERY));
            let stop = done > STEPS_MIN && done > allowed(&path);
            counted.store(if stop { EXCEEDED } else { done }, Ordering::Relaxed);
            stop
        };
        conn.progress_handler(ASKED_EVERY.cast_signed(), Some(stop))?;
        Ok(Self(steps))
    }

    /// Counts no more.
    pub(super) fn unwatch(conn: &mut Connection) -> Result<()> {
        Ok(conn.progress_handler(0, None::<fn() -> bool>)?)
    }

    /// Something new begins.
    pub(super) fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Nothing is counted until something new begins.
    pub(super) fn pause(&self) {
        self.0.store(PAUSED, Ordering::Relaxed);
    }

    /// Says of an error whether it is that there was no end.
    pub(super) fn judge(&self, error: Error) -> Error {
        if self.0.load(Ordering::Relaxed) == EXCEEDED { Damage::Endless.into() } else { error }
    }
}

/// How many steps a file may take.
fn allowed(path: &Path) -> u64 {
    let bytes = |suffix| beside(path, suffix);
    match bytes("") {
        None => u64::MAX,
        Some(file) => file.saturating_add(bytes("-wal").unwrap_or(0)).saturating_mul(STEPS_PER_BYTE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str =
        "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";

    #[test]
    fn what_does_not_end_is_ended_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        let mut conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (x)").unwrap();
        let steps = Steps::watch(&mut conn, &path).unwrap();
        let run = |sql: &str| conn.query_row(sql, [], |_| Ok(())).map_err(|error| steps.judge(error.into()));
        assert!(matches!(run(ENDLESS), Err(Error::Corrupt { what: Damage::Endless })));
        steps.begin();
        run("SELECT count(*) FROM t").unwrap();
        assert!(matches!(run("SELECT x FROM u"), Err(Error::Sqlite { .. })));
    }
}
