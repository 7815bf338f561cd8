//! The schema and its versions.
//!
//! Invariant: a file goes from one version to the next inside the transaction that opens it, and an unknown version is refused
//! before anything is written. Each version is one `.sql` file that does not change after its release.
//! Does not depend on: the rows.

use rusqlite::Connection;

use crate::error::{Error, Result};

/// Marks a SQLite file as a fencepost store: the letters "FncP".
pub const APPLICATION_ID: i64 = 0x466e_6350;

/// What leads from each version to the next, beginning with an empty file.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// The version of the schema that this program writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The newest version where there may be a step beyond those of this program (see `OpenOptions::next_version`).
pub(super) const fn newest(next: Option<&str>) -> i64 {
    SCHEMA_VERSION + next.is_some() as i64
}

/// Brings a file from a version to the newest, inside the caller's transaction.
pub(super) fn migrate(conn: &Connection, found: i64, next: Option<&str>) -> Result<()> {
    let supported = newest(next);
    let done = usize::try_from(found).ok().filter(|_| found <= supported);
    let done = done.ok_or(Error::NewerVersion { found, supported })?;
    for (version, step) in (1_i64..).zip(MIGRATIONS.iter().copied().chain(next)).skip(done) {
        conn.execute_batch(step)?;
        conn.pragma_update(None, "user_version", version)?;
    }
    if done == 0 {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(())
}
