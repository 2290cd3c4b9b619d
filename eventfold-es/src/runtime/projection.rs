//! One projection: its state, its position and its checkpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guarded::{Kept, guard};
use super::progress_gauge::ProjectionGauge;
use super::read_ahead::read_ahead;
use crate::error::StoreError;
use crate::event::{EventError, RecordedEvent};
use crate::finite;
use crate::journal::{
    CommittedEvent, Cursor, EventChunk, Journal, JournalError, Log, SavedProjection, SavedValue,
    SeenBefore, SkippedEvent, StreamRef,
};
use crate::projection::{ProjectError, Projection, UnknownEvents};
use crate::sabotage::{Bug, planted};

/// The number of positions after which the state is saved.
const SAVE_EVENTS: u64 = 10_000;
/// The minimum interval between saves during a catch-up. A save waits for the disk, and without it only the work of this interval is lost.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);
/// The number of bytes of the journal in a chunk, which fits in the cache of a processor.
const CHUNK_BYTES: u64 = 256 << 10;
/// The maximum number of events to fold on the caller's thread. Beyond it, the blocking pool folds them.
const FEW_EVENTS: u64 = 64;

pub(crate) struct ProjectionRunner<P: Projection> {
    journal: Arc<dyn Journal>,
    gauge: Arc<ProjectionGauge>,
    checkpoint: Arc<dyn SavedValue>,
    subscriptions: &'static [&'static str],
    /// Shared with readers of a copy. While a reader holds the state, the next event is folded into a clone.
    state: Kept<Arc<P>>,
    /// The events that the state handled under an earlier version of the store. Removed once the cursor is past all of them.
    seen_before: Option<SeenBefore>,
    /// The skipped events, the first of each kind.
    skipped: Vec<SkippedEvent>,
    cursor: Cursor,
    saved: u64,
    /// Whether the state has to be restored before its next use.
    is_broken: bool,
}

impl<P: Projection> ProjectionRunner<P> {
    /// Loads the checkpoint. An unusable checkpoint is ignored, and the projection is rebuilt. Blocks.
    pub(crate) fn load(journal: Arc<dyn Journal>) -> Result<Self, StoreError> {
        let state = Kept::<Arc<P>>::default();
        let mut runner = Self {
            checkpoint: journal.projection(P::NAME),
            journal,
            gauge: Arc::default(),
            subscriptions: state.subscriptions(),
            state,
            seen_before: None,
            skipped: Vec::new(),
            cursor: Cursor::default(),
            saved: 0,
            is_broken: false,
        };
        runner.restore()?;
        Ok(runner)
    }

    /// Restores the checkpoint, or starts from the beginning.
    fn restore(&mut self) -> Result<(), StoreError> {
        self.reset();
        let durable = *self.journal.durable().borrow();
        let loaded = guard(
            || format!("the decoding of the state of `{}`", P::NAME),
            || self.checkpoint.load::<SavedProjection<Kept<P>>>(),
        );
        let loaded = match loaded {
            Ok(loaded) => loaded?.map(|loaded| loaded.map_err(|error| error.to_string())),
            Err(error) => Some(Err(error.to_string())),
        };
        let reason = match loaded {
            None => return Ok(()),
            Some(Err(reason)) => reason,
            Some(Ok(saved)) if !saved.fits(self.subscriptions) => {
                "its subscriptions have changed".to_owned()
            }
            Some(Ok(saved)) if saved.position > durable => format!(
                "it is at position {}, but the journal ends at {durable}",
                saved.position
            ),
            Some(Ok(saved)) if !self.is_of_this_history(saved.position, saved.event.as_deref()) => {
                format!(
                    "the event at position {} differs from the event that it contains",
                    saved.position
                )
            }
            Some(Ok(saved)) if self.knows_any(&saved.skipped) => {
                "it skipped events that this program knows, or would stop at".to_owned()
            }
            Some(Ok(saved)) => {
                self.state = Kept::new(Arc::new(saved.state.into_inner()));
                self.skipped = saved.skipped;
                self.seen_before = saved.seen_before;
                self.cursor = Cursor::after(saved.position);
                self.gauge.is_at(saved.position);
                self.saved = saved.position;
                return Ok(());
            }
        };
        tracing::warn!(projection = P::NAME, path = %self.checkpoint, reason, "the checkpoint of a projection cannot be used; it is built anew");
        Ok(())
    }

    /// Whether the journal contains the last event of a checkpoint.
    fn is_of_this_history(&self, position: u64, event: Option<&str>) -> bool {
        event.is_none_or(|event| {
            // The read of the whole journal reports any damage.
            let found = hash_at(&*self.journal, position).ok().flatten();
            found.as_deref() == Some(event)
        })
    }

    /// Whether this program would not skip one of the skipped events.
    fn knows_any(&self, skipped: &[SkippedEvent]) -> bool {
        let log: &dyn Log = &*self.journal;
        skipped.iter().any(|skipped| {
            // The read of the whole journal finds an unreadable event.
            let found = log.event_at(skipped.position, |found| {
                Some((found.stream.to_id(), found.read().ok()?))
            });
            let Ok(Some((stream, event))) = found else {
                return true;
            };
            let what = || format!("the projection `{}`", P::NAME);
            let applied = guard(what, || {
                let mut state = Kept::<P>::default();
                state.apply(&stream.aggregate_type, &stream.instance_id, &event)
            });
            !matches!(applied, Ok(Err(error)) if is_skipped::<P>(&error))
        })
    }

    /// Skips an event, and remembers the first event of its kind.
    fn skip(&mut self, aggregate_type: &str, event: &RecordedEvent, error: &ProjectError) {
        if SkippedEvent::of(aggregate_type, event).note_in(&mut self.skipped) {
            tracing::warn!(projection = P::NAME, position = event.position, %error, "a projection skips events that this program does not know");
        }
    }

    /// Starts from the beginning.
    pub(crate) fn reset(&mut self) {
        self.state = Kept::default();
        self.skipped = Vec::new();
        self.seen_before = None;
        self.cursor = Cursor::default();
        self.gauge.is_at(0);
        self.saved = 0;
        self.is_broken = false;
    }

    pub(crate) fn state(&self) -> &Arc<P> {
        &self.state
    }

    pub(crate) fn gauge(&self) -> Arc<ProjectionGauge> {
        Arc::clone(&self.gauge)
    }

    /// Folds the new events if they are few, in memory and without errors. Returns whether the state is at `position` then. `may_clone`
    /// allows a clone of a state that a reader holds, which takes time if the state is large.
    pub(crate) fn catch_up_in_memory(&mut self, position: u64, may_clone: bool) -> bool {
        let is_little = position <= self.cursor.position + FEW_EVENTS
            && position < self.saved + SAVE_EVENTS
            && !self.is_broken;
        if !is_little {
            return !self.is_broken && self.cursor.position >= position;
        }
        if self.cursor.position >= position {
            return true;
        }
        if !may_clone && Arc::strong_count(&self.state) > 1 {
            return false;
        }
        let _span = self.span(position).entered();
        while self.cursor.position < position {
            let mut cursor = self.cursor;
            let Some(commits) = self.journal.read_recent(&mut cursor) else {
                return false;
            };
            if self.fold(&EventChunk::of_commits(commits), cursor).is_err() {
                return false;
            }
        }
        self.gauge.fails(None, false);
        true
    }

    /// Folds all events up to `position`. Blocks.
    pub(crate) fn catch_up(&mut self, position: u64) -> Result<(), StoreError> {
        let _span = self.span(position).entered();
        let done = self.fold_up_to(position);
        let failure = done.as_ref().err().map(ToString::to_string);
        self.gauge.fails(failure, false);
        done
    }

    fn span(&self, to: u64) -> tracing::Span {
        tracing::debug_span!(
            "project",
            projection = P::NAME,
            from = self.cursor.position,
            to
        )
    }

    fn fold_up_to(&mut self, position: u64) -> Result<(), StoreError> {
        if self.is_broken {
            self.restore()?;
        }
        let journal = Arc::clone(&self.journal);
        let mut saved_at = Instant::now();
        read_ahead(
            &*journal,
            self.cursor,
            position,
            CHUNK_BYTES,
            &mut |chunk, cursor| {
                self.fold(chunk, cursor)?;
                if self.is_save_due() && saved_at.elapsed() >= SAVE_INTERVAL {
                    self.save_or_warn();
                    saved_at = Instant::now();
                }
                Ok(())
            },
        )?;
        if self.is_save_due() {
            self.save_or_warn();
        }
        Ok(())
    }

    fn is_save_due(&self) -> bool {
        self.cursor.position >= self.saved + SAVE_EVENTS
    }

    /// Saves the state if it has advanced. A failure is only logged, because it merely costs time later. Blocks.
    pub(crate) fn save_or_warn(&mut self) {
        if self.is_broken || self.cursor.position == self.saved {
            return;
        }
        // A read-only store would save the state in memory, where it already is.
        if self.journal.read_only().is_some() {
            return;
        }
        let subscriptions = self.subscriptions.iter().map(ToString::to_string).collect();
        let position = self.cursor.position + u64::from(planted(Bug::ProjectionAheadOfItsState));
        let event = match hash_at(&*self.journal, position) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(projection = P::NAME, %error, "the checkpoint of a projection was not saved");
                return;
            }
        };
        let encoded = guard(
            || format!("the encoding of the state of `{}`", P::NAME),
            || finite::to_raw_value(&**self.state),
        );
        let encoded = encoded.and_then(|encoded| {
            encoded.map_err(|error| StoreError::Refused {
                reason: format!("the state does not serialize: {error}").into(),
            })
        });
        let state = match encoded {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(projection = P::NAME, %error, "the checkpoint of a projection was not saved");
                return;
            }
        };
        let saved = SavedProjection {
            position,
            event,
            subscriptions: Some(subscriptions),
            seen_before: self.seen_before.clone(),
            skipped: self.skipped.clone(),
            state,
        };
        let durable = self.journal.prepare_to_save().map_err(StoreError::from);
        match durable.and_then(|()| Ok(self.checkpoint.save(&saved)?)) {
            Ok(()) => self.saved = self.cursor.position,
            Err(error) => {
                tracing::warn!(projection = P::NAME, %error, "the checkpoint of a projection was not saved")
            }
        }
    }

    fn fold(&mut self, chunk: &EventChunk, cursor: Cursor) -> Result<(), StoreError> {
        for event in chunk.events() {
            let aggregate_type = &**event.stream.aggregate_type;
            if !self.subscriptions.contains(&aggregate_type)
                || self.has_seen(event.stream, event.version, event.position)
            {
                continue;
            }
            if let Err(error) = self.fold_event(event) {
                // The state may contain half of the event.
                self.is_broken = true;
                return Err(error);
            }
        }
        self.cursor = cursor;
        self.gauge.is_at(cursor.position);
        self.seen_before
            .take_if(|seen| seen.ends_at(cursor.position));
        Ok(())
    }

    fn has_seen(&self, stream: StreamRef<'_>, version: u64, position: u64) -> bool {
        let seen_before = self.seen_before.as_ref();
        seen_before.is_some_and(|seen| seen.covers(stream, version, position))
    }

    fn fold_event(&mut self, event: CommittedEvent<'_>) -> Result<(), StoreError> {
        let CommittedEvent {
            position, stream, ..
        } = event;
        let (aggregate_type, stream_id) = (&**stream.aggregate_type, stream.instance_id);
        let failed = |source: ProjectError| StoreError::Projection {
            name: P::NAME.to_owned(),
            position,
            source,
        };
        let event = event.stored().map_err(|error| failed(error.into()))?;
        let state = &mut self.state;
        let applied = guard(
            || format!("the projection `{}`, at position {position},", P::NAME),
            // The clone of a shared state is user code, too.
            || Arc::make_mut(state).apply_stored(aggregate_type, stream_id, &event),
        )?;
        match applied {
            Err(error) if is_skipped::<P>(&error) => {
                self.skip(aggregate_type, event.shown(), &error);
                Ok(())
            }
            applied => applied.map_err(failed),
        }
    }
}

/// Whether a projection skips the event with this error.
fn is_skipped<P: Projection>(error: &ProjectError) -> bool {
    let is_unknown = matches!(
        error,
        ProjectError::Event(EventError::UnknownType { .. } | EventError::Newer { .. })
    );
    is_unknown && P::UNKNOWN_EVENTS == UnknownEvents::Skip
}

/// The line hash of the event at a position. Blocks.
fn hash_at(log: &dyn Log, position: u64) -> Result<Option<String>, JournalError> {
    log.event_at(position, |event| {
        Some(eventfold::line_hash(event.line.as_bytes()))
    })
}
