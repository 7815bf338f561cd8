//! Connections that read beside the one that writes.
//!
//! Invariant: a reader can write nothing, and never makes the writer wait.
//! Does not depend on: what is read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_core::future::BoxFuture;
use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::sqlite::{OpenOptions, open_reader};
use crate::threads;

/// How many idle connections are kept at most.
const IDLE_MAX: usize = 4;

/// A pool that opens as many connections as are needed at once, and keeps a few.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    options: OpenOptions,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, options: OpenOptions) -> Self {
        Self { path, options, idle: Mutex::default() }
    }

    /// Reads in this thread.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        threads::point("takes a connection");
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open_reader(&self.path, &self.options)?,
        };
        let found = read(&conn);
        threads::point("gives a connection back");
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(conn);
        }
        found
    }

    /// Reads in a thread that may wait for the disk.
    pub(super) fn read_async<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let readers = Arc::clone(self);
        Box::pin(async move { threads::beside(move || readers.read(read)).await.map_err(|_| Error::Closed)? })
    }
}
