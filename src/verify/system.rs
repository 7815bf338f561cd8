//! The system under test: the store beside the model, one move at a time, in memory or in a file.
//!
//! An operation is executed by the store's own statements; damage is planted past its checks. The results are the reply
//! and the whole state, in the model's terms.
//!
//! Does not depend on: what is allowed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use fencepost_model::coverage::Tally;
use fencepost_model::op::{Op, Reply};
use fencepost_model::state::{Remembered, State};
use fencepost_model::vocabulary::{Content, MessageId, Raw, RawValue, Timestamp};
use fencepost_model::world::{Contract, Move, OpOutcome, Row, Rules, World, Wound};
use rusqlite::{Connection, OpenFlags};

use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{
    BODY_COLUMNS, BOOKKEEPING_COLUMNS, Statements, Store, digest, execute, plant, raw_columns, snapshot,
};

/// What a move asks of the store.
#[derive(Clone, Debug)]
pub enum StoreCall {
    /// Nothing: only clocks and workers are concerned.
    Nothing,
    /// An operation, at a time.
    Operation(Timestamp, Arc<Op>),
    /// A row is to be damaged.
    Damage(Row, Wound),
    /// The store is copied.
    Copy,
    /// The store falls back to its copy, and this operation follows.
    FallBack(Timestamp, Op),
    /// The store is closed and opened again.
    Reopen,
}

/// What a move asks of the store in a world.
pub fn call(world: &World, action: &Move) -> StoreCall {
    match action {
        Move::Do { outcome: OpOutcome::Lost, .. } | Move::Clock(_) | Move::Crash { .. } => StoreCall::Nothing,
        Move::Do { op, .. } => StoreCall::Operation(world.now, Arc::clone(op)),
        Move::Damage { row, wound } if world.can_damage(*row) => StoreCall::Damage(*row, *wound),
        Move::Damage { .. } => StoreCall::Nothing,
        Move::Copy => StoreCall::Copy,
        Move::FallBack { .. } if world.copy.is_none() => StoreCall::Nothing,
        Move::FallBack { restore: None } => StoreCall::FallBack(world.now, Op::Reboot),
        Move::FallBack { restore: Some(next) } => StoreCall::FallBack(world.now, Op::Restore { next: *next }),
        Move::Reopen => StoreCall::Reopen,
    }
}

/// The rules of the contract, for a row that was really damaged and shows these columns.
pub struct Remains(pub Option<Raw>);

impl Rules for Remains {
    fn apply(&self, state: &mut State, now: Timestamp, op: &Op) -> Reply {
        Contract.apply(state, now, op)
    }

    fn remains(&self, row: Row, wound: Wound) -> Raw {
        self.0.clone().unwrap_or_else(|| Contract.remains(row, wound))
    }
}

/// Damages a row and returns the columns that the model is to expect of it.
///
/// # Errors
/// Whatever SQLite reports.
pub fn damage(conn: &mut Connection, row: Row, wound: Wound) -> Result<Raw> {
    let (table, seq) = match row {
        Row::Queue(seq) => ("queue", seq),
        Row::Log(seq) => ("log", seq),
    };
    let (column, value) = match wound {
        Wound::Body => ("payload", RawValue::Null),
        Wound::Name => ("name", RawValue::Blob(vec![0xff])),
        Wound::Bookkeeping => ("due_at", RawValue::Text(b"soon".to_vec())),
    };
    plant(conn, table, seq, column, &value)?;
    let unreadable_command = table == "queue" && wound != Wound::Body;
    let bookkeeping = if unreadable_command { &BOOKKEEPING_COLUMNS[..] } else { &[] };
    let columns: Vec<&str> = BODY_COLUMNS.iter().chain(bookkeeping).copied().collect();
    raw_columns(conn, table, seq, &columns)
}

thread_local! {
    static DIGESTS: RefCell<HashMap<Content, Content>> = RefCell::new(HashMap::new());
}

/// The digest of a content, remembered.
fn digest_of(content: &Content) -> Content {
    DIGESTS.with_borrow_mut(|digests| match digests.entry(content.clone()) {
        Entry::Occupied(known) => known.get().clone(),
        Entry::Vacant(new) => new.insert(digest(content)).clone(),
    })
}

/// The store keeps digests of what it compares; where a digest is that of the model's content, that content is
/// written in its place. Where it is not, it stays, and shows as a difference.
pub fn undigest(real: &mut State, model: &State) {
    let undo = |real: &mut std::collections::BTreeMap<MessageId, Remembered>,
                model: &std::collections::BTreeMap<MessageId, Remembered>| {
        for (id, known) in real.iter_mut() {
            if let Some(expected) = model.get(id)
                && digest_of(&expected.content) == known.content
            {
                known.content = expected.content.clone();
            }
        }
    };
    undo(&mut real.command_ids, &model.command_ids);
    undo(&mut real.event_ids, &model.event_ids);
}

/// An image of a database.
pub type StoreImage = Arc<[u8]>;

/// A store whose file is exchanged under it.
///
/// The file is in memory where the system has such a place, no lock is taken, and only the pages that differ are
/// written. An image's change counter is made new each time, so that SQLite notices; its schema is always the same,
/// so statements stay prepared. (Loading an image as a database of its own parses the schema each time: that was ten
/// times as slow.)
pub struct ImageBench {
    store: Store,
    file: File,
    // The directory goes with its last owner.
    _directory: tempfile::TempDir,
    content: Vec<u8>,
    loaded: Option<StoreImage>,
    empty: StoreImage,
    trying: bool,
    changes: u32,
}

/// Where SQLite's file header keeps the change counter, and the counter that the size was valid for.
const CHANGE_COUNTERS: [usize; 2] = [24, 92];
const PAGE_BYTES: usize = 1024;
const UNLOCKED_VFS: &str = if cfg!(windows) { "win32-none" } else { "unix-none" };

impl ImageBench {
    /// A bench for stores that run these statements.
    ///
    /// # Errors
    /// Whatever SQLite or the operating system reports.
    pub fn new(sql: &Statements) -> Result<Self> {
        let shared = std::path::Path::new("/dev/shm");
        let directory = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }?;
        let path = directory.path().join("bench.db");
        let conn = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), UNLOCKED_VFS)?;
        conn.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
        conn.pragma_update(None, "journal_mode", "MEMORY")?;
        let store = Store::over(conn)?.with_statements(sql.clone());
        store.connection().pragma_update(None, "synchronous", "OFF")?;
        store.connection().set_prepared_statement_cache_capacity(256);
        let file = File::options().read(true).write(true).open(&path)?;
        let (content, empty) = (Vec::new(), StoreImage::from(&[][..]));
        let mut bench = Self {
            store,
            file,
            _directory: directory,
            content,
            loaded: None,
            empty,
            trying: false,
            changes: 1 << 20,
        };
        bench.empty = bench.image()?;
        Ok(bench)
    }

    /// The image of an empty store.
    pub fn empty(&self) -> StoreImage {
        Arc::clone(&self.empty)
    }

    /// What the file holds now.
    fn image(&mut self) -> Result<StoreImage> {
        self.content.clear();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut self.content)?;
        let image: StoreImage = Arc::from(&self.content[..]);
        self.loaded = Some(Arc::clone(&image));
        Ok(image)
    }

    fn load(&mut self, image: &StoreImage) -> Result<()> {
        if self.loaded.as_ref().is_some_and(|loaded| Arc::ptr_eq(loaded, image)) {
            return Ok(());
        }
        self.end_trial()?;
        if self.loaded.is_none() {
            self.image()?;
        }
        // Further than the commits of one image go, so that no counter that SQLite knows comes again.
        self.changes = self.changes.wrapping_add(16);
        let mut first = image[..PAGE_BYTES.min(image.len())].to_vec();
        for at in CHANGE_COUNTERS {
            first[at..at + 4].copy_from_slice(&self.changes.to_be_bytes());
        }
        for (index, page) in image.chunks(PAGE_BYTES).enumerate() {
            let page = if index == 0 { &first[..] } else { page };
            let at = index * PAGE_BYTES;
            if self.content.get(at..at + page.len()) != Some(page) {
                self.file.seek(SeekFrom::Start(at as u64))?;
                self.file.write_all(page)?;
            }
        }
        if self.content.len() != image.len() {
            self.file.set_len(image.len() as u64)?;
        }
        self.content.clear();
        self.content.extend_from_slice(image);
        self.content[..first.len()].copy_from_slice(&first);
        self.loaded = Some(Arc::clone(image));
        Ok(())
    }

    /// Tries an operation on an image and takes it back: its reply and the state after it. No state is read, and
    /// `None` returned for it, if the operation was refused and SQLite changed no row.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn try_operation(
        &mut self,
        image: &StoreImage,
        now: Timestamp,
        op: &Op,
    ) -> Result<(Reply, Option<State>)> {
        self.load(image)?;
        // One transaction for all that is tried on an image: beginning one looks for a journal and drops the cache.
        if !self.trying {
            self.run("BEGIN IMMEDIATE")?;
            self.trying = true;
        }
        self.run("SAVEPOINT trial")?;
        let conn = self.store.connection();
        let changes = conn.total_changes();
        let reply = execute(conn, self.store.statements(), now, op);
        let refused = matches!(reply, Ok(Reply::Refused(_)));
        let unchanged = refused && conn.total_changes() == changes;
        let after = if unchanged { Ok(None) } else { snapshot(conn).map(Some) };
        self.run("ROLLBACK TO trial")?;
        self.run("RELEASE trial")?;
        Ok((reply?, after?))
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.store.connection().prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Takes back what was only tried, so that the file can be exchanged or written.
    fn end_trial(&mut self) -> Result<()> {
        if std::mem::take(&mut self.trying) {
            self.run("ROLLBACK")?;
        }
        Ok(())
    }

    /// Tries damage on an image and takes it back: what is left of the row, and the state after it.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn try_damage(&mut self, image: &StoreImage, row: Row, wound: Wound) -> Result<(Raw, State)> {
        self.load(image)?;
        self.end_trial()?;
        self.loaded = None;
        let raw = damage(self.store.connection_mut(), row, wound)?;
        let after = self.store.snapshot()?;
        Ok((raw, after))
    }

    /// The image after a call, done as a user does it: through [`Store::apply`], and committed.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn perform(
        &mut self,
        image: &StoreImage,
        copy: Option<&StoreImage>,
        call: &StoreCall,
    ) -> Result<StoreImage> {
        match call {
            StoreCall::Nothing | StoreCall::Copy | StoreCall::Reopen => return Ok(Arc::clone(image)),
            StoreCall::Operation(now, op) => {
                self.load(image)?;
                self.end_trial()?;
                self.loaded = None;
                self.store.apply(*now, op)?;
            }
            StoreCall::FallBack(now, op) => {
                self.load(copy.unwrap_or(image))?;
                self.end_trial()?;
                self.loaded = None;
                self.store.apply(*now, op)?;
            }
            StoreCall::Damage(row, wound) => {
                self.load(image)?;
                self.end_trial()?;
                self.loaded = None;
                damage(self.store.connection_mut(), *row, *wound)?;
            }
        }
        self.image()
    }
}

/// A difference between the store and the model after one move.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Difference {
    /// What differs, in words.
    pub what: String,
}

/// Compares what the store answered and holds with what the model does. `None`: they agree.
pub fn compare(
    expected: (Option<&Reply>, &State),
    actual: &std::result::Result<(Option<Reply>, State), Error>,
) -> Option<Difference> {
    let (reply, state) = match actual {
        Ok(actual) => actual,
        Err(error) => return Some(Difference { what: format!("the store failed: {error}") }),
    };
    let mut what = String::new();
    if reply.as_ref() != expected.0 {
        what += &format!("the model answers {:?},\nthe store answers {:?}\n", expected.0, reply);
    }
    if state != expected.1 {
        let (model, store) = (format!("{:#?}", expected.1), format!("{state:#?}"));
        what += &format!("the states differ (- model, + store):\n{}", differing_lines(&model, &store));
    }
    (!what.is_empty()).then_some(Difference { what })
}

/// The lines in which two texts differ, between what they begin and end with alike.
pub(crate) fn differing_lines(left: &str, right: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let rest = left.len().min(right.len()) - same;
    let tail = left.iter().rev().zip(right.iter().rev()).take(rest).take_while(|(l, r)| l == r).count();
    let from = same.saturating_sub(2);
    let mut text: String = left[from..same].iter().map(|line| format!("  {line}\n")).collect();
    text.extend(left[same..left.len() - tail].iter().map(|line| format!("- {line}\n")));
    text.extend(right[same..right.len() - tail].iter().map(|line| format!("+ {line}\n")));
    text
}

/// Makes one move on a store and a world beside each other: operations by `perform`. The reply and the whole state are
/// compared, and the model's own guarantees checked. The store has one file, so a copy of it is not made, and no client
/// falls back to one.
///
/// # Errors
/// What differs or is broken, in words; and whatever the store answers instead of a reply.
pub fn in_step(
    store: &mut Store,
    world: &mut World,
    action: &Move,
    perform: impl FnOnce(&mut Store, Timestamp, &Op) -> Result<Reply>,
) -> std::result::Result<Option<Reply>, String> {
    let before = world.state.clone();
    let (mut raw, mut reply) = (None, None);
    let failed = |error: Error| format!("{action:?}: the store failed: {error}");
    match call(world, action) {
        StoreCall::Copy | StoreCall::FallBack(..) => return Ok(None),
        StoreCall::Nothing | StoreCall::Reopen => {}
        StoreCall::Operation(now, op) => reply = Some(perform(store, now, &op).map_err(failed)?),
        StoreCall::Damage(row, wound) => {
            raw = Some(damage(store.connection_mut(), row, wound).map_err(failed)?);
        }
    }
    let expected = world.perform(action, &Remains(raw), &Tally::new()).filter(|_| reply.is_some());
    if let Some(broken) = world.violations.first() {
        return Err(format!("{action:?}: {}", broken.why));
    }
    let mut actual = store.snapshot().map(|state| (reply.clone(), state));
    if let Ok((_, state)) = &mut actual {
        undigest(state, &world.state);
        undigest(state, &before);
    }
    match compare((expected.as_ref(), &world.state), &actual) {
        None => Ok(reply),
        Some(difference) => Err(format!("after {action:?}: {}", difference.what)),
    }
}

/// The property that the store does what the model does.
pub const AGREES: &str = "the_store_does_what_the_model_does";

/// The guarantees that an operation carries, for a difference that breaks none of them by itself yet.
pub fn at_stake(action: Option<&Move>) -> &'static str {
    let Some(Move::Do { op, .. }) = action else { return AGREES };
    match **op {
        Op::Send { .. } => "G1, G10, G15",
        Op::Claim { .. } => "G2, G4, G8, G9",
        Op::Publish { .. } => "G10, G15",
        Op::Subscribe { .. } | Op::Unsubscribe { .. } | Op::Seek { .. } => "G6, G7",
        Op::Poll { .. } => "G2, G4, G6, G8, G9",
        Op::Settle { .. } => "G1, G3, G6",
        Op::Release { .. } | Op::Extend { .. } => "G2, G3, G8",
        Op::Cancel { .. } | Op::Purge { .. } => "G1",
        Op::Redrive { .. } => "G14",
        Op::Repair { .. } => "G5",
        Op::Prune { .. } => "G13",
        Op::ForgetIds { .. } => "G10",
        Op::Reset { .. } | Op::Restore { .. } => "G4, G11",
        Op::Reboot => "G4",
        Op::Atomic(_) => "G12",
    }
}
