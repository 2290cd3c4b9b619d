//! The log of the nodes in NATS, and their ways to the servers.

use eventfold_es::replication::NatsLog;

pub use crate::servers::{Servers as Server, signal};

/// Its name.
pub const LOG: &str = "tallies";

/// The log on the servers at these addresses.
pub fn connect(addresses: &str) -> NatsLog {
    NatsLog::connect(addresses, LOG)
}

/// All nodes reach the servers directly.
pub struct Ways(String);

impl Ways {
    pub async fn to(servers: &Server, _nodes: usize) -> Self {
        Self(servers.addresses("store"))
    }

    /// The address of the log for the test itself.
    pub fn direct(&self) -> &str {
        &self.0
    }

    /// The address of the log for a node.
    pub fn of(&self, _node: usize) -> String {
        self.0.clone()
    }
}
