//! The imports of a program that declares aggregates, process managers and projections: `use eventfold_es::prelude::*;`.
//!
//! Traits come with the derives of the same name, including two of serde's. A type of your own with one of these names shadows
//! it. serde's derives generate code that names the crate `serde`, so keep `serde` as a dependency.

#[cfg(feature = "macros")]
pub use eventfold_es_macros::{
    Aggregate, Command, DomainEvent, EventHandler, ProcessManager, Projection, StoredShape,
    aggregate, event_handler, event_store, process_manager, projection, schedule,
};
pub use serde::{Deserialize, Serialize};

pub use crate::aggregate::{Aggregate, ContextDecider, Decider, Deciding};
pub use crate::command::{Command, CommandContext};
pub use crate::envelope::{CommandEnvelope, Envelope};
pub use crate::error::ExecuteError;
pub use crate::event::{DomainEvent, RecordedEvent};
pub use crate::event_handler::{
    EventHandler, Handle, HandleKey, HandlerAction, HandlerPolicy, Handling,
};
pub use crate::evolution::Upcast;
pub use crate::process_manager::{
    Backoff, Correlate, Correlation, Deadline, Failure, FailureAction, HandleFailure, MigrateState,
    OnDeadline, ProcessManager, React, Reaction,
};
pub use crate::projection::{
    EventContext, Keys, Locate, Prepare, Project, ProjectInto, Projection,
};
pub use crate::runtime::Reactions;
#[cfg(feature = "schedules")]
pub use crate::schedule::{Occurrence, Schedule, Timetable, TimetableError};
pub use crate::schema::StoredShape;
pub use crate::store::{AggregateStore, RunMode};
