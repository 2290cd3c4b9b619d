//! The traits and values between the declared parts. The macros implement them, or you do for a hand-written type. A
//! program does not call them.
//!
//! For example, `#[process_manager(subscribes = [Order], dispatches = [Inventory])]` generates an envelope enum with [`Dispatch`],
//! and an implementation of [`SubscribesTo<Order>`](SubscribesTo) and of [`DispatchesTo<Inventory>`](DispatchesTo).

pub use crate::aggregate::{DecidesWithContext, DeclaredAggregate, Subscribed};
pub use crate::command::{DecidedBy, IdOf};
pub use crate::envelope::{Dispatch, DispatchTarget, Router, TargetVisitor};
pub use crate::event::StoredEvent;
pub use crate::event_handler::{
    DeclaredEventHandler, Handled, HandlerDispatchesTo, HandlerKeyOf, HandlerKeyed, SentByHandler,
    TargetOfHandler, key_text, stream_key,
};
pub use crate::evolution::{PastShape, Upcaster};
pub use crate::process_manager::{
    DeadlineMessage, DeadlineOf, DeclaredProcessManager, DispatchesTo, InstanceKey, Join, JoinKind,
    KeyOf, Keyed, NameOf, ReactError, ScheduledDeadline, Schedules, SentBy, StateVersioned,
    StoredDeadline, SubscribesTo, TargetOf, TimeOf, TimerChange,
};
pub use crate::projection::{
    DeclaredProjection, DeclaredRows, DeclaredSink, ProjectError, ReadModel, RowKey, RowKeyOf,
    RowProjection, SinkError, SinkErrorOf, SinkProjection, TxOf,
};
pub use crate::rows::{EncodeError, IndexEntries, RowConnection, RowSink, RowTx, RowsError};
#[cfg(feature = "schedules")]
pub use crate::schedule::{Due, NotDue, Occurrences};
#[cfg(feature = "postgres")]
pub use crate::sinks::PostgresConnection;
#[cfg(feature = "sqlite")]
pub use crate::sinks::SqliteConnection;
pub use crate::store::{Awaits, Given};
