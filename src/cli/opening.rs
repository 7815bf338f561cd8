//! The file that a command is about, and how it is opened.
//!
//! What always holds: a command that only reads opens a connection that cannot write, and only a command that adds
//! something makes a file that is not there.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use rusqlite::Connection;

use crate::ended::Failed;
use crate::parse::duration;
use fencepost::clock::{Clock as _, SystemClock};
use fencepost::internals::sqlite::{OpenOptions, Overview, Statements, Store, open_reader, overview};
use fencepost::{Recording, SqliteBus, SqliteBusBuilder};

#[derive(Debug, Args)]
pub(super) struct BusFile {
    /// The file of the bus.
    #[arg(value_name = "FILE")]
    pub(super) path: PathBuf,
    /// How long to wait for another process that holds the file locked.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, global = true)]
    pub(super) busy_timeout: Duration,
}

/// A recording of what a command does.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// Record what this does to a file, for `fencepost audit`; what was there goes to the same name with `.1`.
    #[arg(long, value_name = "RECORDING")]
    record: Option<PathBuf>,
    /// How large the recording and its predecessor may become together, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = fencepost::record::BYTES_MAX, requires = "record")]
    record_bytes_max: u64,
    /// Record payloads and the values of metadata as they are, and not their digests.
    #[arg(long, requires = "record")]
    record_contents: bool,
}

impl Record {
    /// The builder of a bus that records, if that was asked for.
    pub(super) fn with(&self, builder: SqliteBusBuilder) -> SqliteBusBuilder {
        let Some(path) = &self.record else { return builder };
        let recording = Recording::to(path).bytes_max(self.record_bytes_max);
        builder.record(if self.record_contents { recording.whole_contents() } else { recording })
    }
}

impl BusFile {
    /// How to open it.
    pub(super) fn options(&self) -> OpenOptions {
        let busy_timeout_ms = u32::try_from(self.busy_timeout.as_millis()).unwrap_or(u32::MAX);
        OpenOptions { create: false, busy_timeout_ms, ..OpenOptions::default() }
    }

    /// What the bus said about it.
    pub(super) fn failed(&self, error: fencepost::Error) -> Failed {
        Failed::At { path: self.path.clone(), error }
    }

    /// The bus, which is made if it is not there.
    pub(super) fn builder(&self) -> SqliteBusBuilder {
        SqliteBus::builder(&self.path).busy_timeout(self.busy_timeout)
    }

    /// A connection that can only read.
    pub(super) fn reader(&self) -> Result<Connection, Failed> {
        open_reader(&self.path, &self.options()).map_err(|error| self.failed(error))
    }

    /// The store, for writing; one that is not there is not made.
    pub(super) fn store(&self) -> Result<Store, Failed> {
        Store::open(&self.path, &self.options()).map_err(|error| self.failed(error))
    }

    /// Figures of the bus as it is now.
    pub(super) fn overview(&self, conn: &Connection) -> Result<Overview, Failed> {
        overview(conn, &Statements::standard(), now()).map_err(|error| self.failed(error))
    }

    /// Applies an operation now; a refusal is a failure.
    pub(super) fn apply(&self, store: &mut Store, op: &Op) -> Result<Reply, Failed> {
        match store.apply(now(), op) {
            Ok(Reply::Refused(refusal)) => Err(self.failed(refusal.into())),
            reply => reply.map_err(|error| self.failed(error)),
        }
    }

    /// Closes the store.
    pub(super) fn close(&self, store: Store) -> Result<(), Failed> {
        store.close().map_err(|error| self.failed(error))
    }
}

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}
