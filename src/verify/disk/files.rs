//! The disk as a file system beside SQLite: copies are made with it.
//!
//! Does not depend on: copies.

use std::io;
use std::path::Path;

use super::device::{CallFailed, CallResult};
use super::ffi::Mounted;
use fencepost::internals::sqlite::files::Files;

fn name(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::ErrorKind::InvalidFilename.into())
}

fn to_io<T>(outcome: CallResult<T>) -> io::Result<T> {
    outcome.map_err(|failed| match failed {
        CallFailed::Full => io::ErrorKind::StorageFull.into(),
        CallFailed::NotFound => io::ErrorKind::NotFound.into(),
        CallFailed::Exists => io::ErrorKind::AlreadyExists.into(),
        CallFailed::Io(_) | CallFailed::Short | CallFailed::Busy => io::Error::other("the disk failed"),
    })
}

impl Files for Mounted {
    fn exists(&self, path: &Path) -> bool {
        name(path).is_ok_and(|name| self.disk().exists(name).unwrap_or(false))
    }

    fn create_new_like(&self, path: &Path, _like: &Path) -> io::Result<()> {
        to_io(self.disk().create_new(name(path)?))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        to_io(self.disk().sync_by_name(name(path)?))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        to_io(self.disk().link(name(from)?, name(to)?, false))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        to_io(self.disk().link(name(from)?, name(to)?, true))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        to_io(self.disk().unlink(name(path)?, false))
    }

    fn sync_directory_of(&self, _path: &Path) -> io::Result<()> {
        to_io(self.disk().sync_directory())
    }
}
