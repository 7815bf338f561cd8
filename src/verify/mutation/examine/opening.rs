//! Opens a file for the first time, again, after a boot and beside others; and checks what `check` says of it.

use std::path::Path;

use fencepost_model::op::Op;
use fencepost_model::step;
use rusqlite::Connection;

use super::{ExaminationResult, expect};
use crate::fuzz::furnished::{LATE, claim, furnish, names};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Durability, OpenOptions, Statements, Store, inspect_by, overview};

/// Opening for the first time, again, after a boot and beside others; and a check of what is there.
pub(super) fn opening(sql: &Statements) -> Result<ExaminationResult> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("bus.db");
    let during = |boot: &str| OpenOptions {
        durability: Durability::ProcessCrash,
        boot_id: Some(boot.to_owned()),
        busy_timeout_ms: 0,
        ..OpenOptions::default()
    };
    let open = |path: &Path, boot: &str| Store::open_by(path, &during(boot), sql.clone());
    let mut store = open(&path, "one")?;
    furnish(&mut store, true)?;
    store.apply(LATE, &claim(names(), 1))?;
    let (before, number) = (store.snapshot()?, store.commit_seq()?);
    store.close()?;
    let (store, mut other) = (open(&path, "one")?, open(&path, "one")?);
    let same = store.snapshot()? == before && store.commit_seq()? == number && store.booted().is_none();
    if !same {
        return Ok(Err("a second opening changed something".to_owned()));
    }
    let seen = store.data_version()?;
    let again = store.data_version()?;
    other.apply(LATE, &claim(names(), 1))?;
    if seen != again || seen == store.data_version()? {
        return Ok(Err("a change of others is not seen, or one is seen that was not".to_owned()));
    }
    // A reader waits for no writer.
    other.connection().execute_batch("BEGIN IMMEDIATE")?;
    overview(store.connection(), store.statements(), LATE)?;
    other.connection().execute_batch("ROLLBACK")?;
    let (before, number) = (store.snapshot()?, store.commit_seq()?);
    for store in [store, other] {
        store.close()?;
    }
    let store = open(&path, "two")?;
    let mut expected = before.clone();
    step::apply(&mut expected, LATE, &Op::Reboot);
    let after = store.snapshot()?;
    if after.token_last <= before.token_last {
        return Ok(Err("no token was skipped by a boot".to_owned()));
    }
    expected.token_last = after.token_last;
    if after != expected || store.booted() != Some(number + 1) || store.commit_seq()? != number + 1 {
        return Ok(Err("a boot is not what the model makes of it".to_owned()));
    }
    store.close()?;
    let store = open(&path, "two")?;
    if store.snapshot()? != after || store.booted().is_some() {
        return Ok(Err("one boot counts twice".to_owned()));
    }
    store.close()?;
    Ok(rebooted(directory.path(), &path, sql, &open))
}

/// What is not ours, or was changed, and what a check says of it.
fn rebooted(
    directory: &Path,
    path: &Path,
    sql: &Statements,
    open: &dyn Fn(&Path, &str) -> Result<Store>,
) -> ExaminationResult {
    let failed = |error: Error| format!("the store failed: {error}");
    let words = |error: rusqlite::Error| error.to_string();
    // SQLite's own tables are left alone.
    let conn = Connection::open(path).map_err(words)?;
    conn.execute_batch("ANALYZE").map_err(words)?;
    drop(conn);
    let seen = inspect_by(path, sql).map_err(failed)?;
    let sound = seen.malformed.is_empty() && seen.changed.is_empty() && seen.foreign.is_empty();
    expect(sound && seen.survey.is_some_and(|survey| survey.damaged.is_empty()), "a check of a sound file")?;
    let theirs = directory.join("theirs.db");
    let conn = Connection::open(&theirs).map_err(words)?;
    conn.execute_batch("CREATE TABLE theirs (x)").map_err(words)?;
    expect(matches!(open(&theirs, "one"), Err(Error::NotOurs { .. })), "a file of others was taken")?;
    let conn = Connection::open(path).map_err(words)?;
    let hang = "CREATE TABLE bets (x); CREATE TRIGGER t AFTER INSERT ON queue BEGIN SELECT 1; END";
    conn.execute_batch(hang).map_err(words)?;
    expect(matches!(open(path, "two"), Err(Error::Corrupt { .. })), "a trigger of others was let in")?;
    let seen = inspect_by(path, sql).map_err(failed)?;
    let foreign = seen.foreign.iter().map(|object| (&*object.kind, &*object.name, &*object.table));
    let both = [("table", "bets", "bets"), ("trigger", "t", "queue")];
    expect(foreign.eq(both), "a check does not find what hangs on a table")?;
    for (change, what) in [
        ("DROP TRIGGER t; DROP INDEX queue_due", "a missing index"),
        ("CREATE INDEX queue_due ON queue (name, seq, due_at)", "a changed index"),
    ] {
        conn.execute_batch(change).map_err(words)?;
        let refused = matches!(open(path, "two"), Err(Error::Corrupt { .. }));
        expect(refused, &format!("a store with {what} was opened"))?;
        let seen = inspect_by(path, sql).map_err(failed)?;
        let changed = seen.changed.iter().map(|object| object.name.as_str());
        expect(changed.eq(["queue_due"]), &format!("a check does not find {what}"))?;
    }
    Ok(())
}
