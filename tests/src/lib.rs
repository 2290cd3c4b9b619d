//! Fixtures shared by the integration tests.

pub mod counter;
pub mod crash;

pub mod gate;
pub mod sagas;
pub mod shop;

/// What a test returns: any error fails it.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;
