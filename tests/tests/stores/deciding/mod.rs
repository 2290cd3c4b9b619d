//! What a command is decided on, and what is decided together.

mod context;
mod expected_version;
mod transactions;
