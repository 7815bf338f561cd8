//! A durable message bus in one SQLite file, checked step for step against an executable specification.
//!
//! Commands wait in a queue. Each command is handled by one of the consumers that compete for its name, under a lease and a
//! fencing token. Events are appended to a log. Each event is handled by every consumer group, in order. A message that fails
//! permanently is dead-lettered or parked, with its content, its attempts and the last reason.
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
//! - [`SqliteBus`] is the bus in a file. [`MemoryBus`] is the model behind the same methods, for tests.
//! - [`Bus`] has the operations, [`BusConsumer`] runs [`Handlers`], and a handler gets a [`Delivery`].
//! - [`Delivery::transaction`] commits a handler's effects together with its ack. [`SqliteBus::within`] sends messages in a
//!   transaction of the caller (an outbox).
//! - [`check`] checks a file, and repairs it.
//!
//! The crate [`fencepost_model`] is the specification: read it to learn what the bus promises. The crate `fencepost-verify`
//! checks this crate against it, and the crate `fencepost-cli` is the program `fencepost`.
//!
//! # Crate features
//!
//! No feature is on by default.
//!
//! - `record`: a bus records what it does (`SqliteBusBuilder::record`), and the module `audit` checks a recording.
//! - `metrics`: counters, gauges and histograms through the [`metrics`](https://docs.rs/metrics) facade.
//! - `unstable-internals`: the module `internals`, for the checkers of this crate. Any release may change it.
#![deny(unsafe_code)]
#![cfg_attr(
    not(feature = "unstable-internals"),
    expect(
        unreachable_pub,
        dead_code,
        unused_imports,
        reason = "some items are there for the checkers alone"
    )
)]

#[cfg(feature = "record")]
pub mod audit;
mod bus;
pub mod check;
pub mod clock;
mod consumer;
mod delivery;
pub mod error;
mod handlers;
mod panics;
#[cfg(feature = "record")]
pub mod record;
mod sqlite;
pub mod telemetry;
mod threads;

#[cfg(feature = "unstable-internals")]
#[doc(hidden)]
pub mod internals;

pub use bus::memory::MemoryBus;
pub use bus::request::{Pruned, Receipt, Subscription};
pub use bus::sqlite::{SqliteBus, SqliteBusBuilder};
pub use bus::transaction::{TransactionError, Tx};
pub use bus::{Blocking, Bus, Take};
pub use consumer::BusConsumer;
pub use consumer::options::RunOptions;
pub use consumer::report::{RunCause, RunError, RunReport};
pub use delivery::{Corrupt, Delivery, HandedOut};
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
