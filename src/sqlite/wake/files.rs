//! Notifications of file changes on Linux: inotify on the directory of a database, and a bell that ends a wait.
//!
//! An event says that a frame was written, not that a commit can be seen.
//!
//! Invariant: the watch is on the directory and opens no file, so SQLite's locks stay, and a WAL that is deleted and made anew
//! is noticed as well.
//! Does not depend on: when to look.

use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// The ears.
#[derive(Debug)]
pub(super) struct Files {
    inotify: OwnedFd,
    bell: Arc<OwnedFd>,
    /// The name of the write-ahead log. Every commit is written there first.
    log: Vec<u8>,
}

/// Ends a wait from another thread.
#[derive(Debug)]
pub(super) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(super) fn ring(&self) {
        // It fails only after 2^64 rings without a wait.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Files {
    /// Listens to the directory that the database is really in. `None` if that cannot be had: no such file, no
    /// descriptor or no watch left.
    pub(super) fn new(path: &Path) -> Option<Self> {
        // SQLite follows links too, and puts the log beside the file that it arrives at.
        let real = path.canonicalize().ok()?;
        let mut log = real.file_name()?.as_encoded_bytes().to_owned();
        log.extend_from_slice(b"-wal");
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, real.parent()?, wanted).ok()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        Some(Self { inotify, bell: Arc::new(bell), log })
    }

    pub(super) fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.bell))
    }

    /// Waits for the bell and, if that is wanted, for events, and says whether there are any. A ring that ended a wait
    /// is over.
    pub(super) fn wait(&self, timeout: Option<Duration>, listen: bool) -> io::Result<bool> {
        // No timeout is so long that the seconds overflow.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [PollFd::new(&self.bell, PollFlags::IN), PollFd::new(&self.inotify, PollFlags::IN)];
        let wanted = if listen { &mut fds[..] } else { &mut fds[..1] };
        match poll(wanted, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [bell, files] = fds.map(|fd| !fd.revents().is_empty());
        if bell {
            // Nothing to read is as good.
            let _ = rustix::io::read(&*self.bell, &mut [0_u8; 8]);
        }
        Ok(files)
    }

    /// Takes all events, and says whether one of them may belong to a commit. An error is the end of all events.
    pub(super) fn drain(&mut self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut written = false;
        loop {
            match events.next() {
                // The directory is gone, or its file system.
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    return Err(io::ErrorKind::NotFound.into());
                }
                // More was said than the kernel keeps.
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => written = true,
                Ok(event) => written |= event.file_name().is_some_and(|name| name.to_bytes() == self.log),
                Err(Errno::AGAIN) => return Ok(written),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_is_written_to_the_log_counts() {
        let directory = tempfile::tempdir().unwrap();
        let [database, log] = ["bus.db", "bus.db-wal"].map(|name| directory.path().join(name));
        fs::write(&database, "").unwrap();
        let mut files = Files::new(&database).unwrap();
        for other in ["bus.db", "bus.db-shm", "bus.db-wal2", "another.db-wal"] {
            fs::write(directory.path().join(other), "x").unwrap();
            assert!(!files.drain().unwrap(), "{other}");
        }
        for text in ["made", "written again"] {
            fs::write(&log, text).unwrap();
            assert!(files.drain().unwrap(), "{text}");
            assert!(!files.drain().unwrap(), "an event is taken once");
        }
        fs::remove_file(&log).unwrap();
        fs::write(directory.path().join("bus.db-shm"), "x").unwrap();
        fs::write(&log, "made anew").unwrap();
        assert!(files.drain().unwrap());
    }

    #[test]
    fn a_link_to_a_database_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let [link, real] = ["link.db", "real/bus.db"].map(|name| directory.path().join(name));
        fs::create_dir(directory.path().join("real")).unwrap();
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut files = Files::new(&link).unwrap();
        fs::write(directory.path().join("real/bus.db-wal"), "x").unwrap();
        assert!(files.drain().unwrap());
    }

    #[test]
    fn the_end_of_the_directory_is_the_end_of_events() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("bus.db"), "").unwrap();
        let mut files = Files::new(&directory.path().join("bus.db")).unwrap();
        directory.close().unwrap();
        assert!(files.drain().is_err());
    }

    #[test]
    fn a_database_that_is_not_there_cannot_be_heard() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Files::new(&directory.path().join("bus.db")).is_none());
    }
}
