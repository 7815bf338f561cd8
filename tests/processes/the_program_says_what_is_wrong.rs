//! Bad input gets one clear sentence on standard error and exit status 2, and nothing is written.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use fencepost_model::op::{Op, Reply};
use fencepost_model::world::{Move, OpOutcome};
use fencepost_verify::counterexample::Counterexample;
use fencepost_verify::moves::ScopeMoves;
use fencepost_verify::trace::Trace;

fn fencepost(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fencepost"));
    command.args(arguments).current_dir(directory).output().unwrap()
}

/// One sentence on standard error, status 2, and the directory as it was.
fn is_refused(directory: &Path, arguments: &[&str], sentence: &str) {
    let before: Vec<_> = listing(directory);
    let output = fencepost(directory, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert!(error.contains(sentence), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert_eq!(listing(directory), before, "{arguments:?}");
}

fn listing(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read(&path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn do_it(op: Op) -> Move {
    Move::Do { worker: 0, op: std::sync::Arc::new(op), outcome: OpOutcome::Told }
}

fn of_scope(scope: &str, mutant: Option<String>, moves: Vec<Move>) -> ScopeMoves {
    ScopeMoves { scope: scope.to_owned(), mutant, moves }
}

fn a_trace() -> String {
    let scope = fencepost_model::scope::by_name("set-aside").unwrap();
    let world = scope.world();
    let mut moves = Vec::new();
    scope.moves(&world, &mut moves);
    let sent =
        moves.iter().find(|action| matches!(action, Move::Do { op, .. } if matches!(**op, Op::Send { .. })));
    let moves = vec![sent.unwrap().clone(), do_it(Op::Reboot)];
    Trace::new("nothing", of_scope("set-aside", None, moves)).write().unwrap()
}

#[test]
fn an_unknown_scope_or_phase_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    is_refused(directory.path(), &["verify", "--scope", "gigantic"], "invalid value 'gigantic'");
    is_refused(directory.path(), &["verify", "--only", "hope"], "invalid value 'hope'");
    is_refused(
        directory.path(),
        &["explore", "gigantic"],
        "there is no scope \"gigantic\"; there are leases",
    );
}

#[test]
fn a_trace_that_is_not_whole_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.trace");
    let whole = a_trace();
    let cases = [
        (String::new(), "this is not a fencepost trace"),
        ("hello\n".to_owned(), "this is not a fencepost trace"),
        (whole.replace("\"version\":2", "\"version\":9"), "has version 9, and this program reads version 2"),
        (whole.replace("\"sender\":0", "\"sender\":1").replace("reboot", "rebooot"), "edited or damaged"),
        (whole.replace("\"scope\":\"", "\"scope\":\" "), "edited or damaged"),
        (whole[..whole.len() - 1].to_owned(), "this trace is cut"),
        (whole.lines().take(2).map(|line| format!("{line}\n")).collect(), "this trace is cut"),
        (whole.lines().take(1).collect(), "this trace is cut"),
    ];
    for (text, sentence) in cases {
        std::fs::write(&path, text).unwrap();
        is_refused(directory.path(), &["replay", "x.trace"], sentence);
    }
    is_refused(directory.path(), &["replay", "missing.trace"], "missing.trace: ");
}

#[test]
fn every_cut_and_every_changed_byte_of_a_trace_is_noticed() {
    let whole = a_trace();
    assert!(Trace::read(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(Trace::read(&whole[..end]).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(Trace::read(&text).is_err(), "changed at {at}");
        }
    }
}

#[test]
fn a_trace_is_replayed_byte_for_byte_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let text = a_trace();
    std::fs::write(directory.path().join("x.trace"), &text).unwrap();
    let once = fencepost(directory.path(), &["replay", "x.trace"]);
    let twice = fencepost(directory.path(), &["replay", "x.trace"]);
    assert_eq!(once.status.code(), Some(0), "{}", String::from_utf8_lossy(&once.stderr));
    assert_eq!(once.stdout, twice.stdout);
    assert!(String::from_utf8(once.stdout).unwrap().contains("held: 2 moves"));
    assert_eq!(Trace::read(&text).unwrap().write().unwrap(), text);
}

#[test]
fn a_trace_of_a_mutant_ends_with_what_it_breaks_and_status_1() {
    let directory = tempfile::tempdir().unwrap();
    let mutant = fencepost_model::mutant::by_name("redrive_copies").unwrap();
    let scope = fencepost_model::scope::by_name(mutant.scope).unwrap();
    let search = fencepost_model::check::ScopeSearch::new(scope, std::sync::Arc::new(mutant));
    let found = search.shortest_to(mutant.breaks);
    let (_, moves) = found.counterexamples.into_iter().find(|(name, _)| *name == mutant.breaks).unwrap();
    let trace =
        Trace::new(mutant.breaks, of_scope(mutant.scope, Some(format!("model:{}", mutant.name)), moves));
    std::fs::write(directory.path().join("x.trace"), trace.write().unwrap()).unwrap();
    let output = fencepost(directory.path(), &["replay", "x.trace"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("broken: G14 redrive_moves_and_never_copies"));
    let unknown = trace.write().unwrap();
    let mut unknown = Trace::read(&unknown).unwrap();
    let Counterexample::Moves(moves) = &mut unknown.counterexample else { panic!("another counterexample") };
    moves.mutant = Some("sql:nobody".to_owned());
    std::fs::write(directory.path().join("y.trace"), unknown.write().unwrap()).unwrap();
    is_refused(directory.path(), &["replay", "y.trace"], "there is no mutant \"sql:nobody\"");
}

#[test]
fn the_json_report_has_what_it_promises() {
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["verify", "--scope", "quick", "--only", "model", "--json", "report.json", "--threads", "2"];
    let output = fencepost(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(directory.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["verdict"], "held");
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    for key in ["scopes", "states", "transitions"] {
        assert!(report["phases"]["model"][key].as_u64().unwrap() > 0, "{key}");
    }
    let coverage = &report["phases"]["model"]["coverage"];
    assert!(coverage["reached"].as_u64().unwrap() <= coverage["cells"].as_u64().unwrap());
    assert!(report["phases"]["lockstep"].is_null());
    assert_eq!(report["guarantees"].as_array().unwrap().len(), 20);
    assert_eq!(report["guarantees"][2]["id"], "G3");
    assert_eq!(report["guarantees"][2]["verdict"], "held");
}

#[test]
fn a_report_that_cannot_be_written_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["verify", "--scope", "quick", "--only", "model", "--json", "no/such/report.json"];
    let output = fencepost(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("report.json"));
}

/// The reply is part of what a reader of a trace relies on.
#[test]
fn a_story_says_what_was_answered() {
    let line = fencepost_model::explanation::line(&do_it(Op::Reboot), Some(&Reply::Rebooted));
    assert!(line.contains("boot"), "{line}");
}
