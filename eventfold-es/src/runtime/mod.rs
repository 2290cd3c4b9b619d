//! The layer below the public API: cells that decide commands, reactions of process managers, and folds of projections.

mod cell;
mod cells;
mod chunk_queue;
mod encode;
mod end;
mod follower;
mod imported;
mod inside_reaction;
mod leadership;
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
pub(crate) use cell::{
    Cell, Decided, Key, Keys, LockedCell, PartOfCommit, Place, Repeated, generated_key,
};
pub(crate) use cells::AggregateCells;
pub(crate) use encode::EncodedEvent;
pub(crate) use follower::{Follower, FollowerContext, FollowerRequest};
pub(crate) use guarded::{Kept, blocking, guard};
pub(crate) use imported::{IMPORTED, mark};
pub(crate) use inside_reaction::refuse_inside_reaction;
pub(crate) use leadership::{Leadership, NotTaken, Waits, room_in, settled_in};
pub(crate) use origin::{Cause, command_id};
#[cfg(feature = "testing")]
pub(crate) use process_manager::offline;
pub(crate) use process_manager::{
    AnyHandler, Asked, Definition, ProcessManagerRunner, Rebuilt, Report, Request, RunnerContext,
    RunnerTask, Scope, Tallied, Tally, rows as process_manager_rows,
};
pub(crate) use progress_gauge::ProjectionGauge;
pub use progress_gauge::RebuildProgress;
pub(crate) use projection::ProjectionRunner;
pub use reactions::Reactions;
pub(crate) use reactions::{Member, Presence, ReactionHub, Stay, WaitGuard};
pub(crate) use recall::{EventsOfStream, recall, recall_events};
pub(crate) use routes::Routes;
pub(crate) use saved_state::{initial_progress, migrated};
pub(crate) use snapshots::{SnapshotPolicy, WaitingSnapshots};
pub(crate) use transaction::{Decision, Purpose, TransactionCommand, decide_together};
pub(crate) use types::{AggregateTypes, check_context, check_id, check_text};

use crate::journal::Journal;

/// The shared parts of the cells, the process managers and the projections of one store.
pub(crate) struct Runtime {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) leadership: Leadership,
    pub(crate) types: AggregateTypes,
    pub(crate) routes: Routes,
    pub(crate) reactions: Arc<ReactionHub>,
}
