//! A disk that fails on request: [`FaultyDisk`] makes chosen calls fail or come up short.

mod fault;
mod faulty_disk;

pub use fault::{Failure, Fault, Hit, Operation};
pub use faulty_disk::FaultyDisk;
