//! How a command ends: its exit status, and the sentence for an error.
//!
//! Invariant: every error is one sentence, and only this module maps a result to an exit status.

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fencepost_model::vocabulary::{Name, RecordId};

use crate::plain::Plain;

/// How a command ended, if it could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The command is done.
    Done,
    /// The answer is no, and it was printed: a finding or a refusal.
    Negative,
    /// Not everything could be checked, and the reasons were printed.
    NotChecked,
    /// Every guarantee held.
    #[cfg(feature = "verify")]
    Held,
    /// A guarantee is broken.
    #[cfg(feature = "verify")]
    Broken,
}

impl Ended {
    pub(super) fn status(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Negative => ExitCode::from(1),
            #[cfg(feature = "verify")]
            Self::Held => ExitCode::SUCCESS,
            #[cfg(feature = "verify")]
            Self::Broken => ExitCode::from(1),
            Self::NotChecked => ExitCode::from(2),
        }
    }
}

/// Why a command failed. Its text is one sentence.
#[derive(Debug)]
pub(super) enum Failed {
    /// A file could not be read or written.
    File { path: PathBuf, source: std::io::Error },
    /// A check could not be run.
    #[cfg(feature = "verify")]
    Check(crate::checking::CannotCheck),
    /// The store or the bus failed, and no one file is the cause.
    Store(fencepost::Error),
    /// The bus in this file failed or refused.
    InFile { path: PathBuf, error: fencepost::Error },
    /// The report could not be written as JSON.
    Json(serde_json::Error),
    /// Standard output cannot be written.
    Output(std::io::Error),
    /// There is no record with this number.
    NoRecord(RecordId),
    /// The record is dead and was looked for among the parked ones, or the other way round.
    WrongPlace { record: RecordId, is: &'static str, asked: &'static str },
    /// The name of the record cannot be read, and none was given.
    NameMissing(RecordId),
    /// A repair could not print the columns that it replaces, because standard output is closed.
    OutputClosed,
    /// Standard input is longer than a payload may be.
    InputTooLarge { bytes_max: usize },
    /// A line of the input was not accepted, or its outcome is indeterminate.
    Line { line: u64, why: Box<Failed> },
    /// The operating system gave no signal handler, thread or timer.
    System(std::io::Error),
    /// Two shell commands for one name.
    DuplicateHandler(Name),
    /// The run of handlers ended early.
    Run(fencepost::RunError),
    /// There is no such command.
    UnknownCommand(String),
}

impl Failed {
    /// Turns an error of the bus in this file into a failure.
    pub(super) fn at(path: &Path) -> impl Fn(fencepost::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::InFile { path: path.clone(), error }
    }

    /// 1 if the answer is no, 2 if the command could not run.
    pub(super) fn status(&self) -> ExitCode {
        match self {
            Self::Store(error) | Self::InFile { error, .. } if error.refusal().is_some() => ExitCode::from(1),
            Self::NoRecord(_) | Self::WrongPlace { .. } => ExitCode::from(1),
            Self::Run(error) if matches!(error.cause, fencepost::RunCause::Stopped { .. }) => {
                ExitCode::from(1)
            }
            Self::Line { why, .. } => why.status(),
            _ => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            #[cfg(feature = "verify")]
            Self::Check(why) => why.fmt(f),
            Self::Store(error) => write!(f, "{}", WithCause(error)),
            Self::InFile { path, error } => write!(f, "{}: {}", path.display(), WithCause(error)),
            Self::Json(error) => error.fmt(f),
            Self::Output(source) => write!(f, "standard output: {source}"),
            Self::NoRecord(record) => write!(f, "there is no record {record}"),
            Self::WrongPlace { record, is, asked } => {
                write!(f, "record {record} is {is} and not {asked}: use `fencepost {is}`")
            }
            Self::NameMissing(record) => {
                write!(f, "the name of record {record} cannot be read: give it with --name")
            }
            Self::OutputClosed => f.write_str(
                "standard output is closed, so the old columns cannot be printed; nothing was replaced",
            ),
            Self::InputTooLarge { bytes_max } => {
                write!(f, "the payload is longer than {bytes_max} bytes, the maximum")
            }
            Self::Line { line, why } => write!(f, "failed at line {line}: {why}"),
            Self::System(source) => write!(f, "the operating system refused: {source}"),
            Self::DuplicateHandler(name) => write!(f, "there are two shell commands for the name {name}"),
            Self::Run(error) => Plain(&error.to_string()).fmt(f),
            Self::UnknownCommand(name) => write!(f, "there is no command {name:?}; see --help"),
        }
    }
}

/// An error with its cause, where its own text does not have the cause.
pub(super) struct WithCause<'a>(pub(super) &'a fencepost::Error);

impl fmt::Display for WithCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        match self.0 {
            fencepost::Error::Indeterminate { source } | fencepost::Error::NotRecorded { source } => {
                write!(f, " ({})", WithCause(source))
            }
            fencepost::Error::CannotOpen { .. }
            | fencepost::Error::Sqlite { .. }
            | fencepost::Error::Io { .. } => {
                self.0.source().map_or(Ok(()), |source| write!(f, " ({source})"))
            }
            _ => Ok(()),
        }
    }
}

impl From<fencepost::Error> for Failed {
    fn from(error: fencepost::Error) -> Self {
        Self::Store(error)
    }
}

pub(super) fn read(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path).map_err(|source| Failed::File { path: path.to_owned(), source })
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).map_err(|source| Failed::File { path: path.to_owned(), source })
}
