//! A verification as a whole: its phases one after the other, up to the first failure.
//!
//! Invariant: a verdict is `held` only if no phase failed and none complained.
//! Does not depend on: what a phase does, and how progress is shown.

use std::time::Instant;

use crate::counterexample::Counterexample;
use crate::crash::phase::CrashPhase;
use crate::faults::{self, FaultsPhase};
use crate::history::phase::HistoryPhase;
use crate::lockstep::LockstepPhase;
use crate::model::ModelPhase;
use crate::mutants::MutantsPhase;
use crate::plan::{Failure, GuaranteeTallies, Phase, PhaseFigures as _, PhaseId, Plan, Progress};
use crate::report::{GuaranteeVerdict, Phases, VerificationReport, lines};
use crate::schedule::phase::SchedulePhase;
use fencepost::error::Result;

/// Runs a plan.
///
/// # Errors
/// If it could not be run at all: no temporary directory, no memory for a database.
pub fn run(
    plan: &Plan,
    progress: &mut (dyn Progress + Send),
) -> Result<(VerificationReport, Option<Failure<Counterexample>>)> {
    // The allocator of SQLite is chosen before its first use.
    let _ = faults::prepare();
    let began = Instant::now();
    let mut run = Verification { plan, progress, tallies: Vec::new(), complaints: Vec::new(), failure: None };
    let mut phases = Phases::default();
    for phase in &plan.phases {
        match phase {
            PhaseId::Model => phases.model = Some(run.phase(&ModelPhase)?),
            PhaseId::Lockstep => phases.lockstep = Some(run.phase(&LockstepPhase)?),
            PhaseId::Mutants => phases.mutants = Some(run.phase(&MutantsPhase)?),
            PhaseId::Crash => phases.crash = Some(run.phase(&CrashPhase)?),
            PhaseId::Faults => phases.faults = Some(run.phase(&FaultsPhase)?),
            PhaseId::Schedule => phases.schedule = Some(run.phase(&SchedulePhase)?),
            PhaseId::History => phases.history = Some(run.phase(&HistoryPhase)?),
        }
        if run.failure.is_some() {
            break;
        }
    }
    let Verification { tallies, complaints, failure, .. } = run;
    let held = failure.is_none() && complaints.is_empty();
    let report = VerificationReport {
        verdict: if held { GuaranteeVerdict::Held } else { GuaranteeVerdict::Broken },
        seconds: began.elapsed().as_secs_f64(),
        seed: plan.seed,
        scope: plan.reach.name().to_owned(),
        phases,
        guarantees: lines(&tallies, failure.as_ref().map(|failure| failure.property.as_str())),
        complaints,
    };
    Ok((report, failure))
}

struct Verification<'a> {
    plan: &'a Plan,
    progress: &'a mut (dyn Progress + Send),
    tallies: Vec<(&'static str, GuaranteeTallies)>,
    complaints: Vec<String>,
    failure: Option<Failure<Counterexample>>,
}

impl Verification<'_> {
    /// Runs a phase, keeps what it found, and returns its figures.
    fn phase<P>(&mut self, phase: &P) -> Result<P::Figures>
    where
        P: Phase,
        P::Counterexample: Into<Counterexample>,
    {
        let began = Instant::now();
        let outcome = phase.run(self.plan, &mut *self.progress)?;
        self.tallies.extend(outcome.tallies.map(|tallies| (phase.name(), tallies)));
        self.complaints.extend(outcome.complaints);
        self.failure = outcome.failure.map(|failure| Failure {
            property: failure.property,
            explanation: failure.explanation,
            counterexample: failure.counterexample.into(),
        });
        let mut figures = outcome.figures;
        figures.set_seconds(began.elapsed().as_secs_f64());
        Ok(figures)
    }
}
