//! Opening. A file that is not a store, or whose version this program does not understand, is refused with a typed error,
//! and nothing on disk changes. A store opens again, whatever an interrupted creation or checkpoint left.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fencepost::Error;
use fencepost::error::Damage;
use fencepost::internals::sqlite::{Durability, OpenOptions, SCHEMA_VERSION, Store};
use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Kind, Message, Name, Timestamp};
use rusqlite::Connection;

/// Every file of a directory with its bytes, and its time of last change.
fn listing(directory: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let read = |entry: fs::DirEntry| {
        let modified = entry.metadata().unwrap().modified().unwrap();
        (entry.file_name().into_string().unwrap(), (fs::read(entry.path()).unwrap(), modified))
    };
    files.map(read).collect()
}

/// Opens a file that must be refused, checks that nothing changed on disk, and returns the error.
fn refused(path: &Path, options: &OpenOptions) -> Error {
    let directory = path.parent().unwrap();
    let before = listing(directory);
    let error = Store::open(path, options).unwrap_err();
    assert_eq!(listing(directory), before, "{error}");
    error
}

fn send(store: &mut Store) -> Reply {
    let message = Message::new(Kind::Command, Name::new("a").unwrap(), *b"x").into();
    store.apply(Timestamp::ZERO, &Op::Send { message, delay_ms: 0 }).unwrap()
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "these are my notes, and they are longer than a header of SQLite is\n".repeat(40))
        .unwrap();
    assert!(matches!(refused(&path, &OpenOptions::default()), Error::NotADatabase));
    fs::write(&path, "short").unwrap();
    assert!(matches!(refused(&path, &OpenOptions::default()), Error::NotADatabase));
}

#[test]
fn a_database_of_another_application_is_refused_in_either_journal_mode() {
    for mode in ["DELETE", "WAL"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("theirs #1?.db");
        let theirs = Connection::open(&path).unwrap();
        theirs.pragma_update(None, "journal_mode", mode).unwrap();
        theirs.execute_batch("PRAGMA application_id = 7; CREATE TABLE theirs (x)").unwrap();
        // A WAL with frames in it, as a killed process leaves it, stays as well.
        let while_open = refused(&path, &OpenOptions::default());
        assert!(matches!(while_open, Error::NotOurs { .. }), "{while_open:?}");
        drop(theirs);
        let error = refused(&path, &OpenOptions::default());
        assert!(matches!(error, Error::NotOurs { application_id: 7 }), "{error:?}");
    }
}

#[test]
fn an_empty_database_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("theirs.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE x (y); DROP TABLE x; VACUUM").unwrap();
    assert!(matches!(refused(&path, &OpenOptions::default()), Error::NotOurs { application_id: 0 }));
}

#[test]
fn a_newer_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    Store::open(&path, &OpenOptions::default()).unwrap().close().unwrap();
    let newer = SCHEMA_VERSION + 1;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", newer).unwrap();
    let error = refused(&path, &OpenOptions::default());
    assert!(matches!(error, Error::NewerVersion { found, supported: SCHEMA_VERSION } if found == newer));
}

#[test]
fn a_version_that_grows_under_an_open_store_is_noticed_in_its_next_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut store = Store::open(&path, &OpenOptions::default()).unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let error = store.apply(Timestamp::ZERO, &Op::Reboot).unwrap_err();
    assert!(matches!(error, Error::NewerVersion { .. }));
}

#[test]
fn a_directory_and_a_missing_file_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("inside");
    fs::create_dir(&inside).unwrap();
    assert!(matches!(refused(&inside, &OpenOptions::default()), Error::IsADirectory));
    let missing = directory.path().join("missing.db");
    let open_only = OpenOptions { create: false, ..OpenOptions::default() };
    assert!(matches!(refused(&missing, &open_only), Error::NotFound));
    let nowhere = directory.path().join("nowhere/bus.db");
    let error = Store::open(&nowhere, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, Error::CannotOpen { .. }), "{error:?}");
}

/// Not even root opens a socket as a file.
#[cfg(unix)]
#[test]
fn what_is_there_and_cannot_be_opened_is_neither_missing_nor_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    for create in [false, true] {
        let error = refused(&path, &OpenOptions { create, ..OpenOptions::default() });
        assert!(matches!(error, Error::CannotOpen { .. }), "{error:?}");
    }
}

#[test]
fn a_file_of_ours_with_a_schema_that_was_changed_keeps_its_wal() {
    let directory = tempfile::tempdir().unwrap();
    let (path, killed) = (directory.path().join("bus.db"), tempfile::tempdir().unwrap());
    let mut store = Store::open(&path, &OpenOptions::default()).unwrap();
    send(&mut store);
    store.connection().execute_batch("CREATE INDEX theirs ON queue (payload)").unwrap();
    for name in ["bus.db", "bus.db-wal"] {
        fs::copy(directory.path().join(name), killed.path().join(name)).unwrap();
    }
    let path = killed.path().join("bus.db");
    let before = listing(killed.path());
    let error = Store::open(&path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { what: Damage::Schema }), "{error:?}");
    let after = listing(killed.path());
    for name in ["bus.db", "bus.db-wal"] {
        assert_eq!(
            after.get(name).map(|(bytes, _)| bytes),
            before.get(name).map(|(bytes, _)| bytes),
            "{name}"
        );
    }
}

#[test]
fn a_damaged_file_beside_a_journal_of_no_bytes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    fs::write(&path, "these are my notes, and they are longer than a header is\n".repeat(40)).unwrap();
    fs::write(directory.path().join("bus.db-journal"), "").unwrap();
    assert!(matches!(refused(&path, &OpenOptions::default()), Error::NotADatabase));
}

#[test]
fn what_an_interrupted_transaction_of_somebody_else_left_is_not_made_ours() {
    let directory = tempfile::tempdir().unwrap();
    let (path, left) = (directory.path().join("theirs.db"), directory.path().join("left.db"));
    let theirs = Connection::open(&path).unwrap();
    theirs.execute_batch("PRAGMA application_id = 7; CREATE TABLE theirs (x)").unwrap();
    // So much that it spills into the file before its commit.
    theirs
        .execute_batch(
            "PRAGMA cache_size = 1; BEGIN; CREATE TABLE more (x); \
             WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 200) \
             INSERT INTO more SELECT randomblob(900) FROM c",
        )
        .unwrap();
    let mut torn = fs::read(&path).unwrap();
    // Whether it is a store is not known before the journal is played back.
    torn[..100].fill(0);
    fs::write(&left, torn).unwrap();
    fs::copy(directory.path().join("theirs.db-journal"), directory.path().join("left.db-journal")).unwrap();
    let error = Store::open(&left, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotOurs { application_id: 7 }), "{error:?}");
    let names: Vec<String> = {
        let read = Connection::open(&left).unwrap();
        let mut statement = read.prepare("SELECT name FROM sqlite_schema").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(names, ["theirs"]);
}

#[test]
fn a_file_of_ours_opens_again_and_holds_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("100% ours?#.db");
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        let options = OpenOptions { durability, ..OpenOptions::default() };
        let mut store = Store::open(&path, &options).unwrap();
        send(&mut store);
        let before = store.snapshot().unwrap();
        let synchronous: i64 =
            store.connection().pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, if durability == Durability::PowerLoss { 2 } else { 1 });
        store.close().unwrap();
        assert_eq!(listing(directory.path()).len(), 1, "the log of changes is folded in when a file closes");
        assert_eq!(Store::open(&path, &options).unwrap().snapshot().unwrap(), before);
    }
}

#[test]
fn an_empty_file_becomes_a_store_and_an_interrupted_creation_is_taken_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    send(&mut Store::open(&empty, &OpenOptions::default()).unwrap());

    // A rollback journal of a transaction that began with no pages, beside a file of pages that were never synced.
    let torn = directory.path().join("torn.db");
    let creating = Connection::open(&torn).unwrap();
    creating.execute_batch("PRAGMA cache_size = 1; BEGIN; CREATE TABLE store (x)").unwrap();
    let insert = "INSERT INTO store SELECT randomblob(3000) FROM \
                  (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT i FROM n)";
    creating.execute_batch(insert).unwrap();
    let copy = directory.path().join("copy.db");
    let journal = fs::read(directory.path().join("torn.db-journal")).unwrap();
    assert!(!journal.is_empty());
    fs::write(&copy, vec![0; 8192]).unwrap();
    fs::write(directory.path().join("copy.db-journal"), journal).unwrap();
    let opened = Store::open(&copy, &OpenOptions::default());
    send(&mut opened.unwrap());
}

/// Copies a database and its WAL as they lie there, with the first page of the WAL copied into the file already: so a
/// checkpoint leaves them that is killed after its first page, or is under way.
fn with_a_checkpoint_begun(from: &Path, to: &Path) {
    const PAGE_BYTES: usize = 4096;
    let beside = |path: &Path| path.with_extension("db-wal");
    let (mut file, wal) = (fs::read(from).unwrap(), fs::read(beside(from)).unwrap());
    let mut frames = wal[32..].chunks_exact(24 + PAGE_BYTES);
    let first = frames.rfind(|frame| frame[..4] == [0, 0, 0, 1]).unwrap();
    file[..PAGE_BYTES].copy_from_slice(&first[24..]);
    let pages = u32::from_be_bytes(file[28..32].try_into().unwrap()) as usize;
    assert!(pages * PAGE_BYTES > file.len(), "the header counts pages that are not in the file yet");
    fs::write(to, file).unwrap();
    fs::write(beside(to), wal).unwrap();
}

#[test]
fn a_file_whose_checkpoint_was_cut_short_is_opened_if_it_is_ours() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
    let mut store = Store::open(&path, &OpenOptions::default()).unwrap();
    for _ in 0..200 {
        send(&mut store);
    }
    with_a_checkpoint_begun(&path, &copy);
    let opened = Store::open(&copy, &OpenOptions::default()).unwrap();
    assert_eq!(opened.snapshot().unwrap(), store.snapshot().unwrap());

    let theirs = directory.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let (path, copy) = (directory.path().join("other.db"), theirs.join("copy.db"));
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "journal_mode", "WAL").unwrap();
    other.execute_batch("PRAGMA application_id = 7; PRAGMA wal_checkpoint; CREATE TABLE theirs (x)").unwrap();
    with_a_checkpoint_begun(&path, &copy);
    let error = refused(&copy, &OpenOptions::default());
    assert!(matches!(error, Error::NotOurs { application_id: 7 }), "{error:?}");

    // Without its WAL such a file is damaged: the pages are nowhere.
    fs::remove_file(theirs.join("copy.db-wal")).unwrap();
    assert!(matches!(refused(&copy, &OpenOptions::default()), Error::Corrupt { .. }));
}

#[test]
fn who_opens_a_file_while_another_creates_it_opens_it_too() {
    const OPENERS: usize = 4;
    let directory = tempfile::tempdir().unwrap();
    for number in 0..150 {
        let path = directory.path().join(format!("{number}.db"));
        let together = std::sync::Barrier::new(OPENERS);
        std::thread::scope(|scope| {
            let open = || {
                together.wait();
                let opened = std::iter::repeat_with(|| Store::open(&path, &OpenOptions::default()));
                let mut opened = opened.skip_while(|opened| matches!(opened, Err(Error::Busy)));
                opened.next().unwrap().unwrap().close().unwrap();
            };
            for _ in 0..OPENERS {
                scope.spawn(open);
            }
        });
    }
}

/// A simulated disk has its own names: a file of this machine under the same name does not matter.
#[test]
fn a_file_is_made_on_another_disk_although_this_one_has_the_name() {
    use fencepost_verify::disk::{Disk, Mounted, Profile};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.db");
    fs::write(&path, "a letter to a friend, of some length").unwrap();
    let before = listing(folder.path());
    let mounted = Mounted::new(Disk::new(Profile::UNIX)).unwrap();
    let options = OpenOptions {
        boot_id: Some("a boot".to_owned()),
        vfs: Some(mounted.name().to_owned()),
        ..OpenOptions::default()
    };
    for sent in 1..=2 {
        let mut store = Store::open(&path, &options).unwrap();
        assert!(matches!(send(&mut store), Reply::Accepted { seq, fresh: true } if seq.get() == sent));
        store.close().unwrap();
    }
    assert_eq!(listing(folder.path()), before);
}
