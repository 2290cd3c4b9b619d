//! The events of a chunk, in transactions of the sink.

use std::sync::Arc;

use super::fault::{fault, text};
use super::progress::{SavedEvent, SavedProgress};
use super::{Follower, Halt, State};
use crate::error::StoreError;
use crate::event::EventError;
use crate::guarded::guard;
use crate::journal::{CommittedEvent, Cursor, EventChunk, SkippedEvent};
use crate::projection::{
    ProjectError, ProjectionFailure, Sink, SinkError, SinkFault, SinkProjection, UnknownEvents,
};

/// The number of positions without an event for the projection, after which its progress is saved.
const SAVE_EVENTS: u64 = 10_000;
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
    /// Projects a chunk of commits, in one transaction if all goes well. Returns the position of the last projected event.
    pub(super) fn project(
        &mut self,
        of: State,
        chunk: &EventChunk,
        cursor: Cursor,
    ) -> Result<Option<u64>, Halt> {
        let Some(progress) = self.place(of).progress.clone() else {
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
            match self.attempt(of, part, &next)? {
                Attempt::Done => {
                    if !others.is_empty() {
                        self.is_at(of, next.clone());
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
                    let next = self.skip(of, *event, cause, &progress)?;
                    self.attempt(of, &[], &next)?;
                    self.is_at(of, next.clone());
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
            self.attempt(of, &[], &next)?;
            progress = next;
        }
        let place = self.place(of);
        (place.progress, place.cursor) = (Some(progress), cursor);
        Ok(events.last().map(|event| event.position))
    }

    /// The progress behind an event that cannot be projected, if it is skipped.
    fn skip(
        &mut self,
        of: State,
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
        let most = match of {
            State::Current => ATTEMPTS,
            State::New => 1,
        };
        if P::ON_FAILURE != ProjectionFailure::Skip || attempts < most {
            return Err(Halt::Event(cause.error));
        }
        tracing::warn!(projection = P::NAME, position = event.position, error = %cause.error, "a projection skips an event");
        next.skip(event.position, cause.error.to_string());
        if of == State::Current {
            self.gauge.has_skipped(next.skipped);
        }
        Ok(next)
    }

    /// Projects events in one transaction, and saves the progress behind them.
    pub(super) fn attempt(
        &mut self,
        of: State,
        events: &[CommittedEvent<'_>],
        next: &SavedProgress,
    ) -> Result<Attempt, Halt> {
        let expected = self.place(of).stored.clone();
        let pulse = Arc::clone(&self.pulse);
        let next = to_json(next)?;
        let mut halt = None;
        let mut failed = None;
        let transacted = self.try_save(of, &mut |tx, stored| {
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
                self.place(of).stored = Some(next);
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
}

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
