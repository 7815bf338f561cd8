//! Copies of a store: making a copy while the store is at work, and beginning a new life in a copy.
//!
//! Invariant: a copy is one state of the store. It appears under its name complete and synced, or not at all, and never
//! replaces a file. The store that is copied goes on unchanged.
//! Does not depend on: other connections to the store.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Epoch, Timestamp};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, named_params};

use crate::error::{Error, Result};
use crate::sqlite::files::{Files, OperatingSystem};
use crate::sqlite::migrate::SCHEMA_VERSION;
use crate::sqlite::open::{OpenOptions, attach, connect, harden};
use crate::sqlite::session::Guard;
use crate::sqlite::statements::{StatementId as Sql, Statements};
use crate::sqlite::store::Store;

/// How many pages are copied between two calls of `progress`.
const PAGES_PER_STEP: i32 = 256;

/// Copies the store in the file `from` into the new file `to`, while others read and write it. `progress` is called
/// with how many pages are copied and how many there are. The copy is one state of the store: the one at the beginning
/// of the copying. While it runs, the WAL of the store cannot start anew, and grows with what is written.
///
/// The copy is a file of its own, with the permissions of the original and nothing beside it, and opens as any other.
/// It must be opened by [`restore`]: opened otherwise, while the original or another copy goes on, there are
/// two stores with one epoch that give out the same numbers. Tokens have a margin: the copy does not remember a boot, so its
/// first opening counts as one and moves its token counter on by 2^32. The copy mints none of the tokens that the original
/// minted after the copy, up to that many, and a worker that outlived the original settles nothing in the copy (G4). Epochs,
/// numbers and ids have no such margin.
///
/// # Errors
/// [`Error::Exists`] if there is something at `to`, or a `-wal` or `-journal` that another file of that name left
/// there; the errors of opening `from`; [`Error::Io`], and errors of SQLite. Then nothing is left behind.
pub fn backup(from: &Path, to: &Path, progress: impl FnMut(u64, u64)) -> Result<()> {
    backup_on(&OperatingSystem, None, from, to, progress)
}

/// Copies a store on a disk, which SQLite knows as the registered file system `vfs`: [`backup`], for simulated disks.
pub fn backup_on(
    files: &dyn Files,
    vfs: Option<&str>,
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<()> {
    // A WAL or a journal that another file of this name left would be played back into the copy when it is opened.
    if ["", "-wal", "-journal"].iter().any(|suffix| files.exists(&with_suffix(to, suffix))) {
        return Err(Error::Exists);
    }
    let options = OpenOptions { vfs: vfs.map(str::to_owned), ..OpenOptions::default() };
    let sql = Statements::standard();
    let source = attach(from, &options)?;
    let partial = Partial::beside(files, to, from)?;
    copy(&source, &partial.path, &options, &sql, &mut progress)?;
    source.close().map_err(|(_, error)| error)?;
    files.sync(&partial.path)?;
    partial.appear_as(to)
}

fn copy(
    source: &Connection,
    to: &Path,
    options: &OpenOptions,
    sql: &Statements,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    // In a transaction of its own the source stands still: a copy of a moving one would begin anew with each commit.
    let _guard = Guard(source, sql);
    source.execute_batch(sql.get(Sql::BeginRead))?;
    let found: i64 = source.query_row(sql.get(Sql::SchemaVersion), [], |row| row.get(0))?;
    if found > SCHEMA_VERSION {
        return Err(Error::NewerVersion { found, supported: SCHEMA_VERSION });
    }
    // The file exists. If it was removed meanwhile, a new one would have the wrong permissions, so none is created.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = connect(to, flags, options)?;
    harden(&target)?;
    let backup = Backup::new(source, &mut target)?;
    loop {
        let step = backup.step(PAGES_PER_STEP)?;
        let pages = backup.progress();
        let count = |pages| u64::try_from(pages).unwrap_or_default();
        progress(count(pages.pagecount - pages.remaining), count(pages.pagecount));
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => return Err(Error::Busy),
        }
    }
    drop(backup);
    // The copy was made by a boot of no importance to it. Out of WAL mode it is one file.
    target.execute(sql.get(Sql::BootWrite), named_params! {":boot_id": None::<&str>})?;
    let mode: String = target.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    if mode != "delete" {
        return Err(Error::Busy);
    }
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// A file that is not complete yet: it goes with this, unless it appears under its name.
struct Partial<'a> {
    files: &'a dyn Files,
    path: PathBuf,
}

impl<'a> Partial<'a> {
    /// Makes an empty file in the directory of another, with the permissions of a third.
    fn beside(files: &'a dyn Files, to: &Path, like: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = to.file_name().ok_or(Error::IsADirectory)?;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{count}.partial", std::process::id()));
            let path = to.with_file_name(hidden);
            match files.create_new_like(&path, like) {
                Ok(()) => return Ok(Self { files, path }),
                // A process with the same id was killed while it copied to the same place.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the file its name, durably, unless something has that name.
    fn appear_as(self, to: &Path) -> Result<()> {
        let files = self.files;
        // A second name for the file is refused if it is taken, which a renaming would not be. The first one goes
        // before the directory is synced: a power cut would bring it back.
        let named = match files.link(&self.path, to) {
            Ok(()) => files.remove(&self.path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists),
            Err(_) if files.exists(to) => return Err(Error::Exists),
            Err(_) => Ok(files.rename(&self.path, to)?),
        };
        let named = named.and_then(|()| files.sync_directory_of(to));
        if named.is_err() {
            // It may not be there after a power cut, so it was not copied.
            let _ = files.remove(to);
        }
        Ok(named?)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // What is not there need not go, and about what does not go nothing can be done here.
            let _ = self.files.remove(&with_suffix(&self.path, suffix));
        }
    }
}

/// The name of what SQLite puts beside a file.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Begins a new life in a copy: opens the file, whose first opening this should be, and applies [`Op::Restore`] at the
/// time `now`. The log goes on in the epoch `next`, which must be larger than every one that the original or another
/// copy of it ever used; holders of cursors are fenced, and tokens come from the new epoch's own range (G4, G11).
///
/// The reply is [`Reply::EpochBegun`], or the refusal `EpochRetired`, if the file knows of an epoch as late as `next`:
/// then nothing changed but that the file was opened.
///
/// # Errors
/// The errors of opening the file, and of the operation.
pub fn restore(path: &Path, next: Epoch, now: Timestamp) -> Result<Reply> {
    let mut store = Store::open(path, &OpenOptions { create: false, ..OpenOptions::default() })?;
    let reply = store.apply(now, &Op::Restore { next })?;
    store.close()?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::fs;

    use super::*;

    /// The operating system, with a list of what it did, and steps that fail.
    #[derive(Default)]
    struct Recorder {
        done: RefCell<Vec<&'static str>>,
        failing: &'static [&'static str],
        /// How many more names are taken when they are to be made.
        taken: Cell<u32>,
    }

    impl Recorder {
        fn step(&self, what: &'static str, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
            if self.failing.contains(&what) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            step().inspect(|()| self.done.borrow_mut().push(what))
        }
    }

    impl Files for Recorder {
        fn exists(&self, path: &Path) -> bool {
            OperatingSystem.exists(path)
        }

        fn create_new_like(&self, path: &Path, like: &Path) -> io::Result<()> {
            if let Some(left) = self.taken.get().checked_sub(1) {
                self.taken.set(left);
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.step("create", || OperatingSystem.create_new_like(path, like))
        }

        fn sync(&self, path: &Path) -> io::Result<()> {
            self.step("sync", || OperatingSystem.sync(path))
        }

        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step("link", || OperatingSystem.link(from, to))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step("rename", || OperatingSystem.rename(from, to))
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step("remove", || OperatingSystem.remove(path))
        }

        fn sync_directory_of(&self, path: &Path) -> io::Result<()> {
            self.step("sync directory", || OperatingSystem.sync_directory_of(path))
        }
    }

    /// Copies a new store while these steps fail; says what came of it, what was done, and what lies there at the end.
    fn copied(failing: &'static [&'static str]) -> (Result<()>, Vec<&'static str>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
        Store::open(&from, &OpenOptions::default()).unwrap().close().unwrap();
        let files = Recorder { failing, ..Recorder::default() };
        let result = backup_on(&files, None, &from, &to, |_, _| {});
        (result, files.done.into_inner(), names_in(directory.path()))
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_is_synced_before_it_has_its_name_and_no_other_name_outlasts_the_answer() {
        let (result, done, names) = copied(&[]);
        assert!(result.is_ok());
        assert_eq!(done, ["create", "sync", "link", "remove", "sync directory"]);
        assert_eq!(names, ["bus.db", "copy.db"]);
        let (result, done, names) = copied(&["link"]);
        assert!(result.is_ok());
        assert_eq!(done, ["create", "sync", "rename", "sync directory"]);
        assert_eq!(names, ["bus.db", "copy.db"]);
    }

    #[test]
    fn a_copy_of_which_a_step_fails_is_not_there() {
        for failing in [&["create"][..], &["sync"], &["link", "rename"], &["sync directory"]] {
            let (result, _, names) = copied(failing);
            assert!(matches!(result, Err(Error::Io { .. })), "{failing:?}: {result:?}");
            assert_eq!(names, ["bus.db"], "{failing:?}");
        }
    }

    #[test]
    fn where_a_file_has_one_name_a_copy_takes_the_place_of_nothing_either() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
        Store::open(&from, &OpenOptions::default()).unwrap().close().unwrap();
        let files = Recorder { failing: &["link"], ..Recorder::default() };
        let result = backup_on(&files, None, &from, &to, |_, _| fs::write(&to, "mine").unwrap());
        assert!(matches!(result, Err(Error::Exists)), "{result:?}");
        assert_eq!(fs::read(&to).unwrap(), b"mine");
        assert_eq!(names_in(directory.path()), ["bus.db", "copy.db"]);
    }

    #[test]
    fn what_a_killed_copying_left_under_our_number_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
        Store::open(&from, &OpenOptions::default()).unwrap().close().unwrap();
        let files = Recorder { taken: Cell::new(2), ..Recorder::default() };
        backup_on(&files, None, &from, &to, |_, _| {}).unwrap();
        assert_eq!(files.taken.get(), 0);
        assert_eq!(names_in(directory.path()), ["bus.db", "copy.db"]);
    }

    #[test]
    fn what_is_migrated_after_the_first_look_is_not_copied() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("bus.db"), directory.path().join("copy.db"));
        Store::open(&from, &OpenOptions::default()).unwrap().close().unwrap();
        let options = OpenOptions::default();
        let source = attach(&from, &options).unwrap();
        let newer = SCHEMA_VERSION + 1;
        Connection::open(&from).unwrap().pragma_update(None, "user_version", newer).unwrap();
        let result = copy(&source, &to, &options, &Statements::standard(), &mut |_, _| {});
        assert!(matches!(result, Err(Error::NewerVersion { found, .. }) if found == newer), "{result:?}");
        assert!(!to.exists());
    }
}
