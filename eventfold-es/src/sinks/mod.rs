//! Databases that projections write to.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresConnection};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteConnection};
