//! What a program that declares aggregates, process managers and projections imports: `use eventfold_es::prelude::*;`.
//!
//! Traits come with the derives of the same name, serde's two among them; a type of your own with one of these names shadows
//! it. serde's derives generate code that names the crate `serde`, so it stays a dependency of your own.

#[cfg(feature = "macros")]
pub use eventfold_es_macros::{
    Aggregate, Command, DomainEvent, ProcessManager, Projection, StoredShape, aggregate,
    event_store, process_manager, projection,
};
pub use serde::{Deserialize, Serialize};

pub use crate::aggregate::{Aggregate, ContextDecider, Decider, Deciding};
pub use crate::command::{Command, CommandContext};
pub use crate::envelope::{CommandEnvelope, Envelope};
pub use crate::error::ExecuteError;
pub use crate::event::{DomainEvent, RecordedEvent};
pub use crate::evolution::Upcast;
pub use crate::process_manager::{
    Backoff, Correlate, Correlation, Deadline, Failure, FailureAction, HandleFailure, MigrateState,
    OnDeadline, ProcessManager, React, Reaction,
};
pub use crate::projection::{EventContext, Project, Projection};
pub use crate::runtime::Reactions;
pub use crate::schema::StoredShape;
pub use crate::store::{AggregateStore, RunMode};
