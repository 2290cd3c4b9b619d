//! Aggregates and process managers of the tests. They are no part of the library of this package: rustc lists the aggregates
//! of that in the messages that the compile-fail tests compare.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod counter;
pub mod sagas;
pub mod saved;
pub mod shop;
