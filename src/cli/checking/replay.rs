//! `fencepost replay`.

use std::path::PathBuf;

use clap::Args;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::{explanation, mutant, scope};

use crate::checking::CannotCheck;
use crate::ended::{Ended, Failed, read};
use fencepost::internals::sqlite::Statements;
use fencepost_verify::crash::replay::replay;
use fencepost_verify::trace::Trace;
use fencepost_verify::{history, schedule, sequence, sql_mutant, threads};

/// Run a trace file again. Exit status: 0 all held this time, 1 it is broken, 2 it could not run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The trace file that `verify` wrote.
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ended, Failed> {
    let path = &arguments.file;
    let text = read(path)?;
    let trace = Trace::read(&text).map_err(|source| CannotCheck::Trace { path: path.clone(), source })?;
    if let Some(power) = &trace.head.cut {
        let replayed = replay(&power.case, &power.cut).map_err(CannotCheck::Replay)?;
        print!("{}", replayed.story);
        return Ok(if replayed.wrong.is_some() { Ended::Broken } else { Ended::Held });
    }
    if let Some(scheduled) = &trace.head.schedule {
        let replayed =
            schedule::replay::replay(&scheduled.case, &scheduled.choices).map_err(CannotCheck::Replay)?;
        print!("{}", replayed.story);
        return Ok(if replayed.wrong.is_some() { Ended::Broken } else { Ended::Held });
    }
    if let Some(choices) = &trace.head.threads {
        let searched = threads::replay(&trace.head.scope, None, choices)?;
        return Ok(match searched.broken {
            Some(broken) => {
                let (why, promise) = (&broken.wrong.why, broken.wrong.promise);
                println!("{}\nfound: {why}\nbroken: {promise}", broken.story);
                Ended::Broken
            }
            None => {
                println!("held: {}", trace.head.scope);
                Ended::Held
            }
        });
    }
    if let Some(history) = &trace.head.history {
        let replayed = history::replay::replay(history);
        print!("{}", replayed.story);
        return Ok(if replayed.opinion.refused().is_empty() { Ended::Held } else { Ended::Broken });
    }
    let name = &trace.head.scope;
    let scope = scope::by_name(name).ok_or_else(|| CannotCheck::UnknownScope(name.clone()))?;
    let mut sql = Statements::standard();
    if let Some(name) = &trace.head.mutant {
        let unknown = || CannotCheck::UnknownMutant(name.clone());
        if let Some(name) = name.strip_prefix("model:") {
            let mutant = mutant::by_name(name).ok_or_else(unknown)?;
            let told = explanation::explain(&scope, &trace.moves, &mutant);
            print!("{told}");
            return Ok(if told.contains("broken: ") { Ended::Broken } else { Ended::Held });
        }
        let mutant = name.strip_prefix("sql:").and_then(sql_mutant::by_name).ok_or_else(unknown)?;
        sql = mutant.statements().ok_or_else(unknown)?;
    }
    let (told, wrong) = sequence::replay(&scope, &sql, &trace.moves)?;
    print!("{told}");
    let Some(wrong) = wrong else {
        println!("\nheld: {} moves, and the store and the model agree", trace.moves.len());
        return Ok(Ended::Held);
    };
    let id = GUARANTEES.iter().find(|guarantee| guarantee.name == wrong.property).map(|found| found.id);
    println!(
        "\nbroken: {}{}\n{}",
        id.map(|id| format!("{id} ")).unwrap_or_default(),
        wrong.property,
        wrong.why
    );
    Ok(Ended::Broken)
}
