//! What an operator meets: logs and health, backups, several stores and processes, clocks, processes that end.
//!
//! Logs are told to one subscriber of the process, and some tests start this executable anew. Long tests are elsewhere.

mod aborts;
mod backup;
mod backup_targets;
mod clock;
mod collector;
#[path = "../common/mod.rs"]
mod common;
mod health;
mod second_opener;
mod several_stores;
mod snapshots_of_lossy_states;
