//! stub
#![forbid(unsafe_code)]
pub mod op;
pub mod state;
pub mod step;
pub mod vocabulary;
pub use step::apply;
