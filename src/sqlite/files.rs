//! The file system beside SQLite, as far as a copy needs it: names, and their durability.
//!
//! The product has one implementation, the operating system; a simulated disk is another.
//!
//! Invariant: only a rename replaces a file. A file that is synced here is not open through SQLite in this process: closing
//! the second descriptor would drop SQLite's locks.
//! Does not depend on: the content of the files.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// A file system, as far as SQLite does not speak to it. The parent of every path is a directory that is there.
pub trait Files {
    /// Whether there is anything under this name, be it a link to nothing.
    fn exists(&self, path: &Path) -> bool;

    /// Makes an empty file, with the permissions of another before anything is in it.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken. After an error nothing was made.
    fn create_new_like(&self, path: &Path, like: &Path) -> io::Result<()>;

    /// Makes the content of a file, and its permissions, outlast a power cut. Of its name this says nothing.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name, in the same directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken. A file system may know no second names.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name in the same directory, in one step; what had that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away, and with its last name a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes what was done to the names in the directory of this one outlast a power cut.
    fn sync_directory_of(&self, path: &Path) -> io::Result<()>;
}

/// The length of the file with this suffix beside a database, in bytes; none if there is no such file.
pub(super) fn beside(path: &Path, suffix: &str) -> Option<u64> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    Some(fs::metadata(name).ok()?.len())
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug)]
pub struct OperatingSystem;

impl Files for OperatingSystem {
    fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok()
    }

    fn create_new_like(&self, path: &Path, like: &Path) -> io::Result<()> {
        let permissions = fs::metadata(like)?.permissions();
        let file = File::create_new(path)?;
        let set = file.set_permissions(permissions);
        if set.is_err() {
            // About what does not go nothing can be done here.
            let _ = fs::remove_file(path);
        }
        set
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::options().write(true).open(path)?.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory_of(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_cannot_be_made_durable_and_nobody_says_that_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert_eq!(OperatingSystem.sync(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        OperatingSystem.sync_directory_of(&missing).unwrap();
        // A path of one part lies in the directory that the process works in.
        OperatingSystem.sync_directory_of(Path::new("missing")).unwrap();
        if cfg!(unix) {
            let below = OperatingSystem.sync_directory_of(&missing.join("file"));
            assert_eq!(below.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
