//! A durable message bus in one SQLite file, held step for step against an executable specification.
//!
//! Commands wait in a queue, and each is handled by one of the consumers that compete for its name, under a lease and
//! a fencing token. Events stand in a log, and each is handled by every consumer group, in order. What fails for good
//! is moved aside with all that is known of it.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("bus.db");
//! use fencepost::{Bus, BusConsumer, Delivery, HandlerError, Handlers, Message, RunOptions, SqliteBus};
//!
//! let bus = SqliteBus::open(&path).await?;
//! bus.send(Message::command("place.bet").text("17 on red").id("bet-17")).await?;
//!
//! let handlers = Handlers::new().on_command("place.bet", |delivery: Delivery<String>| async move {
//!     match delivery.payload.split_once(" on ") {
//!         Some(_) => Ok(()),
//!         None => Err(HandlerError::permanent("a bet on nothing")),
//!     }
//! });
//! let report = bus.listen(handlers, RunOptions::new().drain()).await?;
//! assert_eq!(report.acked, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! - [`SqliteBus`] is the bus in a file, [`MemoryBus`] the model behind the same methods, for tests.
//! - [`Bus`] has the operations, [`BusConsumer`] runs [`Handlers`], [`Delivery`] is what a handler gets.
//! - [`Delivery::transaction`] commits a handler's effects together with its ack; [`SqliteBus::within`] is an outbox.
//!
//! The specification is the crate [`fencepost_model`]; start there to learn what the bus promises. [`sqlite`] keeps
//! the promises in SQL, [`verify`] holds the two together, [`check`] looks whether a file keeps them.
//! With the feature `record`, a bus records what it does ([`SqliteBusBuilder::record`]), and [`mod@audit`] judges it.
#![deny(unsafe_code)]

#[cfg(feature = "record")]
pub mod audit;
pub mod bus;
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
mod consumer;
mod delivery;
pub mod error;
mod handlers;
mod mistakes;
#[cfg(feature = "record")]
pub mod record;
pub mod sqlite;
pub mod telemetry;
mod threads;
#[cfg(feature = "verify")]
pub mod verify;

pub use bus::memory::MemoryBus;
pub use bus::operations::{Pruned, Receipt, Subscription};
pub use bus::sqlite::{SqliteBus, SqliteBusBuilder};
pub use bus::transaction::Tx;
pub use bus::{Blocking, Bus, BusConsumer, Take};
pub use consumer::options::RunOptions;
pub use consumer::report::{RunCause, RunError, RunReport};
pub use delivery::{Corrupt, Delivery, HandedOut, TransactionError};
pub use error::{Error, Result};
pub use fencepost_model::op::{Settled, Settlement, Start, Target};
pub use fencepost_model::policy::{FailurePolicy, RetryPolicy};
pub use fencepost_model::vocabulary::{Draft, Message, Name, RecordId, Seq, Timestamp, Token};
pub use handlers::{HandlerError, HandlerResult, Handlers, Json, Payload};
#[cfg(feature = "record")]
pub use record::Recording;
pub use sqlite::Durability;
pub use tokio_util::sync::CancellationToken;

/// The example of the README, compiled and run as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
