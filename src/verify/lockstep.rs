//! The exhaustive lockstep: stateright over pairs of a model world and an image of the real database.
//!
//! Each transition is done by the model and by the store's own SQL, and both the reply and the whole state are
//! compared; the guarantees are checked on what the store really did. Pairs with equal worlds but different images are
//! merged; `images_agree` shows for a sample of them that all steps from both agree.
//!
//! Does not depend on: locks, the WAL and crashes. This room checks the semantics of the SQL.

mod phase;

pub use phase::{LockstepFigures, LockstepPhase};

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use fencepost_model::coverage::Tally;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::op::{Op, Reply};
use fencepost_model::scope::Scope;
use fencepost_model::state::State;
use fencepost_model::world::{Move, World};
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::system::{
    AGREES, Difference, ImageBench, Remains, StoreCall, StoreImage, call, compare, undigest,
};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::Statements;

const PROPERTIES: usize = GUARANTEES.len() + 1;

/// How many worlds with two images are kept for a closer look, at most.
const TWINS_MAX: usize = 2_000;

/// A world with the image of the store that is in it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The model's side.
    pub world: World,
    /// Where the store and the model went apart, if they did.
    pub difference: Option<Arc<Difference>>,
    image: Arc<Lazy>,
    copy: Option<Arc<Lazy>>,
}

/// An image that is made when it is needed: from its parent's, by the last call.
#[derive(Debug)]
struct Lazy {
    made: OnceLock<StoreImage>,
    parent: Option<(StoreImage, Option<StoreImage>, StoreCall)>,
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.world == other.world && self.difference == other.difference
    }
}

impl Eq for Pair {}

impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.world.hash(state);
        self.difference.hash(state);
    }
}

/// A scope, explored on the model and on the store at once.
#[derive(Clone)]
pub struct Lockstep {
    scope: Arc<Scope>,
    sql: Statements,
    tally: Arc<Tally>,
    transitions: Arc<AtomicU64>,
    first: Option<Arc<[AtomicBool; PROPERTIES]>>,
    /// A search of the shortest has seen a difference and goes no further; only the checker does not look yet.
    over: Arc<AtomicBool>,
    twins: Arc<Mutex<Vec<(World, StoreImage)>>>,
    identity: u64,
}

/// What a lockstep search found.
#[derive(Debug)]
pub struct LockstepResult {
    /// Pairs, up to the order of workers and merged images.
    pub states: usize,
    /// Transitions of the real store that were compared.
    pub transitions: u64,
    /// Broken guarantees, or [`AGREES`], each with the moves to it.
    pub broken: Vec<(&'static str, Vec<Move>)>,
    /// What the store and the model differ in, for the shortest of them.
    pub difference: Option<String>,
}

thread_local! {
    static BENCH: RefCell<Option<(u64, ImageBench)>> = const { RefCell::new(None) };
}

static IDENTITIES: AtomicU64 = AtomicU64::new(0);

impl Lockstep {
    /// A search of a scope with a store that runs these statements.
    pub fn new(scope: Scope, sql: Statements) -> Self {
        Self {
            scope: Arc::new(scope),
            sql,
            tally: Arc::new(Tally::new()),
            transitions: Arc::new(AtomicU64::new(0)),
            first: None,
            over: Arc::default(),
            twins: Arc::default(),
            identity: IDENTITIES.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// What was checked.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many transitions of the store were compared so far.
    pub fn transitions(&self) -> u64 {
        self.transitions.load(Ordering::Relaxed)
    }

    /// Explores all of the scope.
    pub fn run(&self) -> LockstepResult {
        let checker = self.clone().checker().symmetry_fn(representative);
        let checker = checker.finish_when(HasDiscoveries::AllFailures).spawn_dfs().join();
        self.found(&checker)
    }

    /// Explores breadth first until a promise is broken, for a shortest path.
    pub fn shortest(&self) -> LockstepResult {
        let first = Some(Arc::new(std::array::from_fn(|_| AtomicBool::new(false))));
        let search = Self { first, ..self.clone() };
        let checker = search.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        // From here on the paths that were found are walked again.
        self.over.store(false, Ordering::Relaxed);
        self.found(&checker)
    }

    fn found(&self, checker: &impl Checker<Self>) -> LockstepResult {
        let (states, transitions) = (checker.unique_state_count(), self.transitions());
        let mut broken = Vec::new();
        let mut difference: Option<(usize, String)> = None;
        for (name, path) in checker.discoveries() {
            let last = path.last_state().difference.as_ref().map(|difference| difference.what.clone());
            let moves = path.into_actions();
            if let Some(what) = last
                && difference.as_ref().is_none_or(|(length, _)| moves.len() < *length)
            {
                difference = Some((moves.len(), what));
            }
            broken.push((name, moves));
        }
        broken.sort_by_key(|(name, path)| (path.len(), *name == AGREES, *name));
        LockstepResult { states, transitions, broken, difference: difference.map(|(_, what)| what) }
    }

    fn with_bench<T>(&self, work: impl FnOnce(&mut ImageBench) -> Result<T>) -> Result<T> {
        BENCH.with_borrow_mut(|slot| {
            if slot.as_ref().is_none_or(|(identity, _)| *identity != self.identity) {
                *slot = Some((self.identity, ImageBench::new(&self.sql)?));
            }
            match slot {
                Some((_, bench)) => work(bench),
                None => Err(Error::Closed),
            }
        })
    }

    fn image(&self, lazy: &Lazy) -> Result<StoreImage> {
        if let Some(image) = lazy.made.get() {
            return Ok(Arc::clone(image));
        }
        let Some((image, copy, call)) = &lazy.parent else { return Err(Error::Closed) };
        let made = self.with_bench(|bench| bench.perform(image, copy.as_ref(), call))?;
        Ok(Arc::clone(lazy.made.get_or_init(|| made)))
    }

    /// One move of both sides.
    fn step(&self, pair: &Pair, action: &Move) -> Pair {
        match self.try_step(pair, action) {
            Ok(next) => next,
            Err(error) => {
                let what = format!("the store failed: {error}");
                Pair { difference: Some(Arc::new(Difference { what })), ..pair.clone() }
            }
        }
    }

    fn try_step(&self, pair: &Pair, action: &Move) -> Result<Pair> {
        let call = call(&pair.world, action);
        if let StoreCall::Nothing | StoreCall::Reopen | StoreCall::Copy = call {
            let (world, _) = pair.world.step(action, &Remains(None), &Tally::new());
            let copy = if matches!(call, StoreCall::Copy) {
                Some(Arc::clone(&pair.image))
            } else {
                pair.copy.clone()
            };
            return Ok(Pair { world, copy, ..pair.clone() });
        }
        let image = self.image(&pair.image)?;
        let copy = pair.copy.as_deref().map(|copy| self.image(copy)).transpose()?;
        self.transitions.fetch_add(1, Ordering::Relaxed);
        let mut raw = None;
        let actual = self.with_bench(|bench| {
            Ok(match &call {
                StoreCall::Operation(now, op) => {
                    bench.try_operation(&image, *now, op).map(|(reply, state)| (Some(reply), state))
                }
                StoreCall::FallBack(now, op) => bench
                    .try_operation(copy.as_ref().unwrap_or(&image), *now, op)
                    .map(|(reply, state)| (Some(reply), state)),
                StoreCall::Damage(row, wound) => {
                    bench.try_damage(&image, *row, *wound).map(|(left, state)| {
                        raw = Some(left);
                        (None, Some(state))
                    })
                }
                StoreCall::Nothing | StoreCall::Copy | StoreCall::Reopen => Err(Error::Closed),
            })
        })?;
        let rules = Remains(raw);
        let (world, reply) = pair.world.step(action, &rules, &self.tally);
        let actual = actual.map(|(reply, state)| {
            let Some(mut state) = state else { return (reply, unchanged(pair, &call)) };
            undigest(&mut state, &world.state);
            undigest(&mut state, &pair.world.state);
            (reply, state)
        });
        let difference = compare((reply.as_ref(), &world.state), &actual).map(Arc::new);
        let mut next = Pair {
            world,
            difference,
            image: Arc::new(Lazy { made: OnceLock::new(), parent: Some((image, copy, call.clone())) }),
            copy: pair.copy.clone(),
        };
        if next.difference.is_some()
            && let Ok((Some(reply), after)) = actual
        {
            self.check(pair, &mut next, &call, &reply, &after);
        }
        Ok(next)
    }

    /// Checks what the store really did, where it is not what the model does.
    fn check(&self, pair: &Pair, next: &mut Pair, call: &StoreCall, reply: &Reply, after: &State) {
        let op: &Op = match call {
            StoreCall::Operation(_, op) => op,
            StoreCall::FallBack(_, op) => op,
            _ => return,
        };
        let mut world = match call {
            StoreCall::FallBack(..) => match &pair.world.copy {
                Some(copy) => {
                    World { state: copy.0.clone(), ghost: next.world.ghost.clone(), ..pair.world.clone() }
                }
                None => return,
            },
            _ => pair.world.clone(),
        };
        let before = world.state.clone();
        world.check(&before, op, reply, after, &Remains(None), &Tally::new());
        next.world.violations = world.violations;
    }

    fn seen(&self, property: usize, holds: bool) -> bool {
        holds || self.first.as_ref().is_some_and(|first| first[property].swap(true, Ordering::Relaxed))
    }

    /// Of the pairs that were merged, takes a sample and shows that from both images all moves agree with the model.
    /// Returns how many pairs of different images were looked at.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn images_agree(&self) -> std::result::Result<usize, String> {
        let sample = self.twins.lock().map(|twins| twins.clone()).unwrap_or_default();
        let mut looked_at = 0;
        let mut images: std::collections::HashMap<World, StoreImage> = std::collections::HashMap::new();
        for (world, image) in sample {
            let Some(known) = images.get(&world) else {
                images.insert(world, image);
                continue;
            };
            if known == &image {
                continue;
            }
            looked_at += 1;
            for image in [known.clone(), image] {
                self.all_moves_agree(&world, &image)?;
            }
        }
        Ok(looked_at)
    }

    fn all_moves_agree(&self, world: &World, image: &StoreImage) -> std::result::Result<(), String> {
        let made = OnceLock::from(Arc::clone(image));
        let lazy = Arc::new(Lazy { made, parent: None });
        let pair = Pair { world: world.clone(), difference: None, image: lazy, copy: None };
        let mut moves = Vec::new();
        self.scope.moves(world, &mut moves);
        for action in moves.iter().filter(|action| !matches!(action, Move::FallBack { .. })) {
            if let Some(difference) = &self.step(&pair, action).difference {
                return Err(format!("{action:?}: {}", difference.what));
            }
        }
        Ok(())
    }

    /// Keeps some images of worlds that are reached again, so that twins can be compared.
    fn keep_twin(&self, pair: &Pair) {
        use std::hash::BuildHasher;
        let hash = std::hash::BuildHasherDefault::<std::collections::hash_map::DefaultHasher>::default()
            .hash_one(&pair.world);
        if hash % 64 != 0 || pair.copy.is_some() {
            return;
        }
        let Ok(image) = self.image(&pair.image) else { return };
        if let Ok(mut twins) = self.twins.lock()
            && twins.len() < TWINS_MAX
        {
            twins.push((pair.world.clone(), image));
        }
    }

    fn begin(&self) -> Result<Pair> {
        let image = self.with_bench(|bench| {
            let mut image = bench.empty();
            for op in &self.scope.start {
                let now = fencepost_model::vocabulary::Timestamp::ZERO;
                image = bench.perform(&image, None, &StoreCall::Operation(now, Arc::new(op.clone())))?;
            }
            Ok(image)
        })?;
        let lazy = Lazy { made: OnceLock::from(image), parent: None };
        Ok(Pair { world: self.scope.world(), difference: None, image: Arc::new(lazy), copy: None })
    }
}

/// The state before a call, which a refusal leaves.
fn unchanged(pair: &Pair, call: &StoreCall) -> State {
    match (call, &pair.world.copy) {
        (StoreCall::FallBack(..), Some(copy)) => copy.0.clone(),
        _ => pair.world.state.clone(),
    }
}

fn representative(pair: &Pair) -> Pair {
    Pair { world: pair.world.representative(), ..pair.clone() }
}

macro_rules! guarantees_hold {
    ($($index:literal)*) => {
        [$(Property::<Lockstep>::always(GUARANTEES[$index].name, |search, pair: &Pair| {
            search.seen($index, !pair.world.violations.iter().any(|broken| broken.guarantee == $index))
        })),*]
    };
}

impl Model for Lockstep {
    type State = Pair;
    type Action = Move;

    fn init_states(&self) -> Vec<Pair> {
        vec![self.begin().unwrap_or_else(|error| Pair {
            world: self.scope.world(),
            difference: Some(Arc::new(Difference { what: format!("the store failed: {error}") })),
            image: Arc::new(Lazy { made: OnceLock::new(), parent: None }),
            copy: None,
        })]
    }

    fn actions(&self, pair: &Pair, moves: &mut Vec<Move>) {
        if pair.difference.is_none() && !self.over.load(Ordering::Relaxed) {
            self.scope.moves(&pair.world, moves);
        }
    }

    fn next_state(&self, pair: &Pair, action: Move) -> Option<Pair> {
        let next = self.step(pair, &action);
        if next.difference.is_none() {
            self.keep_twin(&next);
        }
        (next != *pair).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![Property::always(AGREES, |search: &Self, pair: &Pair| {
            let agrees = pair.difference.is_none();
            if !agrees && search.first.is_some() {
                search.over.store(true, Ordering::Relaxed);
            }
            search.seen(GUARANTEES.len(), agrees)
        })];
        all.extend(guarantees_hold!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15));
        all
    }

    fn within_boundary(&self, pair: &Pair) -> bool {
        self.scope.contains(&pair.world)
    }
}
