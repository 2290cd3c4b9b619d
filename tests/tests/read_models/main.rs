//! Projections with rows, and projections into databases.

#[cfg(feature = "sqlite")]
mod agreement;
#[path = "../common/mod.rs"]
mod common;

mod damage;
mod failures;
mod following;
mod hanging;
mod interrupted;
mod left_out;
mod queries;
mod rebuild_crashes;
mod rebuilds;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_crashes;
mod unknown_events;

use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;
use eventfold_es::contract::ReadModel;

/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(20);

/// Waits until a projection does not get to a position for one of these reasons.
async fn refused<P: ReadModel>(store: &AggregateStore, position: u64, reasons: &[&str]) {
    let begun = Instant::now();
    loop {
        let waited = store.wait_for::<P>(position, Duration::from_millis(40));
        let refused = waited.await.unwrap_err().to_string();
        if reasons.iter().any(|reason| refused.contains(reason)) {
            return;
        }
        assert!(begun.elapsed() < SOON, "{refused}");
    }
}
