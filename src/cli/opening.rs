//! The file of the bus as an argument, and how a command opens it.
//!
//! Invariant: a command that only reads uses a read-only connection. Only a command that adds messages creates a missing
//! file.

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
    /// How long to wait for the lock of another process.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, global = true)]
    pub(super) busy_timeout: Duration,
}

/// The arguments for a recording.
#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// Record the operations of this command in a file, for `fencepost audit`. An earlier recording of that name is
    /// renamed to RECORDING.1.
    #[arg(long, value_name = "RECORDING")]
    record: Option<PathBuf>,
    /// The maximum size of RECORDING and RECORDING.1 together, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = fencepost::record::BYTES_MAX, requires = "record")]
    record_bytes_max: u64,
    /// Record payloads and metadata values in full instead of their digests.
    #[arg(long, requires = "record")]
    record_contents: bool,
}

impl RecordArguments {
    /// Adds the recording to the builder, if one was asked for.
    pub(super) fn with(&self, builder: SqliteBusBuilder) -> SqliteBusBuilder {
        let Some(path) = &self.record else { return builder };
        let recording = Recording::to(path).bytes_max(self.record_bytes_max);
        builder.record(if self.record_contents { recording.whole_contents() } else { recording })
    }
}

impl BusFile {
    /// The options for opening an existing file.
    pub(super) fn options(&self) -> OpenOptions {
        let busy_timeout_ms = u32::try_from(self.busy_timeout.as_millis()).unwrap_or(u32::MAX);
        OpenOptions { create: false, busy_timeout_ms, ..OpenOptions::default() }
    }

    /// An error of the bus in this file.
    pub(super) fn failed(&self, error: fencepost::Error) -> Failed {
        Failed::InFile { path: self.path.clone(), error }
    }

    /// A builder of the bus; it creates a missing file.
    pub(super) fn builder(&self) -> SqliteBusBuilder {
        SqliteBus::builder(&self.path).busy_timeout(self.busy_timeout)
    }

    /// A read-only connection.
    pub(super) fn reader(&self) -> Result<Connection, Failed> {
        open_reader(&self.path, &self.options()).map_err(|error| self.failed(error))
    }

    /// The store, for writing. A missing file is an error.
    pub(super) fn store(&self) -> Result<Store, Failed> {
        Store::open(&self.path, &self.options()).map_err(|error| self.failed(error))
    }

    /// Figures of the bus at this moment.
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
