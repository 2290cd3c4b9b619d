//! Fixtures shared by the integration tests.

pub mod crash;
pub mod domain;
