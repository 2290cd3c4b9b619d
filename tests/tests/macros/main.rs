//! What the macros generate, where they may stand, and the lock of stored shapes.

mod declare;
mod event_handlers;
mod event_store;
mod events;
mod hygiene;
mod instances;
mod places;
mod projections;
mod schema_lock;
mod schema_lock_by_hand;
mod schema_lock_rows;
mod schema_lock_types;
mod twins;
