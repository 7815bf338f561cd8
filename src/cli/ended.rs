//! How a command ends: what it says, and with which exit status.
//!
//! What always holds: whatever goes wrong is one sentence, and its exit status is decided here.

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fencepost_model::vocabulary::{Name, RecordId};

use crate::out::Plain;

/// How a command ended that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// What was asked for is done.
    Done,
    /// The answer is no, and has been said: something was found, or refused.
    No,
    /// Not everything could be checked, and the reasons were printed.
    Open,
    /// All held.
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
            Self::No => ExitCode::from(1),
            #[cfg(feature = "verify")]
            Self::Held => ExitCode::SUCCESS,
            #[cfg(feature = "verify")]
            Self::Broken => ExitCode::from(1),
            Self::Open => ExitCode::from(2),
        }
    }
}

/// Why a command could not be run, as one sentence.
#[derive(Debug)]
pub(super) enum Failed {
    /// A file could not be read or written.
    File { path: PathBuf, source: std::io::Error },
    /// A check could not be run.
    #[cfg(feature = "verify")]
    Check(crate::checking::CannotCheck),
    /// The store could not be run.
    Store(fencepost::Error),
    /// The bus in this file could not do it, or refused.
    At { path: PathBuf, error: fencepost::Error },
    /// The report could not be written as JSON.
    Json(serde_json::Error),
    /// Standard output cannot be written to.
    Output(std::io::Error),
    /// There is no record with this number.
    NoRecord(RecordId),
    /// The record is not where this command looks, but where the other one does.
    Elsewhere { record: RecordId, is: &'static str, asked: &'static str },
    /// The name of the record cannot be read, and none was given.
    NameNeeded(RecordId),
    /// What is to be replaced could not be printed, since standard output is closed.
    NobodyReads,
    /// Standard input has more than one message may.
    InputTooLarge { bytes_max: usize },
    /// A line of standard input was not accepted, or nobody knows.
    Line { line: u64, why: Box<Failed> },
    /// Signals, threads or timers cannot be had.
    System(std::io::Error),
    /// Two shell commands for one name.
    Twice(Name),
    /// The run of handlers ended before its time.
    Run(fencepost::RunError),
    /// There is no such command.
    UnknownCommand(String),
}

impl Failed {
    /// What a bus in a file said.
    pub(super) fn at(path: &Path) -> impl Fn(fencepost::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::At { path: path.clone(), error }
    }

    /// 1 for an answer that is no, 2 for what could not be run.
    pub(super) fn status(&self) -> ExitCode {
        match self {
            Self::Store(error) | Self::At { error, .. } if error.refusal().is_some() => ExitCode::from(1),
            Self::NoRecord(_) | Self::Elsewhere { .. } => ExitCode::from(1),
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
            Self::Store(error) => write!(f, "{}", Whole(error)),
            Self::At { path, error } => write!(f, "{}: {}", path.display(), Whole(error)),
            Self::Json(error) => error.fmt(f),
            Self::Output(source) => write!(f, "standard output: {source}"),
            Self::NoRecord(record) => write!(f, "there is no record {record}"),
            Self::Elsewhere { record, is, asked } => {
                write!(f, "record {record} is {is} and not {asked}: use `fencepost {is}`")
            }
            Self::NameNeeded(record) => {
                write!(f, "the name of record {record} cannot be read: say which one it has, with --name")
            }
            Self::NobodyReads => f.write_str(
                "standard output is closed, so what would be replaced is told to nobody and stays",
            ),
            Self::InputTooLarge { bytes_max } => {
                write!(f, "the payload is longer than {bytes_max} bytes, which is what is taken at most")
            }
            Self::Line { line, why } => write!(f, "failed at line {line}: {why}"),
            Self::System(source) => write!(f, "the operating system refused: {source}"),
            Self::Twice(name) => write!(f, "there are two shell commands for the name {name}"),
            Self::Run(error) => Plain(&error.to_string()).fmt(f),
            Self::UnknownCommand(name) => write!(f, "there is no command {name:?}; see --help"),
        }
    }
}

/// An error with what caused it, where its own text does not say that.
pub(super) struct Whole<'a>(pub(super) &'a fencepost::Error);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        match self.0 {
            fencepost::Error::Indeterminate { source } | fencepost::Error::NotRecorded { source } => {
                write!(f, " ({})", Whole(source))
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
