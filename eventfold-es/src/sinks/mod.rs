//! Databases that projections write to.

#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteConnection};
