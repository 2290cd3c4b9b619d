//! The outcome of reactions for their callers.

use serde::Serialize;

/// The outcome of the reactions to the events of a command, or to the request of an operator.
///
/// Several process managers, instances or commands may have different outcomes. The result is the last of them in this list. For example,
/// [`Parked`](Self::Parked) wins over [`Done`](Self::Done). In any case the command itself is done, and unfinished work is done later,
/// once.
///
/// A command may be answered again, under its idempotency key. This answer does not report work that was parked or retried since the first
/// answer.
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
    /// There was nothing to wait for. For example, there were no events, or no subscribed process manager. Reactions are awaited only with
    /// [`RunMode::Inline`](crate::RunMode::Inline).
    NotAwaited,
    /// All reactions to its events, and to the events that these cause, are durable. Rejected commands are dead letters, or were handled by
    /// their failure policy.
    Done,
    /// A command or a reaction failed, and its policy retries it later. The rest is done. See
    /// [`ProcessManagerHandle::status`](crate::ProcessManagerHandle::status).
    Retrying,
    /// An instance or a process manager without `key` is parked, with its work. The rest is done. See
    /// [`ProcessManagerHandle::parked`](crate::ProcessManagerHandle::parked) and
    /// [`AggregateStore::health`](crate::AggregateStore::health).
    Parked,
    /// An operator has [paused](crate::ProcessManagerHandle::pause) a subscribed process manager. The rest is done.
    Paused,
    /// A policy has stopped a subscribed process manager as a whole ([`FailureAction::Stop`](crate::FailureAction::Stop)). The rest is
    /// done.
    Stopped,
    /// The reactions are not done within the limit of
    /// [`AggregateStoreBuilder::reaction_timeout`](crate::AggregateStoreBuilder::reaction_timeout). They continue.
    TimedOut,
    /// The store was closed, or its runtime shut down, before the reactions were done. They continue when the store is opened again. A
    /// repeated answer in a read-only store has this outcome, too, because reactions do not run there. With several nodes, it is also the
    /// outcome when this node stops being the leader. Then the reactions continue on the next leader.
    Closed,
}

impl Reactions {
    /// The later of both outcomes in this list.
    pub(in crate::runtime) fn and(self, other: Self) -> Self {
        // The variants are declared in this order.
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
    /// The position of the event. `None` for a deadline or a command, for which only operators wait.
    pub(crate) position: Option<u64>,
    pub(crate) outcome: Reactions,
}

/// The halt of a whole process manager.
#[derive(Debug, Clone)]
pub(crate) struct Stay {
    pub(crate) position: u64,
    pub(crate) reason: String,
    /// The outcome for its callers.
    pub(crate) outcome: Reactions,
}
