//! Copies. A copy is made while its store is at work, and is one state of that store. It appears complete or not at all,
//! and replaces no file. A restored copy begins a new epoch.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use fencepost::Error;
use fencepost::internals::sqlite::{Durability, OpenOptions, Store, backup, overview, restore};
use fencepost_model::op::{Op, Refusal, Reply, Settlement, Start, Target};
use fencepost_model::vocabulary::{Epoch, Group, Kind, Message, MessageId, Name, Seq, Timestamp, Token};
use rusqlite::{Connection, OpenFlags};

fn name() -> Name {
    Name::new("place.bet").unwrap()
}

fn both(payload: &[u8]) -> Op {
    Op::Atomic(vec![
        Op::Send { message: Message::new(Kind::Command, name(), payload).into(), delay_ms: 0 },
        Op::Publish { message: Message::new(Kind::Event, name(), payload).into() },
    ])
}

fn options() -> OpenOptions {
    let (durability, boot_id) = (Durability::ProcessCrash, Some("this boot".to_owned()));
    OpenOptions { durability, boot_id, ..OpenOptions::default() }
}

/// A store with something of everything: a held command, a held cursor, a dead letter, an id.
fn furnished(path: &Path) -> Store {
    let mut store = Store::open(path, &options()).unwrap();
    let (one, group) = (NonZeroU32::MIN, Group::new("risk").unwrap());
    let identified = Message::new(Kind::Command, name(), *b"x").with_id(MessageId::new("id").unwrap());
    let claim = Op::Claim { names: [name()].into(), max: one, lease_ms: 1_000, attempts_max: one };
    let dead = Settlement::DeadLetter { reason: "late".into() };
    let settle = Op::Settle { target: Target::Command(Seq::from(1)), token: Token::from(1), how: dead };
    let names = [name()].into();
    let poll =
        Op::Poll { group: group.clone(), names, token: None, max: one, lease_ms: 1_000, attempts_max: one };
    let ops = [
        Op::Subscribe { group, name: name(), start: Start::Earliest },
        both(b"1"),
        both(b"2"),
        Op::Send { message: identified.into(), delay_ms: 5 },
        claim.clone(),
        settle,
        claim,
        poll,
    ];
    for op in ops {
        let reply = store.apply(Timestamp::from(10), &op).unwrap();
        assert!(!matches!(reply, Reply::Refused(_)), "{op:?}: {reply:?}");
    }
    store
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_copy_holds_what_its_store_held_and_is_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
    let store = furnished(&path);
    let mut steps = Vec::new();
    backup(&path, &copy, |done, total| steps.push((done, total))).unwrap();
    let beside: BTreeSet<String> =
        ["bus.db", "bus.db-shm", "bus.db-wal", "copy.db"].map(str::to_owned).into();
    // Reading it puts no file beside it: it needs no WAL.
    let look = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let commands: i64 = look.query_row("SELECT count(*) FROM queue", [], |row| row.get(0)).unwrap();
    assert_eq!(commands, 2);
    assert_eq!(names_in(directory.path()), beside);
    drop(look);
    assert!(steps.is_sorted() && steps.last().is_some_and(|(done, total)| done == total), "{steps:?}");
    let mut copied = Store::open(&copy, &options()).unwrap();
    // Its first opening is taken for a boot, whichever boot it is.
    let mut expected = store.snapshot().unwrap();
    assert_eq!(fencepost_model::apply(&mut expected, Timestamp::ZERO, &Op::Reboot), Reply::Rebooted);
    assert_eq!(copied.snapshot().unwrap(), expected);
    assert_eq!(expected.token_last.get(), 3 + (1 << 32));
    copied.apply(Timestamp::ZERO, &both(b"3")).unwrap();
}

#[test]
fn a_copy_of_a_store_at_work_is_a_state_that_it_passed_through() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut store = Store::open(&path, &options()).unwrap();
    let payload = vec![7; 3_000];
    for _ in 0..600 {
        store.apply(Timestamp::ZERO, &both(&payload)).unwrap();
    }
    let mut seen = BTreeSet::new();
    for n in 0..5 {
        let copy = directory.path().join(format!("copy-{n}.db"));
        let mut steps = 0;
        // Between the steps of the copying the store commits.
        let mut last = 0;
        backup(&path, &copy, |done, total| {
            steps += 1;
            assert!(last < done && done <= total, "{done} pages of {total} after {last}");
            last = done;
            assert!(steps < 100, "the copying begins anew with each commit");
            store.apply(Timestamp::ZERO, &both(&payload)).unwrap();
        })
        .unwrap();
        assert!(steps > 3, "{steps}");
        let copied = Store::open(&copy, &options()).unwrap();
        let integrity: String =
            copied.connection().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok");
        let read = overview(copied.connection(), copied.statements(), Timestamp::ZERO).unwrap();
        assert_eq!(read.queue.ready, read.log.events);
        assert_eq!(read.queue.ready, copied.snapshot().unwrap().queue_last.get());
        seen.insert(read.queue.ready);
    }
    assert_eq!(seen.len(), 5);
}

#[test]
fn a_copy_takes_the_place_of_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
    drop(furnished(&path));
    fs::write(&copy, b"mine").unwrap();
    assert!(matches!(backup(&path, &copy, |_, _| {}), Err(Error::Exists)));
    assert!(matches!(backup(&path, &path, |_, _| {}), Err(Error::Exists)));
    // A file that appears there while the copying is under way stays, too.
    let late = directory.path().join("late.db");
    let error = backup(&path, &late, |_, _| fs::write(&late, b"mine").unwrap()).unwrap_err();
    assert!(matches!(error, Error::Exists));
    assert_eq!((fs::read(&copy).unwrap(), fs::read(&late).unwrap()), (b"mine".to_vec(), b"mine".to_vec()));
    assert_eq!(names_in(directory.path()), ["bus.db", "copy.db", "late.db"].map(str::to_owned).into());
}

#[test]
fn what_another_file_of_its_name_left_does_not_get_into_a_copy() {
    let directory = tempfile::tempdir().unwrap();
    let (path, gone) = (directory.path().join("bus.db"), directory.path().join("gone.db"));
    drop(furnished(&path));
    // Another store stood under the copy's name. Its file was removed alone, and its WAL with commits was left.
    let mut other = Store::open(&gone, &options()).unwrap();
    other.apply(Timestamp::ZERO, &both(b"other")).unwrap();
    fs::copy(directory.path().join("gone.db-wal"), directory.path().join("copy.db-wal")).unwrap();
    let copy = directory.path().join("copy.db");
    let before = names_in(directory.path());
    let copied = backup(&path, &copy, |_, _| {});
    assert!(matches!(copied, Err(Error::Exists)), "{copied:?}");
    assert_eq!(names_in(directory.path()), before);
    fs::rename(directory.path().join("copy.db-wal"), directory.path().join("copy.db-journal")).unwrap();
    assert!(matches!(backup(&path, &copy, |_, _| {}), Err(Error::Exists)));
    fs::remove_file(directory.path().join("copy.db-journal")).unwrap();
    backup(&path, &copy, |_, _| {}).unwrap();
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    drop(furnished(&path));
    fs::write(directory.path().join("notes.txt"), b"not a store").unwrap();
    let before = names_in(directory.path());
    let to = directory.path().join("copy.db");
    assert!(matches!(backup(&directory.path().join("none.db"), &to, |_, _| {}), Err(Error::NotFound)));
    assert!(matches!(backup(&directory.path().join("notes.txt"), &to, |_, _| {}), Err(Error::NotADatabase)));
    assert!(matches!(
        backup(&path, &directory.path().join("no/such/copy.db"), |_, _| {}),
        Err(Error::Io { .. })
    ));
    let stopped = std::panic::catch_unwind(|| backup(&path, &to, |_, _| panic!("enough of this")));
    assert!(stopped.is_err());
    assert_eq!(names_in(directory.path()), before);
    assert!(Store::open(&path, &options()).is_ok());
}

#[cfg(unix)]
#[test]
fn who_may_not_read_the_store_may_not_read_its_copy() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
    drop(furnished(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut during = 0;
    backup(&path, &copy, |_, _| {
        for entry in fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().ends_with(".partial") {
                during = entry.metadata().unwrap().permissions().mode() & 0o777;
            }
        }
    })
    .unwrap();
    assert_eq!(during, 0o600);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_restored_copy_is_what_the_model_says_and_settles_nothing_of_the_originals_workers() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
    let mut store = furnished(&path);
    backup(&path, &copy, |_, _| {}).unwrap();
    let mut expected = store.snapshot().unwrap();
    // The original goes on, and hands out what the copy holds too.
    let one = NonZeroU32::MIN;
    let claim = Op::Claim { names: [name()].into(), max: one, lease_ms: 1_000, attempts_max: one };
    let claimed = store.apply(Timestamp::from(20), &claim).unwrap();
    let Reply::HandedOut { deliveries, .. } = claimed else { panic!("{claimed:?}") };
    let (next, now) = (Epoch::from(2), Timestamp::from(50));
    let reply = restore(&copy, next, now).unwrap();
    assert_eq!(reply, Reply::EpochBegun { returned: Vec::new() });
    fencepost_model::apply(&mut expected, now, &Op::Reboot);
    assert_eq!(fencepost_model::apply(&mut expected, now, &Op::Restore { next }), reply);
    // Still in the boot in which it was restored.
    let mut copied = Store::open(&copy, &OpenOptions::default()).unwrap();
    assert_eq!(copied.snapshot().unwrap(), expected);
    let late =
        Op::Settle { target: deliveries[0].target.clone(), token: deliveries[0].token, how: Settlement::Ack };
    assert_eq!(copied.apply(now, &late).unwrap(), Reply::Refused(Refusal::LeaseLost));
    drop(copied);
    assert_eq!(restore(&copy, next, now).unwrap(), Reply::Refused(Refusal::EpochRetired));
    let missing = directory.path().join("missing.db");
    assert!(matches!(restore(&missing, next, now), Err(Error::NotFound)));
    assert!(!missing.exists());
}
