//! From the saved progress to the last durable event.

use std::sync::Arc;

use super::fault::{fault, text, unreachable};
use super::progress::{SavedEvent, SavedProgress};
use super::{Follower, Halt};
use crate::error::StoreError;
use crate::event::EventError;
use crate::guarded::{Kept, guard};
use crate::journal::{CommittedEvent, Cursor, EventChunk, Journal, Log, SkippedEvent};
use crate::projection::{
    ProjectError, ProjectionFailure, Sink, SinkError, SinkFault, SinkProjection, UnknownEvents,
};
use crate::runtime::read_ahead::read_ahead;

/// The number of positions without an event for the projection, after which its progress is saved.
const SAVE_EVENTS: u64 = 10_000;
/// The number of bytes of the journal whose events are projected in one transaction.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;
/// The number of attempts for an event that is skipped then.
const ATTEMPTS: u32 = 3;

/// The end of an attempt to project some events.
pub(super) enum Attempt {
    Done,
    /// The event with this index cannot be projected.
    Failed(usize, Cause),
    /// The sink refuses to commit, because of one or several of the events.
    Refused(Cause),
}

/// The reason why an event cannot be projected.
pub(super) struct Cause {
    pub(super) error: StoreError,
    /// Whether a newer program has written it.
    is_unknown: bool,
    /// Whether the database cannot be used now, for any event.
    pub(super) is_of_database: bool,
}

impl<P: SinkProjection> Follower<P> {
    /// Projects all durable events. Blocks.
    pub(super) fn advance(&mut self) -> Result<(), Halt> {
        self.pulse.rebuilds(self.rebuild.clone());
        let advanced = self.try_advance();
        // After an error, the transaction of a database may be broken, and its outcome unknown.
        match &advanced {
            Err(Halt::Sink(_) | Halt::Event(_)) => {
                self.connection = None;
                self.progress = None;
            }
            Err(Halt::Moved | Halt::Behind(_)) => self.progress = None,
            Ok(()) | Err(Halt::Asked) => {}
        }
        advanced
    }

    fn try_advance(&mut self) -> Result<(), Halt> {
        if self.progress.is_none() {
            self.begin()?;
        }
        if self.rebuild.is_some() {
            self.run_rebuild()?;
        }
        let target = *self.journal.durable().borrow();
        let journal = Arc::clone(&self.journal);
        let mut halt = None;
        let read = read_ahead(
            &*journal,
            self.cursor,
            target,
            CHUNK_BYTES,
            &mut |chunk, read| {
                let projected = match self.is_closing() {
                    true => Err(Halt::Asked),
                    false => self.project(chunk, read),
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
        self.stored.clone_from(&stored);
        let Some(stored) = stored else {
            // The tables exist from now on, though no event may come for long.
            self.attempt(&[], &new)?;
            self.cursor = Cursor::default();
            self.is_at(new);
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
        let reason = match saved.version == P::VERSION {
            false => Some("its version has changed"),
            true if saved.subscriptions != P::SUBSCRIPTIONS => {
                Some("its subscriptions have changed")
            }
            true if saved.layout != new.layout => Some("its key or its indexes have changed"),
            true if self.knows_any(&saved.unknown)? => {
                Some("it skipped events that this program knows")
            }
            true => None,
        };
        self.cursor = Cursor::after(saved.position);
        let Some(reason) = reason else {
            self.is_at(saved);
            return Ok(());
        };
        tracing::info!(projection = P::NAME, reason, "a projection is rebuilt");
        self.require_rebuild();
        // Whoever waits for a position waits for the new state.
        self.progress = Some(saved);
        Ok(())
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
        self.cursor = Cursor::default();
        self.progress = Some(SavedProgress::new::<P>());
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

    /// Projects a chunk of commits, in one transaction if all goes well.
    fn project(&mut self, chunk: &EventChunk, cursor: Cursor) -> Result<(), Halt> {
        let Some(progress) = self.progress.clone() else {
            return Err(Halt::Moved);
        };
        let events: Vec<_> = chunk
            .events()
            .filter(|event| event.position > progress.position && is_subscribed::<P>(event))
            .collect();
        let mut rest = &events[..];
        let mut progress = progress;
        let mut at_once = rest.len();
        while !rest.is_empty() {
            let (part, others) = rest.split_at(at_once.clamp(1, rest.len()));
            let seen = match others.is_empty() {
                true => cursor.position,
                false => progress.position,
            };
            let next = after(&progress, part, seen);
            match self.attempt(part, &next)? {
                Attempt::Done => {
                    if !others.is_empty() {
                        self.is_at(next.clone());
                    }
                    progress = next;
                    rest = others;
                    at_once = rest.len();
                }
                // The failing event is tried again, as the first of its transaction.
                Attempt::Failed(before @ 1.., _) => at_once = before,
                Attempt::Refused(_) if part.len() > 1 => at_once = part.len() / 2,
                Attempt::Failed(0, cause) | Attempt::Refused(cause) => {
                    let Some((event, others)) = rest.split_first() else {
                        break;
                    };
                    let next = self.skip(*event, cause, &progress)?;
                    self.attempt(&[], &next)?;
                    self.is_at(next.clone());
                    progress = next;
                    rest = others;
                    at_once = rest.len();
                }
            }
        }
        if cursor.position >= progress.position + SAVE_EVENTS {
            let next = SavedProgress {
                position: cursor.position,
                ..progress.clone()
            };
            self.attempt(&[], &next)?;
            progress = next;
        }
        self.progress = Some(progress);
        self.cursor = cursor;
        // Whoever sees the position finds no failure of before.
        self.gauge.fails(None, false);
        self.gauge.is_at(cursor.position);
        if let Some(last) = events.last() {
            self.gauge.has_changed(last.position);
        }
        Ok(())
    }

    /// The progress behind an event that cannot be projected, if it is skipped.
    fn skip(
        &mut self,
        event: CommittedEvent<'_>,
        cause: Cause,
        progress: &SavedProgress,
    ) -> Result<SavedProgress, Halt> {
        let mut next = SavedProgress {
            position: event.position,
            ..progress.clone()
        };
        if is_skipped::<P>(&cause) {
            skip_unknown::<P>(event, &cause.error, &mut next);
            return Ok(next);
        }
        let attempts = match self.failing {
            Some((position, attempts)) if position == event.position => attempts + 1,
            _ => 1,
        };
        self.failing = Some((event.position, attempts));
        if P::ON_FAILURE != ProjectionFailure::Skip || attempts < ATTEMPTS {
            return Err(Halt::Event(cause.error));
        }
        tracing::warn!(projection = P::NAME, position = event.position, error = %cause.error, "a projection skips an event");
        next.skip(event.position, cause.error.to_string());
        self.gauge.has_skipped(next.skipped);
        Ok(next)
    }

    /// Projects events in one transaction, and saves the progress behind them.
    fn attempt(
        &mut self,
        events: &[CommittedEvent<'_>],
        next: &SavedProgress,
    ) -> Result<Attempt, Halt> {
        let expected = self.stored.clone();
        let pulse = Arc::clone(&self.pulse);
        let next = to_json(next)?;
        let mut halt = None;
        let mut failed = None;
        let transacted = self.try_transact(&mut |tx, stored| {
            if stored != expected.as_deref() {
                halt = Some(Halt::Moved);
                return None;
            }
            if stored.is_none()
                && let Err(error) = prepare::<P>(tx)
            {
                halt = Some(Halt::Event(error));
                return None;
            }
            for (index, event) in events.iter().enumerate() {
                if !pulse.beat() {
                    halt = Some(Halt::Asked);
                    return None;
                }
                if let Err(cause) = project_one::<P>(*event, tx) {
                    failed = Some((index, cause));
                    return None;
                }
            }
            Some(next.clone())
        });
        match (halt, failed, transacted) {
            (Some(halt), ..) => Err(halt),
            (None, Some((_, cause)), _) if cause.is_of_database => Err(Halt::Sink(cause.error)),
            // If the transaction could be rolled back, the connection works, and the cause is the event.
            (None, Some((index, cause)), Ok(())) => Ok(Attempt::Failed(index, cause)),
            (None, None, Ok(())) => {
                self.stored = Some(next);
                Ok(Attempt::Done)
            }
            (None, None, Err((error, SinkFault::Event))) if !events.is_empty() => {
                self.connection = None;
                Ok(Attempt::Refused(Cause {
                    error,
                    is_unknown: false,
                    is_of_database: false,
                }))
            }
            (None, _, Err((error, _))) => Err(Halt::Sink(error)),
        }
    }

    /// One transaction of the sink.
    pub(super) fn transact(&mut self, work: &mut Work<'_, P>) -> Result<(), Halt> {
        let transacted = self.try_transact(work);
        transacted.map_err(|(error, _)| Halt::Sink(error))
    }

    fn try_transact(&mut self, work: &mut Work<'_, P>) -> Result<(), (StoreError, SinkFault)> {
        let unknown = |error| (error, SinkFault::Unknown);
        let pulse = Arc::clone(&self.pulse);
        let prepared = self.journal.prepare_to_save();
        prepared.map_err(|error| unknown(error.into()))?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let what = || format!("connecting the projection `{}`", P::NAME);
                let connected = guard(what, || self.sink.connect()).map_err(unknown)?;
                let connected = connected.map_err(|error| unknown(unreachable::<P>(&error)))?;
                self.connection.insert(Kept::new(connected))
            }
        };
        pulse.beat();
        let what = || format!("a transaction of the projection `{}`", P::NAME);
        let transacted = guard(what, || {
            P::Sink::transact(connection, P::NAME, &mut |tx, stored| {
                let next = pulse.beat().then(|| work(tx, stored)).flatten();
                next.filter(|_| pulse.beat())
            })
        });
        // Another call goes on in its place, and reads the progress.
        if pulse.is_given_up() {
            return Err(unknown(StoreError::Closed));
        }
        transacted
            .map_err(unknown)?
            .map_err(|error| (unreachable::<P>(&error), fault::<P>(&error)))
    }

    pub(super) fn is_at(&mut self, progress: SavedProgress) {
        self.gauge.is_at(progress.position);
        self.gauge.has_skipped(progress.skipped);
        self.progress = Some(progress);
    }

    /// Whether a failure at an event stops it.
    pub(super) fn stops(&self) -> bool {
        P::ON_FAILURE == ProjectionFailure::Stop
    }
}

/// The work in a transaction.
pub(super) type Work<'a, P> = dyn FnMut(&mut <<P as SinkProjection>::Sink as Sink>::Tx<'_>, Option<&str>) -> Option<String>
    + 'a;

pub(super) fn to_json(progress: &SavedProgress) -> Result<String, Halt> {
    serde_json::to_string(progress).map_err(|error| {
        Halt::Sink(StoreError::Sink {
            name: "progress",
            reason: error.to_string().into(),
        })
    })
}

pub(super) fn is_subscribed<P: SinkProjection>(event: &CommittedEvent<'_>) -> bool {
    P::SUBSCRIPTIONS.contains(&&**event.stream.aggregate_type)
}

/// The progress behind some events, which are all of the subscribed events up to a position.
fn after(progress: &SavedProgress, events: &[CommittedEvent<'_>], position: u64) -> SavedProgress {
    let last = events.last();
    let last_position = last.map_or(0, |event| event.position);
    SavedProgress {
        position: position.max(last_position).max(progress.position),
        event: last.map(saved_event).or_else(|| progress.event.clone()),
        ..progress.clone()
    }
}

pub(super) fn saved_event(event: &CommittedEvent<'_>) -> SavedEvent {
    SavedEvent {
        position: event.position,
        hash: eventfold::line_hash(event.line.as_bytes()),
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

/// Notes an event that this program does not know.
pub(super) fn skip_unknown<P: SinkProjection>(
    event: CommittedEvent<'_>,
    error: &StoreError,
    progress: &mut SavedProgress,
) {
    let skipped = event.read().ok();
    let skipped = skipped.map(|read| SkippedEvent::of(event.stream.aggregate_type, &read));
    if skipped.is_some_and(|skipped| skipped.note_in(&mut progress.unknown)) {
        tracing::warn!(projection = P::NAME, position = event.position, %error, "a projection skips events that this program does not know");
    }
}

pub(super) fn is_skipped<P: SinkProjection>(cause: &Cause) -> bool {
    cause.is_unknown && P::UNKNOWN_EVENTS == UnknownEvents::Skip
}

/// Empties the state, before the first event.
pub(super) fn prepare<P: SinkProjection>(
    tx: &mut <P::Sink as Sink>::Tx<'_>,
) -> Result<(), StoreError> {
    let what = || format!("`prepare` of the projection `{}`", P::NAME);
    guard(what, || P::prepare(tx))?.map_err(|error| StoreError::Sink {
        name: P::NAME,
        reason: format!("`prepare` fails: {}", text(&error)).into(),
    })
}

/// Projects one event.
pub(super) fn project_one<P: SinkProjection>(
    event: CommittedEvent<'_>,
    tx: &mut <P::Sink as Sink>::Tx<'_>,
) -> Result<(), Cause> {
    let position = event.position;
    let failed = |source: ProjectError| Cause {
        is_unknown: matches!(
            source,
            ProjectError::Event(EventError::UnknownType { .. } | EventError::Newer { .. })
        ),
        is_of_database: false,
        error: StoreError::Projection {
            name: P::NAME.to_owned(),
            position,
            source,
        },
    };
    let (aggregate_type, stream_id) = (event.stream.aggregate_type, event.stream.instance_id);
    let stored = event.stored().map_err(|error| failed(error.into()))?;
    let what = || format!("the projection `{}`, at position {position},", P::NAME);
    let applied = guard(what, || P::apply(aggregate_type, stream_id, &stored, tx));
    match applied {
        Err(error) => Err(Cause {
            error,
            is_unknown: false,
            is_of_database: false,
        }),
        Ok(Err(SinkError::Event(error))) => Err(failed(error)),
        Ok(Err(SinkError::Sink(error))) => Err(Cause {
            is_of_database: fault::<P>(&error) == SinkFault::Database,
            ..failed(ProjectError::Other(text(&error)))
        }),
        Ok(Ok(())) => Ok(()),
    }
}
