//! The log of the nodes.

use eventfold_es::replication::NatsLog;

/// Its name.
pub const LOG: &str = "tallies";

/// The log on the servers at these addresses.
pub fn connect(addresses: &str) -> NatsLog {
    NatsLog::connect(addresses, LOG)
}
