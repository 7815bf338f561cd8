//! Long sequences on a real file: proptest drives model and store side by side. The file is in WAL mode in a temporary
//! directory, and is closed and opened again at any step.
//!
//! Invariant: the same seed gives the same sequences. A failure shrinks to few moves.

use std::path::{Path, PathBuf};

use fencepost_model::coverage::Tally;
use fencepost_model::generate::choose;
use fencepost_model::op::Reply;
use fencepost_model::scope::Scope;
use fencepost_model::state::State;
use fencepost_model::world::{Move, World};
use fencepost_model::{description, explanation};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::rig::promises::Violation;
use crate::system::{Remains, StoreCall, call, compare, damage, undigest};
use fencepost::error::Result;
use fencepost::internals::sqlite::{Durability, OpenOptions, Statements, Store};

/// A store in a file beside a world.
pub struct Side {
    world: World,
    store: Option<Store>,
    sql: Statements,
    directory: tempfile::TempDir,
    copy: Option<PathBuf>,
    files: u32,
    path: PathBuf,
}

fn options() -> OpenOptions {
    // What is checked here is what operations do, and a killed process at most; power cuts have a room of their own.
    let durability = Durability::ProcessCrash;
    OpenOptions { durability, boot_id: Some("verify".to_owned()), ..OpenOptions::default() }
}

impl Side {
    /// An empty store beside the beginning of a scope.
    ///
    /// # Errors
    /// Whatever the operating system or SQLite reports.
    pub fn new(scope: &Scope, sql: &Statements) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("bus-0.db");
        let (world, sql) = (scope.world(), sql.clone());
        let mut side = Self { world, store: None, sql, directory, copy: None, files: 0, path };
        side.open()?;
        for op in &scope.start {
            side.store()?.apply(fencepost_model::vocabulary::Timestamp::ZERO, op)?;
        }
        Ok(side)
    }

    /// The model's side.
    pub fn world(&self) -> &World {
        &self.world
    }

    fn open(&mut self) -> Result<()> {
        self.store = Some(Store::open(&self.path, &options())?.with_statements(self.sql.clone()));
        Ok(())
    }

    fn store(&mut self) -> Result<&mut Store> {
        self.store.as_mut().ok_or(fencepost::error::Error::Closed)
    }

    fn close(&mut self) -> Result<()> {
        self.store.take().map_or(Ok(()), Store::close)
    }

    fn next_path(&mut self) -> PathBuf {
        self.files += 1;
        self.directory.path().join(format!("bus-{}.db", self.files))
    }

    /// Makes a move on both sides and compares them.
    ///
    /// # Errors
    /// What is wrong, if anything is.
    pub fn step(&mut self, action: &Move, tally: &Tally) -> std::result::Result<Option<Reply>, Violation> {
        let call = call(&self.world, action);
        let before = self.world.state.clone();
        let mut raw = None;
        let mut actual = self.perform(&call, &mut raw);
        let reply = self.world.perform(action, &Remains(raw), tally);
        if let Ok((_, state)) = &mut actual {
            undigest(state, &self.world.state);
            undigest(state, &before);
        }
        let expected = match call {
            StoreCall::Operation(..) | StoreCall::FallBack(..) => reply.as_ref(),
            _ => None,
        };
        let difference = compare((expected, &self.world.state), &actual);
        if let Some(broken) = self.world.violations.first() {
            let property = fencepost_model::invariant::GUARANTEES[broken.guarantee].name;
            return Err(Violation { property, why: broken.why.clone() });
        }
        match difference {
            None => Ok(reply),
            Some(difference) => Err(self.check(&before, &call, &actual, difference.what)),
        }
    }

    /// Names what the store breaks where it differs from the model.
    fn check(
        &self,
        before: &State,
        call: &StoreCall,
        actual: &Result<(Option<Reply>, State)>,
        what: String,
    ) -> Violation {
        if let (StoreCall::Operation(_, op), Ok((Some(reply), after))) = (call, actual) {
            let mut world = World { state: before.clone(), ..self.world.clone() };
            world.check(before, op, reply, after, &Remains(None), &Tally::new());
            if let Some(broken) = world.violations.first() {
                let property = fencepost_model::invariant::GUARANTEES[broken.guarantee].name;
                return Violation { property, why: format!("{}\n{what}", broken.why) };
            }
        }
        Violation { property: crate::system::AGREES, why: what }
    }

    fn perform(
        &mut self,
        call: &StoreCall,
        raw: &mut Option<fencepost_model::vocabulary::Raw>,
    ) -> Result<(Option<Reply>, State)> {
        let reply = match call {
            StoreCall::Nothing => None,
            StoreCall::Reopen => {
                self.close()?;
                self.open()?;
                None
            }
            StoreCall::Operation(now, op) => Some(self.store()?.apply(*now, op)?),
            StoreCall::Damage(row, wound) => {
                *raw = Some(damage(self.store()?.connection_mut(), *row, *wound)?);
                None
            }
            StoreCall::Copy => {
                let copy = self.next_path();
                vacuum_into(self.store()?, &copy)?;
                self.copy = Some(copy);
                None
            }
            StoreCall::FallBack(now, op) => {
                self.close()?;
                let copy = self.copy.clone().ok_or(fencepost::error::Error::Closed)?;
                self.path = self.next_path();
                let copied = Store::open(&copy, &options())?;
                vacuum_into(&copied, &self.path)?;
                copied.close()?;
                self.open()?;
                Some(self.store()?.apply(*now, op)?)
            }
        };
        let state = self.store()?.snapshot()?;
        Ok((reply, state))
    }
}

fn vacuum_into(store: &Store, path: &Path) -> Result<()> {
    store.connection().execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
    Ok(())
}

/// What a run of sequences found.
#[derive(Debug, Default)]
pub struct SequencesResult {
    /// How many sequences were run.
    pub sequences: u64,
    /// How many moves they had.
    pub moves: u64,
    /// The shortest failing sequence, and the promise that is broken after it.
    pub failure: Option<(Vec<Move>, Violation)>,
}

/// Runs sequences of up to `steps` moves in the scope `wide`.
///
/// # Errors
/// Whatever the operating system or SQLite reports before the first move.
pub fn run(
    sql: &Statements,
    seed: u64,
    sequences: u32,
    steps: usize,
    tally: &Tally,
) -> Result<SequencesResult> {
    let Some(scope) = fencepost_model::scope::by_name("wide") else { return Ok(SequencesResult::default()) };
    drop(Side::new(&scope, sql)?);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: sequences, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let counts = std::cell::Cell::new((0, 0));
    let outcome = runner.run(&vec(any::<u32>(), 1..=steps), |numbers| {
        let (moves, violation) = walk(&scope, sql, &numbers, tally);
        let (sequences, total) = counts.get();
        counts.set((sequences + 1, total + moves.len() as u64));
        match violation {
            None => Ok(()),
            Some(violation) => Err(TestCaseError::fail(violation.why)),
        }
    });
    let (sequences, moves) = counts.get();
    let failure = match outcome {
        Ok(()) => None,
        Err(TestError::Fail(_, numbers)) => {
            let (moves, violation) = walk(&scope, sql, &numbers, &Tally::new());
            violation.map(|violation| (moves, violation))
        }
        Err(TestError::Abort(reason)) => {
            let why = format!("the runner gave up: {reason}");
            Some((Vec::new(), Violation { property: crate::system::AGREES, why }))
        }
    };
    Ok(SequencesResult { sequences, moves, failure })
}

/// The moves that some numbers stand for, made one after the other until a promise is broken.
fn walk(scope: &Scope, sql: &Statements, numbers: &[u32], tally: &Tally) -> (Vec<Move>, Option<Violation>) {
    let mut moves = Vec::new();
    let mut side = match Side::new(scope, sql) {
        Ok(side) => side,
        Err(error) => {
            let why = format!("the store could not be opened: {error}");
            return (moves, Some(Violation { property: crate::system::AGREES, why }));
        }
    };
    for number in numbers {
        let Some(action) = choose(scope, &side.world, *number) else { break };
        moves.push(action.clone());
        if let Err(violation) = side.step(&action, tally) {
            return (moves, Some(violation));
        }
    }
    (moves, None)
}

/// Runs moves again and explains them as they happen.
///
/// # Errors
/// Whatever the operating system or SQLite reports before the first move.
pub fn replay(scope: &Scope, sql: &Statements, moves: &[Move]) -> Result<(String, Option<Violation>)> {
    let mut side = Side::new(scope, sql)?;
    let mut text = String::new();
    for (index, action) in moves.iter().enumerate() {
        let at = side.world.now;
        let outcome = side.step(action, &Tally::new());
        let reply = outcome.as_ref().ok().and_then(Option::as_ref);
        text += &format!("{:4}  t={at}  {}\n", index + 1, explanation::line(action, reply));
        text += &format!("            {}\n", description::state(&side.world.state));
        if let Err(violation) = outcome {
            return Ok((text, Some(violation)));
        }
    }
    Ok((text, None))
}
