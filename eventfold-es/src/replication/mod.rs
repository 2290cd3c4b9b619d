//! Several nodes: one writer over a replicated log, and a whole local journal on each node.

mod commit_log;
mod measured;
mod messenger;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
mod role;

pub use commit_log::{AppendError, CommitLog, Entry, LogError};
pub use messenger::{AskError, Asking, Messenger, Question};
#[cfg(feature = "nats")]
pub use nats::NatsLog;
#[cfg(feature = "postgres")]
pub use postgres::PostgresLog;
pub use role::{Node, Role};

pub(crate) use measured::Measured;

use std::sync::Arc;

/// The part of a store in replication.
pub(crate) enum Membership {
    /// A store on one machine.
    Alone,
    /// A node of a replicated store.
    Node(Replication),
    /// The directory is repaired, and stays as it is.
    Unchanged,
}

/// The log of a store, and this node.
pub(crate) struct Replication {
    pub(crate) log: Arc<Measured>,
    pub(crate) node: Node,
    /// The aggregate types of the program. Empty if they are not all known.
    pub(crate) aggregate_types: Vec<&'static str>,
}
