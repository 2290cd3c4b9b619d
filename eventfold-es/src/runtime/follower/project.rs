//! The events of a chunk, in transactions of the sink.

use std::iter::{self, Peekable};
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
enum Attempt {
    /// They are projected, and this is the saved progress.
    Done(SavedProgress),
    /// The event with this index cannot be projected.
    Failed(usize, Cause),
    /// The sink refuses to commit this number of events, because of one or several of them.
    Refused(usize, Cause),
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
        let Some(mut progress) = self.place(of).progress.clone() else {
            return Err(Halt::Moved);
        };
        let from = progress.position;
        let events = chunk.events();
        let mut rest = events
            .filter(move |event| event.position > from && is_subscribed::<P>(event))
            .peekable();
        let mut last = None;
        let mut most = usize::MAX;
        while rest.peek().is_some() {
            let attempt = self.attempt(of, &mut rest, most, &progress, cursor.position)?;
            let next = match attempt {
                Attempt::Done(next) => {
                    last = next.event.as_ref().map(|event| event.position);
                    next
                }
                // The failing event is tried again, as the first of its transaction.
                Attempt::Failed(before @ 1.., _) => {
                    most = before;
                    continue;
                }
                Attempt::Refused(events @ 2.., _) => {
                    most = events / 2;
                    continue;
                }
                Attempt::Failed(_, cause) | Attempt::Refused(_, cause) => {
                    let Some(event) = rest.next() else {
                        break;
                    };
                    let next = self.skip(of, event, cause, &progress)?;
                    self.save(of, &next)?;
                    last = Some(event.position);
                    next
                }
            };
            if rest.peek().is_some() {
                self.is_at(of, next.clone());
            }
            progress = next;
            most = usize::MAX;
        }
        if cursor.position >= progress.position + SAVE_EVENTS {
            let next = SavedProgress {
                position: cursor.position,
                ..progress.clone()
            };
            self.save(of, &next)?;
            progress = next;
        }
        let place = self.place(of);
        (place.progress, place.cursor) = (Some(progress), cursor);
        Ok(last)
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

    /// Saves a progress, in a transaction without events.
    pub(super) fn save(&mut self, of: State, next: &SavedProgress) -> Result<(), Halt> {
        self.attempt(of, &mut iter::empty().peekable(), 0, next, next.position)?;
        Ok(())
    }

    /// Projects so many events at most in one transaction, and saves the progress behind them. `end` is the position behind
    /// all events. If it is done, `rest` begins behind them.
    fn attempt<'e, E: Iterator<Item = CommittedEvent<'e>> + Clone>(
        &mut self,
        of: State,
        rest: &mut Peekable<E>,
        most: usize,
        progress: &SavedProgress,
        end: u64,
    ) -> Result<Attempt, Halt> {
        let expected = self.place(of).stored.clone();
        let pulse = Arc::clone(&self.pulse);
        let mut halt = None;
        let mut failed = None;
        let mut number = 0;
        let mut done = None;
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
            let mut events = rest.clone();
            let mut last = None;
            number = 0;
            for event in events.by_ref().take(most) {
                if !pulse.beat() {
                    halt = Some(Halt::Asked);
                    return None;
                }
                if let Err(cause) = project_one::<P>(event, tx) {
                    failed = Some((number, cause));
                    return None;
                }
                number += 1;
                last = Some(event);
            }
            let seen = match events.peek() {
                None => end,
                Some(_) => progress.position,
            };
            let next = after(progress, last, seen);
            match to_json(&next) {
                Ok(json) => {
                    done = Some((next, json.clone(), events));
                    Some(json)
                }
                Err(error) => {
                    halt = Some(error);
                    None
                }
            }
        });
        match (halt, failed, transacted, done) {
            (Some(halt), ..) => Err(halt),
            (None, Some((_, cause)), ..) if cause.is_of_database => Err(Halt::Sink(cause.error)),
            // If the transaction could be rolled back, the connection works, and the cause is the event.
            (None, Some((index, cause)), Ok(()), _) => Ok(Attempt::Failed(index, cause)),
            (None, None, Ok(()), Some((next, json, events))) => {
                self.place(of).stored = Some(json);
                *rest = events;
                Ok(Attempt::Done(next))
            }
            (None, None, Ok(()), None) => Err(Halt::Moved),
            (None, None, Err((error, SinkFault::Event)), _) if number > 0 => {
                self.connection = None;
                let cause = Cause {
                    error,
                    is_unknown: false,
                    is_of_database: false,
                };
                Ok(Attempt::Refused(number, cause))
            }
            (None, _, Err((error, _)), _) => Err(Halt::Sink(error)),
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

/// The progress behind some events, which are all of the subscribed events up to a position. `last` is the last of them.
fn after(
    progress: &SavedProgress,
    last: Option<CommittedEvent<'_>>,
    position: u64,
) -> SavedProgress {
    let last_position = last.map_or(0, |event| event.position);
    let last = last.as_ref().map(saved_event);
    SavedProgress {
        position: position.max(last_position).max(progress.position),
        event: last.or_else(|| progress.event.clone()),
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
