//! Embedded, declarative event sourcing on plain files.

pub mod aggregate;
mod clock;
pub mod command;
mod command_bus;
mod dead_letter;
pub mod disk;
pub mod envelope;
pub mod error;
pub mod event;
mod journal;
pub mod names;
pub mod prelude;
pub mod process_manager;
pub mod projection;
mod runtime;
pub mod store;

#[doc(hidden)]
pub mod __private;

pub use aggregate::{Aggregate, Decider};
pub use command::{Command, CommandContext};
pub use command_bus::CommandBus;
pub use dead_letter::DeadLetter;
pub use envelope::{CommandEnvelope, Dispatch, DispatchTarget, Envelope, Router, TargetVisitor};
pub use error::{
    Damage, DispatchError, Error, ExecuteError, FileError, OpenError, StateError, StoreError,
};
pub use event::{DomainEvent, EventError, RecordedEvent};
#[cfg(feature = "macros")]
pub use eventfold_es_macros::{DomainEvent, aggregate, process_manager, projection};
pub use journal::local::{IncompleteBatch, RecoveryReport};
pub use process_manager::{
    DispatchesTo, ProcessManager, React, ReactError, Reaction, SubscribesTo, TargetOf,
};
pub use projection::{EventContext, Project, ProjectError, Projection};
pub use runtime::Reactions;
pub use store::{
    AggregateHandle, AggregateStore, AggregateStoreBuilder, Executed, InjectOptions, ParkedAt,
    ProcessManagerReport, ProcessManagerStatus, RunMode,
};

/// The programs in the README run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
