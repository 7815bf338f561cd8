//! The errors of a store and of a bus, as one typed enum.
//!
//! A refusal of a store is no error but data, in [`Reply::Refused`](fencepost_model::op::Reply). The typed methods of a bus,
//! which promise a result, return it as [`Error::Refused`].
//!
//! Invariant: every text is lower case, fits after "failed to ...: ", and says what to do where the reader can do something.
//! Does not depend on: operations; of SQLite it knows the error codes.

use std::fmt;

use fencepost_model::op::Refusal;
use fencepost_model::vocabulary::{DraftError, TextRule};
use rusqlite::ErrorCode;

/// Why an operation of a store failed. Unless it is [`Error::Indeterminate`], nothing changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Another connection holds the lock that this needs. Retryable.
    Busy,
    /// The disk, or a limit on the size of the file, is full. Retryable once there is room.
    Full,
    /// The file, or its directory, cannot be written.
    ReadOnly,
    /// The file holds something that this program did not write, and guessing would break a guarantee.
    Corrupt {
        /// The damage.
        what: Damage,
    },
    /// The file is no SQLite database.
    NotADatabase,
    /// The file is a SQLite database of another application.
    NotOurs {
        /// The application id that was found.
        application_id: i64,
    },
    /// The file was written by a newer version of this program.
    NewerVersion {
        /// The version of the file.
        found: i64,
        /// The newest version that this program understands.
        supported: i64,
    },
    /// The path is a directory.
    IsADirectory,
    /// The file does not exist, and was not to be created.
    NotFound,
    /// There is a file already where a new one was to be made.
    Exists,
    /// The file cannot be opened.
    CannotOpen {
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file cannot be put into WAL mode, which the promised durability needs.
    NotWal,
    /// The store was closed, or closed itself after an operation whose effect is not known.
    Closed,
    /// It cannot be known whether the operation took effect.
    Indeterminate {
        /// What failed.
        source: Box<Error>,
    },
    /// The bus refused the operation, and changed nothing.
    Refused {
        /// The reason.
        refusal: Refusal,
    },
    /// The message that was to be sent or published breaks a rule.
    Draft {
        /// Which rule.
        source: DraftError,
    },
    /// A group's name breaks a rule.
    Group {
        /// Which rule.
        source: TextRule,
    },
    /// The payload is larger than this bus takes.
    PayloadTooLarge {
        /// Its size, in bytes.
        bytes: usize,
        /// The largest size that is accepted, in bytes.
        bytes_max: usize,
    },
    /// The caller's work ended the transaction: a `ROLLBACK` discarded what was done in it, a `COMMIT` kept it.
    TransactionEnded,
    /// The connection has no open transaction.
    NotInTransaction,
    /// The recording of the bus cannot begin.
    NotRecorded {
        /// What failed.
        source: Box<Error>,
    },
    /// The operating system reported an error outside of the database.
    Io {
        /// The error.
        source: std::io::Error,
    },
    /// Any other error of SQLite.
    Sqlite {
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// SQLite itself finds the file malformed.
    File,
    /// The log ends before its recorded head.
    LogShort {
        /// The recorded head.
        head: u64,
    },
    /// A number between the log's first and head is missing, or a number outside of them exists.
    LogIncomplete,
    /// A column of this table holds what this program does not write.
    Column {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A row of this table is missing, although others refer to it.
    RowMissing {
        /// The table.
        table: &'static str,
    },
    /// Rows contradict each other, or a constraint of their table.
    Contradiction,
    /// An index leads to another row of this table than it says.
    Index {
        /// The table.
        table: &'static str,
    },
    /// A part of the schema is missing or changed, or a foreign object hangs on it.
    Schema,
    /// Reading the file takes more steps than a file of its size can need: its pages lead in a circle.
    Endless,
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the same operation may succeed later without any other change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Full)
    }

    /// The refusal, if this is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal } => Some(refusal),
            _ => None,
        }
    }

    /// A copy of the error, for each operation that failed with it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Busy => Self::Busy,
            Self::Full => Self::Full,
            Self::ReadOnly => Self::ReadOnly,
            Self::Corrupt { what } => Self::Corrupt { what: *what },
            Self::NotADatabase => Self::NotADatabase,
            Self::NotOurs { application_id } => Self::NotOurs { application_id: *application_id },
            Self::NewerVersion { found, supported } => {
                Self::NewerVersion { found: *found, supported: *supported }
            }
            Self::IsADirectory => Self::IsADirectory,
            Self::NotFound => Self::NotFound,
            Self::Exists => Self::Exists,
            Self::CannotOpen { source } => Self::CannotOpen { source: sqlite_again(source) },
            Self::NotWal => Self::NotWal,
            Self::Closed => Self::Closed,
            Self::Indeterminate { source } => Self::Indeterminate { source: Box::new(source.again()) },
            Self::Refused { refusal } => Self::Refused { refusal: refusal.clone() },
            Self::Draft { source } => Self::Draft { source: source.clone() },
            Self::Group { source } => Self::Group { source: *source },
            Self::PayloadTooLarge { bytes, bytes_max } => {
                Self::PayloadTooLarge { bytes: *bytes, bytes_max: *bytes_max }
            }
            Self::TransactionEnded => Self::TransactionEnded,
            Self::NotInTransaction => Self::NotInTransaction,
            Self::NotRecorded { source } => Self::NotRecorded { source: Box::new(source.again()) },
            Self::Io { source } => Self::Io { source: std::io::Error::from(source.kind()) },
            Self::Sqlite { source } => Self::Sqlite { source: sqlite_again(source) },
        }
    }

    pub(crate) const fn column(table: &'static str, column: &'static str) -> Self {
        Self::Corrupt { what: Damage::Column { table, column } }
    }

    pub(crate) const fn row_missing(table: &'static str) -> Self {
        Self::Corrupt { what: Damage::RowMissing { table } }
    }
}

fn sqlite_again(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => rusqlite::Error::SqliteFailure(*code, text.clone()),
        // Not from SQLite itself, so of one operation alone: what they share is that something failed.
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the file is malformed; restore it from a copy"),
            Self::LogShort { head } => write!(
                f,
                "the log ends before its recorded head {head}; restore the file from a copy, or reset the log"
            ),
            Self::LogIncomplete => {
                f.write_str("the log has a gap; restore the file from a copy, or reset the log")
            }
            Self::Column { table, column } => {
                write!(f, "column {column} of table {table} was damaged; restore the file from a copy")
            }
            Self::RowMissing { table } => {
                write!(f, "a row of table {table} is missing; restore the file from a copy")
            }
            Self::Contradiction => f.write_str("rows contradict each other; restore the file from a copy"),
            Self::Index { table } => {
                write!(f, "an index of table {table} leads to another row; restore the file from a copy")
            }
            Self::Schema => f.write_str(
                "the schema was changed, or a trigger, index or reference of others hangs on it; \
                 check the file to see which, and drop that or restore the file from a copy",
            ),
            Self::Endless => {
                f.write_str("the pages of the file lead in a circle; restore the file from a copy")
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the file is locked by another connection; try again"),
            Self::Full => f.write_str("no space left for the file; make room and try again"),
            Self::ReadOnly => {
                f.write_str("the file is read-only; give write permission to it and its directory")
            }
            Self::Corrupt { what } => what.fmt(f),
            Self::NotADatabase => f.write_str("the file is no SQLite database; choose another path"),
            Self::NotOurs { application_id } => write!(
                f,
                "the file is a database of another application (id {application_id:#x}); choose another path"
            ),
            Self::NewerVersion { found, supported } => write!(
                f,
                "the file has version {found}, and this program understands versions up to {supported}; \
                 use a newer program"
            ),
            Self::IsADirectory => f.write_str("the path is a directory; name a file in it"),
            Self::NotFound => f.write_str("the file does not exist, and was not to be created"),
            Self::Exists => f.write_str("there is a file already; choose another path"),
            Self::CannotOpen { .. } => {
                f.write_str("the file cannot be opened; look at the permissions of it and its directory")
            }
            Self::NotWal => f.write_str("the file cannot be put into WAL mode; keep it on a local disk"),
            Self::Closed => f.write_str("the store is closed; open it again"),
            Self::Indeterminate { .. } => f.write_str(
                "it is not known whether the operation took effect; open the store again and look",
            ),
            Self::Refused { refusal } => refusal.fmt(f),
            Self::Draft { source } => source.fmt(f),
            Self::Group { source } => write!(f, "a group {source}"),
            Self::PayloadTooLarge { bytes, bytes_max } => {
                write!(f, "the payload has {bytes} bytes, and this bus takes {bytes_max} at most")
            }
            Self::TransactionEnded => {
                f.write_str("the transaction was ended from within; leave that to who began it")
            }
            Self::NotInTransaction => f.write_str("the connection has no transaction open; begin one"),
            Self::NotRecorded { .. } => f.write_str(
                "what the bus does cannot be recorded; look at the path and the limit of the recording",
            ),
            Self::Io { .. } => f.write_str("the operating system refused; look at disk and permissions"),
            Self::Sqlite { .. } => f.write_str("the database reported an error"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::CannotOpen { source } | Self::Sqlite { source } => Some(source),
            Self::Indeterminate { source } | Self::NotRecorded { source } => Some(source.as_ref()),
            Self::Refused { refusal } => Some(refusal),
            Self::Draft { source: DraftError::Json { source } } => Some(source),
            Self::Io { source } => Some(source),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { what: Damage::File },
            Some(ErrorCode::ConstraintViolation) => Self::Corrupt { what: Damage::Contradiction },
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::CannotOpen) => Self::CannotOpen { source },
            _ => Self::Sqlite { source },
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        Self::Io { source }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal }
    }
}

impl From<DraftError> for Error {
    fn from(source: DraftError) -> Self {
        Self::Draft { source }
    }
}

impl From<Damage> for Error {
    fn from(what: Damage) -> Self {
        Self::Corrupt { what }
    }
}
