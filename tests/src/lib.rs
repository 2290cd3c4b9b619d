//! Fixtures shared by the integration tests.

pub mod crash;
pub mod gate;

/// What a test returns: any error fails it.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;
