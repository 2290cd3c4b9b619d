//! Projections with rows, and projections into databases.

#[cfg(feature = "sqlite")]
mod agreement;
#[path = "../common/mod.rs"]
mod common;

mod damage;
mod failures;
mod following;
mod left_out;
mod queries;
mod rebuilds;
#[cfg(feature = "sqlite")]
mod sqlite;
mod unknown_events;

use std::time::Duration;

/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(20);
