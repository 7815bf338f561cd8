//! A mutant of the run loop: the smallest scenario found in which its rule is broken, and what was seen.
//!
//! Questions that the loop asks all the time, and to which the answer was that nothing is due, are left out of the
//! text.
//!
//! Invariant: the same seed finds the same scenario.
//! Does not depend on: what a loop ought to do.

use std::fmt::Write as _;

use fencepost_model::description;
use fencepost_model::op::{Op, Reply, Target};
use fencepost_model::vocabulary::Kind;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::incidents::explain::{NotShown, named};
use crate::run_loop::notes::{Note, Requester, RunAnswer, RunEvent};
use crate::run_loop::scenario::{RunScenario, scenario};
use crate::run_loop::{RuleBroken, RunLoopMutant, breaks, run};

/// The seed of all scenarios.
const SEED: u64 = 1;
/// Of how many scenarios that show a mutant the smallest is shown.
const CHOICE: usize = 8;
/// After so many scenarios a mutant has survived.
const SCENARIOS_MAX: usize = 6_000;
/// So often at most is a scenario made smaller.
const STEPS_MAX: usize = 4_000;

/// Looks for scenarios in which a mutant breaks its rule, makes them smaller, and explains the smallest.
pub(super) fn by_loop(mutant: RunLoopMutant, rule: &str) -> Result<String, NotShown> {
    named(&format!("{:?}", breaks(mutant)), rule)?;
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&SEED.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = scenario();
    let mut explained: Vec<(usize, String)> = Vec::new();
    for _ in 0..SCENARIOS_MAX {
        let Ok(mut tree) = strategy.new_tree(&mut runner) else { break };
        if explained.len() == CHOICE {
            break;
        }
        if caught(mutant, &tree.current())?.is_none() {
            continue;
        }
        let scenario = smaller(mutant, &mut tree)?;
        if run(&scenario, None).map_err(NotShown::NoRuntime)?.checked.is_err() {
            return Err(NotShown::BrokenWithoutIt);
        }
        let caught = caught(mutant, &scenario)?.ok_or(NotShown::Survived)?;
        explained.push((scenario.faults.len() + scenario.accidents.len(), explain(&scenario, &caught)));
    }
    // The fewer accidents, the better it shows what the mutant does by itself.
    let least = explained
        .into_iter()
        .min_by_key(|(outside, explanation)| (*outside, explanation.lines().count(), explanation.len()));
    least.map(|(_, explanation)| explanation).ok_or(NotShown::Survived)
}

/// What was seen of a mutant that was caught.
struct LoopCaught {
    notes: Vec<Note>,
    broken: RuleBroken,
}

/// Whether the rule that was named for a mutant catches it in a scenario.
fn caught(mutant: RunLoopMutant, scenario: &RunScenario) -> Result<Option<LoopCaught>, NotShown> {
    let ran = run(scenario, Some(mutant)).map_err(NotShown::NoRuntime)?;
    let broken = ran.checked.err().filter(|broken| broken.rule == breaks(mutant));
    Ok(broken.map(|broken| LoopCaught { notes: ran.notes, broken }))
}

/// The last of ever smaller scenarios in which the mutant is caught.
fn smaller(
    mutant: RunLoopMutant,
    tree: &mut impl ValueTree<Value = RunScenario>,
) -> Result<RunScenario, NotShown> {
    let mut smallest = tree.current();
    let mut step = tree.simplify();
    for _ in 0..STEPS_MAX {
        if !step {
            break;
        }
        let current = tree.current();
        step = if caught(mutant, &current)?.is_some() {
            smallest = current;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    Ok(smallest)
}

fn explain(scenario: &RunScenario, caught: &LoopCaught) -> String {
    let began = caught.notes.first().map(|note| note.at.get()).unwrap_or_default();
    let mut text = String::new();
    let mut last = String::new();
    for note in &caught.notes {
        for line in lines(&note.what) {
            if line != last {
                let _ = writeln!(text, "t={}  {line}", note.at);
            }
            last = line;
        }
    }
    let _ = writeln!(text, "\nbroken: {:?}\n        {}", caught.broken.rule, caught.broken.what);
    preface(scenario) + &since(began, &text)
}

/// The same text, with times counted from the beginning of the run. Nothing else in it is as large a number.
fn since(began: u64, text: &str) -> String {
    let mut shifted = String::new();
    let mut digits = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        match digits.parse::<u64>() {
            Ok(at) if (began..began + RUN_MS_MAX).contains(&at) => shifted += &(at - began).to_string(),
            _ => shifted += &digits,
        }
        digits.clear();
        shifted.push(letter);
    }
    shifted.pop();
    shifted
}

/// Longer than any run takes, in milliseconds.
const RUN_MS_MAX: u64 = 3_600_000;

/// What the loop is put through.
fn preface(scenario: &RunScenario) -> String {
    let RunScenario { lease_ms, concurrency, attempts_max, grace_ms, policy, stop, .. } = scenario;
    let heartbeat = if scenario.heartbeat { "extended" } else { "not extended" };
    let mut text = format!(
        "lease {lease_ms} ms, {heartbeat}; handlers {concurrency}; attempts {attempts_max}; grace {grace_ms} ms; \
         policy {policy:?}; end {stop:?}\n"
    );
    for (number, message) in (1..).zip(&scenario.messages) {
        let kind = if message.kind == Kind::Command { "command" } else { "event" };
        let corrupt = if message.corrupt { ", damaged" } else { "" };
        let _ = write!(text, "{kind} {number}, there after {} ms{corrupt}", message.at_ms);
        for script in &message.scripts {
            let _ = write!(text, "; works {} ms: {:?}", script.work_ms, script.end);
        }
        text.push('\n');
    }
    for (call, fault) in &scenario.faults {
        let _ = writeln!(text, "call {call} of the store: {fault:?}");
    }
    for (at_ms, accident) in &scenario.accidents {
        let _ = writeln!(text, "after {at_ms} ms: {accident:?}");
    }
    text.push('\n');
    text
}

/// What happened, a line for each thing.
fn lines(what: &RunEvent) -> Vec<String> {
    match what {
        // A question is shown with its answer.
        RunEvent::Asked(..) => Vec::new(),
        RunEvent::Answered(who, answers) => {
            let who = match who {
                Requester::Run => "the loop",
                Requester::Handler(_) => "a handler",
                Requester::OtherConsumer => "another consumer",
            };
            let answered_line =
                |op, answered| format!("{who} {}  ->  {}", description::operation(op), words(answered));
            let matters = answers.iter().filter(|(op, answered)| !is_routine(op, answered));
            matters.map(|(op, answered)| answered_line(op, answered)).collect()
        }
        RunEvent::Began(token, of) => vec![format!("the handler of {} begins (token {token})", target(of))],
        RunEvent::LossReported(token, of) => {
            vec![format!("the handler of {} is told that its lease is lost (token {token})", target(of))]
        }
        RunEvent::Ended(token, of, outcome) => {
            vec![format!("the handler of {} ends: {outcome:?} (token {token})", target(of))]
        }
        RunEvent::Shutdown => vec!["the run is told to shut down".to_owned()],
        RunEvent::Dropped => vec!["the run is dropped".to_owned()],
        RunEvent::Returned => vec!["the run returns".to_owned()],
    }
}

/// Whether this was asked as it is asked all the time, and nothing came of it.
fn is_routine(op: &Op, answered: &RunAnswer) -> bool {
    match (op, answered) {
        (Op::Subscribe { .. }, RunAnswer::Reply(_)) => true,
        (_, RunAnswer::Reply(Reply::HandedOut { deliveries, dead_lettered })) => {
            deliveries.is_empty() && dead_lettered.is_empty()
        }
        _ => false,
    }
}

fn words(answered: &RunAnswer) -> String {
    match answered {
        RunAnswer::Reply(reply) => description::reply(reply),
        RunAnswer::Busy => "busy".to_owned(),
        RunAnswer::Closed => "closed".to_owned(),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Command(seq) => format!("command {seq}"),
        Target::Event { seq, .. } => format!("event {seq}"),
        Target::Entry { record, .. } => format!("entry {record}"),
    }
}
