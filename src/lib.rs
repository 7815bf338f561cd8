//! A durable message bus in one SQLite file, held step for step against an executable specification.
//!
//! The specification is the crate [`fencepost_model`]; start there to learn what the bus promises. [`sqlite`] keeps
//! the promises in SQL, [`verify`] holds the two together.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::sync::Arc;
//!
//! use fencepost::sqlite::{OpenOptions, Store};
//! use fencepost_model::op::{Op, Reply, Settled, Settlement};
//! use fencepost_model::vocabulary::{Kind, Message, Name, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("bus.db");
//! let mut store = Store::open(&path, &OpenOptions::default())?;
//! let (name, now, one) = (Name::new("place.bet")?, Timestamp::from(0), NonZeroU32::MIN);
//! let message = Arc::new(Message::new(Kind::Command, name.clone(), *b"17 on red"));
//! store.apply(now, &Op::Send { message, delay_ms: 0 })?;
//!
//! let claim = Op::Claim { names: [name].into(), max: one, lease_ms: 30_000, attempts_max: one };
//! let Reply::HandedOut { deliveries, .. } = store.apply(now, &claim)? else { unreachable!() };
//! let (target, token) = (deliveries[0].target.clone(), deliveries[0].token);
//! let ack = Op::Settle { target, token, how: Settlement::Ack };
//! assert_eq!(store.apply(now, &ack)?, Reply::Settled(Settled::Acked));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod bus;
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
mod consumer;
mod delivery;
pub mod error;
mod handlers;
pub mod sqlite;
pub mod telemetry;
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
pub use sqlite::Durability;
pub use tokio_util::sync::CancellationToken;
