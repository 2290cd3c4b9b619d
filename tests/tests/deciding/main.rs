//! What a command is decided on, and what is decided together.

#[path = "../common/mod.rs"]
mod common;
mod context;
mod expected_version;
mod transactions;
