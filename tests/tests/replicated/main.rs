//! Several nodes over a log in memory: one history, and one leader, whatever happens to a node, to its answers and to its disk.
//!
//! The builds of `planted_bugs` leave out the modules that catch none of them.
#![cfg(not(eventfold_memory_journal))]

mod closing;
mod cluster;
#[cfg(not(eventfold_sabotage))]
mod commands;
#[cfg(not(eventfold_sabotage))]
mod crashes;
#[cfg(not(eventfold_sabotage))]
mod figures;
mod forwarding;
#[cfg(not(eventfold_sabotage))]
mod handlers;
#[cfg(not(eventfold_sabotage))]
mod health;
#[cfg(not(eventfold_sabotage))]
mod imports;
#[cfg(not(eventfold_sabotage))]
mod joining;
#[cfg(not(eventfold_sabotage))]
mod leading;
mod lost_answers;
#[cfg(not(eventfold_sabotage))]
mod operators;
#[cfg(not(eventfold_sabotage))]
mod outcomes;
mod reactions;
#[cfg(not(eventfold_sabotage))]
mod returning;
#[cfg(not(eventfold_sabotage))]
mod sagas;
#[cfg(not(eventfold_sabotage))]
mod schedules;
#[cfg(all(feature = "sqlite", not(eventfold_sabotage)))]
mod shared_databases;
#[cfg(not(eventfold_sabotage))]
mod starting;
#[cfg(not(eventfold_sabotage))]
mod too_large;
#[cfg(not(eventfold_sabotage))]
mod upgrades;
mod world;

#[path = "../common/mod.rs"]
mod common;
#[path = "../node_processes/handovers.rs"]
mod handovers;

type TestResult = Result<(), Box<dyn std::error::Error>>;
