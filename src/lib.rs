//! A durable message bus in one SQLite file, held step for step against an executable specification.
#![forbid(unsafe_code)]

pub mod clock;
pub mod error;
pub mod sqlite;

pub use error::{Error, Result};
