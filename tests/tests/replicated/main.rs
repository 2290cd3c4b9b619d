//! One node of several: the role of the node, and everything that runs only while it is the leader.

#[cfg(not(eventfold_sabotage))]
mod commands;
#[cfg(not(eventfold_sabotage))]
#[path = "../common/mod.rs"]
mod common;
#[cfg(not(eventfold_sabotage))]
mod handlers;
#[cfg(not(eventfold_sabotage))]
mod health;
#[cfg(not(eventfold_sabotage))]
mod imports;
#[cfg(not(eventfold_sabotage))]
mod operators;
#[cfg(not(eventfold_sabotage))]
mod outcomes;
#[cfg(not(eventfold_sabotage))]
mod reactions;
#[cfg(not(eventfold_sabotage))]
mod schedules;
#[cfg(not(eventfold_sabotage))]
mod world;
