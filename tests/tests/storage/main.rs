//! The journal and what is derived from it: recovery, index, archive, snapshots, repair.
//!
//! The builds of `planted_bugs` leave out the modules that catch none of them.

mod archive;
#[cfg(not(eventfold_sabotage))]
mod checkpoint_after_failed_sync;
#[path = "../common/mod.rs"]
mod common;
mod crash_after_failed_call;
mod durability_flush;
mod index;
#[cfg(not(eventfold_sabotage))]
mod opening_abandoned;
#[cfg(not(eventfold_sabotage))]
mod read_only;
mod recovery;
#[cfg(not(eventfold_sabotage))]
mod repair_interrupted;
mod rules;
#[cfg(not(eventfold_sabotage))]
mod scenarios;
mod snapshots;
mod snapshots_not_believed;
#[cfg(not(eventfold_sabotage))]
mod snapshots_of_odd_states;
#[cfg(not(eventfold_sabotage))]
mod snapshots_of_reactions;
#[cfg(not(eventfold_sabotage))]
mod streams_that_changed;
#[cfg(not(eventfold_sabotage))]
mod verify_and_repair;
