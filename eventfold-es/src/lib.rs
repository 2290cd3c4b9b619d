//! Embedded, declarative event sourcing on plain files.

pub mod aggregate;
pub mod command;
pub mod disk;
pub mod envelope;
pub mod event;
pub mod names;
pub mod prelude;
pub mod process_manager;
pub mod projection;

#[doc(hidden)]
pub mod __private;

pub use aggregate::{Aggregate, Decider};
pub use command::{Command, CommandContext};
pub use envelope::{CommandEnvelope, Dispatch, DispatchTarget, Envelope, Router, TargetVisitor};
pub use event::{DomainEvent, EventError, RecordedEvent};
#[cfg(feature = "macros")]
pub use eventfold_es_macros::{DomainEvent, aggregate, process_manager, projection};
pub use process_manager::{
    DispatchesTo, ProcessManager, React, ReactError, Reaction, SubscribesTo, TargetOf,
};
pub use projection::{EventContext, Project, ProjectError, Projection};
