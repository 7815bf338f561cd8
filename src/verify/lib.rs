//! Checks the bus against its specification: exhaustively in lockstep, over crash images, under faults, over schedules, and
//! by the histories of real processes.
//!
//! A verification is a [`plan::Plan`] of phases; [`run::run`] runs them. Each phase is a module of its own ([`model`],
//! [`lockstep`], [`mutants`], [`crash`], [`faults`], [`schedule`], [`history`]) and uses the shared modules [`rig`],
//! [`scheduler`], [`disk`] and [`system`].
//!
//! Invariant: the store under test has no branch for being tested; every choice comes from a search order or from a
//! printed seed; the store and the run loops never call the rules of the model that they are checked against.

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
pub mod mutated;
pub mod mutation;
pub mod plan;
pub mod pool;
pub mod readers;
pub mod report;
pub mod rig;
pub mod run;
pub mod run_loop;
mod run_loop_harness;
pub mod schedule;
pub mod scheduler;
pub mod scopes;
pub mod sequence;
pub mod sql_mutant;
pub mod system;
mod thread_harness;
pub mod threads;
pub mod trace;
