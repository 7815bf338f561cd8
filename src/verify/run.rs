//! A verification as a whole: its phases one after the other, up to the first counterexample.
//!
//! Further phases join here: a phase is a function that adds its figures to the report, and a counterexample if it
//! finds one. What is printed on the way is the caller's business.

use std::time::Instant;

use fencepost_model::coverage::Tally;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::scope::{self, Scope};
use fencepost_model::world::Move;

use crate::lockstep::{Lockstep, LockstepResult};
use crate::plan::{PhaseId, Plan, Progress, Reach};
use crate::report::{
    Coverage, GuaranteeVerdict, LockstepFigures, ModelFigures, MutantsFigures, Phases, Report, lines,
};
use crate::system::at_stake;
use crate::trace::Trace;
use crate::{crash, faults, history, model, mutants, pool, schedule, sequence};
use fencepost::error::Result;
use fencepost::internals::sqlite::Statements;

/// The scopes of the quick run: one for each part of the contract.
const QUICK: &[&str] = &[
    "releases",
    "aside",
    "one-damaged-event",
    "groups",
    "names-added",
    "events-aside",
    "entry-settlements",
    "seeking",
    "transactions",
    "answers-lost",
];

/// Scopes that are too large for the lockstep but in the deep run, with the tokens that they have elsewhere, and the
/// pinned number of their states with those.
const NARROWED: &[(&str, u64, usize)] = &[
    ("releases", 3, 3_151),
    ("leases", 2, 12_376),
    ("batches", 3, 16_539),
    ("ids", 1, 11_941),
    ("damaged-commands", 1, 8_489),
    // No fewer tokens: what is left of a damaged row, which a repair tells, is here whatever columns really are left.
    ("repaired-commands", 3, 3_573),
    ("groups", 2, 4_446),
    ("batches-of-events", 2, 11_414),
    ("names-added", 1, 1_432),
    ("events-aside", 1, 222),
    ("entries", 2, 8_703),
    ("entry-settlements", 3, 6_688),
    ("two-entries", 3, 11_996),
    ("damaged-events", 1, 5_237),
    ("exhausted-events", 3, 9_314),
    ("pruning", 1, 5_016),
    ("seeking", 1, 653),
    ("epochs", 1, 9_405),
    ("falling-back", 1, 12_271),
    ("answers-lost", 2, 1_474),
];

fn narrow(scope: &mut Scope) {
    if let Some((_, tokens, states)) = NARROWED.iter().find(|(name, ..)| *name == scope.name) {
        scope.limits.tokens = *tokens;
        scope.states = *states;
    }
}

/// So that no thread is left alone with a large one at the end.
fn largest_first(scopes: &mut [Scope]) {
    scopes.sort_by_key(|scope| std::cmp::Reverse(scope.states));
}

fn scopes(reach: Reach) -> Vec<Scope> {
    let mut all = scope::all();
    match reach {
        Reach::Quick => all.retain(|scope| QUICK.contains(&scope.name)),
        Reach::Standard => {}
        Reach::Deep => all.iter_mut().for_each(widen),
    }
    all
}

/// A wider scope has no pinned size.
fn widen(scope: &mut Scope) {
    scope.limits.tokens += 1;
    scope.limits.records += 1;
    scope.clock_max += 1;
    scope.states = 0;
}

/// Runs a plan.
///
/// # Errors
/// If it could not be run at all: no temporary directory, no memory for a database.
pub fn run(plan: &Plan, progress: &mut (dyn Progress + Send)) -> Result<(Report, Option<Failure>)> {
    // Before anything uses SQLite.
    let _ = faults::prepare();
    let began = Instant::now();
    let mut run = Verification { plan, phases: Phases::default(), complaints: Vec::new(), failure: None };
    let mut of_model: Option<(Tally, [u64; LIVENESS.len()])> = None;
    let mut of_lockstep: Option<Tally> = None;
    for phase in &plan.phases {
        if run.failure.is_some() {
            break;
        }
        match phase {
            PhaseId::Model => of_model = Some(run.model(progress)),
            PhaseId::Lockstep => of_lockstep = Some(run.lockstep(progress)?),
            PhaseId::Mutants => run.mutants(progress),
            PhaseId::Crash => run.crash(progress)?,
            PhaseId::Faults => run.faults(progress)?,
            PhaseId::Schedule => run.schedule(progress)?,
            PhaseId::History => run.history(progress)?,
        }
    }
    let broken: Vec<&str> = run.failure.iter().map(|failure| failure.property.as_str()).collect();
    let model = of_model.as_ref().map(|(tally, live)| (tally, live));
    let guarantees = lines(model, of_lockstep.as_ref(), &broken);
    let held = run.failure.is_none() && run.complaints.is_empty();
    let report = Report {
        verdict: if held { GuaranteeVerdict::Held } else { GuaranteeVerdict::Broken },
        seconds: began.elapsed().as_secs_f64(),
        seed: plan.seed,
        scope: format!("{:?}", plan.reach).to_lowercase(),
        phases: run.phases,
        guarantees,
        complaints: run.complaints,
    };
    Ok((report, run.failure))
}

/// A counterexample, ready to be told and replayed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is broken.
    pub property: String,
    /// The story of it.
    pub story: String,
    /// The trace that replays it, if it is one that can be written down; otherwise the same seed finds it again.
    pub trace: Option<Trace>,
}

struct Verification<'a> {
    plan: &'a Plan,
    phases: Phases,
    complaints: Vec<String>,
    failure: Option<Failure>,
}

impl Verification<'_> {
    fn model(&mut self, progress: &mut (dyn Progress + Send)) -> (Tally, [u64; LIVENESS.len()]) {
        let began = Instant::now();
        let mut scopes = scopes(self.plan.reach);
        largest_first(&mut scopes);
        let (total, mut done) = (scopes.len(), 0);
        let complete = self.plan.reach == Reach::Standard;
        let found = model::run(&scopes, complete, self.plan.threads, |part| {
            progress.at("model", part, done, total);
            done += 1;
        });
        self.complaints.extend(found.complaints);
        if let Some(broken) = found.broken {
            let trace = Trace::new(broken.scope, None, broken.property, broken.moves);
            let (property, story) = (broken.property.to_owned(), broken.story);
            self.failure = Some(Failure { property, story, trace: Some(trace) });
        }
        self.phases.model = Some(ModelFigures {
            scopes: found.scopes.len(),
            states: found.scopes.iter().map(|(_, states, _)| states).sum(),
            transitions: found.scopes.iter().map(|(_, _, transitions)| transitions).sum(),
            coverage: Coverage::of(&found.tally),
            seconds: began.elapsed().as_secs_f64(),
        });
        (found.tally, found.live)
    }

    fn lockstep(&mut self, progress: &mut (dyn Progress + Send)) -> Result<Tally> {
        let began = Instant::now();
        let tally = Tally::new();
        let sql = Statements::standard();
        let mut figures = LockstepFigures {
            scopes: 0,
            states: 0,
            transitions: 0,
            sequences: 0,
            moves: 0,
            twins: 0,
            seconds: 0.0,
        };
        let mut scopes = scopes(self.plan.reach);
        if self.plan.reach != Reach::Deep {
            scopes.iter_mut().for_each(narrow);
        }
        largest_first(&mut scopes);
        let (total, mut done) = (scopes.len() + 1, 0);
        let begin = |scope: &Scope| {
            progress.at("lockstep", scope.name, done, total);
            done += 1;
        };
        let work = |scope: &Scope| {
            let search = Lockstep::new(scope.clone(), sql.clone());
            let found = search.run();
            let agree = search.images_agree();
            (search, found, agree)
        };
        let runs = pool::map(self.plan.threads, &scopes, begin, work);
        for (scope, (search, found, agree)) in scopes.iter().zip(runs) {
            figures.scopes += 1;
            figures.states += found.states;
            figures.transitions += found.transitions;
            tally.add(search.tally());
            self.lockstep_scope(scope, &sql, &found, agree, &mut figures)?;
        }
        if self.failure.is_none() {
            progress.at("lockstep", "sequences on a file", total - 1, total);
            self.sequences(&sql, &tally, &mut figures)?;
        }
        figures.seconds = began.elapsed().as_secs_f64();
        self.phases.lockstep = Some(figures);
        Ok(tally)
    }

    /// Takes note of what the search of one scope found. Of several failures the shortest is kept.
    fn lockstep_scope(
        &mut self,
        scope: &Scope,
        sql: &Statements,
        found: &LockstepResult,
        agree: std::result::Result<usize, String>,
        figures: &mut LockstepFigures,
    ) -> Result<()> {
        let name = scope.name;
        if !found.broken.is_empty() {
            let shortest = Lockstep::new(scope.clone(), sql.clone()).shortest();
            let known = self.failure.as_ref().and_then(|failure| failure.trace.as_ref());
            let known = known.map(|trace| trace.moves.len());
            if let Some((property, moves)) = shortest.broken.into_iter().next()
                && known.is_none_or(|known| moves.len() < known)
            {
                let difference = shortest.difference.unwrap_or_default();
                self.failure = Some(failure(scope, sql, property, moves, &difference)?);
            }
            return Ok(());
        }
        if scope.states != 0 && found.states != scope.states {
            let (states, pinned) = (found.states, scope.states);
            self.complaints.push(format!("lockstep of {name} has {states} states, and {pinned} are pinned"));
        }
        match agree {
            Ok(twins) => figures.twins += twins,
            Err(difference) => {
                self.complaints.push(format!("two images of one state of {name} differ: {difference}"));
            }
        }
        Ok(())
    }

    fn sequences(&mut self, sql: &Statements, tally: &Tally, figures: &mut LockstepFigures) -> Result<()> {
        let (sequences, steps) = match self.plan.reach {
            Reach::Quick => (8, 200),
            Reach::Standard => (32, 400),
            Reach::Deep => (2_000, 1_000),
        };
        let found = sequence::run(sql, self.plan.seed, sequences, steps, tally)?;
        figures.sequences = found.sequences;
        figures.moves = found.moves;
        if let (Some((moves, wrong)), Some(scope)) = (found.failure, scope::by_name("wide")) {
            self.failure = Some(failure(&scope, sql, wrong.property, moves, &wrong.why)?);
        }
        Ok(())
    }

    fn crash(&mut self, progress: &mut (dyn Progress + Send)) -> Result<()> {
        let mut done = 0;
        let found = crash::phase::run(self.plan.reach, self.plan.seed, self.plan.threads, |part, total| {
            progress.at("crash", part, done, total);
            done += 1;
        })?;
        self.phases.crash = Some(found.figures);
        self.complaints.extend(found.complaints);
        if let Some(broken) = found.broken {
            let property = broken.wrong.property.to_owned();
            let story = match crash::replay::replay(&broken.case, &broken.cut) {
                Ok(replayed) => replayed.story,
                Err(why) => format!("it cannot be done again: {why}"),
            };
            let trace = Trace::of_cut(&property, broken.case, broken.cut);
            self.failure = Some(Failure { property, story, trace: Some(trace) });
        }
        Ok(())
    }

    fn faults(&mut self, progress: &mut (dyn Progress + Send)) -> Result<()> {
        let mut done = 0;
        let found = faults::run(self.plan.reach, self.plan.seed, self.plan.threads, |part, total| {
            progress.at("faults", part, done, total);
            done += 1;
        })?;
        self.phases.faults = Some(found.figures);
        self.complaints.extend(found.complaints);
        if let Some(broken) = found.broken {
            let story = format!("{}\nfound: {}\nbroken: {}\n", broken.story, broken.why, broken.property);
            self.failure = Some(Failure { property: broken.property.to_owned(), story, trace: None });
        }
        Ok(())
    }

    fn schedule(&mut self, progress: &mut (dyn Progress + Send)) -> Result<()> {
        let (mut done, mut of) = (0, 0);
        let found =
            schedule::phase::run(self.plan.reach, self.plan.seed, self.plan.threads, |part, total| {
                // Connections come first, and then the threads of a bus: each is a list of its own.
                if total != of {
                    (done, of) = (0, total);
                }
                progress.at("schedule", part, done, total);
                done += 1;
            })?;
        self.phases.schedule = Some(found.figures);
        self.complaints.extend(found.complaints);
        if let Some(broken) = found.broken {
            let property = broken.wrong.property.to_owned();
            let story = match schedule::replay::replay(&broken.case, &broken.choices) {
                Ok(replayed) => replayed.story,
                Err(why) => format!("it cannot be done again: {why}"),
            };
            let trace = Trace::of_schedule(&property, broken.case, broken.choices);
            self.failure = Some(Failure { property, story, trace: Some(trace) });
        } else if let Some(broken) = found.broken_by_threads {
            let property = broken.wrong.promise.to_owned();
            let story = format!("{}\nfound: {}\nbroken: {property}\n", broken.story, broken.wrong.why);
            let trace = Trace::of_threads(&property, broken.scenario, broken.choices);
            self.failure = Some(Failure { property, story, trace: Some(trace) });
        }
        Ok(())
    }

    fn history(&mut self, progress: &mut (dyn Progress + Send)) -> Result<()> {
        let Plan { reach, seed, threads, program, .. } = self.plan;
        let mut done = 0;
        let found = history::phase::run(*reach, *seed, *threads, program, |part, total| {
            progress.at("history", part, done, total);
            done += 1;
        })?;
        self.phases.history = Some(found.figures);
        self.complaints.extend(found.complaints);
        if let Some(broken) = found.broken {
            let property = broken.refused.judge.to_owned();
            let story = history::replay::replay(&broken.history).story;
            let trace = Trace::of_history(&property, broken.history);
            self.failure = Some(Failure { property, story, trace: Some(trace) });
        }
        Ok(())
    }

    fn mutants(&mut self, progress: &mut (dyn Progress + Send)) {
        let began = Instant::now();
        let (of_model, of_sql) = (fencepost_model::mutant::all().len(), crate::sql_mutant::ALL.len());
        let total = of_model + of_sql;
        let mut done = 0;
        let mut at = |part: &str| {
            progress.at("mutants", part, done, total);
            done += 1;
        };
        let model = mutants::of_model(self.plan.threads, &mut at);
        let sql = mutants::of_sql(self.plan.threads, &mut at);
        for (of, found) in [("model", &model), ("SQL", &sql)] {
            for (name, _) in found.survivors.iter().filter(|(_, reason)| reason.is_none()) {
                self.complaints.push(format!("nothing noticed the mutant of the {of} {name}"));
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        self.phases.mutants = Some(MutantsFigures { model: (&model).into(), sql: (&sql).into(), seconds });
    }
}

/// A failure of the lockstep, told by running it again on a file.
fn failure(
    scope: &Scope,
    sql: &Statements,
    property: &str,
    moves: Vec<Move>,
    difference: &str,
) -> Result<Failure> {
    let (mut story, wrong) = sequence::replay(scope, sql, &moves)?;
    story.push('\n');
    let guarantee = GUARANTEES.iter().find(|guarantee| guarantee.name == property);
    match guarantee {
        Some(guarantee) => story += &format!("broken: {} {}\n", guarantee.id, guarantee.name),
        None => story += &format!("broken: {property}, at stake: {}\n", at_stake(moves.last())),
    }
    story += wrong.as_ref().map_or(difference, |wrong| &wrong.why);
    let trace = Trace::new(scope.name, None, property, moves);
    Ok(Failure { property: property.to_owned(), story, trace: Some(trace) })
}
