use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use super::messenger::Messenger;

/// A replicated log of batches, which the nodes of a store share.
///
/// The log holds entries with the numbers 1, 2, 3 and so on, without a gap. Entry `n` is the text of batch `n` of the journal:
/// whole lines, each with its newline. No entry is ever changed or removed. A node appends an entry only behind the last
/// entry that it knows, so at most one node at a time can append. That is the only guarantee on which a store relies.
///
/// To write another log, implement this trait.
///
/// The methods may block: a store calls them on threads of its own, never on a thread of tokio. Each call ends within a
/// bounded time, even if the servers do not answer. Calls may come from several threads at the same time, but only one
/// [`append`](Self::append) at a time.
pub trait CommitLog: Send + Sync + 'static {
    /// The log and its servers, for messages. For example: "the NATS stream `shop` at nats://10.0.0.1:4222".
    fn describe(&self) -> String;

    /// Connects to the servers, creates the log if it does not exist, and checks its settings and those of the servers. A
    /// store calls it once, before all other methods.
    ///
    /// # Errors
    ///
    /// [`LogError::Unavailable`] if no server answers. [`LogError::Unusable`] if the log is not safe to use, with the setting
    /// to change.
    fn open(&self) -> Result<(), LogError>;

    /// The maximum number of bytes of an entry. Known after [`open`](Self::open).
    fn max_entry_bytes(&self) -> usize;

    /// Appends an entry with the number `after + 1`, if the last entry of the log has the number `after`. Returns when the
    /// entry survives the failures that the log is made for: for example, on the disks of a majority.
    ///
    /// # Errors
    ///
    /// [`AppendError`] tells whether the entry may be in the log.
    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError>;

    /// The entries from the number `from` on, in their order and without a gap: at least one if there is one, and about `max_bytes`
    /// at most. More entries may follow them.
    ///
    /// Empty if the log ends before `from`. Then no `append` of such an entry has returned before this call.
    ///
    /// # Errors
    ///
    /// [`LogError`]
    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError>;

    /// The number of the last known entry, 0 without one. It changes soon after an entry is added by any node, and it may lag.
    fn follow(&self) -> watch::Receiver<u64>;

    /// Sends a short message to all connected nodes, this node included. It may be lost: nothing but the speed of a takeover
    /// depends on it. Returns at once.
    fn signal(&self, message: String);

    /// The messages of all nodes from now on.
    fn signals(&self) -> broadcast::Receiver<String>;

    /// Questions between the nodes, with which commands on followers reach the leader. `None`, the default, if the servers have no such
    /// messages: then commands on followers are answered with the name of the leader. Called after [`open`](Self::open). Returns at once.
    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        None
    }

    /// Sends the signals and the answers that are not sent yet, within a second at most. No other call follows.
    fn close(&self) {}
}

/// An entry of a [`CommitLog`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The number of the entry; the first entry of a log has 1.
    pub number: u64,
    /// Its text, byte for byte as it was appended.
    pub text: Arc<str>,
}

/// The reason why an entry was not acknowledged by a [`CommitLog`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log never takes this entry: for example, it is too large. It is not in the log.
    #[error("the log refuses the entry: {0}")]
    Refused(String),
    /// The log has another last entry than `after`. The entry is not in the log. It is no error of the log: another node has appended.
    #[error("another node has appended to the log")]
    Fenced,
    /// The entry is not in the log, and never will be: for example, there is no connection.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// It is unknown whether the entry is in the log, now or later: for example, the answer did not come in time.
    #[error("the log did not answer: {0}")]
    Unknown(String),
}

/// The reason why a [`CommitLog`] cannot be opened or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No server answers, or none that can. A later call may succeed.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// The log cannot be used until an operator changes something.
    #[error("{0}")]
    Unusable(String),
}
