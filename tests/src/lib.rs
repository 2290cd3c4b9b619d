//! Fixtures shared by the integration tests.

pub mod alone;
pub mod campaign;
mod copied;
pub mod crash;
pub mod gate;
pub mod journal_file;
mod read_only_disk;
pub mod reads;
pub mod signals;
pub mod small_disk;

pub use copied::copy_directory;
pub use read_only_disk::ReadOnlyDisk;

/// What a test returns: any error fails it.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;
