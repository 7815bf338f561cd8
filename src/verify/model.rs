//! The phase `model`: every named scope, explored to its end on the model alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fencepost_model::check::Search;
use fencepost_model::coverage::{Tally, difference};
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::scope::Scope;
use fencepost_model::story;
use fencepost_model::world::{Contract, Move};

use crate::pool;

/// A guarantee that was found broken, with how to see it.
#[derive(Clone, Debug)]
pub struct ModelCounterexample {
    /// The name of the guarantee, or what else is wrong.
    pub property: &'static str,
    /// The scope.
    pub scope: &'static str,
    /// The moves, fewest first found.
    pub moves: Vec<Move>,
    /// The story of it.
    pub story: String,
}

/// What the phase found.
#[derive(Debug)]
pub struct ModelFindings {
    /// Each scope with its states and transitions.
    pub scopes: Vec<(&'static str, usize, usize)>,
    /// How often each guarantee had something to judge.
    pub tally: Tally,
    /// How often each liveness property had something to judge.
    pub live: [u64; LIVENESS.len()],
    /// What is broken.
    pub broken: Option<ModelCounterexample>,
    /// What is wrong with the search itself: pinned numbers, cells, premises.
    pub complaints: Vec<String>,
}

/// Explores these scopes. `complete` says that they are all of them, so that every cell must be reached.
pub fn run(
    scopes: &[Scope],
    complete: bool,
    threads: usize,
    mut progress: impl FnMut(&str) + Send,
) -> ModelFindings {
    let mut found = ModelFindings {
        scopes: Vec::new(),
        tally: Tally::new(),
        live: [0; LIVENESS.len()],
        broken: None,
        complaints: Vec::new(),
    };
    let runs = pool::map(
        threads,
        scopes,
        |scope| progress(scope.name),
        |scope| {
            let search = Search::new(scope.clone(), Arc::new(Contract));
            let run = search.run(1);
            (search, run)
        },
    );
    for (scope, (search, run)) in scopes.iter().zip(runs) {
        let (name, pinned) = (scope.name, scope.states);
        found.scopes.push((name, run.states, run.transitions));
        found.tally.add(&search.tally);
        for (sum, count) in found.live.iter_mut().zip(search.live.iter()) {
            *sum += count.load(Ordering::Relaxed);
        }
        if !run.broken.is_empty() {
            let shorter = shortest(&search, name);
            let length =
                |broken: &Option<ModelCounterexample>| broken.as_ref().map(|broken| broken.moves.len());
            if found.broken.is_none() || length(&shorter) < length(&found.broken) {
                found.broken = shorter;
            }
        } else if pinned != 0 && run.states != pinned {
            found.complaints.push(format!("scope {name} has {} states, and {pinned} are pinned", run.states));
        }
    }
    if complete && found.broken.is_none() {
        complain(&mut found);
    }
    found
}

fn shortest(search: &Search, scope: &'static str) -> Option<ModelCounterexample> {
    let (property, moves) = search.shortest().broken.into_iter().next()?;
    let story = story::tell(&search.scope, &moves, &Contract);
    Some(ModelCounterexample { property, scope, moves, story })
}

fn complain(found: &mut ModelFindings) {
    let (missing, unknown) = difference(&found.tally.cells());
    found.complaints.extend(missing.into_iter().map(|cell| format!("no scope reaches the cell {cell}")));
    found.complaints.extend(unknown.into_iter().map(|cell| format!("a cell that nobody reviewed: {cell}")));
    for (index, guarantee) in GUARANTEES.iter().enumerate() {
        if found.tally.times_checked(index) == 0 {
            found.complaints.push(format!("{} never had anything to judge", guarantee.name));
        }
    }
    for (property, count) in LIVENESS.iter().zip(found.live) {
        if count == 0 {
            found.complaints.push(format!("{} never had anything to judge", property.name));
        }
    }
}
