//! Exhaustive checking of a scope by stateright (feature `check`).
//!
//! `target_state_count`, `target_max_depth` and time-outs are not used: each would let a search that stopped early
//! pass. Nor is `eventually`, which misses cycles: liveness is checked as bounded `always` properties (see
//! `liveness`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use crate::coverage::Tally;
use crate::invariant::GUARANTEES;
use crate::liveness::{LIVENESS, Liveness};
use crate::scope::Scope;
use crate::world::{Move, Rules, World};

const PROPERTIES: usize = GUARANTEES.len() + LIVENESS.len();

/// A scope under some rules, as stateright explores it.
#[derive(Clone)]
pub struct Search {
    /// What is explored.
    pub scope: Arc<Scope>,
    /// The rules that the bus plays by.
    pub rules: Arc<dyn Rules + Send + Sync>,
    /// What was exercised.
    pub tally: Arc<Tally>,
    /// The properties of which the first counterexample was found already, for a search of the shortest.
    first: Option<Arc<[AtomicBool; PROPERTIES]>>,
    /// How often each liveness property was checked and had something to judge.
    pub live: Arc<[AtomicU64; LIVENESS.len()]>,
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// States, up to the order of workers.
    pub states: usize,
    /// Transitions.
    pub transitions: usize,
    /// The depth of the deepest state.
    pub depth: usize,
    /// Broken guarantees by their names, each with a path to it.
    pub broken: Vec<(&'static str, Vec<Move>)>,
    /// Guarantees of which an example was found: their premises occurred.
    pub occurred: BTreeSet<&'static str>,
}

impl Search {
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

    /// Explores all of the scope.
    pub fn run(&self, threads: usize) -> Found {
        let checker = self.clone().checker().threads(threads).symmetry_fn(World::representative);
        // Nothing but the end of the scope ends this search: an empty set of failures is never complete.
        let checker = checker.finish_when(HasDiscoveries::AllFailures).spawn_dfs().join();
        self.found(&checker)
    }

    /// Explores breadth first until something is broken, for a shortest path.
    pub fn shortest(&self) -> Found {
        self.breadth_first(HasDiscoveries::AnyFailures)
    }

    /// Explores breadth first until this one is broken, for a shortest path to it.
    pub fn shortest_to(&self, name: &'static str) -> Found {
        self.breadth_first(HasDiscoveries::AnyOf(BTreeSet::from([name])))
    }

    /// stateright looks whether to finish only now and then, and until then a later counterexample takes the place
    /// of an earlier, shorter one. So a property of such a search is seen broken once.
    fn breadth_first(&self, finish: HasDiscoveries) -> Found {
        let first = Some(Arc::new(std::array::from_fn(|_| AtomicBool::new(false))));
        let search = Self { first, ..self.clone() };
        let checker = search.checker().finish_when(finish).spawn_bfs().join();
        self.found(&checker)
    }

    /// Whether a property is to be seen as holding.
    fn seen(&self, property: usize, holds: bool) -> bool {
        holds || self.first.as_ref().is_some_and(|first| first[property].swap(true, Ordering::Relaxed))
    }

    fn found(&self, checker: &impl Checker<Self>) -> Found {
        let mut broken = Vec::new();
        let mut occurred = BTreeSet::new();
        let (states, transitions) = (checker.unique_state_count(), checker.state_count());
        for (name, path) in checker.discoveries() {
            if self.property(name).expectation.discovery_is_failure() {
                broken.push((name, moves_of(path)));
            } else {
                occurred.insert(name);
            }
        }
        broken.sort_by_key(|(name, path)| (path.len(), *name));
        Found { states, transitions, depth: checker.max_depth(), broken, occurred }
    }

    fn is_live(&self, index: usize, world: &World) -> bool {
        if !self.scope.liveness || !world.broken.is_empty() {
            return true;
        }
        match LIVENESS[index].check(world, self.rules.as_ref()) {
            Liveness::Vacuous => true,
            Liveness::Held => {
                self.live[index].fetch_add(1, Ordering::Relaxed);
                true
            }
            Liveness::Broken(_) => false,
        }
    }
}

fn moves_of(path: Path<World, Move>) -> Vec<Move> {
    path.into_actions()
}

/// `always` for each guarantee: it is not among those that the last step broke.
macro_rules! guarantees_hold {
    ($($index:literal)*) => {
        [$(Property::<Search>::always(GUARANTEES[$index].name, |search: &Search, world: &World| {
            search.seen($index, !world.broken.iter().any(|broken| broken.guarantee == $index))
        })),*]
    };
}

/// The names of the `sometimes` properties, one beside each guarantee: its premise occurred.
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

/// `sometimes` for each guarantee: its premise occurred, so there was something to judge.
macro_rules! premises_occur {
    ($($index:literal)*) => {
        [$(Property::<Search>::sometimes(PREMISES[$index], |search: &Search, _: &World| {
            search.tally.times_checked($index) > 0
        })),*]
    };
}

macro_rules! liveness_holds {
    ($($index:literal)*) => {
        [$(Property::<Search>::always(LIVENESS[$index].name, |search: &Search, world: &World| {
            search.seen(GUARANTEES.len() + $index, search.is_live($index, world))
        })),*]
    };
}

impl Model for Search {
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
