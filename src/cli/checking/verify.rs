//! `fencepost verify`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::ended::{Ended, Failed, write};
use fencepost_verify::counterexample::Counterexample;
use fencepost_verify::history::task::run_task;
use fencepost_verify::plan::{Failure, PhaseId, Plan, Progress, Reach};
use fencepost_verify::report::GuaranteeVerdict;
use fencepost_verify::run::run as verify;
use fencepost_verify::trace::Trace;

/// Check every guarantee: the model, the store in lockstep with it, mutants, power cuts, faults, schedules, and real
/// processes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How much to check.
    #[arg(long, value_enum, default_value_t = ScopeName::Standard)]
    scope: ScopeName,
    /// Run only these phases, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<PhaseName>,
    /// The seed of every random choice. The same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The number of threads. Default: one for each processor.
    #[arg(long)]
    threads: Option<std::num::NonZeroUsize>,
    /// The directory for the trace of a counterexample.
    #[arg(long, default_value = ".")]
    traces: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeName {
    /// Some scopes, and power cuts in single operations: less than a minute.
    Quick,
    /// All scopes, power cuts in short sequences, and pairs of connections in every order: about six minutes on two cores.
    Standard,
    /// All scopes with wider limits: no time limit.
    Deep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PhaseName {
    /// The model alone, searched exhaustively.
    Model,
    /// The store compared with the model: exhaustively, and in long random sequences.
    Lockstep,
    /// Known mutants: a check must find each of them.
    Mutants,
    /// A power cut at every I/O event, and every crash image that the disk may then hold.
    Crash,
    /// Each disk call and each allocation fails once; syncs fail; bits flip.
    Faults,
    /// A few connections in every order, with power cuts in some orders.
    Schedule,
    /// Processes and threads on one real file are killed and stalled, and their recorded answers are checked.
    History,
}

const PHASES: [(PhaseName, PhaseId); 7] = [
    (PhaseName::Model, PhaseId::Model),
    (PhaseName::Lockstep, PhaseId::Lockstep),
    (PhaseName::Mutants, PhaseId::Mutants),
    (PhaseName::Crash, PhaseId::Crash),
    (PhaseName::Faults, PhaseId::Faults),
    (PhaseName::Schedule, PhaseId::Schedule),
    (PhaseName::History, PhaseId::History),
];

pub(crate) fn run(arguments: &Arguments) -> Result<Ended, Failed> {
    let wanted = |name: &PhaseName| arguments.only.is_empty() || arguments.only.contains(name);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let plan = Plan {
        reach: match arguments.scope {
            ScopeName::Quick => Reach::Quick,
            ScopeName::Standard => Reach::Standard,
            ScopeName::Deep => Reach::Deep,
        },
        phases: PHASES.iter().filter(|(name, _)| wanted(name)).map(|(_, phase)| *phase).collect(),
        seed: arguments.seed,
        threads: arguments.threads.map_or(processors, std::num::NonZero::get),
        program: std::env::current_exe().map_err(Failed::System)?,
    };
    let mut shown = Shown::new();
    let (report, failure) = verify(&plan, &mut shown)?;
    shown.end();
    if let Some(path) = &arguments.json {
        write(path, &(serde_json::to_string_pretty(&report).map_err(Failed::Json)? + "\n"))?;
    }
    if let Some(failure) = &failure {
        tell(failure, &arguments.traces)?;
    }
    print!("{}", report.table());
    let held = report.verdict == GuaranteeVerdict::Held;
    Ok(if held { Ended::Held } else { Ended::Broken })
}

/// Plays the part of a client that is told on standard input.
pub(crate) fn play_client() -> Result<Ended, Failed> {
    let told = std::io::read_to_string(std::io::stdin()).map_err(Failed::System)?;
    run_task(&serde_json::from_str(&told).map_err(Failed::Json)?)?;
    Ok(Ended::Held)
}

/// Prints a counterexample, and writes the trace that replays it.
fn tell(failure: &Failure<Counterexample>, directory: &std::path::Path) -> Result<(), Failed> {
    println!("\n{}:\n\n{}", failure.counterexample.title(), failure.explanation.trim_end());
    let trace = Trace::new(&failure.property, failure.counterexample.clone());
    let path = directory.join(format!("fencepost-{}.trace", failure.property));
    write(&path, &trace.write().map_err(Failed::Json)?)?;
    println!("\nto see it again: fencepost replay {}\n", path.display());
    Ok(())
}

/// Bars on a terminal, plain lines elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    phase: String,
    began: Instant,
}

impl Shown {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:9} {bar:30} {pos:>3}/{len:3} {elapsed} {msg}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        if let Some(bar) = &bar {
            bar.enable_steady_tick(std::time::Duration::from_millis(200));
        }
        Self { bar, phase: String::new(), began: Instant::now() }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Shown {
    fn at(&mut self, phase: &str, part: &str, done: usize, total: usize) {
        match &self.bar {
            Some(bar) => {
                if self.phase != phase {
                    bar.reset_elapsed();
                }
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_prefix(phase.to_owned());
                bar.set_message(part.to_owned());
            }
            None if !matches!(phase, "mutants" | "crash" | "faults" | "history")
                || done.is_multiple_of(10) =>
            {
                let seconds = self.began.elapsed().as_secs_f64();
                println!("{seconds:6.1} s  {phase}  {:3} of {total}  {part}", done + 1);
            }
            None => {}
        }
        phase.clone_into(&mut self.phase);
    }
}
