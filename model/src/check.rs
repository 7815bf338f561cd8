//! Explores a scope exhaustively with stateright (feature `check`).
//!
//! Invariant: a search ends at the end of its scope. `target_state_count`, `target_max_depth` and time-outs are not
//! used, because a search that they stop early still passes. `eventually` is not used, because it misses cycles;
//! liveness is checked by bounded `always` properties.
//! Does not depend on: which rules it explores.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use crate::coverage::Tally;
use crate::invariant::{CheckResult, GUARANTEES};
use crate::liveness::LIVENESS;
use crate::scope::Scope;
use crate::world::{Move, Rules, World};

const PROPERTIES: usize = GUARANTEES.len() + LIVENESS.len();

/// A search of one scope under some rules.
#[derive(Clone)]
pub struct ScopeSearch {
    /// The scope.
    pub scope: Arc<Scope>,
    /// The rules of the bus.
    pub rules: Arc<dyn Rules + Send + Sync>,
    /// What the search exercised.
    pub tally: Arc<Tally>,
    /// For a search of shortest counterexamples: the properties of which the first one was found.
    first: Option<Arc<[AtomicBool; PROPERTIES]>>,
    /// How often each liveness property had something to check, and held.
    pub live: Arc<[AtomicU64; LIVENESS.len()]>,
}

/// The result of a search.
#[derive(Debug)]
pub struct SearchReport {
    /// The number of states, up to the order of workers.
    pub states: usize,
    /// The number of transitions.
    pub transitions: usize,
    /// The depth of the deepest state.
    pub depth: usize,
    /// The violated properties by their names, each with a path to a violation, shortest first.
    pub counterexamples: Vec<(&'static str, Vec<Move>)>,
    /// The premises that occurred, by their names in [`PREMISES`].
    pub occurred: BTreeSet<&'static str>,
}

impl ScopeSearch {
    /// A search of a scope under some rules.
    pub fn new(scope: Scope, rules: Arc<dyn Rules + Send + Sync>) -> Self {
        Self {
            scope: Arc::new(scope),
            rules,
            tally: Arc::new(Tally::new()),
            first: None,
            live: Arc::new(std::array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// Explores the whole scope.
    pub fn run(&self, threads: usize) -> SearchReport {
        let checker = self.clone().checker().threads(threads).symmetry_fn(World::representative);
        // Only the end of the scope ends this search: `AllFailures` is never satisfied before it.
        let checker = checker.finish_when(HasDiscoveries::AllFailures).spawn_dfs().join();
        self.report(&checker)
    }

    /// Explores breadth first until a property is violated, for a shortest path.
    pub fn shortest(&self) -> SearchReport {
        self.breadth_first(HasDiscoveries::AnyFailures)
    }

    /// Explores breadth first until this property is violated, for a shortest path to it.
    pub fn shortest_to(&self, name: &'static str) -> SearchReport {
        self.breadth_first(HasDiscoveries::AnyOf(BTreeSet::from([name])))
    }

    /// stateright checks only from time to time whether to finish. Until then, a later and longer counterexample
    /// replaces an earlier one. So such a search reports each property as violated once.
    fn breadth_first(&self, finish: HasDiscoveries) -> SearchReport {
        let first = Some(Arc::new(std::array::from_fn(|_| AtomicBool::new(false))));
        let search = Self { first, ..self.clone() };
        let checker = search.checker().finish_when(finish).spawn_bfs().join();
        self.report(&checker)
    }

    /// Whether stateright shall see a property as holding.
    fn seen(&self, property: usize, holds: bool) -> bool {
        holds || self.first.as_ref().is_some_and(|first| first[property].swap(true, Ordering::Relaxed))
    }

    fn report(&self, checker: &impl Checker<Self>) -> SearchReport {
        let mut counterexamples = Vec::new();
        let mut occurred = BTreeSet::new();
        let (states, transitions) = (checker.unique_state_count(), checker.state_count());
        for (name, path) in checker.discoveries() {
            if self.property(name).expectation.discovery_is_failure() {
                counterexamples.push((name, moves_of(path)));
            } else {
                occurred.insert(name);
            }
        }
        counterexamples.sort_by_key(|(name, path)| (path.len(), *name));
        SearchReport { states, transitions, depth: checker.max_depth(), counterexamples, occurred }
    }

    fn is_live(&self, index: usize, world: &World) -> bool {
        if !self.scope.liveness || !world.violations.is_empty() {
            return true;
        }
        match LIVENESS[index].check(world, self.rules.as_ref()) {
            CheckResult::Vacuous => true,
            CheckResult::Held => {
                self.live[index].fetch_add(1, Ordering::Relaxed);
                true
            }
            CheckResult::Violated(_) => false,
        }
    }
}

fn moves_of(path: Path<World, Move>) -> Vec<Move> {
    path.into_actions()
}

/// `always` for each guarantee: the last step did not violate it.
macro_rules! guarantees_hold {
    ($($index:literal)*) => {
        [$(Property::<ScopeSearch>::always(GUARANTEES[$index].name, |search: &ScopeSearch, world: &World| {
            search.seen($index, !world.violations.iter().any(|violation| violation.guarantee == $index))
        })),*]
    };
}

/// The names of the `sometimes` properties, one for each guarantee: its premise occurred.
pub const PREMISES: [&str; GUARANTEES.len()] = [
    "G1 occurs",
    "G2 occurs",
    "G3 occurs",
    "G4 occurs",
    "G5 occurs",
    "G6 occurs",
    "G7 occurs",
    "G8 occurs",
    "G9 occurs in the queue",
    "G9 occurs in the log",
    "G10 occurs",
    "G11 occurs",
    "G12 occurs",
    "G13 occurs",
    "G14 occurs",
    "G15 occurs",
];

/// `sometimes` for each guarantee: its premise occurred, so there was something to check.
macro_rules! premises_occur {
    ($($index:literal)*) => {
        [$(Property::<ScopeSearch>::sometimes(PREMISES[$index], |search: &ScopeSearch, _: &World| {
            search.tally.times_checked($index) > 0
        })),*]
    };
}

macro_rules! liveness_holds {
    ($($index:literal)*) => {
        [$(Property::<ScopeSearch>::always(LIVENESS[$index].name, |search: &ScopeSearch, world: &World| {
            search.seen(GUARANTEES.len() + $index, search.is_live($index, world))
        })),*]
    };
}

impl Model for ScopeSearch {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![self.scope.world()]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        self.scope.moves(world, moves);
    }

    fn next_state(&self, world: &World, action: Move) -> Option<World> {
        let (next, _) = world.step(&action, self.rules.as_ref(), &self.tally);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = Vec::new();
        all.extend(guarantees_hold!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15));
        all.extend(liveness_holds!(0 1 2 3));
        all.extend(premises_occur!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15));
        all
    }

    fn within_boundary(&self, world: &World) -> bool {
        self.scope.contains(world)
    }
}
