//! A bound on the work of SQLite: no more steps than a file of its size can need.
//!
//! In a damaged file, pages that point to each other in a ring or a lattice hold rows without end. SQLite counts its steps, so
//! the bound needs no clock.
//!
//! Invariant: reading a file ends, whatever is in it.
//! Does not depend on: what is done in the steps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::error::{Damage, Error, Result};
use crate::sqlite::files::beside;

/// The tests of this module are as quick as they would be with a file that is so many times smaller.
const SMALLER: u32 = if cfg!(test) { 50 } else { 1 };

/// How often SQLite asks whether to go on, in steps.
const ASKED_EVERY: u32 = 5_000_000 / SMALLER;

/// How many steps are allowed for a file of any size.
const STEPS_MIN: u64 = 50_000_000 / SMALLER as u64;

/// How many steps are allowed for each byte of the file and its WAL. What is slowest, looking for what is wrong with a
/// file, takes less than 10; a row has at least six bytes.
const STEPS_PER_BYTE: u64 = 500;

/// Counts the steps of one connection.
#[derive(Clone, Debug)]
pub(super) struct Steps(Arc<AtomicU64>);

const EXCEEDED: u64 = u64::MAX;

/// The steps are not counted while the caller's own work runs.
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

    /// Begins to count from zero.
    pub(super) fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts nothing until [`Steps::begin`].
    pub(super) fn pause(&self) {
        self.0.store(PAUSED, Ordering::Relaxed);
    }

    /// The error itself, or [`Damage::Endless`] if the bound was exceeded.
    pub(super) fn classify(&self, error: Error) -> Error {
        if self.0.load(Ordering::Relaxed) == EXCEEDED { Damage::Endless.into() } else { error }
    }
}

/// How many steps are allowed for this file.
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
    const LONG: &str = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 200000) SELECT max(x) FROM c";
    const SHORT: &str = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) SELECT max(x) FROM c";

    /// A connection that is bounded by a file and a WAL of these sizes, which it has nothing to do with.
    fn watched(file_bytes: Option<u64>, wal_bytes: Option<u64>) -> (tempfile::TempDir, Connection, Steps) {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in [("some.db", file_bytes), ("some.db-wal", wal_bytes)] {
            if let Some(bytes) = bytes {
                std::fs::File::create(directory.path().join(name)).unwrap().set_len(bytes).unwrap();
            }
        }
        let mut conn = Connection::open_in_memory().unwrap();
        let steps = Steps::watch(&mut conn, &directory.path().join("some.db")).unwrap();
        (directory, conn, steps)
    }

    fn run(conn: &Connection, steps: &Steps, sql: &str) -> Result<()> {
        conn.query_row(sql, [], |_| Ok(())).map_err(|error| steps.classify(error.into()))
    }

    fn is_endless(result: &Result<()>) -> bool {
        matches!(result, Err(Error::Corrupt { what: Damage::Endless }))
    }

    #[test]
    fn what_does_not_end_is_ended_and_told() {
        let (_directory, conn, steps) = watched(Some(0), None);
        assert!(is_endless(&run(&conn, &steps, ENDLESS)));
        steps.begin();
        run(&conn, &steps, "SELECT 1").unwrap();
        assert!(matches!(run(&conn, &steps, "SELECT x FROM u"), Err(Error::Sqlite { .. })));
    }

    #[test]
    fn a_larger_file_or_wal_may_take_longer_and_what_is_short_is_never_ended() {
        let (_directory, conn, steps) = watched(None, None);
        run(&conn, &steps, LONG).unwrap();
        let long = steps.0.load(Ordering::Relaxed);
        assert!((2 * STEPS_MIN..10 * STEPS_MIN).contains(&long), "{long} steps");
        // So many bytes may take that long.
        let enough = long / STEPS_PER_BYTE + 1;
        let twice_the_least = 2 * STEPS_MIN / STEPS_PER_BYTE;
        for (file_bytes, wal_bytes, sql, ends) in [
            (Some(0), None, SHORT, false),
            (Some(0), None, LONG, true),
            (Some(twice_the_least), None, ENDLESS, true),
            (Some(enough), None, LONG, false),
            (Some(0), Some(enough), LONG, false),
            (None, Some(0), LONG, false),
        ] {
            let (_directory, conn, steps) = watched(file_bytes, wal_bytes);
            let ended = run(&conn, &steps, sql);
            assert_eq!(is_endless(&ended), ends, "{file_bytes:?} and {wal_bytes:?}: {ended:?}");
            assert_eq!(ended.is_err(), ends, "{file_bytes:?} and {wal_bytes:?}: {ended:?}");
        }
    }

    #[test]
    fn nothing_is_counted_in_a_pause_and_without_a_watch() {
        let (_directory, mut conn, steps) = watched(Some(0), None);
        steps.pause();
        run(&conn, &steps, LONG).unwrap();
        // What goes wrong meanwhile is not taken for something that had no end.
        assert!(matches!(run(&conn, &steps, "SELECT x FROM u"), Err(Error::Sqlite { .. })));
        steps.begin();
        assert!(is_endless(&run(&conn, &steps, LONG)));
        steps.begin();
        Steps::unwatch(&mut conn).unwrap();
        run(&conn, &steps, LONG).unwrap();
    }
}
