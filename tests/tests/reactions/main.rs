//! Process managers: what they react to, when, and what becomes of it.
//!
//! The builds of `planted_bugs` leave out the modules that catch none of them.

#[cfg(not(eventfold_sabotage))]
mod chains_of_reactions;
#[path = "../common/mod.rs"]
mod common;
#[cfg(not(eventfold_sabotage))]
mod event_handlers;
mod instances;
#[cfg(not(eventfold_sabotage))]
mod one_sync;
#[cfg(not(eventfold_sabotage))]
mod parked;
#[cfg(not(eventfold_sabotage))]
mod process_managers;
#[cfg(not(eventfold_sabotage))]
mod run_modes;
#[cfg(not(eventfold_sabotage))]
mod runtime_shutdown;
