//! Holding the store against the model: exhaustively over images, by long sequences over a file, and by mutants.
//!
//! This is where the two meet, and the only place in `src` that may call the model's rules. The store under test is
//! never told that it is tested. Every choice comes from a search order or from a printed seed.

pub mod consumer;
pub mod counterexample;
pub mod crash;
pub mod disk;
pub mod faults;
pub mod fuzz;
pub mod history;
pub mod incidents;
pub mod lockstep;
pub mod model;
pub mod moves;
pub mod mutants;
pub mod mutation;
pub mod plan;
pub mod pool;
pub mod readers;
pub mod report;
pub mod rig;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod scopes;
pub mod sequence;
pub mod sql_mutant;
pub mod system;
pub mod threads;
pub mod trace;
