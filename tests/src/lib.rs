//! Fixtures shared by the integration tests.

pub mod domain;
pub mod sagas;
pub mod shop;

/// What a test returns: any error fails it.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;
