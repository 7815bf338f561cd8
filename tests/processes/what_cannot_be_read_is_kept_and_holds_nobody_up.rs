//! A row that cannot be read is shown as it is, is not put back, and holds up no other: the policies of
//! `docs/corruption.md`, as far as no other test covers them.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::num::NonZeroU32;
use std::path::Path;

use crate::program::Program;
use fencepost::internals::sqlite::{OpenOptions, Store, plant};
use fencepost_model::op::{Op, Refusal, Reply, Settlement, Start, Target};
use fencepost_model::state::Body;
use fencepost_model::vocabulary::{Group, Kind, Message, Name, RawValue, RecordId, Seq, Timestamp, Token};

const NOW: Timestamp = match Timestamp::new(1_000) {
    Ok(now) => now,
    Err(_) => Timestamp::ZERO,
};

fn name() -> Name {
    Name::new("bet").unwrap()
}

fn group() -> Group {
    Group::new("audit").unwrap()
}

fn open(path: &Path, boot: &str) -> Store {
    Store::open(path, &OpenOptions { boot_id: Some(boot.to_owned()), ..OpenOptions::default() }).unwrap()
}

fn send(payload: &[u8]) -> Op {
    Op::Send { message: Message::new(Kind::Command, name(), payload).into(), delay_ms: 0 }
}

fn claim(max: u32) -> Op {
    let (max, attempts_max) = (NonZeroU32::new(max).unwrap(), NonZeroU32::MAX);
    Op::Claim { names: [name()].into(), max, lease_ms: 1_000, attempts_max }
}

fn poll() -> Op {
    let (max, attempts_max) = (NonZeroU32::MAX, NonZeroU32::MAX);
    Op::Poll { group: group(), names: [name()].into(), token: None, max, lease_ms: 0, attempts_max }
}

fn apply(store: &mut Store, op: &Op) -> Reply {
    store.apply(NOW, op).unwrap()
}

#[test]
fn a_corrupt_command_in_front_of_a_healthy_one_holds_it_up_by_its_own_settlement_at_most() {
    for (column, value) in [("payload", RawValue::Null), ("name", RawValue::Blob(vec![0xff]))] {
        let mut store = Store::in_memory().unwrap();
        apply(&mut store, &Op::Atomic(vec![send(b"first"), send(b"second")]));
        plant(store.connection_mut(), "queue", Seq::from(1), column, &value).unwrap();
        let mut claims = 0;
        let second = loop {
            claims += 1;
            let Reply::HandedOut { deliveries, .. } = apply(&mut store, &claim(1)) else { panic!("a claim") };
            let Some(delivery) = deliveries.into_iter().next() else { continue };
            if delivery.body.is_sound() {
                break delivery.seq;
            }
            let how = Settlement::DeadLetter { reason: "corrupt".into() };
            apply(&mut store, &Op::Settle { target: delivery.target, token: delivery.token, how });
        };
        assert_eq!((second, claims), (Seq::from(2), 2), "{column}");
        assert_eq!(store.snapshot().unwrap().records.len(), 1);
    }
}

#[test]
fn a_corrupt_record_is_shown_in_hex_and_its_redrive_is_refused_with_the_reason() {
    let program = Program::new();
    let path = program.directory.path().join("b.db");
    let mut store = open(&path, "one");
    apply(&mut store, &send(b"17 on red"));
    plant(store.connection_mut(), "queue", Seq::from(1), "payload", &RawValue::Text(vec![0xfe, b'1']))
        .unwrap();
    apply(&mut store, &claim(1));
    let token = store.snapshot().unwrap().token_last;
    let how = Settlement::DeadLetter { reason: "cannot be decoded".into() };
    apply(&mut store, &Op::Settle { target: Target::Command(Seq::from(1)), token, how });
    let before = store.snapshot().unwrap();
    store.close().unwrap();
    let shown = program.done(&["dead", "b.db", "show", "1"]);
    assert!(shown.contains("payload       text, 2 bytes, fe31"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&program.done(&["dead", "b.db", "show", "1", "--json"])).unwrap();
    let payload = json["columns"].as_array().unwrap().iter().find(|column| column["column"] == "payload");
    assert_eq!(payload.unwrap()["hex"], "fe31");
    let refused = program.run(&["dead", "b.db", "redrive", "1"]);
    assert_eq!(refused.status, Some(1));
    let why = format!("fencepost: record 1 was not changed: {}\n", Refusal::Corrupt);
    assert_eq!(refused.error, why);
    let store = open(&path, "one");
    let after = store.snapshot().unwrap();
    assert_eq!(after.records, before.records);
    assert!(matches!(after.records[&RecordId::from(1)].body, Body::Corrupt { .. }));
}

/// A program whose file holds a dead command, sent under the id `bet-17`, with this value in the place of what a column
/// had.
fn with_a_dead_command(column: &str, value: &RawValue) -> Program {
    let program = Program::new();
    program.done(&["send", "b.db", "bet", "17 on red", "--id", "bet-17"]);
    let mut store = open(&program.directory.path().join("b.db"), "one");
    plant(store.connection_mut(), "queue", Seq::from(1), column, value).unwrap();
    store.close().unwrap();
    program.done(&["check", "b.db", "--repair"]);
    program
}

#[test]
fn a_corrupt_record_is_repaired_redriven_and_handled_and_what_it_was_is_printed() {
    let program = with_a_dead_command("payload", &RawValue::Text(vec![0xfe, b'1']));
    let repair = ["dead", "b.db", "repair", "1", "--payload", "18 on black", "--meta", "who=ann"];
    let told = program.done(&repair);
    assert!(told.contains("payload       text, 2 bytes, fe31"), "{told}");
    assert!(told.ends_with("record 1 is repaired; only the output above has its old columns\n"), "{told}");
    let shown: serde_json::Value =
        serde_json::from_str(&program.done(&["dead", "b.db", "show", "1", "--json"])).unwrap();
    for (key, value) in [("payload", "18 on black"), ("name", "bet"), ("message_id", "bet-17")] {
        assert_eq!(shown[key], value, "{shown}");
    }
    let again = program.run(&repair);
    assert_eq!((again.status, again.out.as_str()), (Some(1), ""));
    assert_eq!(again.error, format!("fencepost: record 1 was not changed: {}\n", Refusal::Legible));
    program.done(&["dead", "b.db", "redrive", "1"]);
    let listen = ["listen", "b.db", "--drain", "--on", "bet=cat; echo \" $FENCEPOST_ID\""];
    let handled = program.done(&listen);
    assert!(handled.starts_with("18 on black"), "{handled}");
}

#[test]
fn a_repair_as_json_prints_what_it_was_and_then_that_it_is_done() {
    let program = with_a_dead_command("name", &RawValue::Blob(vec![0xff]));
    let repair = ["dead", "b.db", "repair", "1", "--payload", "18", "--json"];
    let lacking = program.run(&repair);
    assert_eq!((lacking.status, lacking.out.as_str()), (Some(2), ""));
    assert!(lacking.error.contains("give it with --name"), "{}", lacking.error);
    let told = program.done(&[&repair[..], &["--name", "bet"]].concat());
    let lines: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let name = lines[0]["columns"].as_array().unwrap().iter().find(|column| column["column"] == "name");
    assert_eq!(name.unwrap()["hex"], "ff");
    assert_eq!(lines[1..], [serde_json::json!({"id": 1, "repaired": true})]);
}

#[test]
fn a_repair_that_is_refused_leaves_the_record_as_it_was() {
    let program = with_a_dead_command("payload", &RawValue::Null);
    let before = program.done(&["dead", "b.db", "show", "1"]);
    let repair = ["dead", "b.db", "repair", "1", "--payload", "18"];
    for (more, status, why) in [
        (&["--name", "pay"][..], 1, "a repair cannot replace what can be read"),
        (&["--message-id", "bet-18"], 1, "a repair cannot replace what can be read"),
        (&["--payload-bytes-max", "1"], 2, "payload has 2 bytes"),
    ] {
        let refused = program.run(&[&repair[..], more].concat());
        assert_eq!(refused.status, Some(status), "{more:?}: {}", refused.error);
        assert!(refused.error.contains(why), "{more:?}: {}", refused.error);
        assert_eq!(program.done(&["dead", "b.db", "show", "1"]), before);
    }
    let elsewhere = program.run(&["parked", "b.db", "repair", "1", "--payload", "18"]);
    assert_eq!((elsewhere.status, elsewhere.out.as_str()), (Some(1), ""));
    assert!(elsewhere.error.contains("record 1 is dead and not parked"), "{}", elsewhere.error);
}

#[cfg(unix)]
#[test]
fn a_repair_that_cannot_print_the_old_columns_replaces_nothing() {
    let program = with_a_dead_command("payload", &RawValue::Null);
    let before = program.done(&["dead", "b.db", "show", "1"]);
    let mut repair = program.command(&["dead", "b.db", "repair", "1", "--payload", "18"]);
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let ran = repair.stdout(write).output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("nothing was replaced"), "{said}");
    assert_eq!(program.done(&["dead", "b.db", "show", "1"]), before);
}

#[test]
fn a_group_whose_position_cannot_be_read_can_be_let_go_and_begun_anew() {
    for (column, value) in [("position", RawValue::Text(b"x".to_vec())), ("attempts", RawValue::Null)] {
        let program = Program::new();
        let path = program.directory.path().join("b.db");
        let mut store = open(&path, "one");
        apply(&mut store, &Op::Subscribe { group: group(), name: name(), start: Start::Earliest });
        for _ in 0..3 {
            apply(&mut store, &Op::Publish { message: Message::new(Kind::Event, name(), *b"x").into() });
        }
        let conn = store.connection();
        conn.pragma_update(None, "ignore_check_constraints", true).unwrap();
        let value = match value {
            RawValue::Text(text) => rusqlite::types::Value::Text(String::from_utf8(text).unwrap()),
            _ => rusqlite::types::Value::Null,
        };
        conn.execute(&format!("UPDATE subscriptions SET {column} = ?1"), [value]).unwrap();
        store.close().unwrap();
        let found = program.run(&["check", "b.db", "--repair"]);
        assert_eq!(found.status, Some(1));
        assert!(found.out.contains("Row \"audit bet\" of table subscriptions"), "{}", found.out);
        let mut store = open(&path, "one");
        store.apply(NOW, &poll()).unwrap_err();
        store.close().unwrap();
        program.done(&["groups", "b.db", "unsubscribe", "audit", "bet"]);
        let mut store = open(&path, "one");
        let start = Start::After(Seq::from(1));
        apply(&mut store, &Op::Subscribe { group: group(), name: name(), start });
        let Reply::HandedOut { deliveries, .. } = apply(&mut store, &poll()) else { panic!("a poll") };
        assert_eq!(deliveries.len(), 2, "{column}");
    }
}

#[test]
fn a_boot_that_cannot_be_read_counts_as_another() {
    for value in [RawValue::Integer(7), RawValue::Blob(vec![0xff]), RawValue::Text(vec![0xff])] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b.db");
        let mut store = open(&path, "one");
        let before = store.snapshot().unwrap().token_last;
        plant(store.connection_mut(), "store", Seq::from(1), "boot_id", &value).unwrap();
        store.close().unwrap();
        let store = open(&path, "one");
        assert_eq!(store.snapshot().unwrap().token_last, before.plus(1 << 32), "{value:?}");
        store.close().unwrap();
        assert_eq!(open(&path, "one").snapshot().unwrap().token_last, Token::from(0).plus(1 << 32));
    }
}

#[test]
fn a_row_that_an_index_gives_to_another_name_is_handed_to_nobody() {
    // A claim writes to the row, so SQLite itself misses what the index should have had; a poll only reads.
    for (table, said) in
        [("queue", "the file is malformed"), ("log", "an index of table log leads to another row")]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b.db");
        let mut store = open(&path, "one");
        apply(&mut store, &Op::Subscribe { group: group(), name: name(), start: Start::Earliest });
        apply(&mut store, &send(b"x"));
        apply(&mut store, &Op::Publish { message: Message::new(Kind::Event, name(), *b"x").into() });
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root: u32 = store.connection().query_row(sql, [table], |row| row.get(0)).unwrap();
        store.close().unwrap();
        // The row says another name, and the index still says this one.
        let mut bytes = std::fs::read(&path).unwrap();
        let (from, to) = ((root as usize - 1) * 4_096, root as usize * 4_096);
        let at = from + bytes[from..to].windows(3).position(|three| three == b"bet").unwrap();
        bytes[at..at + 3].copy_from_slice(b"pay");
        std::fs::write(&path, bytes).unwrap();
        let mut store = open(&path, "one");
        let op = if table == "queue" { claim(1) } else { poll() };
        let error = store.apply(NOW, &op).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        store.close().unwrap();
        assert!(!fencepost::check::check(&path).unwrap().is_sound());
    }
}
