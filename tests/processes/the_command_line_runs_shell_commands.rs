//! `listen` and `subscribe`: what a shell command gets, what its exit status means, and how a run ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::program::{Program, Ran};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long commands sleep that must not be waited for.
const SLEEP: Duration = Duration::from_secs(120);

/// A program at work whose handler has begun: it printed `started`.
fn started(program: &Program, arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command = program.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    (child, out)
}

fn signal(child: &Child, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

fn end(child: Child, mut out: BufReader<ChildStdout>) -> Ran {
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran { status: output.status.code(), out: text, error: String::from_utf8(output.stderr).unwrap() }
}

fn first_dead(program: &Program) -> Value {
    let listed = program.done(&["dead", "b.db", "list", "--json"]);
    serde_json::from_str(listed.lines().next().unwrap()).unwrap()
}

#[test]
fn status_0_acks_75_retries_and_anything_else_is_for_good() {
    let program = Program::new();
    program.done(&["send", "b.db", "good", "x"]);
    program.done(&["send", "b.db", "again", "x"]);
    program.done(&["send", "b.db", "bad", "x"]);
    let ran = program.run(&[
        "listen",
        "b.db",
        "--drain",
        "--attempts-max",
        "2",
        "--on",
        "good=exit 0",
        "--on",
        "again=echo attempt $FENCEPOST_ATTEMPT >&2; exit 75",
        "--on",
        "bad=echo first; echo one >&2; echo the last word >&2; exit 3",
    ]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), "first\n"), "{}", ran.error);
    assert!(ran.error.contains("1 acked, 1 retried, 1 dead-lettered"), "{}", ran.error);
    let stats = program.stats();
    assert_eq!((&stats["dead"], &stats["queue"]["delayed"]), (&json!(1), &json!(1)));
    let dead = first_dead(&program);
    assert_eq!((&dead["reason"], &dead["name"]), (&json!("one\nthe last word"), &json!("bad")));
}

#[test]
fn a_command_that_dies_or_says_nothing_is_told_by_its_status() {
    let program = Program::new();
    program.done(&["send", "b.db", "killed", "x"]);
    program.done(&["send", "b.db", "silent", "x"]);
    program.done(&[
        "listen",
        "b.db",
        "--drain",
        "--concurrency",
        "1",
        "--on",
        "killed=kill -9 $$",
        "--on",
        "silent=exit 4",
    ]);
    let listed = program.done(&["dead", "b.db", "list"]);
    assert!(listed.contains("signal: 9") && listed.contains("exit status 4"), "{listed}");
}

#[test]
fn a_long_lament_is_kept_from_its_end() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let command = "a=seq 1 100000 >&2; echo the end >&2; exit 1";
    program.done(&["listen", "b.db", "--drain", "--on", command]);
    let dead = first_dead(&program);
    let reason = dead["reason"].as_str().unwrap();
    assert!(reason.ends_with("100000\nthe end") && reason.len() < 1_500, "{reason}");
}

#[test]
fn the_environment_says_what_the_payload_does_not() {
    let program = Program::new();
    let trace = "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    program.done(&[
        "send",
        "b.db",
        "place.bet",
        "x",
        "--id",
        "bet '17'",
        "--content-type",
        "text/plain",
        "--meta",
        "a=1=$(id)",
        "--meta",
        trace,
    ]);
    let names = ["NAME", "ID", "SEQ", "TOKEN", "ATTEMPT", "CONTENT_TYPE", "KIND", "METADATA"];
    let print: String = names.iter().map(|name| format!("printf '%s\\n' \"$FENCEPOST_{name}\"; ")).collect();
    let rest = "printf '%s\\n' \"$TRACEPARENT\" \"${FENCEPOST_GROUP-none}\" $((FENCEPOST_SENT_AT_MS > 0))";
    let mut command =
        program.command(&["listen", "b.db", "--drain", "--on", &format!("place.bet={print}{rest}")]);
    let output = command.env("FENCEPOST_GROUP", "inherited").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let seen: Vec<&str> = text.lines().collect();
    let metadata = format!("[[\"a\",\"1=$(id)\"],[\"traceparent\",\"{}\"]]", &trace[12..]);
    let expected = [
        "place.bet",
        "bet '17'",
        "1",
        seen[3],
        "1",
        "text/plain",
        "command",
        &metadata,
        &trace[12..],
        "none",
        "1",
    ];
    assert_eq!(seen, expected);
    assert!(seen[3].parse::<u64>().unwrap() > 0);

    program.done(&["publish", "b.db", "bet.placed", "x"]);
    let print = "bet.placed=echo $FENCEPOST_GROUP $FENCEPOST_KIND ${FENCEPOST_ID-none} ${TRACEPARENT-none}";
    let seen = program.done(&["subscribe", "b.db", "--drain", "--group", "billing", "--on", print]);
    assert_eq!(seen, "billing event none none\n");
}

#[test]
fn nothing_in_a_payload_is_run() {
    let program = Program::new();
    let payload = "$(touch hacked); `touch hacked` | ' \" & > < \\ * \n second line";
    program.done(&["send", "b.db", "a", payload]);
    assert_eq!(program.done(&["listen", "b.db", "--drain", "--on", "a=cat"]), payload);
    assert!(!program.directory.path().join("hacked").exists());
}

#[test]
fn a_command_that_does_not_read_its_payload_has_not_failed_by_that() {
    let program = Program::new();
    let payload = "x".repeat(100_000);
    program.done(&["send", "b.db", "a", &payload]);
    program.done(&["send", "b.db", "a", &payload]);
    let ran = program.run(&["listen", "b.db", "--drain", "--on", "a=exec <&-; exit 0"]);
    assert_eq!((ran.status, ran.error.as_str()), (Some(0), "fencepost: 2 acked\n"));
}

#[test]
fn what_a_command_left_in_the_background_holds_up_nobody() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let began = Instant::now();
    let ran = program.run(&["listen", "b.db", "--drain", "--on", "a=sleep 120 >/dev/null & echo $!"]);
    assert_eq!((ran.status, ran.error.as_str()), (Some(0), "fencepost: 1 acked\n"));
    assert!(began.elapsed() < SLEEP);
    kill_process(Pid::from_raw(ran.out.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn sigterm_and_ctrl_c_let_a_command_at_work_finish() {
    for wish in [Signal::TERM, Signal::INT] {
        let program = Program::new();
        program.done(&["send", "b.db", "a", "x"]);
        let command = "a=echo started; sleep 0.5; echo finished";
        let (child, out) = started(&program, &["listen", "b.db", "--on", command]);
        signal(&child, wish);
        let ran = end(child, out);
        assert_eq!((ran.status, ran.out.as_str()), (Some(0), "finished\n"), "{}", ran.error);
        assert_eq!(ran.error, "fencepost: 1 acked\n");
        assert_eq!(program.stats()["queue"]["ready"], 0);
    }
}

#[test]
fn what_does_not_finish_within_the_grace_is_given_back_with_all_that_it_began() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let began = Instant::now();
    let command = "a=echo started; sleep 120 & wait";
    let (child, out) = started(&program, &["listen", "b.db", "--grace", "200ms", "--on", command]);
    signal(&child, Signal::TERM);
    // Its output ends when no process is left that could write to it.
    let ran = end(child, out);
    assert!(began.elapsed() < SLEEP);
    assert_eq!((ran.status, ran.error.as_str()), (Some(0), "fencepost: 0 acked, 1 released\n"));
    let told = program.done(&["listen", "b.db", "--drain", "--on", "a=echo attempt $FENCEPOST_ATTEMPT"]);
    assert_eq!(told, "attempt 1\n");
}

#[test]
fn a_second_wish_ends_at_once() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let began = Instant::now();
    let command = "a=echo started; exec sleep 120";
    let (child, out) = started(&program, &["listen", "b.db", "--grace", "60s", "--on", command]);
    // Two of a kind that come together are one, so they are different.
    signal(&child, Signal::INT);
    signal(&child, Signal::TERM);
    let ran = end(child, out);
    assert!(began.elapsed() < SLEEP);
    assert_eq!(ran.status, Some(1));
    assert!(ran.error.contains("ended at once"), "{}", ran.error);
    assert_eq!(program.stats()["queue"]["leased"], 1);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_at_a_terminal_does_not_reach_a_command_at_work() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let command = "a=test \"$(cut -d' ' -f5 /proc/$$/stat)\" = $$ || exit 1";
    let ran = program.run(&["listen", "b.db", "--drain", "--on", command]);
    assert_eq!(ran.error, "fencepost: 1 acked\n");
}

#[test]
fn a_run_that_is_stopped_by_its_policy_has_status_1() {
    let program = Program::new();
    program.done(&["send", "b.db", "a", "x"]);
    let command = "a=echo no funds >&2; exit 1";
    let ran = program.run(&["listen", "b.db", "--drain", "--policy", "stop", "--on", command]);
    assert_eq!(ran.status, Some(1), "{}", ran.error);
    let last = ran.error.lines().last().unwrap();
    assert_eq!(last, "fencepost: message 1 failed for good, and the policy is to stop: no funds");
    assert_eq!(program.stats()["queue"]["ready"], 1);
}

#[test]
fn lines_that_were_accepted_before_ctrl_c_are_counted() {
    let program = Program::new();
    program.done(&["send", "b.db", "other", "x"]);
    let mut command = program.command(&["send", "b.db", "a", "--lines", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &b"x\n".repeat(3_000)).unwrap();
    while program.stats()["queue"]["ready"].as_u64().unwrap() < 100 {}
    // The end of the input does not come.
    signal(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("stopped: no line after line "));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let there = program.stats()["queue"]["ready"].as_u64().unwrap() - 1;
    assert_eq!(told["accepted"], there);
    assert!(there >= 99);
}

#[test]
fn three_processes_share_a_file() {
    let program = Program::new();
    let listen = ["listen", "b.db", "--on", "a=echo $(cat)", "--lease", "5s"];
    let mut command = program.command(&listen);
    let mut listener = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(listener.stdout.take().unwrap());
    let many: String = (0..100).map(|line| format!("{line}\n")).collect();
    let sender =
        program.command(&["send", "b.db", "a", &many, "--lines"]).stdout(Stdio::null()).spawn().unwrap();
    let mut heard = Vec::new();
    while heard.len() < 100 {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0);
        heard.push(line.trim().parse::<u32>().unwrap());
        if heard.len() % 20 == 0 {
            let stats = program.stats();
            assert!(stats["queue"]["ready"].as_u64().unwrap() <= 100, "{stats}");
        }
    }
    assert!(sender.wait_with_output().unwrap().status.success());
    signal(&listener, Signal::TERM);
    let ran = end(listener, out);
    assert_eq!((ran.status, ran.error.as_str()), (Some(0), "fencepost: 100 acked\n"));
    heard.sort_unstable();
    assert_eq!(heard, (0..100).collect::<Vec<_>>());
}
