//! The report of a verification: a table for people, and JSON for machines.
//!
//! Invariant: the keys of the JSON are stable; docs/verification.md documents them.
//! Does not depend on: how a phase works.

use std::fmt::Write as _;

use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use serde::Serialize;

use crate::crash::phase::CrashFigures;
use crate::faults::FaultsFigures;
use crate::history::phase::HistoryFigures;
use crate::lockstep::LockstepFigures;
use crate::model::ModelFigures;
use crate::mutants::MutantsFigures;
use crate::plan::{GuaranteeTallies, PhaseFigures, grouped};
use crate::schedule::phase::ScheduleFigures;

/// Whether everything that was checked held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuaranteeVerdict {
    /// It held.
    Held,
    /// It is broken.
    Broken,
    /// It was never checked.
    Unchecked,
}

/// A whole verification.
#[derive(Debug, Serialize)]
pub struct VerificationReport {
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
    /// What is wrong with the search itself, in words.
    pub complaints: Vec<String>,
}

/// The phases by name; absent if not run.
#[derive(Debug, Default, Serialize)]
pub struct Phases {
    /// The model alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFigures>,
    /// The store in lockstep with the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<LockstepFigures>,
    /// Mutants of the model and of the SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutants: Option<MutantsFigures>,
    /// Power cuts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash: Option<CrashFigures>,
    /// Faults other than crashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsFigures>,
    /// Schedules of several connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleFigures>,
    /// Real clients on a real file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryFigures>,
}

/// One guarantee.
#[derive(Debug, Serialize)]
pub struct GuaranteeLine {
    /// Its number in the contract.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How often it was checked and held.
    pub checked: u64,
    /// In which phases.
    #[serde(rename = "where")]
    pub places: Vec<&'static str>,
    /// Held or broken.
    pub verdict: GuaranteeVerdict,
}

/// The lines of all guarantees, from the tallies of the phases that count them.
pub fn lines(tallies: &[(&'static str, GuaranteeTallies)], broken: Option<&str>) -> Vec<GuaranteeLine> {
    let line = |id, name, count: &dyn Fn(&GuaranteeTallies) -> u64| {
        let counts: Vec<_> = tallies.iter().map(|(phase, tallies)| (*phase, count(tallies))).collect();
        let places = counts.iter().filter(|(_, count)| *count > 0).map(|(phase, _)| *phase).collect();
        let checked = counts.iter().map(|(_, count)| count).sum();
        let verdict = match checked {
            _ if broken == Some(name) => GuaranteeVerdict::Broken,
            0 => GuaranteeVerdict::Unchecked,
            _ => GuaranteeVerdict::Held,
        };
        GuaranteeLine { id, name, checked, places, verdict }
    };
    let safety = GUARANTEES.iter().enumerate().map(|(index, guarantee)| {
        line(guarantee.id, guarantee.name, &|tallies| tallies.guarantees.times_checked(index))
    });
    let liveness = LIVENESS
        .iter()
        .enumerate()
        .map(|(index, property)| line(property.id, property.name, &|tallies| tallies.liveness[index]));
    safety.chain(liveness).collect()
}

impl Phases {
    /// The phases that were run, in their order.
    fn each(&self, mut see: impl FnMut(&dyn FiguresText)) {
        let mut figures = |figures: Option<&dyn FiguresText>| figures.into_iter().for_each(&mut see);
        figures(self.model.as_ref().map(|it| it as _));
        figures(self.lockstep.as_ref().map(|it| it as _));
        figures(self.mutants.as_ref().map(|it| it as _));
        figures(self.crash.as_ref().map(|it| it as _));
        figures(self.faults.as_ref().map(|it| it as _));
        figures(self.schedule.as_ref().map(|it| it as _));
        figures(self.history.as_ref().map(|it| it as _));
    }
}

/// The text of figures, without their JSON.
trait FiguresText {
    fn lines(&self, text: &mut String);
    fn table(&self) -> Option<String>;
}

impl<F: PhaseFigures> FiguresText for F {
    fn lines(&self, text: &mut String) {
        PhaseFigures::lines(self, text);
    }

    fn table(&self) -> Option<String> {
        PhaseFigures::table(self)
    }
}

impl VerificationReport {
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
        self.phases.each(|figures| {
            if let Some(table) = figures.table() {
                text += &table;
                text.push('\n');
            }
        });
        self.phases.each(|figures| figures.lines(&mut text));
        for complaint in &self.complaints {
            let _ = writeln!(text, "complaint {complaint}");
        }
        let verdict = if self.verdict == GuaranteeVerdict::Held { "held" } else { "BROKEN" };
        let _ = writeln!(text, "verdict   {verdict}, {:.1} s, seed {}", self.seconds, self.seed);
        text
    }
}
