//! A command that cannot be done prints one sentence on standard error and ends with the right exit status. Nothing is
//! half done.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::program::Program;

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), std::fs::read(&path).unwrap())
    };
    let mut all: Vec<_> = std::fs::read_dir(directory).unwrap().map(read).collect();
    all.sort();
    all
}

/// One sentence, this status, nothing on standard output, and every file as it was.
fn refuses(program: &Program, status: i32, sentence: &str, arguments: &[&str]) {
    let before = files(program.directory.path());
    let ran = program.run(arguments);
    assert_eq!(ran.status, Some(status), "{arguments:?}: {}", ran.error);
    assert!(
        ran.error.starts_with("fencepost: ") && ran.error.contains(sentence),
        "{arguments:?}: {}",
        ran.error
    );
    assert_eq!(ran.error.lines().count(), 1, "{arguments:?}: {}", ran.error);
    assert_eq!(ran.out, "", "{arguments:?}");
    assert!(files(program.directory.path()) == before, "{arguments:?} changed a file");
}

#[test]
fn a_message_that_breaks_a_rule_makes_no_file() {
    let program = Program::new();
    let long = "x".repeat(1_025);
    let cases: [(&str, &[&str]); 9] = [
        ("may contain ASCII letters", &["send", "b.db", "a b", "x"]),
        ("wildcards", &["publish", "b.db", "bets.*", "x"]),
        ("with = between them", &["send", "b.db", "a", "x", "--meta", "who"]),
        ("begin or end with white space", &["send", "b.db", "a", "x", "--id", " x"]),
        ("must not be empty", &["send", "b.db", "a", "x", "--content-type", ""]),
        ("--delay", &["send", "b.db", "a", "x", "--delay", "5"]),
        ("has 1025 bytes", &["send", "b.db", "a", &long, "--payload-bytes-max", "1024"]),
        ("unexpected argument", &["send", "b.db", "a", "--metta"]),
        ("--delay", &["publish", "b.db", "a", "x", "--delay", "5s"]),
    ];
    for (sentence, arguments) in cases {
        refuses(&program, 2, sentence, arguments);
    }
    let big = program.directory.path().join("big");
    std::fs::write(&big, vec![b'x'; (1 << 20) + 1]).unwrap();
    let mut command = program.command(&["send", "b.db", "a"]);
    let output = command.stdin(std::fs::File::open(&big).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("longer than 1048576 bytes"));
    assert!(!program.directory.path().join("b.db").exists());
}

#[test]
fn a_handler_that_is_not_one_is_refused() {
    let program = Program::new();
    refuses(&program, 2, "with = between them", &["listen", "b.db", "--on", "a"]);
    refuses(&program, 2, "a name may contain ASCII letters", &["listen", "b.db", "--on", "a b=cat"]);
    refuses(
        &program,
        2,
        "two shell commands for the name a",
        &["listen", "b.db", "--drain", "--on", "a=x", "--on", "a=y"],
    );
    refuses(&program, 2, "required arguments", &["subscribe", "b.db", "--on", "a=cat"]);
    refuses(&program, 2, "invalid value 'maybe'", &["listen", "b.db", "--on", "a=cat", "--policy", "maybe"]);
    refuses(&program, 2, "0 is not in", &["listen", "b.db", "--on", "a=cat", "--concurrency", "0"]);
}

#[test]
fn only_what_adds_something_makes_a_file() {
    let program = Program::new();
    let cases: [&[&str]; 11] = [
        &["stats", "b.db"],
        &["dead", "b.db", "list"],
        &["dead", "b.db", "purge", "--all"],
        &["parked", "b.db", "redrive", "1"],
        &["groups", "b.db"],
        &["groups", "b.db", "unsubscribe", "g", "n"],
        &["prune", "b.db"],
        &["check", "b.db"],
        &["check", "b.db", "--repair"],
        &["backup", "b.db", "copy.db"],
        &["restore", "b.db", "--epoch", "2"],
    ];
    for arguments in cases {
        refuses(&program, 2, "b.db: the file does not exist", arguments);
    }
}

#[test]
fn a_file_that_is_not_ours_is_left_as_it_was() {
    let program = Program::new();
    std::fs::write(program.directory.path().join("b.db"), "a letter to a friend, of some length").unwrap();
    let theirs = rusqlite::Connection::open(program.directory.path().join("theirs.db")).unwrap();
    theirs.execute_batch("CREATE TABLE friends (name TEXT)").unwrap();
    theirs.close().unwrap();
    for file in ["b.db", "theirs.db"] {
        let sentence = if file == "b.db" { "no SQLite database" } else { "another application" };
        refuses(&program, 2, sentence, &["send", file, "a", "x"]);
        refuses(&program, 2, sentence, &["listen", file, "--on", "a=cat"]);
        refuses(&program, 2, sentence, &["stats", file]);
        refuses(&program, 2, sentence, &["dead", file, "list"]);
        refuses(&program, 2, sentence, &["check", file]);
        refuses(&program, 2, sentence, &["backup", file, "copy.db"]);
    }
    refuses(&program, 2, "is a directory", &["stats", "."]);
}

#[test]
fn a_locked_file_is_waited_for_as_long_as_was_said_and_can_be_read() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let other = rusqlite::Connection::open(program.directory.path().join("b.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for arguments in
        [&["send", "b.db", "a", "x"][..], &["dead", "b.db", "purge", "--all"], &["prune", "b.db"]]
    {
        let began = Instant::now();
        let ran = program.run(&[arguments, &["--busy-timeout", "50ms"]].concat());
        assert_eq!((ran.status, ran.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert_eq!(ran.error, "fencepost: b.db: the file is locked by another connection; try again\n");
        assert!(began.elapsed() < Duration::from_secs(5), "it waits for 50 ms, not for the 5 s of no option");
    }
    assert_eq!(program.stats()["queue"]["ready"], 1);
    assert_eq!(program.run(&["check", "b.db"]).status, Some(0));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(program.done(&["send", "b.db", "a", "x"]), "2\n");
}

#[test]
fn an_answer_that_is_no_has_status_1_and_changes_nothing() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x", "--id", "i"]);
    program.done(&["listen", "b.db", "--drain", "--on", "a=exit 1"]);
    let taken = "the id is taken, with other content, by message 1";
    // Many times: a program that ends before its file is closed leaves the WAL there only sometimes.
    for _ in 0..50 {
        refuses(&program, 1, taken, &["send", "b.db", "a", "y", "--id", "i"]);
    }
    refuses(&program, 1, "record 1 is dead and not parked", &["parked", "b.db", "show", "1"]);
    refuses(&program, 1, "record 1 is dead and not parked", &["parked", "b.db", "purge", "1"]);
    refuses(&program, 1, "there is no record 2", &["dead", "b.db", "redrive", "1", "2"]);
    refuses(&program, 1, "there is no record 2", &["dead", "b.db", "show", "2"]);
    refuses(&program, 2, "required arguments", &["dead", "b.db", "purge"]);
    refuses(&program, 2, "cannot be used with", &["dead", "b.db", "purge", "1", "--all"]);
    refuses(&program, 2, "must be a number", &["dead", "b.db", "purge", "99999999999999999999"]);
    refuses(&program, 1, "does not read that name", &["groups", "b.db", "seek", "g", "a", "latest"]);
    refuses(&program, 1, "the epoch has ended", &["restore", "b.db", "--epoch", "1"]);
    refuses(&program, 2, "there is a file already", &["backup", "b.db", "b.db"]);
    assert_eq!(program.stats()["dead"], 1);
}

#[test]
fn a_line_that_fails_is_named_and_those_before_it_are_counted() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "taken", "--id", "i-3"]);
    let arguments = ["send", "b.db", "a", "one\ntwo\nthree\nfour", "--lines", "--id", "i"];
    let ran = program.run(&arguments);
    assert_eq!(ran.status, Some(1), "{}", ran.error);
    assert!(ran.error.starts_with("fencepost: failed at line 3: b.db: the id is taken"), "{}", ran.error);
    let accepted: u64 = ran.out.split(' ').next().unwrap().parse().unwrap();
    // Lines after it may have been under way.
    assert!((2..=3).contains(&accepted), "{}", ran.out);
    assert_eq!(program.stats()["queue"]["ready"], 1 + accepted);
    let long = format!("one\n{}\nthree\n", "x".repeat(99));
    let ran = program.run(&["publish", "b.db", "a", &long, "--lines", "--payload-bytes-max", "50"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(2), "1 lines accepted\n"));
    assert!(ran.error.starts_with("fencepost: failed at line 2: "), "{}", ran.error);
    assert_eq!(program.stats()["log"]["events"], 1);
}

#[test]
fn after_a_line_that_fails_no_more_are_sent() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "taken", "--id", "i-1"]);
    let many = "x\n".repeat(20_000);
    let ran = program.run(&["send", "b.db", "a", &many, "--lines", "--id", "i"]);
    assert!(ran.error.starts_with("fencepost: failed at line 1: b.db: the id is taken"), "{}", ran.error);
    let accepted: u64 = ran.out.split(' ').next().unwrap().parse().unwrap();
    assert!(accepted < 2_000, "{accepted}");
    assert_eq!(program.stats()["queue"]["ready"], 1 + accepted);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let program = Program::new();
    let many = "x\n".repeat(2_000);
    program.done(&["send", "b.db", "a", &many, "--lines"]);
    for arguments in [&["stats", "b.db", "--watch", "--json"][..], &["man"], &["completions", "bash"]] {
        let mut command = program.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut command = program.command(&["send", "b.db", "a", "x"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(command.stdout(writer).status().unwrap().code(), Some(0));
    assert_eq!(program.stats()["queue"]["ready"], 2_001);
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_said() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = program.command(&["stats", "b.db"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("fencepost: standard output: No space left"), "{error}");
}

/// A file that may not grow stands for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn what_a_full_disk_left_is_what_was_reported() {
    let program = Program::new();
    program.done(&["send", "b.db", "other", "x"]);
    let fencepost = env!("CARGO_BIN_EXE_fencepost");
    let script = format!("trap '' XFSZ; ulimit -f 4096; exec {fencepost} send b.db a --lines");
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(script).current_dir(program.directory.path());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may stop reading at any time.
    let _ = child.stdin.take().unwrap().write_all(format!("{}\n", "x".repeat(999)).repeat(4_000).as_bytes());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with("fencepost: failed at line ") && error.lines().count() == 1, "{error}");
    let out = String::from_utf8(output.stdout).unwrap();
    let accepted: u64 = out.split(' ').next().unwrap().parse().unwrap();
    let names = program.stats()["queue"]["names"].clone();
    let there = names.as_array().unwrap().iter().find(|name| name["name"] == "a");
    assert_eq!(there.map_or(0, |name| name["ready"].as_u64().unwrap()), accepted, "{error}");
    assert!(0 < accepted && accepted < 4_000, "{accepted}");
}
