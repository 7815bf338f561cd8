//! Shows an incident: its mutant is run, must be caught by what was named for it, and the shortest counterexample is
//! explained.
//!
//! Invariant: the same incident gives the same text.
//! Does not depend on: what is right; the checkers of each family of mutants decide that.

mod run_loop;

use std::sync::Arc;

use fencepost_model::check::ScopeSearch;
use fencepost_model::{explanation, mutant, scope};

use crate::incidents::{Incident, ShownBy};
use crate::schedule::connections::Connections;
use crate::schedule::{control, replay};
use crate::scheduler::Strategy as Schedules;
use crate::threads;
use fencepost::error::Error;

/// Why an incident cannot be shown.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotShown {
    /// There is no such mutant, or it cannot be run.
    NoMutant,
    /// The mutant was named for another promise than the incident says.
    NamedFor(String),
    /// Nothing that was named for it caught it.
    Survived,
    /// A promise is broken without the mutant as well.
    BrokenWithoutIt,
    /// It could not be run.
    NotRun(Error),
    /// There is no runtime to play it in.
    NoRuntime(std::io::Error),
}

impl std::fmt::Display for NotShown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoMutant => write!(f, "there is no such mutant"),
            Self::NamedFor(other) => write!(f, "the mutant was named for {other}"),
            Self::Survived => write!(f, "it was not caught by what was named for it"),
            Self::BrokenWithoutIt => write!(f, "a promise is broken without the mutant as well"),
            Self::NotRun(_) => write!(f, "it could not be run"),
            Self::NoRuntime(_) => write!(f, "there is no runtime to run it in"),
        }
    }
}

impl std::error::Error for NotShown {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotRun(error) => Some(error),
            Self::NoRuntime(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for NotShown {
    fn from(error: Error) -> Self {
        Self::NotRun(error)
    }
}

/// Runs the mutant of an incident, and explains the shortest counterexample.
///
/// # Errors
/// It is not caught by what the incident says, or cannot be run.
pub fn explain(incident: &Incident) -> Result<String, NotShown> {
    match incident.shown {
        ShownBy::Model(name) => by_model(name, incident.breaks),
        ShownBy::Loop(mutant) => run_loop::by_loop(mutant, incident.breaks),
        ShownBy::Threads(mutant) => by_threads(mutant, incident.breaks),
        ShownBy::Clients(name) => by_clients(name, incident.breaks),
    }
}

/// What was named for the mutant must be what the incident says.
fn named(by_mutant: &str, by_incident: &str) -> Result<(), NotShown> {
    if by_mutant == by_incident { Ok(()) } else { Err(NotShown::NamedFor(by_mutant.to_owned())) }
}

fn by_model(name: &str, breaks: &str) -> Result<String, NotShown> {
    let mutant = mutant::by_name(name).ok_or(NotShown::NoMutant)?;
    named(mutant.breaks, breaks)?;
    let scope = scope::by_name(mutant.scope).ok_or(NotShown::NoMutant)?;
    let search = ScopeSearch::new(scope, Arc::new(mutant));
    let found = search.shortest_to(mutant.breaks);
    let path =
        found.counterexamples.iter().find(|(broken, _)| *broken == breaks).ok_or(NotShown::Survived)?;
    Ok(explanation::explain(&search.scope, &path.1, &mutant))
}

fn by_threads(mutant: threads::ThreadMutant, breaks: &str) -> Result<String, NotShown> {
    let control = threads::controls().find(|control| control.mutant == mutant).ok_or(NotShown::NoMutant)?;
    named(control.breaks, breaks)?;
    let all = Schedules::Departing { departures: 1, schedules_max: 1_000_000 };
    let broken = threads::search(control.scenario, Some(mutant), &all)?.broken;
    let broken = broken.filter(|broken| broken.violation.promise == breaks).ok_or(NotShown::Survived)?;
    let broken = threads::shorten(broken, Some(mutant))?;
    let (explanation, violation) = (without_rounds(broken.explanation.trim_end()), broken.violation);
    Ok(format!(
        "{}\n\n{explanation}\n\nfound: {}\nbroken: {}\n",
        broken.scenario,
        violation.why.trim_end(),
        violation.promise
    ))
}

/// Rounds of fewer lines than this are shown in full.
const SKIPPED_MIN: usize = 6;
/// The longest round that is looked for, in lines.
const ROUND_MAX: usize = 24;

/// A timeline in which a repeated round is shown once, and how long it went on.
fn without_rounds(explanation: &str) -> String {
    let lines: Vec<&str> = explanation.lines().collect();
    // What is done, without the time.
    let done: Vec<&str> = lines.iter().map(|line| line.get(5..).unwrap_or_default()).collect();
    let mut kept: Vec<String> = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        let skipped = (1..=ROUND_MAX.min(next)).find_map(|round| {
            let again = |start: usize| done.get(start..start + round) == Some(&done[next - round..next]);
            let rounds = (0..).take_while(|count| again(next + count * round)).count();
            (rounds * round >= SKIPPED_MIN).then_some(rounds * round)
        });
        let Some(skipped) = skipped else {
            kept.push(lines[next].to_owned());
            next += 1;
            continue;
        };
        next += skipped;
        let until = lines[next - 1].get(..5).unwrap_or_default().trim();
        kept.push(format!("      ... and so on until {until}"));
    }
    kept.join("\n")
}

fn by_clients(name: &str, breaks: &str) -> Result<String, NotShown> {
    let control = control::ALL.iter().find(|control| control.name == name).ok_or(NotShown::NoMutant)?;
    named(control.breaks, breaks)?;
    let start = replay::start_of(control.start).map_err(|_| NotShown::NoMutant)?;
    let case = control.case(&start).ok_or(NotShown::NoMutant)?;
    let all = Schedules::Dpor { schedules_max: 1_000_000 };
    let mut connections = Connections::new(&start)?;
    let mut honest = case.clone();
    honest.clients.iter_mut().for_each(|client| client.mutant = None);
    if replay::look_for(&mut connections, &honest, &all, None)?.is_some() {
        return Err(NotShown::BrokenWithoutIt);
    }
    let broken = replay::look_for(&mut connections, &case, &all, Some(control.breaks))?;
    drop(connections);
    let broken = replay::shrink(&broken.ok_or(NotShown::Survived)?)?;
    let replayed = replay::replay(&broken.case, &broken.choices).map_err(|_| NotShown::Survived)?;
    Ok(replayed.explanation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_round_is_told_once() {
        let round = |ms: u32| format!("{ms:>5} | looks\n{ms:>5} | rests\n");
        let explanation: String = (0..9).map(round).collect();
        let short = without_rounds(&format!("    0 | begins\n{explanation}    9 | ends"));
        let lines: Vec<&str> = short.lines().collect();
        let expected = [
            "    0 | begins",
            "    0 | looks",
            "    0 | rests",
            "      ... and so on until 8",
            "    9 | ends",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_comes_twice_is_told_twice() {
        let explanation = "    0 | looks\n    0 | rests\n    1 | looks\n    1 | rests";
        assert_eq!(without_rounds(explanation), explanation);
    }
}
