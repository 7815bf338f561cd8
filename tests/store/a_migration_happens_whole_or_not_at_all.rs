//! Migrations. The transaction that opens a file of an older version takes it to the next version once, together with the
//! change of boot, or leaves the file as it was. A program that does not know a version refuses the file.
//!
//! There is one version so far, so these tests bring a step of their own: what the next version could be.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fencepost::Error;
use fencepost::error::Damage;
use fencepost::internals::sqlite::{OpenOptions, SCHEMA_VERSION, Store, backup, open_reader};
use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Kind, Message, Name, Timestamp, Token};
use rusqlite::Connection;

use crate::role::{self, Role};

/// A step that moves data, and that fails if it is taken twice.
const STEP: &str = "CREATE TABLE moved (seq INTEGER PRIMARY KEY, payload BLOB, token_last INTEGER);
    INSERT INTO moved SELECT seq, payload, (SELECT token_last FROM store) FROM queue;
    ALTER TABLE store ADD COLUMN more ANY;
    UPDATE store SET more = 7;";

/// The boot that the files of these tests are made in.
const BOOT: &str = "this boot";

/// How this program opens a file, in some boot.
fn product(boot: &str) -> OpenOptions {
    OpenOptions { boot_id: Some(boot.to_owned()), ..OpenOptions::default() }
}

/// How the next program will open it.
fn next(boot: &str, step: &'static str) -> OpenOptions {
    OpenOptions { next_version: Some(step), ..product(boot) }
}

fn send(store: &mut Store, payload: &[u8]) -> fencepost::Result<Reply> {
    let message = Message::new(Kind::Command, Name::new("place.bet").unwrap(), payload).into();
    store.apply(Timestamp::ZERO, &Op::Send { message, delay_ms: 0 })
}

/// A closed file of this program, with three commands in it.
fn furnished(directory: &Path) -> PathBuf {
    let path = directory.join("bus.db");
    let mut store = Store::open(&path, &product(BOOT)).unwrap();
    for payload in [b"1", b"2", b"3"] {
        send(&mut store, payload).unwrap();
    }
    store.close().unwrap();
    path
}

fn version(store: &Store) -> i64 {
    store.connection().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

fn moved(store: &Store) -> i64 {
    store.connection().query_row("SELECT count(*) FROM moved", [], |row| row.get(0)).unwrap()
}

/// The version that the file says without its WAL.
fn version_without_wal(path: &Path) -> i64 {
    let conn = Connection::open(format!("file:{}?immutable=1", path.display())).unwrap();
    conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// Every file of a directory with its bytes.
fn listing(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn is_newer(error: &Error) -> bool {
    matches!(error, Error::NewerVersion { found: 2, supported: SCHEMA_VERSION })
}

#[test]
fn a_file_goes_to_the_next_version_once_with_all_that_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    let before = Store::open(&path, &product(BOOT)).unwrap().snapshot().unwrap();
    let mut store = Store::open(&path, &next(BOOT, STEP)).unwrap();
    assert_eq!((SCHEMA_VERSION, version(&store), moved(&store)), (1, 2, 3));
    assert_eq!(store.snapshot().unwrap(), before);
    // It works at that version, and opens again at it.
    send(&mut store, b"4").unwrap();
    let before = store.snapshot().unwrap();
    store.close().unwrap();
    let mut store = Store::open(&path, &next(BOOT, STEP)).unwrap();
    assert_eq!((version(&store), moved(&store)), (2, 3));
    assert_eq!(store.snapshot().unwrap(), before);
    send(&mut store, b"5").unwrap();
}

#[test]
fn a_new_file_is_made_at_the_newest_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut store = Store::open(&path, &next(BOOT, STEP)).unwrap();
    assert_eq!((version(&store), moved(&store)), (2, 0));
    assert_eq!(version_without_wal(&path), 2, "it was never at an older one");
    send(&mut store, b"1").unwrap();
    assert_eq!(store.snapshot().unwrap().token_last, Token::ZERO);
}

#[test]
fn a_program_without_the_step_refuses_the_file_and_leaves_it_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    Store::open(&path, &next(BOOT, STEP)).unwrap().close().unwrap();
    let before = listing(directory.path());
    for boot in [BOOT, "another"] {
        assert!(is_newer(&Store::open(&path, &product(boot)).unwrap_err()));
    }
    assert!(is_newer(&open_reader(&path, &product(BOOT)).unwrap_err()));
    assert!(is_newer(&backup(&path, &directory.path().join("copy.db"), |_, _| {}).unwrap_err()));
    assert_eq!(listing(directory.path()), before);
}

#[test]
fn a_version_that_only_the_wal_tells_of_is_refused_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    // While a reader holds the state before, the opening cannot copy its WAL into the file.
    let reader = open_reader(&path, &product(BOOT)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM store").unwrap();
    let mut migrated = Store::open(&path, &next(BOOT, STEP)).unwrap();
    send(&mut migrated, b"4").unwrap();
    // What a killed process leaves: the file at its old version, and the step in the WAL.
    let killed = tempfile::tempdir().unwrap();
    let left = killed.path().join("bus.db");
    for (name, bytes) in listing(directory.path()) {
        if !name.ends_with("-shm") {
            fs::write(killed.path().join(name), bytes).unwrap();
        }
    }
    assert_eq!(version_without_wal(&left), 1);
    let before = listing(killed.path());
    let copy = killed.path().join("copy.db");
    let refusals: [&dyn Fn() -> Error; 4] = [
        &|| Store::open(&left, &product(BOOT)).unwrap_err(),
        &|| Store::open(&left, &product("another")).unwrap_err(),
        &|| open_reader(&left, &product(BOOT)).unwrap_err(),
        &|| backup(&left, &copy, |_, _| {}).unwrap_err(),
    ];
    for (n, refusal) in refusals.iter().enumerate() {
        let error = refusal();
        assert!(is_newer(&error), "{n}: {error:?}");
        // SQLite puts the index of the WAL beside it; the file and the WAL stay.
        let mut after = listing(killed.path());
        after.remove("bus.db-shm");
        assert!(after == before, "{n}");
    }
    let store = Store::open(&left, &next(BOOT, STEP)).unwrap();
    assert_eq!((version(&store), moved(&store)), (2, 3));
    assert_eq!(store.snapshot().unwrap(), migrated.snapshot().unwrap());
}

#[test]
fn a_store_that_is_open_while_its_file_is_migrated_changes_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    let mut old = Store::open(&path, &product(BOOT)).unwrap();
    send(&mut old, b"4").unwrap();
    let new = Store::open(&path, &next(BOOT, STEP)).unwrap();
    let before = new.snapshot().unwrap();
    assert!(is_newer(&send(&mut old, b"5").unwrap_err()));
    assert_eq!((moved(&new), new.snapshot().unwrap()), (4, before));
    drop(new);
    assert!(is_newer(&send(&mut old, b"6").unwrap_err()));
}

#[test]
fn a_boot_and_a_migration_are_one_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    let token_last = |store: &Store| store.snapshot().unwrap().token_last.get();
    let store = Store::open(&path, &next("another", STEP)).unwrap();
    // The step found the counter as the old program left it: the boot comes after it.
    let seen: Option<i64> =
        store.connection().query_row("SELECT max(token_last) FROM moved", [], |row| row.get(0)).unwrap();
    assert_eq!((version(&store), seen, token_last(&store)), (2, Some(0), 1 << 32));
    drop(store);
    let store = Store::open(&path, &next("another", STEP)).unwrap();
    assert_eq!((version(&store), token_last(&store)), (2, 1 << 32));
}

/// Opens a file in a boot with a step that fails there, checks that neither left a trace, and returns the error.
fn failed(boot: &str, step: &'static str) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    let before = listing(directory.path());
    let error = Store::open(&path, &next(boot, step)).unwrap_err();
    let after = listing(directory.path());
    assert_eq!(after.keys().collect::<Vec<_>>(), ["bus.db"], "{step}");
    assert!(after == before, "{step}");
    // The boot was not noted either: in its own, the file opens as if nothing had been tried.
    let mut store = Store::open(&path, &product(BOOT)).unwrap();
    let state = store.snapshot().unwrap();
    assert_eq!((version(&store), state.queue.len(), state.token_last), (1, 3, Token::ZERO), "{step}");
    send(&mut store, b"4").unwrap();
    store.close().unwrap();
    let store = Store::open(&path, &next(boot, STEP)).unwrap();
    assert_eq!((version(&store), moved(&store)), (2, 4), "{step}");
    error
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was_under_whichever_boot() {
    for boot in [BOOT, "another"] {
        for step in [
            "CREATE TABLE moved (x); INSERT INTO moved SELECT payload FROM queue; no SQL at all",
            "UPDATE store SET epoch = 9; DELETE FROM queue; SELECT x FROM nowhere",
            // One that has outgrown the cache of pages, so that the WAL holds some of it.
            "DELETE FROM queue; CREATE TABLE big (x); INSERT INTO big SELECT randomblob(4000) FROM (WITH \
             RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n); \
             no SQL at all",
        ] {
            let error = failed(boot, step);
            assert!(matches!(error, Error::Sqlite { .. }), "{step}: {error:?}");
        }
        let error = failed(boot, "DROP TABLE records; INSERT INTO store (one) VALUES (2)");
        assert!(matches!(error, Error::Corrupt { what: Damage::Contradiction }), "{error:?}");
    }
}

#[test]
fn a_boot_that_cannot_begin_takes_the_step_before_it_back() {
    let error = failed(BOOT, "CREATE TABLE moved (x); DELETE FROM store");
    assert!(matches!(error, Error::Corrupt { what: Damage::RowMissing { table: "store" } }), "{error:?}");
    let stuck = "CREATE TABLE moved (x); CREATE TRIGGER stuck BEFORE UPDATE OF token_last ON store \
                 BEGIN SELECT raise(ABORT, 'no'); END";
    let error = failed("another", stuck);
    assert!(matches!(error, Error::Corrupt { what: Damage::Contradiction }), "{error:?}");
}

#[test]
fn who_opens_a_file_that_another_has_migrated_and_holds_open_finds_it_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    let mut first = Store::open(&path, &next(BOOT, STEP)).unwrap();
    let mut second = Store::open(&path, &next(BOOT, STEP)).unwrap();
    assert_eq!((version(&second), moved(&second)), (2, 3));
    send(&mut first, b"4").unwrap();
    send(&mut second, b"5").unwrap();
    assert_eq!(first.snapshot().unwrap(), second.snapshot().unwrap());
}

/// A step that takes so long that other processes open the file while it is under way.
const SLOW_STEP: &str = "CREATE TABLE moved (x); INSERT INTO moved SELECT max(i) FROM (WITH RECURSIVE n(i) AS \
                         (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) SELECT i FROM n);";

#[test]
#[ignore = "a role: run by the test below, in processes of their own"]
fn role_of_one_who_opens() {
    let path = role::file().expect("this is a role of another test, which names the file");
    // However slow the machine is, a process that waits here must not be refused.
    let options = OpenOptions { busy_timeout_ms: 300_000, ..next("another", SLOW_STEP) };
    let mut store = Store::open(path, &options).unwrap();
    assert_eq!((version(&store), moved(&store)), (2, 1));
    send(&mut store, b"x").unwrap();
    store.close().unwrap();
}

#[test]
fn of_processes_that_open_at_once_one_migrates_and_the_others_find_it_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = furnished(directory.path());
    let role = Role::of(role_of_one_who_opens);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| role.play(&mut role.command(&path)));
        }
    });
    let store = Store::open(&path, &next("another", SLOW_STEP)).unwrap();
    let state = store.snapshot().unwrap();
    assert_eq!((moved(&store), state.queue.len(), state.token_last.get()), (1, 3 + 4, 1 << 32));
}
