//! What a verification found, as a table for people and as JSON for machines.
//!
//! The keys of the JSON are a promise to those who read it; they are documented in docs/verification.md.

use std::fmt::Write as _;

use fencepost_model::coverage::{Tally, reachable};
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use serde::Serialize;

use crate::crash::phase::CrashFigures;
use crate::faults::FaultsFigures;
use crate::history::phase::HistoryFigures;
use crate::mutants::Killed;
use crate::schedule::phase::ScheduleFigures;

/// Whether everything that was checked held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuaranteeVerdict {
    /// It held.
    Held,
    /// It is broken.
    Broken,
    /// Nothing was there to judge.
    Unchecked,
}

/// A whole verification.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `held` or `broken`.
    pub verdict: GuaranteeVerdict,
    /// How long it took.
    pub seconds: f64,
    /// The seed of everything random.
    pub seed: u64,
    /// `quick`, `standard` or `deep`.
    pub scope: String,
    /// Each phase that was run.
    pub phases: Phases,
    /// Guarantee by guarantee.
    pub guarantees: Vec<GuaranteeLine>,
    /// What is wrong with the search itself, or what broke, in words.
    pub complaints: Vec<String>,
}

/// The phases by name; absent if not run.
#[derive(Debug, Default, Serialize)]
pub struct Phases {
    /// The model alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFigures>,
    /// The store held against the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<LockstepFigures>,
    /// Known mistakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutants: Option<MutantsFigures>,
    /// Cuts of the power.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash: Option<CrashFigures>,
    /// Faults besides crashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsFigures>,
    /// Several connections, in every order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleFigures>,
    /// Real clients on a real file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryFigures>,
}

/// Figures of the phase `model`.
#[derive(Debug, Serialize)]
pub struct ModelFigures {
    /// How many scopes.
    pub scopes: usize,
    /// How many states, all scopes together.
    pub states: usize,
    /// How many transitions.
    pub transitions: usize,
    /// The coverage matrix.
    pub coverage: Coverage,
    /// How long it took.
    pub seconds: f64,
}

/// Cells of the coverage matrix: operation × class of state before × reply.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// How many were reached.
    pub reached: usize,
    /// How many are reachable.
    pub cells: usize,
}

impl Coverage {
    /// The coverage of a tally.
    pub fn of(tally: &Tally) -> Self {
        Self { reached: tally.cells().len(), cells: reachable().len() }
    }
}

/// Figures of the phase `lockstep`.
#[derive(Debug, Serialize)]
pub struct LockstepFigures {
    /// How many scopes.
    pub scopes: usize,
    /// How many pairs of a world and an image.
    pub states: usize,
    /// How many transitions of the real store were compared, in scopes.
    pub transitions: u64,
    /// How many long sequences on a file.
    pub sequences: u64,
    /// How many moves those had.
    pub moves: u64,
    /// How many pairs of different images of one state were shown to agree.
    pub twins: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Figures of the phase `mutants`.
#[derive(Debug, Serialize)]
pub struct MutantsFigures {
    /// Mutants of the model.
    pub model: MutantsLine,
    /// Mutants of the SQL.
    pub sql: MutantsLine,
    /// How long it took.
    pub seconds: f64,
}

/// How many mutants were noticed.
#[derive(Debug, Serialize)]
pub struct MutantsLine {
    /// How many were noticed.
    pub killed: usize,
    /// How many there are.
    pub total: usize,
    /// Those that were not.
    pub survivors: Vec<Survivor>,
}

/// A mutant that was not noticed.
#[derive(Debug, Serialize)]
pub struct Survivor {
    /// Its name.
    pub name: &'static str,
    /// Why it makes no difference, if that is known.
    pub equivalent: Option<&'static str>,
}

impl From<&Killed> for MutantsLine {
    fn from(found: &Killed) -> Self {
        let survivor = |(name, equivalent): &(&'static str, Option<&'static str>)| Survivor {
            name,
            equivalent: *equivalent,
        };
        let survivors = found.survivors.iter().map(survivor).collect();
        Self { killed: found.killed, total: found.total, survivors }
    }
}

/// One guarantee.
#[derive(Debug, Serialize)]
pub struct GuaranteeLine {
    /// Its number in the contract.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How often it had something to judge and held.
    pub checked: u64,
    /// In which phases.
    #[serde(rename = "where")]
    pub places: Vec<&'static str>,
    /// Held or broken.
    pub verdict: GuaranteeVerdict,
}

/// The lines of all guarantees, from what was counted where.
pub fn lines(
    model: Option<(&Tally, &[u64; LIVENESS.len()])>,
    lockstep: Option<&Tally>,
    broken: &[&str],
) -> Vec<GuaranteeLine> {
    let mut lines = Vec::new();
    let mut line = |id, name, of_model: u64, of_lockstep: u64| {
        let places = [("model", of_model), ("lockstep", of_lockstep)];
        let places = places.iter().filter(|(_, count)| *count > 0).map(|(place, _)| *place).collect();
        let checked = of_model + of_lockstep;
        let verdict = match checked {
            _ if broken.contains(&name) => GuaranteeVerdict::Broken,
            0 => GuaranteeVerdict::Unchecked,
            _ => GuaranteeVerdict::Held,
        };
        lines.push(GuaranteeLine { id, name, checked, places, verdict });
    };
    for (index, guarantee) in GUARANTEES.iter().enumerate() {
        let of = |tally: &Tally| tally.times_checked(index);
        let of_model = model.map_or(0, |(tally, _)| of(tally));
        line(guarantee.id, guarantee.name, of_model, lockstep.map_or(0, of));
    }
    for (index, property) in LIVENESS.iter().enumerate() {
        line(property.id, property.name, model.map_or(0, |(_, live)| live[index]), 0);
    }
    lines
}

/// A number with separators, for people.
pub fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{:4} {:>12}  {:15}  {:9}  guarantee", "", "checked", "where", "verdict");
        for line in &self.guarantees {
            let verdict = match line.verdict {
                GuaranteeVerdict::Held => "held",
                GuaranteeVerdict::Broken => "BROKEN",
                GuaranteeVerdict::Unchecked => "unchecked",
            };
            let (checked, places) = (grouped(line.checked), line.places.join(", "));
            let _ = writeln!(text, "{:4} {checked:>12}  {places:15}  {verdict:9}  {}", line.id, line.name);
        }
        text.push('\n');
        if let Some(phase) = &self.phases.crash {
            text += &phase.table();
            text.push('\n');
        }
        self.figures(&mut text);
        text
    }

    fn figures(&self, text: &mut String) {
        if let Some(phase) = &self.phases.model {
            let (states, transitions) = (grouped(phase.states), grouped(phase.transitions));
            let (reached, cells) = (phase.coverage.reached, phase.coverage.cells);
            let _ = writeln!(
                text,
                "model     {} scopes, {states} states, {transitions} transitions, {reached} of {cells} cells, {:.1} s",
                phase.scopes, phase.seconds
            );
        }
        if let Some(phase) = &self.phases.lockstep {
            let (states, transitions) = (grouped(phase.states), grouped(phase.transitions));
            let _ = writeln!(
                text,
                "lockstep  {} scopes, {states} states, {transitions} transitions of the real store; {} sequences, {} moves on a file; {} twins, {:.1} s",
                phase.scopes,
                phase.sequences,
                grouped(phase.moves),
                phase.twins,
                phase.seconds
            );
        }
        if let Some(phase) = &self.phases.mutants {
            for (of, line) in [("model", &phase.model), ("sql", &phase.sql)] {
                let _ = writeln!(text, "mutants   {of}: {} of {} killed", line.killed, line.total);
                for survivor in &line.survivors {
                    let reason = survivor.equivalent.unwrap_or("NOT NOTICED");
                    let _ = writeln!(text, "            survives: {} ({reason})", survivor.name);
                }
            }
        }
        if let Some(phase) = &self.phases.crash {
            phase.figures(text);
        }
        if let Some(phase) = &self.phases.faults {
            phase.figures(text);
        }
        if let Some(phase) = &self.phases.schedule {
            phase.figures(text);
        }
        if let Some(phase) = &self.phases.history {
            phase.figures(text);
        }
        for complaint in &self.complaints {
            let _ = writeln!(text, "complaint {complaint}");
        }
        let verdict = if self.verdict == GuaranteeVerdict::Held { "held" } else { "BROKEN" };
        let _ = writeln!(text, "verdict   {verdict}, {:.1} s, seed {}", self.seconds, self.seed);
    }
}
