//! The test kit: what it accepts, and what it says when a test expects something else.

mod aggregates;
mod crashes;
mod domain;
mod event_handlers;
mod exploration;
mod explored_handlers;
mod memory;
mod process_managers;
mod projections;
mod rows;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a failing test says.
#[track_caller]
fn failure(test: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(test)).expect_err("the test was to fail");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a text")).to_owned(),
    }
}

/// Asserts that a failing test says all of this.
#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}
