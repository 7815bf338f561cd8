//! stub
#![forbid(unsafe_code)]
#[cfg(feature = "check")]
pub mod check;
pub mod coverage;
pub mod generate;
pub mod ghost;
pub mod invariant;
pub mod liveness;
pub mod mutant;
pub mod op;
pub mod scope;
pub mod state;
pub mod step;
pub mod story;
pub mod vocabulary;
pub mod world;
pub use step::apply;
