//! From the saved progress to the last durable event.

use std::sync::Arc;

use super::progress::SavedProgress;
use super::project::{is_skipped, project_one, saved_event};
use super::{Follower, Halt, State};
use crate::error::StoreError;
use crate::journal::{Cursor, EventChunk, Journal, Log, SkippedEvent};
use crate::projection::{Sink, SinkProjection};
use crate::runtime::read_ahead::read_ahead;

/// The number of bytes of the journal whose events are projected in one transaction.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;

impl<P: SinkProjection> Follower<P> {
    /// Projects all durable events. Blocks.
    pub(super) fn advance(&mut self) -> Result<(), Halt> {
        self.pulse.rebuilds(self.rebuild.clone());
        let advanced = match self.try_advance() {
            // Nothing of it stays.
            Err(Halt::Asked) if self.is_cancelled() => self.discard().and(Err(Halt::Asked)),
            advanced => advanced,
        };
        // After an error, the transaction of a database may be broken, and its outcome unknown.
        match &advanced {
            Err(Halt::Sink(_) | Halt::Event(_)) => {
                self.connection = None;
                self.current.progress = None;
            }
            Err(Halt::Moved | Halt::Behind(_)) => self.current.progress = None,
            Ok(()) | Err(Halt::Asked) => {}
        }
        advanced
    }

    fn try_advance(&mut self) -> Result<(), Halt> {
        if self.current.progress.is_none() {
            self.begin()?;
            self.find_interrupted_rebuild()?;
        }
        if self.rebuild.is_some() {
            self.run_rebuild()?;
        }
        let target = *self.journal.durable().borrow();
        let journal = Arc::clone(&self.journal);
        let mut halt = None;
        let read = read_ahead(
            &*journal,
            self.current.cursor,
            target,
            CHUNK_BYTES,
            &mut |chunk, read| {
                let projected = match self.is_closing() {
                    true => Err(Halt::Asked),
                    false => self.follow(chunk, read),
                };
                projected.map_err(|reason| {
                    halt = Some(reason);
                    StoreError::Closed
                })
            },
        );
        match halt {
            Some(halt) => Err(halt),
            // The journal cannot be read.
            None => read.map_err(Halt::Sink),
        }
    }

    fn follow(&mut self, chunk: &EventChunk, cursor: Cursor) -> Result<(), Halt> {
        let last = self.project(State::Current, chunk, cursor)?;
        // Whoever sees the position finds no failure of before.
        self.gauge.fails(None, false);
        self.gauge.is_at(cursor.position);
        if let Some(last) = last {
            self.gauge.has_changed(last);
        }
        Ok(())
    }

    /// Reads the saved progress, and checks that it is of this history.
    fn begin(&mut self) -> Result<(), Halt> {
        self.announce_awaited();
        let mut stored = None;
        let read = self.transact(&mut |_, progress| {
            stored = progress.map(str::to_owned);
            None
        });
        read?;
        let new = SavedProgress::new::<P>();
        self.current.stored.clone_from(&stored);
        let Some(stored) = stored else {
            // The tables exist from now on, though no event may come for long.
            self.save(State::Current, &new)?;
            self.current.cursor = Cursor::default();
            self.is_at(State::Current, new);
            return Ok(());
        };
        let failed = |reason: String| {
            Halt::Sink(StoreError::Sink {
                name: P::NAME,
                reason: reason.into(),
            })
        };
        let saved: SavedProgress = serde_json::from_str(&stored)
            .map_err(|error| failed(format!("its saved progress does not read: {error}")))?;
        let durable = *self.journal.durable().borrow();
        if saved.position > durable {
            if self.is_shared() && self.rebuild.is_none() {
                return Err(self.is_behind(saved));
            }
            return Err(failed(format!(
                "the database is at position {}, but the journal ends at {durable}: it is ahead of this store. Restore both of \
                 one moment, or call `rebuild_projection`",
                saved.position
            ))).or_else(|halt| self.rebuilt_if_own(halt));
        }
        if !is_of_this_history(&*self.journal, &saved) {
            return Err(failed(
                "the database contains events that this store does not have: it belongs to another store. Use another \
                 database, or call `rebuild_projection`"
                    .to_owned(),
            )).or_else(|halt| self.rebuilt_if_own(halt));
        }
        let reason = self.outdated(&saved)?;
        self.current.cursor = Cursor::after(saved.position);
        let Some(reason) = reason else {
            self.is_at(State::Current, saved);
            return Ok(());
        };
        tracing::info!(projection = P::NAME, reason, "a projection is rebuilt");
        self.require_rebuild();
        // Whoever waits for a position waits for the new state.
        self.current.progress = Some(saved);
        Ok(())
    }

    /// The reason why a state with this progress is not that of this program; none if it is.
    pub(super) fn outdated(&mut self, saved: &SavedProgress) -> Result<Option<&'static str>, Halt> {
        Ok(match saved.version == P::VERSION {
            false => Some("its version has changed"),
            true if saved.subscriptions != P::SUBSCRIPTIONS => {
                Some("its subscriptions have changed")
            }
            true if saved.layout != P::Sink::layout() => {
                Some("its key or its indexes have changed")
            }
            true if self.knows_any(&saved.unknown)? => {
                Some("it skipped events that this program knows")
            }
            true => None,
        })
    }

    /// Rows in the directory of the store are derived from this store alone, so they are rebuilt.
    fn rebuilt_if_own(&mut self, halt: Halt) -> Result<(), Halt> {
        if !P::Sink::IS_IN_STORE && self.rebuild.is_none() {
            return Err(halt);
        }
        tracing::warn!(
            projection = P::NAME,
            "the rows of a projection are not of this history; they are rebuilt"
        );
        self.require_rebuild();
        self.current.cursor = Cursor::default();
        self.current.progress = Some(SavedProgress::new::<P>());
        Ok(())
    }

    /// Whether this program knows one of the unknown events, or would no longer skip it.
    fn knows_any(&mut self, unknown: &[SkippedEvent]) -> Result<bool, Halt> {
        for event in unknown {
            let journal = Arc::clone(&self.journal);
            let commit = journal.commit_at(event.position);
            let commit = commit.map_err(|error| Halt::Sink(error.into()))?;
            let event = commit
                .as_ref()
                .and_then(|commit| commit.event_at(event.position));
            let Some(event) = event else {
                return Ok(true);
            };
            let mut is_known = true;
            self.transact(&mut |tx, _| {
                is_known =
                    !matches!(project_one::<P>(event, tx), Err(cause) if is_skipped::<P>(&cause));
                None
            })?;
            if is_known {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn is_at(&mut self, of: State, progress: SavedProgress) {
        if of == State::Current {
            self.gauge.is_at(progress.position);
            self.gauge.has_skipped(progress.skipped);
        }
        self.place(of).progress = Some(progress);
    }

    /// Whether a failure at an event stops it.
    pub(super) fn stops(&self) -> bool {
        P::ON_FAILURE == crate::projection::ProjectionFailure::Stop
    }
}

pub(super) fn is_of_this_history(journal: &dyn Journal, saved: &SavedProgress) -> bool {
    let log: &dyn Log = journal;
    saved.event.as_ref().is_none_or(|saved| {
        let hash = log.event_at(saved.position, |event| Some(saved_event(&event).hash));
        // The read of the journal reports any damage.
        hash.ok().flatten().is_some_and(|hash| hash == saved.hash)
    })
}
