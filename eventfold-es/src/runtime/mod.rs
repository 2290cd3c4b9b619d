//! The layer below the public API: cells that decide commands, reactions of process managers, and folds of projections.

mod cell;
mod cells;
mod chunk_queue;
mod encode;
mod end;
mod follower;
mod imported;
mod inside_reaction;
mod loader;
mod locked_targets;
mod origin;
mod past_states;
mod process_manager;
mod progress_gauge;
mod projection;
mod reactions;
mod read_ahead;
mod read_back;
mod read_back_states;
mod recall;
mod routes;
mod saved_state;
mod snapshots;
mod staging;
mod stream_ahead;
mod transaction;
mod types;

use std::sync::Arc;

use crate::guarded;
pub(crate) use cell::{Cell, Decided, Key, Keys, LockedCell, PartOfCommit, Place, Repeated};
pub(crate) use cells::AggregateCells;
pub(crate) use encode::EncodedEvent;
pub(crate) use follower::{Follower, FollowerContext, FollowerRequest};
pub(crate) use guarded::{Kept, blocking, guard};
pub(crate) use imported::{IMPORTED, mark};
pub(crate) use inside_reaction::refuse_inside_reaction;
pub(crate) use origin::{Cause, command_id};
#[cfg(feature = "testing")]
pub(crate) use process_manager::offline;
pub(crate) use process_manager::{
    Asked, ProcessManagerRunner, Rebuilt, Report, Request, RunnerContext, Scope, Tallied, Tally,
    rows as process_manager_rows,
};
pub(crate) use progress_gauge::ProjectionGauge;
pub use progress_gauge::RebuildProgress;
pub(crate) use projection::ProjectionRunner;
pub use reactions::Reactions;
pub(crate) use reactions::{Member, ReactionHub, Stay, WaitGuard};
pub(crate) use recall::recall;
pub(crate) use routes::Routes;
pub(crate) use saved_state::{initial_progress, migrated};
pub(crate) use snapshots::{SnapshotPolicy, WaitingSnapshots};
pub(crate) use transaction::{Decision, TransactionCommand, decide_together};
pub(crate) use types::{AggregateTypes, check_context, check_id, check_text};

use tokio::sync::OwnedSemaphorePermit;

use crate::error::StoreError;
use crate::journal::{Journal, Log};

/// Waits for room for one commit. Fails if the journal is closed.
pub(crate) async fn room(journal: &dyn Log) -> Result<OwnedSemaphorePermit, StoreError> {
    let room = Arc::clone(journal.room()).acquire_owned().await;
    room.map_err(|_| StoreError::Closed)
}

/// The shared parts of the cells, the process managers and the projections of one store.
pub(crate) struct Runtime {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) types: AggregateTypes,
    pub(crate) routes: Routes,
    pub(crate) reactions: Arc<ReactionHub>,
}
