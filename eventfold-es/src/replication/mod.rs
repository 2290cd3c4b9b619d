//! Several nodes: one writer over a replicated log, and a whole local journal on each node.

mod commit_log;
mod role;

pub use commit_log::{AppendError, CommitLog, Entry, LogError};
pub use role::{Node, Role};
