//! Tests that look for a mistake in many places: crashes and failed calls everywhere, kills, copies, and a model of the store.
//! Each is as long as `docs/testing.md` says, and longer by a variable of the environment.
//!
//! The builds of `planted_bugs` leave out the modules that catch none of them.

#[cfg(not(eventfold_sabotage))]
mod copied_while_open;
mod crash_enumeration;
mod failed_calls;
#[cfg(not(eventfold_sabotage))]
mod killed;
#[cfg(not(eventfold_sabotage))]
mod killed_handlers;
#[cfg(not(eventfold_sabotage))]
mod killed_while_it_is_created;
#[cfg(not(eventfold_sabotage))]
mod model;
