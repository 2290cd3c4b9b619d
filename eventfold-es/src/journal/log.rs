//! The order of all commits: handing them over, and reading them back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    CommittedEvent, JournalError, Outcome, ProposedCommit, RecordedCommit, Types, Waiting,
};
use crate::clock::StoreClock;

/// The total order of all accepted commits.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait Log: Send + Sync + 'static {
    /// Room for commits that are handed over but not yet written: one permit each.
    fn room(&self) -> &Arc<Semaphore>;

    /// Hands a commit over; never waits. The caller holds the locks of the cells that the commit was decided on, so that
    /// commits of one stream arrive in the order of their versions.
    fn submit(&self, room: OwnedSemaphorePermit, commit: ProposedCommit) -> Arc<Outcome>;

    /// The time of the store: commits get theirs from it when they are handed over.
    fn clock(&self) -> &StoreClock;

    /// Gives every later commit a time after `time`, in milliseconds since 1970, even if the clock stands. Returns the last
    /// commit before, if it is not settled: when it settles, all earlier commits are settled.
    fn pass(&self, time: u64) -> Option<Arc<Outcome>>;

    /// The next commits with events behind the cursor, up to about a megabyte, and moves the cursor behind them; empty when
    /// all that is durable was read. Blocks only if the commits are no longer in memory.
    fn read_on(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError>;

    /// The next commits if they are still in memory, without any I/O.
    fn read_recent(&self, cursor: &mut Cursor) -> Option<Vec<Arc<RecordedCommit>>>;

    /// The commit that has the event at a position, if there is one. Blocks.
    fn commit_at(&self, position: u64) -> Result<Option<Arc<RecordedCommit>>, JournalError> {
        let commits = self.read_on(&mut Cursor::for_commit_at(position))?;
        let has_it = |commit: &Arc<RecordedCommit>| commit.first_position <= position;
        Ok(commits.into_iter().next().filter(has_it))
    }

    /// The position of the last durable event, as it moves on; 0 in an empty store.
    fn durable(&self) -> watch::Receiver<u64>;

    /// Waits for the first event of some types behind a position up to which everything was read; `None` if there may be one already.
    fn wait_behind(&self, position: u64, types: &Types) -> Option<Waiting>;

    /// Where and why nothing can be written at all, if the file system is read-only.
    fn read_only(&self) -> Option<Arc<str>>;

    /// The reason why nothing can be written any more, if so.
    fn poisoned(&self) -> Option<Arc<str>>;
}

impl dyn Log {
    /// What `read` makes of the event at a position, if there is one. Blocks.
    pub(crate) fn event_at<T>(
        &self,
        position: u64,
        read: impl FnOnce(CommittedEvent<'_>) -> Option<T>,
    ) -> Result<Option<T>, JournalError> {
        let commit = self.commit_at(position)?;
        let event = commit.as_ref().and_then(|commit| commit.event_at(position));
        Ok(event.and_then(read))
    }
}

/// A place in the order of events, behind which to read on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// The position of the last event that was read.
    pub(crate) position: u64,
    /// Where the journal found the events up to there; only the journal knows what it means.
    pub(super) hint: u64,
    /// Whether one commit is enough.
    pub(super) is_for_one: bool,
}

impl Cursor {
    pub(crate) fn after(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    /// For the commit that has the event at `position`, and nothing else.
    pub(crate) fn for_commit_at(position: u64) -> Self {
        Self {
            is_for_one: true,
            ..Self::after(position.saturating_sub(1))
        }
    }
}
