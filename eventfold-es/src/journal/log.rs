//! The order of all commits: submitting them, and reading them back.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::{
    Audience, CommittedEvent, EventChunk, JournalError, Outcome, ProposedCommit, RecordedCommit,
    Room, Standing, StreamId, Types, Waiting,
};
use crate::clock::StoreClock;

/// Learns of the streams with events from another node. It takes short locks at most.
pub(crate) type OnApplied = Box<dyn Fn(&StreamId) + Send + Sync>;

/// The total order of all accepted commits.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait Log: Send + Sync + 'static {
    /// Room for submitted commits that are not written yet: one permit each.
    fn room(&self) -> &Arc<Semaphore>;

    /// Submits a commit; never waits. The caller holds the locks of the cells that the commit was decided on. Commits of one
    /// stream therefore arrive in the order of their versions. A commit of another term than the present one is refused.
    fn submit(&self, room: Room, commit: ProposedCommit) -> Arc<Outcome>;

    /// The time of the store. Commits get their time from it when they are submitted.
    fn clock(&self) -> &StoreClock;

    /// Gives every later commit a time after `time`, in milliseconds since 1970, even if the clock stands. The result is the
    /// last commit before, if it is not settled. When it settles, all earlier commits are settled.
    fn pass(&self, time: u64) -> Option<Arc<Outcome>>;

    /// The next commits with events behind the cursor, up to about a megabyte; empty if all durable commits were read. Moves
    /// the cursor behind them. Blocks only if the commits are no longer in memory.
    fn read_on(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError>;

    /// The events of the next commits behind the cursor, in about this number of bytes of the journal; none if all durable
    /// commits were read. Moves the cursor behind them. `used` is an earlier chunk, whose memory serves again. Blocks as
    /// [`read_on`](Self::read_on).
    fn read_events(
        &self,
        cursor: &mut Cursor,
        bytes: u64,
        used: EventChunk,
    ) -> Result<EventChunk, JournalError> {
        let _ = (bytes, used);
        self.read_on(cursor).map(EventChunk::of_commits)
    }

    /// The next text of the journal at a place, without its events. Moves the place behind it.
    /// [`find_events`](Self::find_events) finds the events, on any thread. `None` at the end of the durable text. Blocks.
    fn read_text(
        &self,
        place: &mut TextPlace,
        bytes: u64,
        used: EventChunk,
    ) -> Result<Option<EventChunk>, JournalError> {
        let _ = (place, bytes, used);
        Ok(None)
    }

    /// Verifies the text of a chunk, and finds its events. Unreadable text is a failure of the chunk, behind the events
    /// before it.
    fn find_events(&self, chunk: &mut EventChunk) {
        let _ = chunk;
    }

    /// Moves the cursor behind the events of a text. They follow the events up to the cursor, or some are missing.
    fn pass_text(&self, cursor: &mut Cursor, chunk: &EventChunk) -> Result<(), JournalError> {
        let _ = (cursor, chunk);
        Ok(())
    }

    /// The next commits if they are still in memory, without any I/O.
    fn read_recent(&self, cursor: &mut Cursor) -> Option<Vec<Arc<RecordedCommit>>>;

    /// The process managers that see commits before they are durable, if the journal shows commits.
    fn audience(&self) -> Option<&Arc<Audience>>;

    /// The commit with the event at a position, if it exists. Process managers may see it before it is durable. Blocks.
    fn commit_at(&self, position: u64) -> Result<Option<Arc<RecordedCommit>>, JournalError> {
        let shown = self
            .audience()
            .and_then(|audience| audience.commit_at(position));
        if shown.is_some() {
            return Ok(shown);
        }
        let commits = self.read_on(&mut Cursor::for_commit_at(position))?;
        let has_it = |commit: &Arc<RecordedCommit>| commit.first_position <= position;
        Ok(commits.into_iter().next().filter(has_it))
    }

    /// The position of the last durable event, as it advances; 0 in an empty store.
    fn durable(&self) -> watch::Receiver<u64>;

    /// Waits for the next event of some types behind a position, when everything up to there was read. `None` if there may be an event
    /// already.
    fn wait_behind(&self, position: u64, types: &Types) -> Option<Waiting>;

    /// The role of this node, and its term.
    fn standing(&self) -> &Standing;

    /// The directory and the reason, if the file system is read-only and nothing can be written.
    fn read_only(&self) -> Option<Arc<str>>;

    /// The reason why nothing can be written any more, if the store is poisoned.
    fn poisoned(&self) -> Option<Arc<str>>;
}

impl dyn Log {
    /// The result of `read` for the event at a position, if it exists. Blocks.
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

/// A place in the order of events, from which reading continues.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// The position of the last event that was read.
    pub(crate) position: u64,
    /// The place in the journal of the events up to there. Only the journal knows its meaning.
    pub(super) hint: u64,
    /// Whether one commit is enough.
    pub(super) is_for_one: bool,
}

/// A place in the journal's text, where a commit begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextPlace(pub(super) u64);

impl Cursor {
    /// The place of the events behind the cursor, if the cursor comes from a text.
    pub(crate) fn text_place(&self) -> Option<TextPlace> {
        (self.hint > 0).then_some(TextPlace(self.hint))
    }

    pub(crate) fn after(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    /// A cursor for the commit with the event at `position`, and for no other commit.
    pub(crate) fn for_commit_at(position: u64) -> Self {
        Self {
            is_for_one: true,
            ..Self::after(position.saturating_sub(1))
        }
    }
}
