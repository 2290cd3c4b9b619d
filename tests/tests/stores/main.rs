//! What programs ask of a store: commands, decisions, ids, projections, the test kit, and the phases of the reference design.
//!
//! The builds of `planted_bugs` leave out the modules that catch none of them.

mod aggregates;
#[path = "../common/mod.rs"]
mod common;
mod deciding;
#[cfg(not(eventfold_sabotage))]
mod declared_events;
#[cfg(not(eventfold_sabotage))]
mod evolution;
#[cfg(not(eventfold_sabotage))]
mod filters;
#[cfg(not(eventfold_sabotage))]
mod goal;
#[cfg(not(eventfold_sabotage))]
mod hard_values;
#[cfg(not(eventfold_sabotage))]
mod history;
mod idempotency_keys;
#[cfg(not(eventfold_sabotage))]
mod ids;
#[cfg(not(eventfold_sabotage))]
mod panics;
#[cfg(not(eventfold_sabotage))]
mod phase_3_step_1;
#[cfg(not(eventfold_sabotage))]
mod phase_3_step_2;
#[cfg(not(eventfold_sabotage))]
mod phase_3_step_3;
#[cfg(not(eventfold_sabotage))]
mod phase_3_step_4;
#[cfg(not(eventfold_sabotage))]
mod projection_failures;
mod projections;
#[cfg(not(eventfold_sabotage))]
mod public_api;
#[cfg(not(eventfold_sabotage))]
mod rows_by_hand;
#[cfg(not(eventfold_sabotage))]
mod store_api;
#[cfg(not(eventfold_sabotage))]
mod subscriptions;
#[cfg(not(eventfold_sabotage))]
mod test_kit;
