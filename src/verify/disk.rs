//! A disk in memory, under the real SQLite: what is written to it may be lost, and what may be lost is written here.
//!
//! SQLite sees it as a file system of its own ([`Mounted`]): files in one flat directory, locks between the connections
//! of this process, shared memory for the WAL. Every call that changes something is an [`Event`] of its journal, and
//! the power may be cut after each.
//!
//! Does not depend on: what is stored on the disk, and which crash images are allowed.
//!
//! # The crash model
//!
//! After the events up to the cut, the disk holds what was durable, and of what was not, anything:
//!
//! - Each write since the last sync of its file is **kept**, **lost**, or **torn**: of the sectors of 512 bytes that it
//!   touches, any are new and the others old. Writes are independent of each other, so a later one may be kept and an
//!   earlier one lost (**reordered**).
//! - A write that made its file longer may have **grown** it and left nothing there but zeros.
//! - A change of a file's size, in either direction, is kept or lost.
//! - Where the device does not promise that an overwrite is safe ([`Profile::PLAIN`]), a write may have **spoiled** the
//!   whole sectors (of the size that the device reports) in which it begins and ends: what was in them is gone, also
//!   what this write did not touch and what was synced before.
//! - The directory is a file like others: a **created** name, a **link** and an **unlinked** name are each kept or lost
//!   until the directory is synced. A sync of a file says nothing of its name.
//! - A sync that reports success has made durable all that was written to its file before. A sync that **fails** drops
//!   what it should have written: running processes still read it, no later sync writes it, and after the cut it is
//!   lost (Linux behaves so). What it should have written may also have been kept: that is a cut just before it.
//! - Shared memory and locks are gone. A second cut, while the store recovers from the first, is a cut like any.
//!
//! A killed process is the simplest of cuts: everything that was written is kept, in order.
//!
//! What it does not cover: a device that reports a sync which did not happen (a positive control shows what that does),
//! files that change at rest (that is a fault, see [`DiskFault`], and no crash), and file systems without working locks
//! or shared memory, such as NFS.
//!
//! Creating and syncing follow SQLite's own file system for Unix: the first sync of a new journal or WAL syncs the
//! directory too, and so does an unlinking that is asked to.

mod content;
mod cut;
mod device;
mod durable;
mod enumerate;
mod event;
mod ffi;
mod files;
mod footprint;
mod pace;

pub use content::FileContent;
pub use cut::{CutChoice, DiskImage, Fate, NameFate};
pub use device::{Disk, DiskCall, DiskFault, DiskMutant, FaultKind, Lock, Profile};
pub use durable::DurableContent;
pub use enumerate::{Budget, Enumerated};
pub use event::{Event, FileId, Mark};
pub use ffi::{AllocationFaults, Mounted, busy_code, keep_no_account_of_memory, seed_salts};
pub use footprint::{FilePart, Footprint};
pub use pace::{Pace, Point};
