//! Opening a file: whose it is, how it is hardened, its version, and the boot.
//!
//! The first look at a file takes no lock and writes nothing; only a file of ours is opened for writing.
//!
//! Invariant: a file that is refused is left as it was, byte for byte, with nothing new beside it. The database file is opened
//! only through SQLite: closing another descriptor would drop SQLite's locks.
//! Does not depend on: operations.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, named_params};

use fencepost_model::vocabulary::Timestamp;

use crate::error::{Error, Result};
use crate::sqlite::cursor::{last_commit, next_commit, skip_tokens};
use crate::sqlite::files::{Files as _, OperatingSystem, beside};
use crate::sqlite::migrate::{APPLICATION_ID, SCHEMA_VERSION, migrate, newest};
use crate::sqlite::session::Session;
use crate::sqlite::statements::{StatementId as Sql, Statements};
use crate::sqlite::steps::Steps;
use crate::sqlite::trust::check_schema;

/// What an acknowledged operation survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: every commit is synced.
    #[default]
    PowerLoss,
    /// A killed process. A power cut may take the newest operations, and leaves a prefix.
    ProcessCrash,
}

impl Durability {
    /// The number of SQLite's `synchronous` that this needs.
    #[doc(hidden)]
    pub const fn synchronous(self) -> i64 {
        match self {
            Self::PowerLoss => 2,
            Self::ProcessCrash => 1,
        }
    }
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// What an acknowledged operation survives.
    pub durability: Durability,
    /// Whether to create the file if it does not exist.
    pub create: bool,
    /// How long to wait for another connection's lock, in milliseconds.
    pub busy_timeout_ms: u32,
    /// The identity of this boot, instead of the operating system's: for tests.
    pub boot_id: Option<String>,
    /// The name of the registered SQLite file system to use, instead of the operating system's: for tests. It is asked
    /// to sync its directory by `PRAGMA sync_directory`.
    pub vfs: Option<String>,
    /// SQL that leads from this program's version of the schema to one after it: for tests of migrations.
    #[doc(hidden)]
    pub next_version: Option<&'static str>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            durability: Durability::PowerLoss,
            create: true,
            busy_timeout_ms: 5_000,
            boot_id: None,
            vfs: None,
            next_version: None,
        }
    }
}

/// What the first look at a file finds.
enum FoundFile {
    /// Nothing yet, or a file of no bytes.
    Empty,
    /// A fencepost store.
    Ours,
    /// Damaged, with a rollback journal beside it: SQLite has to recover it before anyone can say more.
    Interrupted,
}

/// What an opening leaves behind: a connection that is hardened, migrated and past its boot.
pub(super) struct Opened {
    pub(super) conn: Connection,
    pub(super) steps: Steps,
    /// The number that the boot took, if this was the first opening after one.
    pub(super) booted: Option<u64>,
}

/// Opens a connection.
pub(super) fn open(path: &Path, options: &OpenOptions, sql: &Statements) -> Result<Opened> {
    let look = look(path, options)?;
    if matches!(look, FoundFile::Empty) && !options.create {
        return Err(Error::NotFound);
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if options.create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let mut conn = connect(path, flags, options)?;
    // Until it is known that the file is ours in every way, closing it must not checkpoint it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    harden(&conn)?;
    let steps = Steps::watch(&mut conn, path)?;
    match prepare(&conn, path, options, sql) {
        Ok(booted) => Ok(Opened { conn, steps, booted }),
        Err(error) => Err(steps.classify(error)),
    }
}

/// Makes an empty file ours, brings the file to the newest version, and past its boot. Returns the commit number that the boot
/// took, if this is the first opening after one.
fn prepare(conn: &Connection, path: &Path, options: &OpenOptions, sql: &Statements) -> Result<Option<u64>> {
    if conn.is_readonly(rusqlite::MAIN_DB)? {
        return Err(Error::ReadOnly);
    }
    // Creation, and the switch to WAL, go through a rollback journal. If its removal did not reach the directory, a
    // power cut would bring it back and undo everything since, so the directory is synced too until they are over.
    conn.pragma_update(None, "synchronous", "EXTRA")?;
    let application_id: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application_id != APPLICATION_ID {
        create(conn, options, sql)?;
    }
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::NotWal);
    }
    let booted = begin_boot(conn, options, sql)?;
    sync_names(conn, path, options)?;
    settle(conn)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    conn.pragma_update(None, "synchronous", options.durability.synchronous())?;
    Ok(booted)
}

/// Opens a connection to an existing store, only to read it beside other connections. It keeps to SQLite's
/// locks, and puts the store's WAL and its index beside the file while it is open, as every connection does.
pub(super) fn attach(path: &Path, options: &OpenOptions) -> Result<Connection> {
    if matches!(look(path, options)?, FoundFile::Empty) {
        return Err(Error::NotFound);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = connect(path, flags, options)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    harden(&conn)?;
    let steps = Steps::watch(&mut conn, path)?;
    recognise(&conn, options).map_err(|error| steps.classify(error))?;
    // How long readers of one connection read together has no bound.
    Steps::unwatch(&mut conn)?;
    Ok(conn)
}

/// Looks whether what is only to be read is ours.
fn recognise(conn: &Connection, options: &OpenOptions) -> Result<()> {
    conn.pragma_update(None, "query_only", true)?;
    let application_id: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application_id != APPLICATION_ID {
        return Err(Error::NotOurs { application_id });
    }
    // The look at the header has not seen what only the WAL tells.
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let supported = newest(options.next_version);
    if !(1..=supported).contains(&found) {
        return Err(Error::NewerVersion { found, supported });
    }
    if found == SCHEMA_VERSION {
        check_schema(conn, &Statements::standard(), None)?;
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

/// Opens a connection that reads a store beside its writers, and can write nothing.
///
/// # Errors
/// As [`Store::open`](crate::sqlite::Store::open), and [`Error::NotFound`]; nothing is created.
pub fn open_reader(path: &Path, options: &OpenOptions) -> Result<Connection> {
    attach(path, options)
}

/// Looks whether a connection of the caller's own is to a store of this version; says what its `synchronous` is.
///
/// # Errors
/// [`Error::NotOurs`] or [`Error::NewerVersion`].
pub fn check_connection(conn: &Connection) -> Result<i64> {
    let pragma = |name| Ok::<i64, Error>(conn.pragma_query_value(None, name, |row| row.get(0))?);
    let application_id = pragma("application_id")?;
    if application_id != APPLICATION_ID {
        return Err(Error::NotOurs { application_id });
    }
    let found = pragma("user_version")?;
    if found != SCHEMA_VERSION {
        return Err(Error::NewerVersion { found, supported: SCHEMA_VERSION });
    }
    pragma("synchronous")
}

/// Opens a connection that changes not a byte of the file or of its WAL. If the file lies `alone`, neither locks nor a
/// WAL are looked at, so no other connection may have it open. Otherwise it keeps to SQLite's locks; a WAL that lies there
/// without its index gets one.
pub(super) fn still(path: &Path, alone: bool) -> Result<(Connection, Steps)> {
    let options = OpenOptions::default();
    if matches!(look(path, &options)?, FoundFile::Empty) {
        return Err(Error::NotFound);
    }
    let how = match alone {
        true => "immutable=1",
        false if beside(path, "-shm").is_some() => "readonly_shm=1",
        false => "immutable=0",
    };
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = connect(&uri(path, how), flags, &options)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    harden(&conn)?;
    let steps = Steps::watch(&mut conn, path)?;
    Ok((conn, steps))
}

/// Makes an empty database of the caller ours, or takes one that is ours, in any journal mode.
pub(super) fn over(conn: Connection) -> Result<Connection> {
    harden(&conn)?;
    migrate(&conn, conn.pragma_query_value(None, "user_version", |row| row.get(0))?, None)?;
    Ok(conn)
}

/// Opens a connection on the file system that the options name, and nothing more: it is not ours yet. The path is a
/// URI only if the flags say so.
pub(super) fn connect(path: &Path, flags: OpenFlags, options: &OpenOptions) -> Result<Connection> {
    let mut path = Cow::Borrowed(path);
    // Without the flag, SQLite as it is built here takes for a URI what begins like one: that would be another file.
    if !flags.contains(OpenFlags::SQLITE_OPEN_URI)
        && path.as_os_str().as_encoded_bytes().starts_with(b"file:")
    {
        path = Cow::Owned(Path::new(".").join(path));
    }
    let conn = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
        None => Connection::open_with_flags(path, flags)?,
    };
    conn.busy_timeout(std::time::Duration::from_millis(u64::from(options.busy_timeout_ms)))?;
    Ok(conn)
}

/// What every connection of ours has: no trust in the schema, no way around SQLite's own structures, full syncs.
pub(super) fn harden(conn: &Connection) -> Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // Plans do not depend on what is bound: they stay as tested, and binding a value never prepares anew.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    if cfg!(target_os = "macos") {
        conn.pragma_update(None, "fullfsync", true)?;
        conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    }
    conn.set_prepared_statement_cache_capacity(2 * Sql::ALL.len());
    Ok(())
}

/// Looks at a file without a lock and without writing anything, not even beside it.
fn look(path: &Path, options: &OpenOptions) -> Result<FoundFile> {
    match glance(path, options, false) {
        // A checkpoint that is under way, or was killed, has written a header that counts pages which only the WAL has
        // yet: the file is shorter than it says, and that is no damage. If no WAL is there by now, it is over.
        Err(Error::Corrupt { .. }) => glance(path, options, may_have(path, options, "-wal")),
        // Another process may have created the file after it was found missing and before the second look.
        Err(Error::CannotOpen { .. }) => glance(path, options, false),
        look => look,
    }
}

/// Looks once. A file that is shorter than its header says is malformed, unless it `may_be_short`.
fn glance(path: &Path, options: &OpenOptions, may_be_short: bool) -> Result<FoundFile> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = match connect(&uri(path, "immutable=1"), flags, options) {
        Ok(conn) => conn,
        Err(error) => return cannot_open(path, options, error),
    };
    // This lets SQLite read such a file; nothing can be written through this connection.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, may_be_short)?;
    let pragma = |name| Ok::<i64, Error>(conn.pragma_query_value(None, name, |row| row.get(0))?);
    let supported = newest(options.next_version);
    // A checkpoint of another process may be under way, so of a file that is ours the header alone is read.
    match pragma("application_id") {
        Ok(APPLICATION_ID) => match pragma("user_version")? {
            // There is no version before the first: what says so was not written by this program.
            found if !(1..=supported).contains(&found) => Err(Error::NewerVersion { found, supported }),
            _ => Ok(FoundFile::Ours),
        },
        Ok(application_id) => match pragma("page_count")? {
            0 => Ok(FoundFile::Empty),
            _ => Err(Error::NotOurs { application_id }),
        },
        Err(Error::NotADatabase | Error::Corrupt { .. }) if may_have(path, options, "-journal") => {
            Ok(FoundFile::Interrupted)
        }
        Err(Error::CannotOpen { source }) => cannot_open(path, options, Error::CannotOpen { source }),
        Err(error) => Err(error),
    }
}

/// Tells a missing file from a directory and from one that may not be read.
fn cannot_open(path: &Path, options: &OpenOptions, error: Error) -> Result<FoundFile> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Error::IsADirectory),
        Ok(_) if options.vfs.is_none() => Err(error),
        _ => Ok(FoundFile::Empty),
    }
}

/// Whether a rollback journal or a WAL may lie beside a file. Other file systems are not looked at here, so there it may.
fn may_have(path: &Path, options: &OpenOptions, suffix: &str) -> bool {
    options.vfs.is_some() || beside(path, suffix).is_some_and(|bytes| bytes > 0)
}

/// The path as a URI, with a parameter.
fn uri(path: &Path, how: &str) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(how);
    PathBuf::from(uri)
}

/// Creates the tables in an empty file. This happens in rollback mode, so that the main file says whose it is as soon
/// as it says anything.
fn create(conn: &Connection, options: &OpenOptions, sql: &Statements) -> Result<()> {
    conn.execute_batch(sql.get(Sql::Begin))?;
    // Another process may have created it since the look, and the interrupted transaction may have been another application's.
    let application_id = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = conn.query_row(sql.get(Sql::TablesCount), [], |row| row.get(0))?;
    if tables > 0 && application_id != APPLICATION_ID {
        return Err(Error::NotOurs { application_id });
    }
    if application_id != APPLICATION_ID {
        migrate(conn, 0, options.next_version)?;
        conn.execute(sql.get(Sql::BootWrite), named_params! {":boot_id": boot_id(options)})?;
    }
    conn.execute_batch(sql.get(Sql::Commit))?;
    Ok(())
}

/// Brings the file to the newest version and, if the machine has booted since it was last open for writing, moves the
/// token counter on, durably: a power cut may have taken tokens that the outside world has seen (G4). That takes a number.
fn begin_boot(conn: &Connection, options: &OpenOptions, sql: &Statements) -> Result<Option<u64>> {
    conn.execute_batch(sql.get(Sql::Begin))?;
    let found: i64 = conn.query_row(sql.get(Sql::SchemaVersion), [], |row| row.get(0))?;
    let supported = newest(options.next_version);
    if found > supported {
        return Err(Error::NewerVersion { found, supported });
    }
    if found < supported {
        // The file is ours. If the step fails, its closing folds in and takes away what is beside it, as any does.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        migrate(conn, found, options.next_version)?;
    }
    // Before anything is written to its tables: what hangs on them would run.
    check_schema(conn, sql, options.next_version)?;
    let s = Session::new(conn, sql, Timestamp::ZERO);
    // What cannot be read is no identity of a boot, and one more is always safe.
    let before = s.first(Sql::BootRead, &[], |row| {
        Ok(row.get_ref(0)?.as_str_or_null().unwrap_or_default().map(str::to_owned))
    })?;
    let before = before.ok_or(Error::row_missing("store"))?;
    let boot_id = boot_id(options);
    // Where no boot can be told from another, each opening counts as one.
    let mut booted = None;
    if boot_id.is_none() || boot_id != before {
        skip_tokens(&s, None)?;
        next_commit(&s)?;
        booted = Some(last_commit(&s)?);
        s.run(Sql::BootWrite, named_params! {":boot_id": boot_id})?;
    }
    conn.execute_batch(sql.get(Sql::Commit))?;
    Ok(booted)
}

/// Makes the name of the WAL outlast a power cut. SQLite syncs the directory with the first commit of the connection that
/// created the WAL, and of no other: where one has opened the file and committed nothing yet, what another commits would
/// go with a name that was never durable. The WAL is there by now, and stays as long as this connection.
fn sync_names(conn: &Connection, path: &Path, options: &OpenOptions) -> Result<()> {
    match options.vfs {
        None => OperatingSystem.sync_directory_of(path)?,
        Some(_) => conn.execute_batch("PRAGMA sync_directory")?,
    }
    Ok(())
}

/// Copies what lies in the WAL into the file, so that nothing is built on it. The process that wrote it may have ended
/// after a sync that failed: then it can be read until the next power cut, no later sync writes it, and what is
/// acknowledged behind it would be lost with it.
fn settle(conn: &Connection) -> Result<()> {
    // It is no error that another connection is in the way: then it is in use, and was not just found.
    Ok(conn.pragma_query_value(None, "wal_checkpoint", |_| Ok(()))?)
}

/// The identity of this boot of the machine, where the operating system tells it.
fn boot_id(options: &OpenOptions) -> Option<String> {
    if options.boot_id.is_some() {
        return options.boot_id.clone();
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}
