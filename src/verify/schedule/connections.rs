//! Connections on one simulated disk, whose clients are run in one schedule after the other.
//!
//! Invariant: each run begins with the same bytes, the same shared memory and the same knowledge in each connection, so
//! that the schedule alone decides what a run does. Connections stay open from run to run where they can.
//! Does not depend on: what is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fencepost_model::op::Reply;
use fencepost_model::state::State;
use fencepost_model::vocabulary::Timestamp;
use rusqlite::Connection;

use crate::disk::{Disk, DurableContent, Footprint, Mark, Mounted, Pace, Point, Profile, busy_code};
use crate::rig::act::effects;
use crate::rig::recorder::{BOOT, FILE, StartPoint, beside_others, options};
use crate::rig::setting::{Level, Setting};
use crate::schedule::case::number as number_of;
use crate::schedule::case::{ClientAct, ScheduleCase, ScheduledClient, WalAtStart};
use crate::schedule::mutant::{AnswerWatch, copy, empty};
use crate::scheduler::{Board, Explored, Strategy, explore};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{OpenOptions, Store, Undone};

/// What a client was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAnswer {
    /// To operations.
    Replies(Vec<Reply>),
    /// What was read: the state, and the effects.
    State(Box<State>, BTreeSet<i64>),
    /// It is done, and there is nothing more to say.
    Done,
    /// Another was in the way for longer than the client waits; nothing happened.
    Busy,
    /// It failed, with this.
    Failed(String),
}

/// One act of one client in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spell {
    /// Which client, counted from 0.
    pub client: usize,
    /// Which of its acts.
    pub act: usize,
    /// The point of the run at which it was called.
    pub called: u64,
    /// The point at which it was answered.
    pub answered: u64,
    /// What.
    pub answer: ClientAnswer,
}

/// What happened in one run.
#[derive(Clone, Debug, Default)]
pub struct ScheduleRun {
    /// The acts, in the order in which they were answered.
    pub spells: Vec<Spell>,
    /// What was left: the state, with digests for contents, and the effects; or why it could not be read.
    pub left: Option<std::result::Result<(State, BTreeSet<i64>), String>>,
    /// The choices that led here.
    pub choices: Vec<u8>,
    /// The points that were passed: of each the step, the client and what it was about to do.
    pub points: Vec<(u64, usize, Point)>,
    /// How often a busy code was met, by its number.
    pub busy: BTreeMap<i32, u64>,
    /// The disk before the run, if what happens on it is recorded.
    pub base: Option<DurableContent>,
}

/// Where a client's connection stands back for others.
#[derive(Debug, Default)]
struct Paced {
    board: Arc<Board>,
    run: Mutex<ScheduleRun>,
    /// Whether clients run, and not the code that prepares or looks afterwards.
    on: std::sync::atomic::AtomicBool,
    /// Whether points are noted down.
    noted: std::sync::atomic::AtomicBool,
    /// Whether what happens on the disk is recorded.
    recorded: std::sync::atomic::AtomicBool,
}

impl Paced {
    fn run(&self) -> MutexGuard<'_, ScheduleRun> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_on(&self) -> bool {
        self.on.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn set(&self, on: bool) {
        self.on.store(on, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Pace for Paced {
    fn pause(&self, changed: Footprint, point: Point, next: Footprint) {
        if !self.is_on() {
            return;
        }
        let client = self.board.running().saturating_sub(1);
        self.board.note(changed);
        self.board.pause_before(next);
        if self.noted.load(std::sync::atomic::Ordering::Relaxed) {
            let step = self.board.step();
            self.run().points.push((step, client, point));
        }
    }

    fn note(&self, footprint: Footprint) {
        if self.is_on() {
            self.board.note(footprint);
        }
    }

    fn refused(&self, footprint: Footprint) {
        if self.is_on() {
            self.board.refused(footprint);
        }
    }

    fn released(&self, footprint: Footprint) {
        if self.is_on() {
            self.board.released(footprint);
        }
    }

    fn sleep(&self, changed: Footprint) {
        if self.is_on() {
            self.board.note(changed);
            self.board.sleep();
        }
    }

    fn settle(&self, changed: Footprint) {
        if self.is_on() {
            self.board.note(changed);
            self.board.settle();
        }
    }
}

/// Counts what a failing statement leaves.
struct Noted<'a>(&'a Paced, usize, u64, usize);

impl AnswerWatch for Noted<'_> {
    fn answered(&self) {
        let Self(paced, client, called, act) = self;
        let spell = Spell {
            client: *client,
            act: *act,
            called: *called,
            answered: paced.board.step(),
            answer: ClientAnswer::Done,
        };
        paced.run().spells.push(spell);
        paced.board.answered();
        // The client that was answered runs on, and others may look for what it was answered.
        paced.board.pause();
    }

    fn failed(&self, conn: &Connection) {
        self.0.busy(conn);
    }
}

impl Paced {
    fn busy(&self, conn: &Connection) {
        if let Some(code) = busy_code(conn) {
            *self.run().busy.entry(code).or_default() += 1;
        }
    }
}

/// A disk with connections.
pub struct Connections {
    paced: Arc<Paced>,
    // Connections go before the disk that they are open on.
    stores: Vec<Arc<Mutex<Option<Store>>>>,
    mounted: Arc<Mounted>,
    start: StartPoint,
    /// The patience of each connection, in milliseconds.
    patience: Vec<u32>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("start", &self.start.name()).finish_non_exhaustive()
    }
}

const SETTING: Setting = Setting::honest(Level::PowerLoss, Profile::UNIX);

fn open(mounted: &Mounted, patience_ms: u32) -> Result<Store> {
    let options = OpenOptions { busy_timeout_ms: patience_ms, ..options(mounted, &SETTING, BOOT, false) };
    Store::open(Path::new(FILE), &options)
}

impl Connections {
    /// Connections for cases with this start.
    ///
    /// # Errors
    /// If SQLite refuses the disk.
    pub fn new(start: &StartPoint) -> Result<Self> {
        let mounted = Arc::new(Mounted::new(Disk::new(SETTING.profile)).ok_or(Error::Closed)?);
        let paced = Arc::<Paced>::default();
        mounted.set_pace(Arc::clone(&paced) as Arc<dyn Pace>);
        Ok(Self { paced, stores: Vec::new(), mounted, start: start.clone(), patience: Vec::new() })
    }

    /// Where it begins.
    pub fn start(&self) -> &StartPoint {
        &self.start
    }

    /// Whether what happens on the disk is recorded in each run.
    pub fn record(&self, record: bool) {
        self.paced.recorded.store(record, std::sync::atomic::Ordering::Relaxed);
    }

    /// The disk.
    pub fn mounted(&self) -> Arc<Mounted> {
        Arc::clone(&self.mounted)
    }

    /// The board of its runs.
    pub fn board(&self) -> &Arc<Board> {
        &self.paced.board
    }

    /// Opens connections, so that there is one for each client, with its patience.
    fn prepare(&mut self, case: &ScheduleCase) -> Result<()> {
        let wanted: Vec<u32> = case.clients.iter().map(|client| client.patience_ms).collect();
        if self.patience == wanted && self.stores.iter().all(|store| lock(store).is_some()) {
            return Ok(());
        }
        self.stores.clear();
        self.patience.clear();
        self.mounted.disk().exchange(&self.start.image);
        for patience in wanted {
            self.stores.push(Arc::new(Mutex::new(Some(open(&self.mounted, patience)?))));
            self.patience.push(patience);
        }
        Ok(())
    }

    /// Runs a case in the schedules of a search. `checker` is given each run, and ends the search with true.
    ///
    /// # Errors
    /// If connections cannot be opened.
    pub fn explore(
        &mut self,
        case: &ScheduleCase,
        search: &Strategy,
        noted: bool,
        checker: impl FnMut(&ScheduleRun) -> bool + Send + 'static,
    ) -> Result<Explored> {
        let _salts = beside_others();
        self.prepare(case)?;
        self.paced.noted.store(noted, std::sync::atomic::Ordering::Relaxed);
        let (paced, mounted) = (Arc::clone(&self.paced), Arc::clone(&self.mounted));
        let (stores, image) = (self.stores.clone(), self.start.image.clone());
        let (case, now) = (Arc::new(case.clone()), self.start.moment.next_time());
        let checker = Mutex::new(checker);
        let explored = explore(search, &self.paced.board, move || {
            *paced.run() = ScheduleRun::default();
            begin(&mounted, &image, &stores, case.wal);
            mounted.settle();
            if paced.recorded.load(std::sync::atomic::Ordering::Relaxed) {
                let mut disk = mounted.disk();
                paced.run().base = Some(DurableContent::settled(&disk));
                disk.record();
            }
            paced.set(true);
            let clients: Vec<_> = (0..case.clients.len())
                .map(|number| {
                    let (paced, mounted) = (Arc::clone(&paced), Arc::clone(&mounted));
                    let (store, case) = (Arc::clone(&stores[number]), Arc::clone(&case));
                    shuttle::thread::spawn(move || {
                        let client = &case.clients[number];
                        work(&paced, &mounted, &store, number, client, now.plus(client.late_ms));
                    })
                })
                .collect();
            for client in clients {
                let _ = client.join();
            }
            paced.set(false);
            let left = look(&mounted, &stores);
            let run = {
                let mut run = paced.run();
                run.left = Some(left);
                run.choices = paced.board.choices();
                std::mem::take(&mut *run)
            };
            let mut checker = checker.lock().unwrap_or_else(PoisonError::into_inner);
            if checker(&run) {
                paced.board.stop();
            }
        });
        self.paced.set(false);
        // What stood still in the middle of something is not used again.
        if explored.ended.is_some() {
            std::mem::forget(std::mem::take(&mut self.stores));
            self.patience.clear();
        }
        Ok(explored)
    }
}

fn lock(store: &Mutex<Option<Store>>) -> MutexGuard<'_, Option<Store>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts back the bytes, and lets each connection know what it may know of them.
fn begin(
    mounted: &Mounted,
    image: &crate::disk::DiskImage,
    stores: &[Arc<Mutex<Option<Store>>>],
    wal: WalAtStart,
) {
    mounted.disk().exchange(image);
    if wal == WalAtStart::Unknown {
        return;
    }
    for (number, store) in stores.iter().enumerate() {
        let guard = lock(store);
        let Some(store) = guard.as_ref() else { continue };
        // What fails here fails again, and is noticed, when the client begins.
        let _ = store.data_version();
        let _ = store.connection().query_row("SELECT one FROM store", [], |row| row.get::<_, i64>(0));
        if number == 0 && wal == WalAtStart::Copied {
            let _ = copy(store.connection());
        }
    }
}

/// What one client does.
fn work(
    paced: &Paced,
    mounted: &Mounted,
    store: &Mutex<Option<Store>>,
    number: usize,
    client: &ScheduledClient,
    now: Timestamp,
) {
    let mut guard = lock(store);
    for (index, act) in client.acts.iter().enumerate() {
        // Between two acts of one client others may do something.
        if index > 0 {
            paced.board.pause();
        }
        let called = paced.board.step();
        mounted.disk().mark(Mark::Called(number_of(number, index)));
        paced.board.called();
        let effect = i64::try_from(number * 100 + index + 1).unwrap_or(i64::MAX);
        let watch = Noted(paced, number, called, index);
        let answer = match perform(&watch, mounted, &mut guard, client, act, now, effect) {
            Ok(answer) => answer,
            Err(Error::Busy) => {
                // A read has counted it already, before it ended its transaction.
                if let Some(store) = guard.as_ref().filter(|_| !matches!(act, ClientAct::Read)) {
                    paced.busy(store.connection());
                }
                ClientAnswer::Busy
            }
            Err(error) => ClientAnswer::Failed(error.to_string()),
        };
        let answered = paced.board.step();
        mounted.disk().mark(Mark::Answered(number_of(number, index)));
        paced.board.answered();
        mounted.settle();
        let mut run = paced.run();
        // An act that was answered too early was answered then.
        let early = run.spells.iter_mut().find(|spell| (spell.client, spell.act) == (number, index));
        match early {
            Some(spell) => spell.answer = answer,
            None => run.spells.push(Spell { client: number, act: index, called, answered, answer }),
        }
    }
}

fn perform(
    watch: &Noted<'_>,
    mounted: &Mounted,
    slot: &mut Option<Store>,
    client: &ScheduledClient,
    act: &ClientAct,
    now: Timestamp,
    effect: i64,
) -> Result<ClientAnswer> {
    if *act == ClientAct::Reopen {
        if let Some(store) = slot.take() {
            store.close()?;
        }
        *slot = Some(open(mounted, client.patience_ms)?);
        return Ok(ClientAnswer::Done);
    }
    let store = slot.as_mut().ok_or(Error::Closed)?;
    Ok(match act {
        ClientAct::Apply(op) => ClientAnswer::Replies(vec![match client.mutant {
            Some(mutant) => mutant.apply(store, now, op, watch)?,
            None => store.apply(now, op)?,
        }]),
        ClientAct::Batch(ops) => {
            let replies = store.apply_all(|| now, &ops.iter().collect::<Vec<_>>());
            ClientAnswer::Replies(replies.into_iter().collect::<Result<_>>()?)
        }
        ClientAct::Effect(op) => {
            let work = |conn: &Connection, _: &_| {
                conn.execute("INSERT INTO effects (number) VALUES (?1)", [effect]).map_err(Error::from)
            };
            ClientAnswer::Replies(vec![match store.transact(now, Some(op), work) {
                Ok((Some(reply), _)) => reply,
                Ok((None, _)) | Err(Undone::Panicked(_)) => return Err(Error::Closed),
                Err(Undone::Store(Error::Refused { refusal })) => Reply::Refused(refusal),
                Err(Undone::Store(error) | Undone::Work(error)) => return Err(error),
            }])
        }
        ClientAct::Read => {
            let (state, effects) = read(store.connection(), || watch.failed(store.connection()))?;
            ClientAnswer::State(Box::new(state), effects)
        }
        ClientAct::Checkpoint => {
            copy(store.connection())?;
            ClientAnswer::Done
        }
        ClientAct::Empty => {
            empty(store.connection())?;
            ClientAnswer::Done
        }
        ClientAct::Reopen => return Err(Error::Closed),
    })
}

/// All that the store holds, in one transaction. `failed` is called if it cannot be read, before anything else is run.
fn read(conn: &Connection, failed: impl FnOnce()) -> Result<(State, BTreeSet<i64>)> {
    conn.execute_batch("BEGIN DEFERRED")?;
    let state = fencepost::internals::sqlite::snapshot(conn);
    if state.is_err() {
        failed();
    }
    let effects = effects(conn);
    conn.execute_batch("ROLLBACK")?;
    Ok((state?, effects?))
}

/// What was left, as the first connection that is open sees it.
fn look(
    mounted: &Mounted,
    stores: &[Arc<Mutex<Option<Store>>>],
) -> std::result::Result<(State, BTreeSet<i64>), String> {
    for store in stores {
        let guard = lock(store);
        if let Some(store) = guard.as_ref() {
            return read(store.connection(), || ()).map_err(|error| error.to_string());
        }
    }
    let store = open(mounted, 0).map_err(|error| error.to_string())?;
    read(store.connection(), || ()).map_err(|error| error.to_string())
}
