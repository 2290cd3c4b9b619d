//! Tests of aggregates, process managers, event handlers and projections without a store, and tests of whole programs after crashes.
//!
//! The feature `testing` enables it. It belongs in the `dev-dependencies`:
//! `eventfold-es = { version = "..", features = ["testing"] }`.
//!
//! - [`aggregate`], [`process_manager`], [`event_handler`], [`projection`], [`rows`] and [`sink`] start a test of the form
//!   given, when, then. Events, states, rows and messages are stored and read back on the way, as in a store. A failing test shows the
//!   difference.
//! - [`explore`](ProcessManagerTest::explore) reaches a process manager in every order of events, deadlines, rejections and failures,
//!   and finds the shortest order that breaks an invariant.
//! - [`MemoryDisk`] has stores that leave nothing behind. They run the same code as stores on a file system.
//! - [`ManualClock`](crate::clock::ManualClock), given to [`builder.clock(..)`](crate::AggregateStoreBuilder::clock),
//!   is the time of a store.
//! - [`SharedLog`] is the replicated log of several nodes in one test. It fails on request. [`conformance`] tests a log of your own.
//! - [`for_each_crash_point`] runs a workload and checks the store after a crash at each of its durable steps.
//!
//! For all other tests use the [disk](crate::disk) below them, which records, crashes and fails on request.

mod aggregate;
pub mod conformance;
mod crash;
mod diff;
mod event_handler;
mod expected;
mod explore;
mod given;
mod history;
mod memory;
mod print;
mod process_manager;
mod projection;
mod rows;
mod shared_log;
mod sink;
mod virtual_time;

pub use aggregate::{AggregateTest, Decided, aggregate};
pub use crash::{CrashPoints, Crashes, for_each_crash_point};
pub use event_handler::{EventHandlerTest, ExpectedCalls, event_handler};
pub use expected::Expected;
pub use explore::{Exploration, Explored, Moment, Outside, Violation};
pub use memory::MemoryDisk;
pub use process_manager::{ProcessManagerTest, process_manager};
pub use projection::{ProjectionTest, projection};
pub use rows::{RowsTest, rows};
pub use shared_log::{LostAnswer, LostMessage, SharedLog};
pub use sink::{SinkTest, sink};
