//! The outcome of reactions for their callers.

use serde::Serialize;

/// The outcome of the reactions to the events of a command, or to the request of an operator.
///
/// If several process managers, instances or commands have different outcomes, it is the last of them in this list. In any case
/// the command itself is done, and unfinished work is done later, once.
///
/// A command that is answered again, under its idempotency key, does not report work that was parked or is in retry since its
/// first answer.
///
/// # JSON
///
/// ```json
/// "timed_out"
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Reactions {
    /// There was nothing to wait for: no events, no subscribed process manager, or a run mode other than
    /// [`RunMode::Inline`](crate::RunMode::Inline).
    NotAwaited,
    /// All reactions to its events, and to theirs, are durable. Rejected commands are dead letters, or treated as their policy
    /// says.
    Done,
    /// A command or a reaction failed and is retried later, as its policy says; the rest is done. See
    /// [`ProcessManagerHandle::status`](crate::ProcessManagerHandle::status).
    Retrying,
    /// An instance or a process manager without `key` is parked, with its work; the rest is done. See
    /// [`ProcessManagerHandle::parked`](crate::ProcessManagerHandle::parked) and
    /// [`AggregateStore::process_managers`](crate::AggregateStore::process_managers).
    Parked,
    /// An operator has [paused](crate::ProcessManagerHandle::pause) a subscribed process manager; the rest is done.
    Paused,
    /// A subscribed process manager has stopped as a whole, because of its policy
    /// ([`FailureAction::Stop`](crate::FailureAction::Stop)); the rest is done.
    Stopped,
    /// They are not done within the limit of
    /// [`AggregateStoreBuilder::reaction_timeout`](crate::AggregateStoreBuilder::reaction_timeout); they continue.
    TimedOut,
    /// The store was closed, or its runtime shut down, before they were done. They continue when the store is opened again. A
    /// repeated answer in a read-only store has this outcome, too: there are no reactions.
    Closed,
}

impl Reactions {
    /// The later of the two in this list.
    pub(in crate::runtime) fn and(self, other: Self) -> Self {
        // They are declared in this order.
        if (other as u8) > (self as u8) {
            other
        } else {
            self
        }
    }
}

/// The reason why one reaction is not done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setback {
    /// The position of the event; none for a deadline or a command, for which only an operator waits.
    pub(crate) position: Option<u64>,
    pub(crate) outcome: Reactions,
}

/// The state of a process manager that has stopped as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Stay {
    pub(crate) position: u64,
    pub(crate) reason: String,
    /// The outcome for its callers.
    pub(crate) outcome: Reactions,
}
