//! Several nodes over a log in memory: one history, whatever happens to a node and to its answers.
#![cfg(not(eventfold_memory_journal))]

mod cluster;
mod joining;
mod leading;
mod outcomes;
mod returning;
mod sagas;

#[path = "../common/mod.rs"]
mod common;

type TestResult = Result<(), Box<dyn std::error::Error>>;
