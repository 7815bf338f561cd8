//! A check finds each kind of damage and says where. It finds nothing in a healthy store, and it changes not a byte.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use fencepost::Error;
use fencepost::check::{CheckReport, Finding, check};
use fencepost::error::Damage;
use fencepost::internals::sqlite::{Durability, OpenOptions, RowKey, Store, plant};
use fencepost_model::op::{Op, Settlement, Start, Target};
use fencepost_model::state::{Body, LogRow};
use fencepost_model::vocabulary::{
    Group, Kind, Message, MessageId, Name, RawValue, RecordId, Seq, Timestamp, Token,
};
use rusqlite::Connection;

use crate::walk::Walk;

fn options() -> OpenOptions {
    let (durability, boot_id) = (Durability::ProcessCrash, Some("this boot".to_owned()));
    OpenOptions { durability, boot_id, ..OpenOptions::default() }
}

/// Every file of a directory with its bytes, and its time of last change.
fn listing(directory: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let read = |entry: fs::DirEntry| {
        let modified = entry.metadata().unwrap().modified().unwrap();
        (entry.file_name().into_string().unwrap(), (fs::read(entry.path()).unwrap(), modified))
    };
    fs::read_dir(directory).unwrap().map(Result::unwrap).map(read).collect()
}

/// Checks a file and makes sure that this changed nothing in its directory.
fn checked(path: &Path) -> CheckReport {
    checked_but_for(path, "")
}

/// Checks a file that a store has open: in the index of its WAL every reader is noted.
fn checked_in_use(path: &Path) -> CheckReport {
    checked_but_for(path, "bus.db-shm")
}

fn checked_but_for(path: &Path, index: &str) -> CheckReport {
    let files = || {
        let mut files = listing(path.parent().unwrap());
        files.entry(index.to_owned()).and_modify(|file| *file = (Vec::new(), std::time::UNIX_EPOCH));
        files
    };
    let before = files();
    let report = check(path).unwrap();
    let after = files();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let changed: Vec<&String> =
        after.iter().filter(|(name, file)| before[*name] != **file).map(|(name, _)| name).collect();
    assert!(changed.is_empty(), "the check wrote {changed:?}");
    report
}

fn name() -> Name {
    Name::new("place.bet").unwrap()
}

/// A store with something of everything.
fn furnished(path: &Path) -> Store {
    let mut store = Store::open(path, &options()).unwrap();
    let (one, group) = (NonZeroU32::MIN, Group::new("risk").unwrap());
    let send = |id: &str| {
        let message = Message::new(Kind::Command, name(), *b"x").with_id(MessageId::new(id).unwrap()).into();
        Op::Send { message, delay_ms: 0 }
    };
    let publish = Op::Publish { message: Message::new(Kind::Event, name(), *b"x").into() };
    let claim = Op::Claim { names: [name()].into(), max: one, lease_ms: 1_000, attempts_max: one };
    let poll = Op::Poll {
        group: group.clone(),
        names: [name()].into(),
        token: None,
        max: one,
        lease_ms: 1_000,
        attempts_max: one,
    };
    let aside = || Settlement::DeadLetter { reason: "late".into() };
    let settle = |target, token| Op::Settle { target, token: Token::from(token), how: aside() };
    let ops = [
        Op::Subscribe { group: group.clone(), name: name(), start: Start::Earliest },
        send("1"),
        send("2"),
        send("3"),
        publish.clone(),
        publish.clone(),
        publish,
        claim.clone(),
        settle(Target::Command(Seq::from(1)), 1),
        poll,
        settle(Target::Event { group, seq: Seq::from(1) }, 2),
        Op::Redrive { record: RecordId::from(2) },
        claim,
    ];
    for op in ops {
        let reply = store.apply(Timestamp::from(10), &op).unwrap();
        assert!(!matches!(reply, fencepost_model::op::Reply::Refused(_)), "{op:?}: {reply:?}");
    }
    store
}

/// What a check of a furnished store finds after something was done to it.
fn found_after(wound: impl FnOnce(&mut Connection)) -> CheckReport {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut store = furnished(&path);
    wound(store.connection_mut());
    store.close().unwrap();
    checked(&path)
}

fn execute(conn: &Connection, sql: &str) {
    conn.pragma_update(None, "ignore_check_constraints", true).unwrap();
    assert_ne!(conn.execute(sql, []).unwrap(), 0, "{sql}");
    conn.pragma_update(None, "ignore_check_constraints", false).unwrap();
}

#[test]
fn a_sound_file_is_found_sound_closed_open_and_as_a_killed_process_left_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("closed/bus.db");
    fs::create_dir(directory.path().join("closed")).unwrap();
    let store = furnished(&path);
    // Open, and with a WAL.
    let report = checked_in_use(&path);
    assert!(report.is_sound(), "{report:?}");
    assert!(listing(path.parent().unwrap()).contains_key("bus.db-wal"));
    let rows: BTreeMap<_, _> = report.tables.iter().map(|table| (table.table, table.rows)).collect();
    assert_eq!((rows["queue"], rows["log"], rows["records"], rows["entries"], rows["ids"]), (2, 3, 1, 1, 3));
    // As after a kill: the files of some moment, which no process has open.
    let killed = directory.path().join("killed");
    fs::create_dir(&killed).unwrap();
    for (name, (bytes, _)) in listing(path.parent().unwrap()) {
        fs::write(killed.join(name), bytes).unwrap();
    }
    assert_eq!(checked(&killed.join("bus.db")), report);
    // Without the WAL it would be another report: the WAL was read.
    fs::remove_file(killed.join("bus.db-shm")).unwrap();
    assert_eq!(check(killed.join("bus.db")).unwrap(), report);
    store.close().unwrap();
    assert_eq!(listing(path.parent().unwrap()).len(), 1);
    assert_eq!(checked(&path), report);
}

#[test]
fn a_file_is_checked_that_a_process_left_which_was_killed_after_the_header_of_its_wal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let beside = |suffix: &str| directory.path().join(format!("bus.db{suffix}"));
    let store = furnished(&path);
    let report = checked_in_use(&path);
    let (header, index) =
        (fs::read(beside("-wal")).unwrap()[..32].to_vec(), fs::read(beside("-shm")).unwrap());
    store.close().unwrap();
    fs::write(beside("-wal"), header).unwrap();
    for index in [&index[..], &[0; 3], &[]] {
        fs::write(beside("-shm"), index).unwrap();
        assert_eq!(checked(&path), report);
    }
}

#[test]
fn commits_behind_damage_in_a_wal_are_found_also_where_nothing_of_it_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let (open, left) = (directory.path().join("open"), directory.path().join("left"));
    fs::create_dir(&open).unwrap();
    fs::create_dir(&left).unwrap();
    let store = furnished(&open.join("bus.db"));
    for (name, (bytes, _)) in listing(&open) {
        fs::write(left.join(name), bytes).unwrap();
    }
    store.close().unwrap();
    let wal = fs::read(left.join("bus.db-wal")).unwrap();
    assert!(checked(&left.join("bus.db")).is_sound());
    for (byte, expected) in [(8, 0), (17, 0), (32 + 30, 1), (32 + 2 * 4_120 + 99, 3)] {
        let mut wal = wal.clone();
        wal[byte] ^= 1;
        fs::write(left.join("bus.db-wal"), wal).unwrap();
        let found = checked_but_for(&left.join("bus.db"), "bus.db-shm").findings;
        let lost = |finding: &Finding| matches!(finding, Finding::WalDamaged { frame, commits } if *frame == expected && *commits > 5);
        assert!(found.iter().any(lost), "byte {byte}: {found:?}");
    }
}

#[test]
fn what_a_walk_damages_is_found_row_by_row_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut damaged = 0;
    for seed in 0..6 {
        let path = directory.path().join(format!("{seed}/bus.db"));
        fs::create_dir(path.parent().unwrap()).unwrap();
        let mut walk = Walk::new(seed, Store::open(&path, &options()).unwrap());
        for _ in 0..12 {
            for _ in 0..30 {
                walk.step();
            }
            let report = checked_in_use(&path);
            let state = &walk.world.state;
            let mut expected: Vec<Finding> =
                state.unreadable.keys().map(|seq| Finding::UnreadableCommand { seq: *seq }).collect();
            expected.extend(state.queue.iter().filter(|(_, command)| !command.body.is_sound()).map(
                |(seq, command)| Finding::CorruptCommand {
                    seq: *seq,
                    name: command.body.name().unwrap().clone(),
                },
            ));
            expected.extend(state.log.iter().filter_map(|(seq, row)| match row {
                LogRow::Event(Body::Corrupt { name, .. }) => {
                    Some(Finding::CorruptEvent { seq: *seq, name: name.clone() })
                }
                LogRow::Event(Body::Unreadable { .. }) => Some(Finding::UnreadableEvent { seq: *seq }),
                _ => None,
            }));
            for (group, cursor) in &state.groups {
                for (record, entry) in &cursor.entries {
                    let group = group.clone();
                    let finding = Finding::CorruptEntry { record: *record, group };
                    expected.extend((!entry.body.is_sound()).then_some(finding));
                }
            }
            assert_eq!(report.findings, expected, "seed {seed}");
            damaged += expected.len();
            let queue = report.tables.iter().find(|table| table.table == "queue").unwrap();
            let of_queue = expected.iter().filter(|finding| {
                matches!(finding, Finding::UnreadableCommand { .. } | Finding::CorruptCommand { .. })
            });
            assert_eq!(
                (queue.undecodable, queue.numbers.len()),
                (of_queue.count() as u64, queue.undecodable as usize)
            );
        }
    }
    assert!(damaged > 30, "{damaged}");
}

#[test]
fn damage_outside_of_messages_is_found_where_it_is_and_all_of_it() {
    let found = found_after(|conn| {
        execute(conn, "UPDATE store SET log_first = 10");
        execute(conn, "UPDATE cursors SET due_at = 'x'");
        execute(conn, "UPDATE records SET cause = 'boredom' WHERE record = 1");
        execute(conn, "UPDATE entries SET due_at = NULL");
        execute(conn, "UPDATE ids SET digest = 'x' WHERE id = '2'");
        execute(conn, "UPDATE queue SET reason = CAST(x'ff' AS TEXT) WHERE seq = 3");
    });
    let row = |table, row: RowKey, damage| Finding::DamagedRow { table, row: Some(row), damage };
    let column = |table, column| Damage::Column { table, column };
    let expected = [
        row("queue", RowKey::Number(3), column("queue", "reason")),
        row("ids", RowKey::Text("command 2".into()), column("ids", "digest")),
        Finding::DamagedRow { table: "log", row: None, damage: Damage::Contradiction },
        row("cursors", RowKey::Text("risk".into()), column("cursors", "due_at")),
        row("subscriptions", RowKey::Text("risk place.bet".into()), Damage::RowMissing { table: "cursors" }),
        row("entries", RowKey::Number(2), Damage::RowMissing { table: "cursors" }),
        row("records", RowKey::Number(1), column("records", "cause")),
    ];
    for finding in &expected {
        assert!(found.findings.contains(finding), "{finding:?} is not among {:#?}", found.findings);
    }
    assert_eq!(found.findings.len(), expected.len(), "{:#?}", found.findings);
    let records = found.tables.iter().find(|table| table.table == "records").unwrap();
    assert_eq!((records.rows, records.undecodable, &records.numbers), (1, 1, &vec![RowKey::Number(1)]));
    for wound in ["UPDATE store SET token_last = 'x'", "DELETE FROM store"] {
        let found = found_after(|conn| execute(conn, wound));
        let about = |finding: &Finding| matches!(finding, Finding::DamagedRow { table: "store", .. });
        assert!(found.findings.iter().any(about), "{wound}: {:?}", found.findings);
    }
}

#[test]
fn what_was_put_aside_because_it_cannot_be_decoded_is_counted_and_no_finding() {
    let found = found_after(|conn| {
        plant(conn, "records", Seq::from(1), "payload", &RawValue::Null).unwrap();
    });
    assert!(found.is_sound());
    let records = found.tables.iter().find(|table| table.table == "records").unwrap();
    assert_eq!(records.numbers, [RowKey::Number(1)]);
}

#[test]
fn what_rows_say_together_is_judged_by_the_model() {
    for (guarantee, wound) in [
        ("G1", "UPDATE store SET queue_last = 1"),
        ("G2", "UPDATE store SET token_last = 0"),
        ("G6", "UPDATE subscriptions SET position = 9"),
        ("G10", "DELETE FROM ids WHERE id = '3'"),
        ("G11", "INSERT INTO epochs_retired VALUES (1)"),
        ("G14", "UPDATE store SET record_last = 1"),
    ] {
        let found = found_after(|conn| execute(conn, wound));
        let broken =
            |finding: &Finding| matches!(finding, Finding::Broken { guarantee: of, .. } if *of == guarantee);
        assert!(found.findings.iter().any(broken), "{wound}: {:?}", found.findings);
    }
}

#[test]
fn a_malformed_file_and_a_changed_schema_are_found_and_the_callers_own_tables_are_not() {
    let found = found_after(|conn| {
        conn.execute_batch("CREATE TABLE bets (id); CREATE INDEX bets_id ON bets (id)").unwrap()
    });
    assert!(found.is_sound());
    assert_eq!(found.foreign, ["bets_id", "bets"]);
    let found = found_after(|conn| {
        conn.execute_batch("CREATE TRIGGER greedy AFTER INSERT ON queue BEGIN DELETE FROM queue; END")
            .unwrap();
    });
    let expected =
        Finding::ForeignOnOurs { kind: "trigger".into(), name: "greedy".into(), table: "queue".into() };
    assert_eq!(found.findings, [expected]);
    let found = found_after(|conn| conn.execute_batch("DROP INDEX queue_unreadable").unwrap());
    let expected = Finding::SchemaChanged { kind: "index".into(), name: "queue_unreadable".into() };
    assert_eq!(found.findings, [expected]);
    assert!(found.tables.is_empty());

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    furnished(&path).close().unwrap();
    let sound = fs::read(&path).unwrap();
    let mut noticed = 0;
    for page in 1..sound.len() / 4096 {
        let mut bytes = sound.clone();
        bytes[page * 4096..page * 4096 + 64].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        let report = checked(&path);
        assert!(!report.is_sound(), "page {page}");
        noticed +=
            usize::from(report.findings.iter().any(|finding| matches!(finding, Finding::Malformed { .. })));
    }
    assert!(noticed > 10, "{noticed}");
}

#[test]
fn a_journal_of_an_interrupted_transaction_is_left_alone_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    furnished(&path).close().unwrap();
    fs::write(directory.path().join("bus.db-journal"), b"something").unwrap();
    assert_eq!(checked(&path).findings, [Finding::Interrupted]);
    // One of no bytes is left of a transaction that ended.
    fs::write(directory.path().join("bus.db-journal"), b"").unwrap();
    assert_eq!(checked(&path).findings, []);
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(check(directory.path().join("none.db")), Err(Error::NotFound)));
    assert!(matches!(check(directory.path()), Err(Error::IsADirectory)));
    let notes = directory.path().join("notes.txt");
    fs::write(&notes, "no store, and longer than a header is\n".repeat(40)).unwrap();
    let theirs = directory.path().join("theirs.db");
    Connection::open(&theirs).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = listing(directory.path());
    assert!(matches!(check(&notes), Err(Error::NotADatabase)));
    assert!(matches!(check(&theirs), Err(Error::NotOurs { application_id: 0 })));
    assert!(listing(directory.path()) == before);
}

#[test]
fn every_finding_is_one_sentence_and_the_report_can_be_written_down() {
    let found = found_after(|conn| {
        plant(conn, "queue", Seq::from(3), "payload", &RawValue::Null).unwrap();
        plant(conn, "queue", Seq::from(2), "due_at", &RawValue::Null).unwrap();
        plant(conn, "log", Seq::from(2), "name", &RawValue::Null).unwrap();
        plant(conn, "log", Seq::from(3), "at", &RawValue::Null).unwrap();
        plant(conn, "entries", Seq::from(2), "at", &RawValue::Null).unwrap();
        execute(conn, "UPDATE records SET cause = 'boredom'");
    });
    let others = [
        Finding::Malformed { line: "page 3 is lost".into() },
        Finding::Interrupted,
        Finding::WalDamaged { frame: 3, commits: 2 },
        Finding::SchemaChanged { kind: "index".into(), name: "queue_due".into() },
        Finding::ForeignOnOurs { kind: "trigger".into(), name: "greedy".into(), table: "queue".into() },
        Finding::DamagedRow { table: "log", row: None, damage: Damage::LogIncomplete },
        Finding::Broken { guarantee: "G2", name: "current_tokens_are_distinct", why: "token 1 is".into() },
    ];
    assert_eq!(found.findings.len(), 6, "{:#?}", found.findings);
    for finding in found.findings.iter().chain(&others) {
        let text = finding.to_string();
        assert!(text.ends_with('.') && text.matches(['.', '\n']).count() <= 3, "{text}");
        assert!(text.starts_with(char::is_uppercase), "{text}");
    }
    let written = serde_json::to_value(&found).unwrap();
    assert_eq!(written["findings"][0]["what"], "damaged-row");
    assert_eq!(written["findings"][1], serde_json::json!({"what": "unreadable-command", "seq": 2}));
    assert_eq!(written["tables"][0]["table"], "cursors");
}
