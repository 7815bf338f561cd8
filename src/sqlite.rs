//! The store: the contract, kept in SQL.
//!
//! It shares the vocabulary with the model (`fencepost_model::{op, state, vocabulary}`) and no line of its logic:
//! eligibility and settlement are worked out by the statements of [`statements`]. What always holds: an operation is
//! one transaction; a refused one changes nothing; nothing here reads a clock or a random number. This module must
//! not know of threads, consumers or handlers.

mod cursor;
mod execute;
mod ids;
mod log;
mod migrate;
mod open;
mod plant;
mod poll;
mod queue;
mod records;
mod rows;
mod session;
mod settle;
mod snapshot;
pub mod statements;
mod store;
mod wake;

pub use execute::execute;
pub use ids::digest;
pub use migrate::{APPLICATION_ID, SCHEMA_VERSION};
pub use open::{Durability, OpenOptions};
#[doc(hidden)]
pub use plant::{plant, raw_columns};
pub use rows::{BODY_COLUMNS, BOOKKEEPING_COLUMNS};
pub use snapshot::snapshot;
pub use statements::{Path, StatementId, Statements};
pub use store::Store;
#[doc(hidden)]
pub use wake::{Look, Watcher, Way};
