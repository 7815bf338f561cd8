//! The store: the contract, kept in SQL.
//!
//! It shares the vocabulary with the model (`fencepost_model::{op, state, vocabulary}`) and no line of its logic: the
//! statements of [`statements`] work out what is eligible and what a settlement does.
//!
//! Invariant: an operation is one transaction; a refused operation changes nothing; no time and no random number is read.
//! Does not depend on: consumers, handlers. The only thread in it watches for other processes ([`Watcher`]).

pub mod backup;
mod batch;
mod cursor;
mod due;
mod execute;
pub mod files;
mod ids;
mod inspect;
mod listing;
mod log;
mod migrate;
mod open;
mod overview;
pub mod plain;
mod plant;
mod poll;
mod quarantine;
mod queue;
mod records;
mod rows;
mod session;
mod settle;
mod snapshot;
pub mod statements;
mod steps;
mod store;
mod trust;
mod wake;
mod wal;

pub use backup::{backup, restore};
pub use batch::Undone;
pub(crate) use batch::{AppliedTogether, NumberedOps};
pub use due::{lease_is_current, next_due_commands, next_due_group};
pub use execute::execute;
pub(crate) use execute::execute_within;
pub use ids::digest;
#[doc(hidden)]
pub use inspect::inspect_by;
pub use inspect::{Inspection, SchemaObject, inspect};
pub use listing::{Listed, RecordFilter, record, records};
pub use migrate::{APPLICATION_ID, SCHEMA_VERSION};
pub(crate) use open::check_connection;
pub use open::{Durability, OpenOptions, open_reader};
pub use overview::{
    GroupOverview, LogOverview, NameOverview, Overview, QueueOverview, overview, overview_of,
};
#[doc(hidden)]
pub use plant::{plant, raw_columns};
pub use quarantine::quarantine;
#[cfg(feature = "unstable-internals")]
pub use records::cause_word;
#[cfg(feature = "unstable-internals")]
#[doc(hidden)]
pub use rows::columns_of;
pub use rows::{BODY_COLUMNS, BOOKKEEPING_COLUMNS};
#[doc(hidden)]
pub use rows::{metadata_pairs, metadata_text};
#[doc(hidden)]
pub use snapshot::snapshot_by;
pub use snapshot::{DamagedRow, RowKey, Survey, numbered_snapshot, snapshot, survey};
pub use statements::{Path, StatementId, Statements};
pub(crate) use store::{CommitNumber, Numbering};
pub use store::{Numbered, Store};
#[doc(hidden)]
pub use wake::{Look, Watcher, Way};
pub use wal::DamagedWal;
