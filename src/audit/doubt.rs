//! The reasons why recordings cannot be checked to the end.

use std::fmt;
use std::path::PathBuf;

use crate::record::format::Unreadable;

/// Why not everything could be checked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Doubt {
    /// Nothing of a recording can be read.
    Unreadable {
        /// The recording.
        path: PathBuf,
        /// The reason.
        why: Unreadable,
    },
    /// A recording cannot be read to its end.
    Ends {
        /// The recording.
        path: PathBuf,
        /// The number of the last transaction that could be read.
        after: u64,
        /// The reason.
        why: Unreadable,
    },
    /// A recording goes on in another file, which was not given.
    Continued {
        /// The recording.
        path: PathBuf,
        /// The number of its last transaction.
        after: u64,
    },
    /// A change was made that is in no recording.
    Gap {
        /// The number of the change.
        number: u64,
        /// The number at which the check begins again, and the recording that begins there.
        again: Option<(u64, PathBuf)>,
    },
    /// Two recorded transactions took the same number.
    TakenTwice {
        /// The number.
        number: u64,
    },
    /// A recording begins with a state to which the contract does not lead.
    Beginning {
        /// The number at which it begins.
        number: u64,
        /// What is wrong with the state.
        why: String,
    },
    /// A recorded operation is not one that a bus writes.
    Malformed {
        /// The recording.
        path: PathBuf,
        /// The number of its transaction.
        number: u64,
    },
    /// The store that was to be compared with the last state is at another number.
    Elsewhere {
        /// The number of the store.
        store: u64,
        /// The last number of the recordings.
        recorded: u64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => write!(f, "{} {why}", path.display()),
            Self::Ends { path, after, why } => {
                write!(f, "{} {why}; it could be read up to number {after}", path.display())
            }
            Self::Continued { path, after } => write!(
                f,
                "{} goes on after number {after} in another file, which is not among these",
                path.display()
            ),
            Self::Gap { number, again } => {
                write!(
                    f,
                    "number {number} was taken by operations that are not in these recordings: of another process, of a \
                     command, or of a transaction of the caller's own"
                )?;
                match again {
                    Some((number, path)) => {
                        write!(
                            f,
                            "; the check begins again at number {number}, where {} does",
                            path.display()
                        )
                    }
                    None => Ok(()),
                }
            }
            Self::TakenTwice { number } => {
                write!(
                    f,
                    "number {number} was taken twice: these are not recordings of one store, or one is of a copy"
                )
            }
            Self::Beginning { number, why } => {
                write!(
                    f,
                    "the state at number {number}, where the recording begins, is none that a bus can be in: {why}"
                )
            }
            Self::Malformed { path, number } => {
                write!(f, "{} holds at number {number} what no bus writes", path.display())
            }
            Self::Elsewhere { store, recorded } => write!(
                f,
                "the store is at number {store} and the recordings end at {recorded}, so its state was not compared"
            ),
        }
    }
}
