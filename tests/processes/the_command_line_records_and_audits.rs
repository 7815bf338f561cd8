//! `--record` and `fencepost audit`, with the real program: yes, no, and what could not be checked.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Stdio;

use crate::program::Program;
use rusqlite::Connection;
use serde_json::{Value, json};

/// A bus on which a consumer that recorded it handled two commands.
fn recorded() -> Program {
    let program = Program::new();
    program.done(&["send", "b.db", "place.bet", "17 on red"]);
    program.done(&["send", "b.db", "place.bet", "4 on black"]);
    let listen = ["listen", "b.db", "--drain", "--on", "place.bet=grep -q red", "--record", "b.rec"];
    program.done(&listen);
    program
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_was_allowed_is_said_with_how_much_was_judged() {
    let program = recorded();
    assert_eq!(program.stats()["dead"], 1, "one of the two commands failed");
    let told = program.done(&["audit", "b.rec", "--store", "b.db"]);
    assert!(told.starts_with("allowed: "), "{told}");
    assert!(told.contains("operations, from the state at number 2 to number "), "{told}");
    assert!(told.ends_with("the store holds the state that these operations produce\n"), "{told}");
    let found = json(&program.done(&["audit", "b.rec", "--json"]));
    assert_eq!(
        (&found["verdict"], &found["why"], &found["compared"]),
        (&json!("allowed"), &json!([]), &json!(false))
    );
    assert_eq!(found["stretches"][0][0], 2);
    let bytes = fs::read(program.directory.path().join("b.rec")).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"17 on red"), "contents are not recorded unasked");
}

#[test]
fn what_was_not_allowed_ends_with_status_1() {
    let program = recorded();
    let changed = "DELETE FROM records";
    Connection::open(program.directory.path().join("b.db")).unwrap().execute(changed, []).unwrap();
    let ran = program.run(&["audit", "b.rec", "--store", "b.db"]);
    assert_eq!(ran.status, Some(1), "{}", ran.error);
    assert!(ran.out.contains("not allowed: the state that b.db holds at number "), "{}", ran.out);
    assert!(ran.out.contains("records 1"), "{}", ran.out);
    let ran = program.run(&["audit", "b.rec", "--store", "b.db", "--json"]);
    assert_eq!((ran.status, &json(&ran.out)["verdict"]), (Some(1), &json!("not-allowed")));
}

#[test]
fn what_could_not_be_checked_ends_with_status_2_and_a_sentence() {
    let program = recorded();
    let said = |arguments: &[&str], sentence: &str| {
        let ran = program.run(&[&["audit"], arguments].concat());
        assert_eq!(ran.status, Some(2), "{arguments:?}: {}", ran.out);
        assert!(ran.out.contains(sentence) || ran.error.contains(sentence), "{}{}", ran.out, ran.error);
    };
    let path = |name: &str| program.directory.path().join(name);
    let whole = fs::read(path("b.rec")).unwrap();
    fs::write(path("cut.rec"), &whole[..whole.len() - 3]).unwrap();
    said(&["cut.rec"], "cut.rec ends without an end");
    said(&["cut.rec"], "not checked to the end: ");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(path("damaged.rec"), &damaged).unwrap();
    said(&["damaged.rec"], "damaged.rec was damaged or altered");
    let mut later = whole;
    later[16] = 9;
    fs::write(path("later.rec"), &later).unwrap();
    said(&["later.rec"], "later.rec has version 9 of the format, and this program reads version 2");
    said(&["b.db"], "b.db is not a recording of a bus");
    said(&["missing.rec"], "missing.rec cannot be read");
    said(&["b.rec", "--store", "missing.db"], "missing.db: ");
    program.done(&["send", "b.db", "place.bet", "7"]);
    said(&["b.rec", "--store", "b.db"], "so its state was not compared");
    program.done(&["send", "b.db", "place.bet", "8", "--record", "later.rec2"]);
    said(&["b.rec", "later.rec2"], "was taken by operations that are not in these recordings");
    said(&["b.rec", "later.rec2"], "the check begins again at number ");
}

#[test]
fn a_killed_listener_leaves_a_recording_that_says_so() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let listen = ["listen", "b.db", "--on", "a=echo handled", "--record", "b.rec"];
    let mut child = program.command(&listen).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut String::new()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = program.run(&["audit", "b.rec"]);
    assert_eq!(ran.status, Some(2), "{}", ran.out);
    assert!(
        ran.out.contains("ends without an end: it was cut, or its bus is still at work or was killed"),
        "{}",
        ran.out
    );
}

#[test]
fn a_recording_takes_the_place_of_no_other_file() {
    let program = recorded();
    let ran = program.run(&["send", "b.db", "a", "x", "--record", "b.db"]);
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.error.contains("cannot be recorded") && ran.error.contains("there is a file already"),
        "{}",
        ran.error
    );
    program.done(&["send", "b.db", "a", "x", "--record", "b.rec", "--record-contents"]);
    assert_eq!(
        program.run(&["audit", "b.rec.1", "b.rec", "--store", "b.db"]).status,
        Some(0),
        "the one before is kept"
    );
}
