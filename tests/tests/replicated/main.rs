//! Several nodes over a log in memory: one history, and one leader, whatever happens to a node, to its answers and to its disk.
#![cfg(not(any(eventfold_memory_journal, eventfold_sabotage)))]

mod closing;
mod cluster;
mod commands;
mod crashes;
mod figures;
mod forwarding;
mod handlers;
mod health;
mod imports;
mod joining;
mod leading;
mod lost_answers;
mod operators;
mod outcomes;
mod reactions;
mod returning;
mod sagas;
mod schedules;
#[cfg(feature = "sqlite")]
mod shared_databases;
mod starting;
mod too_large;
mod upgrades;
mod world;

#[path = "../common/mod.rs"]
mod common;
#[path = "../node_processes/handovers.rs"]
mod handovers;

type TestResult = Result<(), Box<dyn std::error::Error>>;
