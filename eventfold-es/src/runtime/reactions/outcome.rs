//! What became of reactions that somebody waited for.

use serde::Serialize;

/// What became of the reactions to the events of a command, or of what an operator has asked for.
///
/// Where several process managers, instances or commands fare differently, it is the one of them that comes last in this list. Whatever
/// it is, the command itself is done; and whatever is not done yet is done later, once.
///
/// A command that is answered again, under its idempotency key, is not told what was parked or is tried again since its first answer.
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
    /// Nobody waited for them: there were no events, no process manager subscribes to them, or the run mode is not
    /// [`RunMode::Inline`](crate::RunMode::Inline).
    NotAwaited,
    /// All reactions to its events, and to theirs, are durable. Commands that were rejected are dead letters, or what else their
    /// policy makes of them.
    Done,
    /// What could be done is done; a command that failed, or a reaction that did, is tried again later, as its policy says.
    /// See [`ProcessManagerHandle::status`](crate::ProcessManagerHandle::status).
    Retrying,
    /// An instance or a process manager without `key` is parked, now or since before, and so is what it should have done; the others are
    /// done. See [`ProcessManagerHandle::parked`](crate::ProcessManagerHandle::parked) and
    /// [`AggregateStore::process_managers`](crate::AggregateStore::process_managers).
    Parked,
    /// An operator has [paused](crate::ProcessManagerHandle::pause) a process manager that should react; the others are done.
    Paused,
    /// A process manager that should react has stopped as a whole, because its policy says so
    /// ([`FailureAction::Stop`](crate::FailureAction::Stop)); the others are done.
    Stopped,
    /// They are not done within the limit of
    /// [`AggregateStoreBuilder::reaction_timeout`](crate::AggregateStoreBuilder::reaction_timeout); they go on.
    TimedOut,
    /// The store was closed, or its runtime shut down, before they were done; they go on when the store is opened again. Also
    /// where a command is answered as before in a store that is read-only, which has no reactions.
    Closed,
}

impl Reactions {
    /// This one, or the other if that says more.
    pub(in crate::runtime) fn and(self, other: Self) -> Self {
        // They are declared in this order.
        if (other as u8) > (self as u8) {
            other
        } else {
            self
        }
    }
}

/// What keeps one reaction from being done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setback {
    /// The position of the event; none if it is a deadline or a command, for which only an operator waits.
    pub(crate) position: Option<u64>,
    pub(crate) outcome: Reactions,
}

/// Where a process manager stays as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Stay {
    pub(crate) position: u64,
    pub(crate) reason: String,
    /// What it means for those who wait.
    pub(crate) outcome: Reactions,
}
