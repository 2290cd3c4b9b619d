//! Directories that eventfold-es 0.2.0 wrote, and stores that are exported to and imported from trees of eventfold logs.

mod adoption;
#[path = "../common/mod.rs"]
mod common;
mod exchange;
mod exchange_crashes;
mod exchange_interrupted;
mod migration;
