//! The bus in a SQLite file.
//!
//! Invariant: one thread owns the connection that writes (`writer`), each reader has a connection of its own (`readers`), and
//! clones of a bus share both.
//! Does not depend on: what an operation does; what observes its commits.

pub mod observer;
mod readers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use futures_core::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::bus::Bus;
use crate::bus::backend::Backend;
use crate::bus::erased::{Transacted, Work};
use crate::bus::request::{self, Limits};
use crate::bus::signals::{Interest, Signals};
use crate::bus::transaction::{OpenTransaction, Tx};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::sqlite::{
    Durability, Look, OpenOptions, Overview, Statements, Store, Watcher, execute_within, next_due_commands,
    next_due_group, overview,
};

use crate::threads::{self, point};

use observer::MakeObserver;
use readers::Readers;
#[cfg(feature = "unstable-internals")]
pub use writer::BATCH_OPS_MAX;
use writer::{Request, Writer, closed, unanswered};

/// A durable bus in one SQLite file. Clones are the same bus; the file is closed with the last of them.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("bus.db");
/// use fencepost::{Bus, Message, SqliteBus};
///
/// let bus = SqliteBus::open(&path).await?;
/// let receipt = bus.send(Message::command("place.bet").text("17 on red").id("bet-17")).await?;
/// assert!(receipt.fresh);
/// let again = bus.send(Message::command("place.bet").text("17 on red").id("bet-17")).await?;
/// assert_eq!((again.seq, again.fresh), (receipt.seq, false));
/// bus.close().await?;
/// # Ok::<(), fencepost::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct SqliteBus {
    backend: Arc<dyn Backend>,
    file: Arc<File>,
}

/// The options for opening a [`SqliteBus`]. Made by [`SqliteBus::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder opens nothing until `open` is called"]
pub struct SqliteBusBuilder {
    path: PathBuf,
    options: OpenOptions,
    limits: Limits,
    id_retention_ms: u64,
    clock: Arc<dyn Clock>,
    waiting_max: usize,
    sql: Option<Statements>,
    observer: Option<Arc<dyn MakeObserver>>,
}

impl SqliteBusBuilder {
    /// What an acknowledged operation survives. The default is a power cut.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// How long a lease lasts unless its consumer asks for another time, to the millisecond. The default is 30 seconds.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.limits.lease_ms = request::ms(lease);
        self
    }

    /// The largest payload that is accepted, in bytes. The default is one mebibyte.
    pub fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.payload_bytes_max = bytes;
        self
    }

    /// How long an id is remembered after its message's end (G10), to the millisecond. The default is one day.
    pub fn id_retention(mut self, retention: Duration) -> Self {
        self.id_retention_ms = request::ms(retention);
        self
    }

    /// The clock of all operations. The default is the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whether to create a file that does not exist. The default is yes.
    pub fn create(mut self, create: bool) -> Self {
        self.options.create = create;
        self
    }

    /// How long an operation waits for another process's lock before it fails with [`Error::Busy`], to the millisecond. The
    /// default is 5 seconds.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.options.busy_timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// How many requests may wait for the writing thread; a further one waits until there is room. The default is 1,024, the
    /// minimum one.
    pub fn waiting_max(mut self, requests: usize) -> Self {
        self.waiting_max = requests.max(1);
        self
    }

    /// The observer of commits. There is none by default, and the last call counts.
    #[doc(hidden)]
    pub fn observer(mut self, observer: Arc<dyn MakeObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Other statements than the store's own: for tests that show that a mutant is noticed.
    #[doc(hidden)]
    pub fn statements(mut self, sql: Statements) -> Self {
        self.sql = Some(sql);
        self
    }

    /// Options of the store underneath: for tests.
    #[doc(hidden)]
    pub fn store_options(mut self, with: impl FnOnce(&mut OpenOptions)) -> Self {
        with(&mut self.options);
        self
    }

    /// Opens the file.
    ///
    /// # Errors
    /// A typed [`Error`] that says what to do. A file that is refused is left as it was.
    pub async fn open(self) -> Result<SqliteBus> {
        threads::beside(move || self.open_blocking()).await.map_err(closed)?
    }

    /// Opens the file, for code without an async runtime.
    ///
    /// # Errors
    /// As [`SqliteBusBuilder::open`].
    pub fn open_blocking(self) -> Result<SqliteBus> {
        let mut store = Store::open(&self.path, &self.options)?;
        if let Some(sql) = &self.sql {
            store = store.with_statements(sql.clone());
        }
        let observer = self.observer.as_ref();
        let observer = observer.map(|make| make.observe(&self.path, &self.options, &store)).transpose()?;
        let signals = Arc::<Signals>::default();
        let (requests, line) = mpsc::channel(self.waiting_max);
        let writer = Writer {
            seen: store.data_version()?,
            store,
            clock: Arc::clone(&self.clock),
            signals: Arc::clone(&signals),
            limits: self.limits,
            id_retention_ms: self.id_retention_ms,
            forgot_at: self.clock.now(),
            observer,
        };
        threads::spawn("writer", move |_| writer.run(line))?;
        let watcher = watch(&self.path, &signals, requests.downgrade())?;
        let readers = Arc::new(Readers::new(self.path, self.options.clone()));
        let file = Arc::new(File {
            _watcher: watcher,
            requests,
            readers,
            signals,
            clock: self.clock,
            limits: self.limits,
            durability: self.options.durability,
        });
        Ok(SqliteBus { backend: Arc::new(SqliteBackend(Arc::clone(&file))), file })
    }
}

/// The longest that the watcher waits for a look. It gives up then, and looks again later.
const LOOK_AT_MOST: Duration = Duration::from_secs(1);

/// Starts the watcher, which looks for changes by other processes while a consumer sleeps.
fn watch(path: &Path, signals: &Arc<Signals>, requests: mpsc::WeakSender<Request>) -> Result<Arc<Watcher>> {
    let look = move || {
        point("asks for a look");
        let Some(requests) = requests.upgrade() else { return Look::Gone };
        let looks = async {
            let (reply, answer) = oneshot::channel();
            requests.send(Request::Look { reply }).await.map_err(unanswered)?;
            drop(requests);
            point("waits for the look");
            answer.await.map_err(unanswered)
        };
        // Bounded, the way into the line as well, since the writing thread itself may be what waits for this one to
        // end: with the last clone of the bus in the hands of work that it runs.
        match threads::at_most(LOOK_AT_MOST, looks) {
            Some(Ok(true)) => Look::Changed,
            Some(Ok(false)) | None => Look::Unchanged,
            Some(Err(_)) => Look::Gone,
        }
    };
    let watcher = Arc::new(Watcher::start(path, signals.asleep(), look)?);
    let poked = Arc::downgrade(&watcher);
    signals.watch(move || {
        if let Some(watcher) = poked.upgrade() {
            watcher.poke();
        }
    });
    Ok(watcher)
}

impl SqliteBus {
    /// Opens a file, and creates it if it does not exist, with every option at its default.
    ///
    /// # Errors
    /// A typed [`Error`] that says what to do. A file that is refused is left as it was.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder(path).open().await
    }

    /// The options for opening a file.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBusBuilder {
        SqliteBusBuilder {
            path: path.as_ref().to_owned(),
            options: OpenOptions::default(),
            limits: Limits::default(),
            id_retention_ms: 24 * 60 * 60 * 1_000,
            clock: Arc::new(SystemClock),
            waiting_max: 1_024,
            sql: None,
            observer: None,
        }
    }

    /// The operations of the bus inside a transaction that the caller began on a connection of its own to the same
    /// file: a transactional outbox, or settlements together with the handler's effects (G12).
    ///
    /// Begin it with `TransactionBehavior::Immediate`, so that it waits for the lock at the beginning instead of failing later.
    /// Consumers notice its messages after its commit. It is as durable as the caller's connection: with less than
    /// `synchronous=FULL` it is less durable than this bus, and a warning says so.
    ///
    /// A handler in a run loop that settles its own delivery here is counted as `stale` in the run's report: the bus does not
    /// see the commit, and the run loop's own ack finds the lease lost. [`Delivery::transaction`] does not have this problem.
    ///
    /// [`Delivery::transaction`]: crate::Delivery::transaction
    ///
    /// # Errors
    /// [`Error::NotInTransaction`]; [`Error::NotOurs`] or [`Error::NewerVersion`] if the connection is to another file.
    pub fn within<'tx>(&self, conn: &'tx Connection) -> Result<Tx<'tx>> {
        if conn.is_autocommit() {
            return Err(Error::NotInTransaction);
        }
        let synchronous = crate::sqlite::check_connection(conn)?;
        if synchronous < self.file.durability.synchronous() {
            tracing::warn!(
                synchronous,
                "the caller's connection syncs less than its bus: a power cut may take what it commits"
            );
        }
        let clock = Arc::clone(&self.file.clock);
        let apply = move |op: &Op| execute_within(conn, &Statements::standard(), clock.now(), op);
        Ok(Tx::new(OpenTransaction { conn, limits: self.file.limits, apply: Box::new(apply) }))
    }

    /// Waits until all earlier requests are done, and closes the file. Clones of the bus are closed as well.
    ///
    /// # Errors
    /// An error of SQLite; the file is closed all the same.
    pub async fn close(self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        point("asks for the end");
        self.file.requests.send(Request::Close { reply }).await.map_err(closed)?;
        answer.await.map_err(closed)?
    }
}

impl Bus for SqliteBus {
    fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
}

#[derive(Debug)]
struct File {
    /// The first field, so that the watcher ends before the channel to the writer closes.
    _watcher: Arc<Watcher>,
    requests: mpsc::Sender<Request>,
    readers: Arc<Readers>,
    signals: Arc<Signals>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    durability: Durability,
}

/// The file as a backend, whose futures own it.
#[derive(Debug)]
struct SqliteBackend(Arc<File>);

/// One error for each operation.
fn failed(count: usize, error: &Error) -> Vec<Result<Reply>> {
    (0..count).map(|_| Err(error.again())).collect()
}

impl Backend for SqliteBackend {
    fn apply_all(&self, ops: Vec<Op>) -> BoxFuture<'static, Vec<Result<Reply>>> {
        let requests = self.0.requests.clone();
        Box::pin(async move {
            let (count, (reply, answer)) = (ops.len(), oneshot::channel());
            point("asks for operations");
            if let Err(error) = requests.send(Request::Apply { ops, reply }).await.map_err(closed) {
                return failed(count, &error);
            }
            drop(requests);
            answer.await.map_err(unanswered).unwrap_or_else(|error| failed(count, &error))
        })
    }

    fn apply_all_blocking(&self, ops: Vec<Op>) -> Vec<Result<Reply>> {
        let (count, (reply, answer)) = (ops.len(), oneshot::channel());
        if let Err(error) = threads::send(&self.0.requests, Request::Apply { ops, reply }).map_err(closed) {
            return failed(count, &error);
        }
        threads::wait(answer).map_err(unanswered).unwrap_or_else(|error| failed(count, &error))
    }

    fn transact(&self, op: Option<Op>, work: Work) -> BoxFuture<'static, Transacted> {
        let requests = self.0.requests.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            point("asks for a transaction");
            requests.send(Request::Transact { op, work, reply }).await.map_err(closed)?;
            drop(requests);
            answer.await.map_err(unanswered)?
        })
    }

    fn transact_blocking(&self, op: Option<Op>, work: Work) -> Transacted {
        let (reply, answer) = oneshot::channel();
        threads::send(&self.0.requests, Request::Transact { op, work, reply }).map_err(closed)?;
        threads::wait(answer).map_err(unanswered)?
    }

    fn overview(&self) -> BoxFuture<'static, Result<Overview>> {
        let now = self.0.clock.now();
        self.0.readers.read_async(move |conn| overview(conn, &Statements::standard(), now))
    }

    fn next_due(&self, interest: &Interest) -> BoxFuture<'static, Result<Option<Timestamp>>> {
        let (interest, now) = (interest.clone(), self.0.clock.now());
        self.0.readers.read_async(move |conn| {
            let sql = Statements::standard();
            match interest {
                Interest::Commands(names) => next_due_commands(conn, &sql, &names),
                Interest::Group(group, _) => next_due_group(conn, &sql, &group, now),
            }
        })
    }

    fn signals(&self) -> &Arc<Signals> {
        &self.0.signals
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    fn limits(&self) -> Limits {
        self.0.limits
    }
}
