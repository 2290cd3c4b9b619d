//! Embedded, declarative event sourcing on plain files.
//!
//! A program annotates its domain types. The macros generate the subscriptions, the routing and the typed command envelopes. A
//! store in a local directory runs them, durably, on tokio.
//!
//! - [`#[aggregate]`](macro@aggregate): a type that decides commands ([`Decider::decide`]) and folds events
//!   ([`Decider::evolve`]). With a [`ContextDecider`] it also sees the time and the actor. Its events are an enum with
//!   [`#[derive(DomainEvent)]`](macro@DomainEvent).
//! - [`#[process_manager]`](macro@process_manager): a workflow that reacts to events ([`React`]) by sending commands to other
//!   aggregates, exactly once per event, through crashes at any point.
//! - [`#[projection]`](macro@projection): a read model folded from the events of many streams ([`Project`]).
//! - [`#[schedule]`](macro@schedule): recurring work, by a cron expression in a time zone (feature `schedules`).
//! - [`AggregateStore`]: the directory that holds them.
//! - [`#[event_store]`](macro@event_store): the whole system, declared. It opens with all of its parts, and [draws
//!   itself](topology::Topology).
//!
//! The compiler checks the connections. A command goes to an aggregate that decides it. A process manager handles its
//! subscriptions and sends only to declared targets. No string routes anything.
//!
//! # Example
//!
//! ```
//! use eventfold_es::prelude::*;
//!
//! #[derive(Debug, Clone, Serialize, Deserialize)]
//! pub enum OrderCommand { Place { sku: String, qty: u32 } }
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
//! #[serde(tag = "type", content = "data")]
//! pub enum OrderEvent { Placed { sku: String, qty: u32 } }
//!
//! #[derive(Debug, thiserror::Error)]
//! pub enum OrderError {
//!     #[error("the order was already placed")]
//!     AlreadyPlaced,
//! }
//!
//! #[aggregate]
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! pub struct Order { placed: bool }
//!
//! impl Decider for Order {
//!     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
//!         match command {
//!             OrderCommand::Place { .. } if self.placed => Err(OrderError::AlreadyPlaced),
//!             OrderCommand::Place { sku, qty } => Ok(vec![OrderEvent::Placed { sku, qty }]),
//!         }
//!     }
//!
//!     fn evolve(&mut self, event: &OrderEvent) {
//!         match event {
//!             OrderEvent::Placed { .. } => self.placed = true,
//!         }
//!     }
//! }
//!
//! #[derive(Debug, Clone, Serialize, Deserialize)]
//! pub enum InventoryCommand { Reserve { qty: u32 } }
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
//! #[serde(tag = "type", content = "data")]
//! pub enum InventoryEvent { Reserved { qty: u32 } }
//!
//! #[aggregate(error = std::convert::Infallible)]
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! pub struct Inventory { reserved: u32 }
//!
//! impl Decider for Inventory {
//!     fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, std::convert::Infallible> {
//!         let InventoryCommand::Reserve { qty } = command;
//!         Ok(vec![InventoryEvent::Reserved { qty }])
//!     }
//!
//!     fn evolve(&mut self, event: &InventoryEvent) {
//!         let InventoryEvent::Reserved { qty } = event;
//!         self.reserved += qty;
//!     }
//! }
//!
//! #[process_manager(subscribes = [Order], dispatches = [Inventory])]
//! #[derive(Debug, Default, Serialize, Deserialize)]
//! pub struct ReservationSaga;
//!
//! impl React<Order> for ReservationSaga {
//!     fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
//!         let OrderEvent::Placed { sku, qty } = event;
//!         cx.send(format!("inv-{sku}"), InventoryCommand::Reserve { qty: *qty });
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), eventfold_es::Error> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let directory = directory.path();
//! let store = AggregateStore::builder(directory)
//!     .process_manager::<ReservationSaga>()
//!     .open()
//!     .await?;
//! let place = OrderCommand::Place { sku: "W-1".into(), qty: 2 };
//! store.send("ord-1", place, ()).await?;
//!
//! let inventory = store.get::<Inventory>("inv-W-1").await?;
//! assert_eq!(inventory.state().await?.reserved, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - A command that [`AggregateHandle::execute`] acknowledged survives a power loss. A refused command leaves no trace. After a
//!   failed sync the outcome is unknown: [`ExecuteError::OutcomeUnknown`].
//! - The events of a command are all stored, or none of them.
//! - Each process manager reacts to each event of a subscribed stream exactly once, in order. One commit has the effects of the
//!   reaction and the progress past its event.
//! - A rejected command of a process manager becomes exactly one [`DeadLetter`].
//! - Recovery drops an incomplete last batch, which no caller has an answer for, and
//!   [reports](AggregateStore::recovery) it. Any other changed bytes are an error with file and offset.
//! - Dropping a future at any await loses nothing and duplicates nothing.
//!
//! # What it is not
//!
//! It is not a message broker, a query engine, an ORM, or a database for several writing processes: one process opens a
//! store at a time.
//!
//! # Limits
//!
//! - An instance id has up to 512 bytes and no control characters; a [stored name](names) up to 100 bytes.
//! - Every event is on disk once, in the journal. A [copy](AggregateStore::backup) restores damaged events.
//! - A projection is one value in memory. The state of a process manager without `key` is stored whole with each commit of its reactions.
//! - Nothing is ever deleted. Old events are compressed, in archives that `zstdcat` reads.
//!
//! # Reports as JSON
//!
//! Every report, status and dead letter is [`Serialize`](serde::Serialize), for the handlers of a service and for logs. An
//! object has the names of the fields. Values without fields are texts in `snake_case`, such as `"timed_out"`. Paths are text,
//! points in time are RFC 3339 text in UTC, and fields named `ts` are seconds since 1970. The documentation of a type has its
//! JSON. Later versions may add fields.
//!
//! # Directories of eventfold-es 0.2.0
//!
//! The first [`open`](AggregateStoreBuilder::open) migrates such a directory, and [reports](RecoveryReport::adoption)
//! the result. Its events become the first events of the store, and its process managers and projections continue at
//! their checkpoints. Make a copy first: 0.2.0 cannot open the directory afterwards.
//!
//! `docs/internals/storage.md` describes the bytes on disk and their recovery.

mod aggregate;
pub mod clock;
mod command;
mod command_bus;
mod comparing;
pub mod contract;
mod dead_letter;
#[cfg(feature = "testing")]
pub mod disk;
#[cfg(not(feature = "testing"))]
#[expect(unreachable_pub, reason = "public with the feature `testing`")]
mod disk;
mod envelope;
pub mod error;
mod event;
mod event_handler;
pub mod evolution;
mod fingerprint;
mod finite;
mod format;
mod guarded;
mod journal;
pub mod names;
mod nesting;
pub mod prelude;
mod process_manager;
mod projection;
pub mod replication;
mod report_json;
mod rows;
mod runtime;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod sabotage;
#[cfg(not(feature = "testing"))]
#[expect(unreachable_pub, reason = "public with the feature `testing`")]
mod sabotage;
#[cfg(feature = "schedules")]
mod schedule;
pub mod schema;
mod short;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sinks;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod threads;
pub mod topology;

#[doc(hidden)]
pub mod __private;

pub use aggregate::{Aggregate, ContextDecider, Decider, Deciding};
/// [`NatsLog::new`](replication::NatsLog::new) takes a client of this crate.
#[cfg(feature = "nats")]
pub use async_nats;
pub use command::{Command, CommandContext};
pub use command_bus::CommandBus;
pub use dead_letter::DeadLetter;
pub use envelope::{CommandEnvelope, Envelope};
pub use error::{
    Damage, DispatchError, Error, ExecuteError, FileError, OpenError, ReadError, StateError,
    StoreError, TransactionError,
};
pub use event::{DomainEvent, EventError, RecordedEvent};
pub use event_handler::{
    EventHandler, Handle, HandleError, HandleKey, HandlerAction, HandlerPolicy, Handling,
};
/// The line formats of events and logs. [`eventfold::Event`] is in signatures of this crate.
pub use eventfold;
#[cfg(feature = "macros")]
pub use eventfold_es_macros::{
    Aggregate, Command, DomainEvent, EventHandler, ProcessManager, Projection, StoredShape,
    aggregate, event_handler, event_store, process_manager, projection, schedule,
};
pub use evolution::Upcast;
pub use fingerprint::fingerprint;
/// [`Postgres`] gives transactions of this crate.
#[cfg(feature = "postgres")]
pub use postgres;
pub use process_manager::{
    Backoff, Correlate, Correlation, Deadline, Effects, Exhausted, Failure, FailureAction,
    FailureCause, FailurePolicy, HandleFailure, MigrateState, MigrationError, OnDeadline,
    ProcessManager, React, Reaction, SourceEvent, StartFrom, StoredState,
};
pub use projection::{
    EventContext, Index, Keys, Locate, Prepare, Project, ProjectInto, Projection,
    ProjectionFailure, RebuildStep, Sink, SinkFault, UnknownEvents,
};
pub use runtime::Reactions;
/// [`Sqlite`] gives transactions of this crate.
#[cfg(feature = "sqlite")]
pub use rusqlite;
#[cfg(feature = "schedules")]
pub use schedule::{Missed, Occurrence, Schedule, Timetable, TimetableError};
#[cfg(feature = "postgres")]
pub use sinks::Postgres;
#[cfg(feature = "sqlite")]
pub use sinks::Sqlite;
pub use store::{
    AggregateHandle, AggregateStore, AggregateStoreBuilder, BackupError, BackupReport, Durability,
    EventHandlerHandle, Executed, Health, History, Loaded, ProcessManagerHandle, RawRecorded,
    Recorded, RecoveryReport, RunMode, Subscription, Transaction,
};
pub use threads::StoreRuntime;
/// [`PostgresLog`](replication::PostgresLog) takes a configuration of this crate.
#[cfg(feature = "postgres")]
pub use tokio_postgres;

/// The program in the README compiles; an example runs it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The program of the first guide runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/getting-started.md")]
struct GettingStarted;

/// The programs on the page about personal data run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/personal-data.md")]
struct PersonalDataPage;

/// The programs on the page for operators run as tests, except the route of a web framework.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/operations.md")]
struct OperationsPage;

/// The program on the page about several nodes compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/several-nodes.md")]
struct SeveralNodesPage;

/// The program on the page about event handlers runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/event-handlers.md")]
struct EventHandlersPage;

/// The programs on the pages about reading run as tests, except the route of a web framework and the fragments.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/reading.md")]
#[doc = include_str!("../../docs/guide/time-travel.md")]
#[doc = include_str!("../../docs/guide/live-updates.md")]
#[doc = include_str!("../../docs/guide/exporting.md")]
#[doc = include_str!("../../docs/guide/list-views.md")]
#[doc = include_str!("../../docs/guide/rebuilding.md")]
struct ReadingPages;

/// The programs on these pages write to SQLite.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../docs/guide/search.md")]
#[doc = include_str!("../../docs/guide/sql-reports.md")]
struct SqlPages;

/// The programs on the page about schedules run as tests.
#[cfg(all(doctest, feature = "schedules"))]
#[doc = include_str!("../../docs/guide/schedules.md")]
struct SchedulesPage;

/// The programs on the pages of the macros run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/reference/macros.md")]
#[doc = include_str!("../../docs/reference/aggregate.md")]
#[doc = include_str!("../../docs/reference/domain_event.md")]
#[doc = include_str!("../../docs/reference/process_manager.md")]
#[doc = include_str!("../../docs/reference/event_handler.md")]
#[doc = include_str!("../../docs/reference/projection.md")]
struct MacroPages;
