//! Holding the store against the model: exhaustively over images, by long sequences over a file, and by mutants.
//!
//! This is where the two meet, and the only place in `src` that may call the model's rules. The store under test is
//! never told that it is tested. Every choice comes from a search order or from a printed seed.

pub mod crash;
pub mod disk;
pub mod faults;
pub mod fuzz;
pub mod history;
pub mod lockstep;
pub mod model;
pub mod museum;
pub mod mutants;
pub mod mutated;
pub mod mutation;
pub mod pool;
pub mod readers;
pub mod report;
pub mod run;
pub mod run_loop;
mod run_loop_harness;
pub mod schedule;
pub mod sequence;
pub mod sql_mutant;
pub mod subject;
mod thread_harness;
pub mod threads;
pub mod trace;
