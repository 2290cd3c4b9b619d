//! Reads the journal onward. Each subscribed event is delivered once, in order.

use std::sync::Arc;

use super::super::imported::is_imported;
use super::{CHUNK_EVENTS, Halt, NOTE_EVENTS, ProcessManagerRunner};
use crate::journal::{CommittedEvent, Cursor, JournalError, RecordedCommit, StreamId};
use crate::process_manager::ProcessManager;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Handles all events up to the position `until`. Returns `false` if the store closes first.
    pub(super) async fn react_until(&mut self, until: u64) -> Result<bool, Halt> {
        while self.position < until {
            if *self.context.closing.borrow() {
                return Ok(false);
            }
            self.react_to_more(until).await?;
        }
        Ok(true)
    }

    /// Handles the next commits up to the position `until`, and submits their effects.
    pub(super) async fn react_to_more(&mut self, until: u64) -> Result<(), Halt> {
        self.note_start().await?;
        self.go_on_where_it_stays().await?;
        self.react_to_next(until).await?;
        self.flush().await?;
        self.settle()?;
        self.answer_skip().await
    }

    /// Handles the next commits that the journal has, up to the position `until`.
    async fn react_to_next(&mut self, until: u64) -> Result<(), Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let commits = match journal.read_recent(&mut self.cursor) {
            Some(commits) => Ok(commits),
            None => {
                let mut cursor = self.cursor;
                let read = tokio::task::spawn_blocking(move || {
                    let commits = journal.read_on(&mut cursor);
                    (cursor, commits)
                });
                let (cursor, commits) = read.await.map_err(|_| Halt::Ended)?;
                self.cursor = cursor;
                commits
            }
        };
        if matches!(commits, Err(JournalError::File(_))) {
            // This failure does not undo the reactions in flight.
            self.finish_in_flight().await?;
        }
        let commits = self.read(commits)?;
        if PM::IS_KEYED {
            self.react_to_keyed(&commits, until).await?;
        } else {
            for commit in commits {
                self.react_to_commit(&commit, until).await?;
                if self.position >= until {
                    break;
                }
            }
        }
        if self.position >= until {
            self.cursor = Cursor::after(self.position);
        }
        // Other tasks run between chunks.
        tokio::task::yield_now().await;
        Ok(())
    }

    pub(super) async fn react_to_commit(
        &mut self,
        commit: &RecordedCommit,
        until: u64,
    ) -> Result<(), Halt> {
        for event in commit.events() {
            if event.position > until {
                return Ok(());
            }
            if event.position <= self.position {
                continue;
            }
            if self.is_shown(event) {
                if self.timers.is_due_before(commit.time) {
                    self.fire_before(commit.time).await?;
                }
                self.react_to(event).await?;
            }
            self.position = event.position;
        }
        self.note_if_due();
        Ok(())
    }

    /// Handles commits in chunks: correlates the events of a chunk, loads their instances, and delivers the events.
    pub(super) async fn react_to_keyed(
        &mut self,
        commits: &[Arc<RecordedCommit>],
        until: u64,
    ) -> Result<(), Halt> {
        let mut chunk = Vec::new();
        let mut reached = self.position;
        for commit in commits {
            for event in commit.events() {
                if event.position <= self.position || event.position > until {
                    continue;
                }
                reached = event.position;
                if self.is_shown(event) {
                    let name = || format!("correlation {}", event.position);
                    if !self.begins(name).await? {
                        self.given_up = Some(self.starts.cause());
                    }
                    chunk.push((commit.time, self.show(event)));
                    self.given_up = None;
                }
                if self.starts.is_careful() {
                    // A careful start handles single events, to find the event that aborts the process.
                    self.react_to_chunk(std::mem::take(&mut chunk)).await?;
                }
            }
            if chunk.len() >= CHUNK_EVENTS {
                self.react_to_chunk(std::mem::take(&mut chunk)).await?;
                self.position = reached;
            }
        }
        self.react_to_chunk(chunk).await?;
        self.position = reached;
        self.note_if_due();
        Ok(())
    }

    /// Whether the event is subscribed, not imported, and not handled by an earlier version of the store.
    fn is_shown(&self, event: CommittedEvent<'_>) -> bool {
        self.subscriptions.contains(&&*event.stream.aggregate_type)
            && !self.has_seen(event.stream, event.version, event.position)
            && !is_imported(event.line)
    }

    pub(super) fn note_if_due(&mut self) {
        let is_idle = self.in_flight.is_empty() && self.dirty.is_empty();
        if is_idle && self.position >= self.noted + NOTE_EVENTS {
            self.note();
        }
    }

    pub(super) fn has_seen(&self, stream: &StreamId, version: u64, position: u64) -> bool {
        let seen_before = self.seen_before.as_ref();
        seen_before.is_some_and(|seen| seen.covers(stream, version, position))
    }
}
