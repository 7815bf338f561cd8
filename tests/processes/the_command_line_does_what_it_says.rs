//! Each command when all goes well, with the real program: what it prints, and what is in the file afterwards.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::num::NonZeroU32;
use std::process::Stdio;

use crate::program::Program;
use fencepost::internals::sqlite::{OpenOptions, Store, plant};
use fencepost_model::op::Op;
use fencepost_model::state::{Body, LogRow};
use fencepost_model::vocabulary::{Name, Names, RawValue, Seq, Timestamp};
use serde_json::{Value, json};

/// Runs a command with this on its standard input; returns what it printed.
fn fed(program: &Program, arguments: &[&str], input: &str) -> String {
    let mut command = program.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A bus with a dead letter, record 1, which was command 1.
fn with_a_dead_letter() -> Program {
    let program = Program::new();
    program.done(&["send", "b.db", "place.bet", "17 on red", "--id", "bet-17", "--meta", "who=ann"]);
    program.done(&["listen", "b.db", "--drain", "--on", "place.bet=echo no funds >&2; exit 1"]);
    program
}

#[test]
fn a_send_prints_its_number_and_a_repetition_says_again() {
    let program = Program::new();
    let send = ["send", "b.db", "place.bet", "17 on red", "--id", "bet-17"];
    assert_eq!(program.done(&send), "1\n");
    assert_eq!(program.done(&send), "1 again\n");
    let json = program.done(&[&send[..], &["--json"]].concat());
    assert_eq!(lines(&json), [json!({"seq": 1, "fresh": false})]);
    assert_eq!(fed(&program, &["publish", "b.db", "bet.placed", "-"], "x"), "1\n");
    assert_eq!(program.done(&["send", "b.db", "place.bet", "later", "--delay", "1h"]), "2\n");
    let stats = program.stats();
    assert_eq!((&stats["queue"]["ready"], &stats["queue"]["delayed"]), (&json!(1), &json!(1)));
    assert_eq!(stats["log"]["head"], 1);
}

#[test]
fn each_line_is_a_message_and_a_repeated_run_adds_what_is_missing() {
    let program = Program::new();
    let arguments = ["send", "b.db", "n", "--lines", "--id", "monday", "--json"];
    let told = lines(&fed(&program, &arguments, "one\n\nthree"));
    assert_eq!(told, [json!({"accepted": 3, "fresh": 3, "last_seq": 3})]);
    let told = lines(&fed(&program, &arguments, "one\n\nthree\nfour\n"));
    assert_eq!(told, [json!({"accepted": 4, "fresh": 1, "last_seq": 4})]);
    let many: String = (1..=5_000).map(|line| format!("{line}\n")).collect();
    let told = fed(&program, &["publish", "b.db", "n", "--lines"], &many);
    assert_eq!(told, "5000 lines accepted\n");
    let stats = program.stats();
    assert_eq!((&stats["queue"]["ready"], &stats["log"]["events"]), (&json!(4), &json!(5_000)));
    let handled = program.done(&["listen", "b.db", "--drain", "--concurrency", "1", "--on", "n=cat; echo ."]);
    assert_eq!(handled, "one.\n.\nthree.\nfour.\n");
}

/// When each line was a task of its own, the threads of the runtime changed their order.
#[test]
fn lines_keep_their_order() {
    let program = Program::new();
    let many: String = (1..=20_000).map(|line| format!("{line}\n")).collect();
    fed(&program, &["publish", "b.db", "n", "--lines"], &many);
    let store = Store::open(program.directory.path().join("b.db"), &OpenOptions::default()).unwrap();
    let payload = |row: &LogRow| match row {
        LogRow::Event(Body::Sound { message, .. }) => {
            String::from_utf8(message.payload.to_vec()).unwrap() + "\n"
        }
        other => panic!("{other:?}"),
    };
    assert!(store.snapshot().unwrap().log.values().map(payload).collect::<String>() == many);
}

#[test]
fn stats_has_the_members_that_it_promises() {
    let program = with_a_dead_letter();
    program.done(&["publish", "b.db", "bet.placed", "x"]);
    program.done(&["subscribe", "b.db", "--drain", "--group", "billing", "--on", "bet.placed=true"]);
    program.done(&["publish", "b.db", "bet.placed", "y"]);
    let stats = program.stats();
    assert_eq!(stats["queue"]["ready"], 0);
    assert_eq!((&stats["queue"]["delayed"], &stats["queue"]["leased"]), (&json!(0), &json!(0)));
    assert_eq!((&stats["dead"], &stats["parked"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&stats["log"]["epoch"], &stats["log"]["head"], &stats["log"]["events"]),
        (&json!(1), &json!(2), &json!(2))
    );
    let group = &stats["groups"][0];
    assert_eq!((&group["group"], &group["name"]), (&json!("billing"), &json!("bet.placed")));
    assert_eq!((&group["position"], &group["lag"]), (&json!(1), &json!(1)));
    let text = program.done(&["stats", "b.db"]);
    assert!(text.contains("dead 1") && text.contains("billing"), "{text}");
}

#[test]
fn a_dead_letter_is_listed_shown_put_back_and_purged() {
    let program = with_a_dead_letter();
    let listed = lines(&program.done(&["dead", "b.db", "list", "--json"]));
    assert_eq!(listed.len(), 1);
    let expected = json!({"id": 1, "place": "dead", "kind": "command", "name": "place.bet", "seq": 1,
        "epoch": null, "group": null, "cause": "settled", "reason": "no funds", "attempts": 1,
        "moved_at_ms": listed[0]["moved_at_ms"], "decodable": true});
    assert_eq!(listed[0], expected);
    assert!(listed[0]["moved_at_ms"].as_u64().unwrap() > 0);
    assert!(program.done(&["dead", "b.db", "list"]).contains("no funds"));
    assert_eq!(program.done(&["dead", "b.db", "list", "--name", "other"]), "");
    let shown = program.done(&["dead", "b.db", "show", "1"]);
    for part in ["no funds", "bet-17", "who = ann", "17 on red"] {
        assert!(shown.contains(part), "{shown}");
    }
    let shown = lines(&program.done(&["dead", "b.db", "show", "1", "--json"]));
    assert_eq!((&shown[0]["payload"], &shown[0]["message_id"]), (&json!("17 on red"), &json!("bet-17")));
    assert_eq!(shown[0]["metadata"], json!([["who", "ann"]]));

    let told = program.done(&["dead", "b.db", "redrive", "1"]);
    assert_eq!(told, "record 1 is command 1 again\nredriven 1 of 1 dead\n");
    assert_eq!((&program.stats()["queue"]["ready"], &program.stats()["dead"]), (&json!(1), &json!(0)));
    program.done(&["listen", "b.db", "--drain", "--policy", "park", "--on", "place.bet=exit 1"]);
    assert_eq!(program.done(&["parked", "b.db", "purge", "--name", "other"]), "purged 0 of 0 parked\n");
    assert_eq!(program.done(&["dead", "b.db", "purge", "--all"]), "purged 0 of 0 dead\n");
    assert_eq!(program.stats()["parked"], 1);
    let told = lines(&program.done(&["parked", "b.db", "purge", "--name", "place.bet", "--json"]));
    assert_eq!(told, [json!({"done": 1, "refused": []})]);
    assert_eq!(program.stats()["parked"], 0);
}

#[test]
fn more_records_than_one_page_are_all_put_back() {
    let program = Program::new();
    let many: String = (0..1_203).map(|line| format!("{line}\n")).collect();
    fed(&program, &["send", "b.db", "n", "--lines"], &many);
    let mut store = Store::open(program.directory.path().join("b.db"), &OpenOptions::default()).unwrap();
    let (names, attempts_max) = (Names::from([Name::new("n").unwrap()]), NonZeroU32::MIN);
    let max = NonZeroU32::new(5_000).unwrap();
    // Each had its one attempt, so the second claim finds them exhausted.
    let claim = Op::Claim { names, max, lease_ms: 0, attempts_max };
    store.apply(Timestamp::MAX.before(), &claim).unwrap();
    store.apply(Timestamp::MAX, &claim).unwrap();
    store.close().unwrap();
    assert_eq!(program.stats()["dead"], 1_203);
    assert_eq!(program.done(&["dead", "b.db", "list"]).lines().count(), 1_203);
    assert_eq!(program.done(&["dead", "b.db", "redrive", "--all"]), "redriven 1203 of 1203 dead\n");
    assert_eq!(program.stats()["dead"], 0);
}

#[test]
fn a_row_that_cannot_be_decoded_is_found_moved_and_shown_with_its_storage_classes() {
    let program = Program::new();
    program.done(&["send", "b.db", "place.bet", "17 on red"]);
    assert_eq!(program.run(&["check", "b.db"]).status, Some(0));
    let mut store = Store::open(program.directory.path().join("b.db"), &OpenOptions::default()).unwrap();
    let damage = RawValue::Integer(1_234);
    plant(store.connection_mut(), "queue", Seq::from(1), "payload", &damage).unwrap();
    store.close().unwrap();
    let found = program.run(&["check", "b.db"]);
    assert_eq!((found.status, found.error.as_str()), (Some(1), ""));
    assert!(found.out.contains("Command 1 (place.bet) cannot be decoded"), "{}", found.out);
    let found = program.run(&["check", "b.db", "--json"]);
    let report: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(
        (&report["sound"], &report["findings"][0]["what"]),
        (&json!(false), &json!("corrupt-command"))
    );
    let repaired = program.done(&["check", "b.db", "--repair", "--json"]);
    let report: Value = serde_json::from_str(&repaired).unwrap();
    assert_eq!((&report["sound"], &report["corrupt_commands"]), (&json!(true), &json!([1])));
    let shown = program.done(&["dead", "b.db", "show", "1"]);
    assert!(shown.contains("integer 1234"), "{shown}");
    let shown = lines(&program.done(&["dead", "b.db", "show", "1", "--json"]));
    let columns = shown[0]["columns"].as_array().unwrap();
    let payload = columns.iter().find(|column| column["column"] == "payload").unwrap();
    assert_eq!(payload, &json!({"column": "payload", "class": "integer", "value": 1_234}));
    let refused = program.run(&["dead", "b.db", "redrive", "--all"]);
    assert_eq!((refused.status, refused.out.as_str()), (Some(1), "redriven 0 of 1 dead\n"));
    assert!(refused.error.starts_with("fencepost: record 1 was not changed: "), "{}", refused.error);
}

#[test]
fn a_group_is_moved_and_let_go() {
    let program = Program::new();
    fed(&program, &["publish", "b.db", "n", "--lines"], "1\n2\n3\n");
    let follow = ["subscribe", "b.db", "--drain", "--group", "g", "--on", "n=cat"];
    assert_eq!(program.done(&[&follow[..], &["--start", "1"]].concat()), "23");
    program.done(&["groups", "b.db", "seek", "g", "n", "2"]);
    assert_eq!(lines(&program.done(&["groups", "b.db", "--json"]))[0]["lag"], 1);
    program.done(&["groups", "b.db", "seek", "g", "n", "earliest"]);
    assert_eq!(program.done(&follow), "123");
    program.done(&["groups", "b.db", "seek", "g", "n", "latest"]);
    assert_eq!(program.done(&follow), "");
    assert!(program.done(&["groups", "b.db"]).contains('g'));
    program.done(&["groups", "b.db", "unsubscribe", "g", "n"]);
    assert_eq!(program.done(&["groups", "b.db", "--json"]), "");
}

#[test]
fn a_rehearsed_prune_says_what_would_go_and_changes_nothing() {
    let program = Program::new();
    fed(&program, &["publish", "b.db", "n", "--lines"], "1\n2\n3\n");
    let rehearse = ["prune", "b.db", "--retention", "0s", "--dry-run", "--json"];
    let would = lines(&program.done(&rehearse));
    assert_eq!(would, [json!({"removed": 3, "first": 4, "dead_lettered": [], "dry_run": true})]);
    assert_eq!(program.stats()["log"]["events"], 3);
    assert!(program.done(&["prune", "b.db"]).starts_with("deleted 0 events"));
    assert_eq!(
        program.done(&["prune", "b.db", "--retention", "0s"]),
        "deleted 3 events; the log begins at 4\n"
    );
    assert_eq!(program.stats()["log"]["events"], 0);
}

#[test]
fn a_copy_begins_a_new_epoch() {
    let program = Program::new();
    program.done(&["publish", "b.db", "n", "x"]);
    program.done(&["backup", "b.db", "copy.db"]);
    program.done(&["restore", "copy.db", "--epoch", "7"]);
    let copy: Value = serde_json::from_str(&program.done(&["stats", "copy.db", "--json"])).unwrap();
    assert_eq!((&copy["log"]["epoch"], &copy["log"]["head"]), (&json!(7), &json!(1)));
    assert_eq!(program.stats()["log"]["epoch"], 1);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let program = Program::new();
    let names =
        ["send", "publish", "listen", "subscribe", "stats", "dead", "parked", "groups", "prune", "check"];
    for shell in ["bash", "zsh", "fish"] {
        let script = program.done(&["completions", shell]);
        assert!(names.iter().all(|name| script.contains(name)), "{shell}");
    }
    let page = program.done(&["man"]);
    assert!(names.iter().all(|name| page.contains(name)), "{page}");
    for name in names {
        let page = program.done(&["man", name]);
        assert!(page.contains(&format!(".TH fencepost-{name} ")) && page.contains(".SH OPTIONS"), "{page}");
        let help = program.done(&[name, "--help"]);
        assert!(help.contains("Example"), "{help}");
    }
}

#[cfg(unix)]
#[test]
fn a_path_is_a_path_also_where_sqlite_would_take_it_for_a_uri() {
    let program = Program::new();
    program.done(&["send", "file:b.db?mode=rwc", "n", "x"]);
    assert!(program.directory.path().join("file:b.db?mode=rwc").exists());
    assert!(!program.directory.path().join("b.db").exists());
    // A directory in the copy's name, as it is, and as a URI would have it.
    for directory in ["file:to", "to"] {
        std::fs::create_dir(program.directory.path().join(directory)).unwrap();
    }
    program.done(&["backup", "file:b.db?mode=rwc", "file:to/copy.db"]);
    assert_eq!(program.done(&["check", "file:to/copy.db"]), program.done(&["check", "file:b.db?mode=rwc"]));
    assert_eq!(std::fs::read_dir(program.directory.path().join("to")).unwrap().count(), 0);
}
