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
    let report = VerificationReport {
        verdict: verdict(&complaints, failure.as_ref()),
        seconds: began.elapsed().as_secs_f64(),
        seed: plan.seed,
        scope: plan.reach.name().to_owned(),
        phases,
        guarantees: lines(&tallies, failure.as_ref().map(|failure| failure.property.as_str())),
        complaints,
    };
    Ok((report, failure))
}

/// The verdict on the whole. A complaint is about the search itself: what it did not check may be broken.
fn verdict<C>(complaints: &[String], failure: Option<&Failure<C>>) -> GuaranteeVerdict {
    let held = failure.is_none() && complaints.is_empty();
    if held { GuaranteeVerdict::Held } else { GuaranteeVerdict::Broken }
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
        let failure = outcome.failure.map(|failure| Failure {
            property: failure.property,
            explanation: failure.explanation,
            counterexample: failure.counterexample.into(),
        });
        self.failure = self.failure.take().or(failure);
        let mut figures = outcome.figures;
        figures.set_seconds(began.elapsed().as_secs_f64());
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moves::ScopeMoves;
    use crate::plan::{PhaseOutcome, Reach, Silent};

    /// A phase that returns what it was made with.
    struct Fixed {
        complaints: Vec<String>,
        failure: Option<Failure<ScopeMoves>>,
    }

    #[derive(serde::Serialize)]
    struct Seconds(f64);

    impl crate::plan::PhaseFigures for Seconds {
        fn set_seconds(&mut self, seconds: f64) {
            self.0 = seconds;
        }

        fn lines(&self, _: &mut String) {}
    }

    impl Phase for Fixed {
        type Figures = Seconds;
        type Counterexample = ScopeMoves;

        fn name(&self) -> &'static str {
            "fixed"
        }

        fn run(&self, _: &Plan, _: &mut (dyn Progress + Send)) -> Result<PhaseOutcome<Seconds, ScopeMoves>> {
            let complaints = self.complaints.clone();
            Ok(PhaseOutcome { complaints, failure: self.failure.clone(), ..PhaseOutcome::of(Seconds(-1.0)) })
        }
    }

    fn plan() -> Plan {
        Plan { reach: Reach::Quick, phases: Vec::new(), seed: 1, threads: 1, program: "none".into() }
    }

    fn failure(property: &str) -> Failure<ScopeMoves> {
        let counterexample = ScopeMoves { scope: "releases".to_owned(), mutant: None, moves: Vec::new() };
        Failure { property: property.to_owned(), explanation: String::new(), counterexample }
    }

    #[test]
    fn a_phase_keeps_its_complaints_its_failure_and_its_time() {
        let (plan, mut silent) = (plan(), Silent);
        let mut run = Verification {
            plan: &plan,
            progress: &mut silent,
            tallies: Vec::new(),
            complaints: Vec::new(),
            failure: None,
        };
        let figures = run.phase(&Fixed { complaints: vec!["pinned".to_owned()], failure: None }).unwrap();
        assert!(figures.0 >= 0.0, "the time was not set");
        assert_eq!((run.complaints.as_slice(), run.failure.is_none()), (&["pinned".to_owned()][..], true));
        let broken = Fixed { complaints: Vec::new(), failure: Some(failure("tokens_only_grow")) };
        run.phase(&broken).unwrap();
        // A later phase that finds nothing takes nothing back.
        run.phase(&Fixed { complaints: Vec::new(), failure: None }).unwrap();
        assert_eq!(run.failure.map(|failure| failure.property).as_deref(), Some("tokens_only_grow"));
        assert_eq!(run.complaints, ["pinned"], "an earlier complaint was forgotten");
    }

    #[test]
    fn a_complaint_alone_is_not_held_and_neither_is_a_failure() {
        assert_eq!(verdict::<()>(&[], None), GuaranteeVerdict::Held);
        assert_eq!(verdict::<()>(&["a control was missed".to_owned()], None), GuaranteeVerdict::Broken);
        let failure = Failure { property: String::new(), explanation: String::new(), counterexample: () };
        assert_eq!(verdict(&[], Some(&failure)), GuaranteeVerdict::Broken);
    }

    #[test]
    fn a_missed_control_is_counted_named_and_complained_of() {
        let mut controls = crate::plan::Controls::default();
        assert_eq!(controls.count("caught", Ok(())), None);
        let complaint = controls.count::<()>("missed", Err("it passed".to_owned()));
        assert!(complaint.is_some_and(|text| text.contains("missed") && text.contains("it passed")));
        assert_eq!(
            (controls.caught, controls.total, controls.missed.as_slice()),
            (1, 2, &["missed".to_owned()][..])
        );
        let mut sum = crate::plan::Controls::default();
        sum.add(controls);
        assert_eq!((sum.caught, sum.total, sum.missed.len()), (1, 2, 1));
    }
}
