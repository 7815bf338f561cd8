//! One schedule of one case, run again: to check it again, to make it smaller, and to explain it.
//!
//! Invariant: the same case and choices give the same explanation. A failure is made smaller by leaving out clients and
//! acts, and then by the fewest preemptions, as long as the same promise is broken.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use fencepost_model::scope::cuts;

use crate::disk::Profile;
use crate::rig::promises::{Replayed, Violation, guarantee};
use crate::rig::recorder::{DiskRecorder, StartPoint, Unrecorded};
use crate::rig::setting::{Level, Setting};
use crate::schedule::case::ScheduleCase;
use crate::schedule::connections::{Connections, ScheduleRun};
use crate::schedule::orders::{ENDS, OrderChecker, describe};
use crate::scheduler::Strategy;
use fencepost::error::{Error, Result};

/// A schedule in which a promise is broken.
#[derive(Clone, Debug)]
pub struct BrokenBySchedule {
    /// What was done.
    pub case: ScheduleCase,
    /// The client that ran at each point where several could: clients by their numbers from 1.
    pub choices: Vec<u8>,
    /// The broken promise.
    pub violation: Violation,
}

/// What several connections did, and which of them ran when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSchedule {
    /// What was done.
    pub case: ScheduleCase,
    /// The client that ran at each point where several could: clients by their numbers from 1.
    pub choices: Vec<u8>,
}

/// The beginning of a case.
///
/// # Errors
/// If there is no such scope, or the store cannot do what it begins with.
pub fn start_of(name: &str) -> std::result::Result<StartPoint, String> {
    let scope = cuts().into_iter().find(|scope| scope.name == name);
    let scope = scope.ok_or_else(|| format!("there is no scope {name} that schedules begin with"))?;
    let mut recorder =
        DiskRecorder::new(Setting::honest(Level::PowerLoss, Profile::UNIX)).map_err(in_words)?;
    recorder.start(&scope).map_err(|unrecorded| match unrecorded {
        Unrecorded::Failed(error) => in_words(error),
        Unrecorded::Differs(why) => why,
    })
}

fn in_words(error: Error) -> String {
    crate::rig::recovery::in_words(&error)
}

/// Runs a schedule again, and checks it.
///
/// # Errors
/// If it cannot be begun, or the choices do not fit the case, in words.
pub fn replay(case: &ScheduleCase, choices: &[u8]) -> std::result::Result<Replayed, String> {
    let start = start_of(&case.start)?;
    let checker = OrderChecker::new(case, &start.moment);
    let seen = Arc::<Mutex<Option<ScheduleRun>>>::default();
    let keep = Arc::clone(&seen);
    let mut connections = Connections::new(&start).map_err(in_words)?;
    let replay = Strategy::Replay(choices.to_vec());
    let explored = connections
        .explore(case, &replay, true, move |run| {
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
            true
        })
        .map_err(in_words)?;
    if explored.misfit {
        return Err("its choices do not fit what can be chosen".to_owned());
    }
    let run = seen.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    let violation = match explored.ended {
        Some(why) => Some(Violation { property: ENDS, why }),
        None => checker.check(&run).err(),
    };
    Ok(Replayed { explanation: explain(case, &run, violation.as_ref()), violation })
}

/// Looks for a broken promise in the schedules of a search: the first one, or the first of this one.
///
/// # Errors
/// If connections cannot be opened.
pub fn look_for(
    connections: &mut Connections,
    case: &ScheduleCase,
    search: &Strategy,
    property: Option<&'static str>,
) -> Result<Option<BrokenBySchedule>> {
    let checker = OrderChecker::new(case, &connections.start().moment);
    let found = Arc::<Mutex<Option<(Vec<u8>, Violation)>>>::default();
    let keep = Arc::clone(&found);
    let explored = connections.explore(case, search, false, move |run| match checker.check(run) {
        Err(violation) if property.is_none_or(|property| property == violation.property) => {
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some((run.choices.clone(), violation));
            true
        }
        _ => false,
    })?;
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    let ended = explored.ended.filter(|_| property.is_none_or(|property| property == ENDS));
    let found =
        found.or_else(|| ended.map(|why| (connections.board().choices(), Violation { property: ENDS, why })));
    Ok(found.map(|(choices, violation)| BrokenBySchedule { case: case.clone(), choices, violation }))
}

/// After so many schedules a smaller case is given up.
const SCHEDULES_MAX: u64 = 20_000;

/// Makes what is broken as small as it gets: the fewest clients and acts, and then the fewest preemptions.
///
/// # Errors
/// If connections cannot be opened.
pub fn shrink(broken: &BrokenBySchedule) -> Result<BrokenBySchedule> {
    let Ok(start) = start_of(&broken.case.start) else { return Ok(broken.clone()) };
    let mut best = broken.clone();
    let mut connections = Connections::new(&start)?;
    while let Some(smaller) = smaller(&mut connections, &best)? {
        best = smaller;
    }
    for preemptions in 0..=4 {
        let search = Strategy::Exhaustive { preemptions: Some(preemptions), schedules_max: SCHEDULES_MAX };
        if let Some(mut found) =
            look_for(&mut connections, &best.case, &search, Some(best.violation.property))?
        {
            shorten(&mut connections, &mut found)?;
            return Ok(found);
        }
    }
    shorten(&mut connections, &mut best)?;
    Ok(best)
}

/// The same without one client, or without one act, if the same promise is broken then.
fn smaller(connections: &mut Connections, broken: &BrokenBySchedule) -> Result<Option<BrokenBySchedule>> {
    let mut cases = Vec::new();
    for (client, of) in broken.case.clients.iter().enumerate() {
        if broken.case.clients.len() > 1 {
            let mut case = broken.case.clone();
            case.clients.remove(client);
            cases.push(case);
        }
        for act in (0..of.acts.len()).filter(|_| of.acts.len() > 1) {
            let mut case = broken.case.clone();
            case.clients[client].acts.remove(act);
            cases.push(case);
        }
    }
    for case in cases {
        let search = Strategy::Dpor { schedules_max: SCHEDULES_MAX };
        if let Some(found) = look_for(connections, &case, &search, Some(broken.violation.property))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Leaves out the last choices, as far as letting each client run until it waits breaks the same promise.
fn shorten(connections: &mut Connections, broken: &mut BrokenBySchedule) -> Result<()> {
    let mut whole = broken.choices.clone();
    for length in 0..whole.len() {
        let search = Strategy::Replay(whole[..length].to_vec());
        if look_for(connections, &broken.case, &search, Some(broken.violation.property))?.is_some() {
            whole.truncate(length);
            break;
        }
    }
    broken.choices = whole;
    Ok(())
}

/// The explanation of a schedule: one lane for each client, and what came of it.
fn explain(case: &ScheduleCase, run: &ScheduleRun, violation: Option<&Violation>) -> String {
    let mut text =
        format!("{} clients of {}, whose WAL is {}\n", case.clients.len(), case.start, case.wal.name());
    for (number, client) in case.clients.iter().enumerate() {
        let acts: Vec<String> = client.acts.iter().map(|act| act.describe()).collect();
        let _ = writeln!(
            text,
            "  client {}, its clock {} ms late: {}",
            number + 1,
            client.late_ms,
            acts.join("; then ")
        );
        if let Some(mutant) = client.mutant {
            let _ = writeln!(text, "    with the mutant {mutant:?}");
        }
    }
    text.push('\n');
    text += &timeline(case, run);
    text.push('\n');
    for spell in &run.spells {
        let act = &case.clients[spell.client].acts[spell.act];
        let _ =
            writeln!(text, "client {}, {}: {}", spell.client + 1, act.describe(), describe(&spell.answer));
    }
    match violation {
        None => text += "this may happen\n",
        Some(violation) => {
            let id = guarantee(violation.property).map(|id| format!("{id} ")).unwrap_or_default();
            let _ = writeln!(text, "found: {}\nbroken: {id}{}", violation.why.trim_end(), violation.property);
        }
    }
    text
}

/// How wide a lane is, in characters.
const LANE: usize = 30;

/// What each client did at each step, side by side.
fn timeline(case: &ScheduleCase, run: &ScheduleRun) -> String {
    let mut rows: Vec<(u64, u8, usize, String)> = Vec::new();
    for spell in &run.spells {
        let kind = case.clients[spell.client].acts[spell.act].kind();
        rows.push((spell.called, 0, spell.client, format!("┌ {kind}")));
        rows.push((spell.answered, 2, spell.client, format!("└ {kind} is answered")));
    }
    rows.extend(run.points.iter().map(|(step, client, point)| (*step, 1, *client, format!("│ {point}"))));
    // Of what happened at one step, in the order of the clients' own.
    rows.sort_by_key(|(step, order, ..)| (*step, *order));
    let lanes = case.clients.len();
    let mut text = String::from("  step");
    for lane in 1..=lanes {
        let _ = write!(text, "  {:<LANE$}", format!("client {lane}"));
    }
    let mut lines = vec![text.trim_end().to_owned()];
    for (step, _, client, what) in rows {
        let blank = " ".repeat((LANE + 2) * client);
        lines.push(format!("{step:>6}  {blank}{what}"));
    }
    lines.join("\n") + "\n"
}
