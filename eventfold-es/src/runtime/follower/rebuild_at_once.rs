//! A rebuild in one transaction, for a sink that has no second place: readers see the old state until the commit.

use std::sync::Arc;

use super::advance::CHUNK_BYTES;
use super::progress::SavedProgress;
use super::project::{
    is_skipped, is_subscribed, prepare, project_one, saved_event, skip_unknown, to_json,
};
use super::{Follower, Halt, Place, RebuildOrder};
use crate::error::StoreError;
use crate::guarded::guard;
use crate::journal::Cursor;
use crate::projection::{ProjectionFailure, Sink, SinkProjection};
use crate::runtime::progress_gauge::RebuildProgress;
use crate::runtime::read_ahead::read_ahead;

/// Marks the place in a transaction to which [`undone`] goes back. Without a mark, a failure ends the transaction.
fn marked<P: SinkProjection>(tx: &mut <P::Sink as Sink>::Tx<'_>) -> bool {
    let what = || format!("a mark of the projection `{}`", P::NAME);
    matches!(guard(what, || P::Sink::mark(tx)), Ok(Ok(true)))
}

/// Takes back the changes since the last mark.
fn undone<P: SinkProjection>(tx: &mut <P::Sink as Sink>::Tx<'_>) -> bool {
    let what = || format!("the undoing of changes of the projection `{}`", P::NAME);
    matches!(guard(what, || P::Sink::undo(tx)), Ok(Ok(true)))
}

impl<P: SinkProjection> Follower<P> {
    /// Rebuilds the state, and returns its progress. Blocks.
    pub(super) fn rebuild_at_once(&mut self) -> Result<Place, Halt> {
        let mut progress = SavedProgress::new::<P>();
        for (position, reason) in &self.failed_in_rebuild {
            progress.skip(*position, reason.clone());
        }
        let journal = Arc::clone(&self.journal);
        let gauge = Arc::clone(&self.gauge);
        let closing = self.closing.clone();
        let order = self.rebuild.clone();
        let pulse = Arc::clone(&self.pulse);
        let is_cancelled = || {
            let is_cancelled = order.as_ref().is_some_and(RebuildOrder::is_cancelled);
            is_cancelled || *closing.borrow() || pulse.is_given_up()
        };
        let mut skips = self.failed_in_rebuild.clone();
        let skips_failures = P::ON_FAILURE == ProjectionFailure::Skip;
        let mut cursor = Cursor::default();
        let mut halt = None;
        let mut failed = None;
        let mut stored = None;
        let transacted = self.transact(&mut |tx, _| {
            if let Err(error) = prepare::<P>(tx) {
                halt = Some(Halt::Event(error));
                return None;
            }
            loop {
                let target = *journal.durable().borrow();
                let read = read_ahead(&*journal, cursor, target, CHUNK_BYTES, &mut |chunk, read| {
                    if is_cancelled() {
                        halt = Some(Halt::Asked);
                        return Err(StoreError::Closed);
                    }
                    let mut can_undo = skips_failures && marked::<P>(tx);
                    let mut marked_at = 0;
                    let mut events = chunk.events();
                    while let Some(event) = events.next() {
                        if !is_subscribed::<P>(&event) || event.position <= marked_at {
                            continue;
                        }
                        if skips.contains_key(&event.position) {
                            // The events before it are projected for good.
                            can_undo = can_undo && marked::<P>(tx);
                            marked_at = event.position;
                            continue;
                        }
                        if !pulse.beat() {
                            halt = Some(Halt::Asked);
                            return Err(StoreError::Closed);
                        }
                        let Err(cause) = project_one::<P>(event, tx) else {
                            progress.event = Some(saved_event(&event));
                            continue;
                        };
                        // It does not decode, so that the transaction has nothing of it.
                        if is_skipped::<P>(&cause) {
                            skip_unknown::<P>(event, &cause.error, &mut progress);
                            continue;
                        }
                        if cause.is_of_database {
                            halt = Some(Halt::Sink(cause.error));
                            return Err(StoreError::Closed);
                        }
                        if !can_undo || !undone::<P>(tx) {
                            failed = Some((event.position, cause.error));
                            return Err(StoreError::Closed);
                        }
                        tracing::warn!(projection = P::NAME, position = event.position, error = %cause.error, "a rebuild skips an event");
                        skips.insert(event.position, cause.error.to_string());
                        progress.skip(event.position, cause.error.to_string());
                        // Once more from the mark on, without the event.
                        events = chunk.events();
                    }
                    cursor = read;
                    gauge.rebuilds(Some(RebuildProgress {
                        position: read.position,
                        of: target,
                    }));
                    Ok(())
                });
                match read {
                    Ok(()) => {}
                    Err(_) if halt.is_some() || failed.is_some() => return None,
                    Err(error) => {
                        halt = Some(Halt::Sink(error));
                        return None;
                    }
                }
                if *journal.durable().borrow() == target {
                    break;
                }
            }
            if is_cancelled() {
                halt = Some(Halt::Asked);
                return None;
            }
            progress.position = cursor.position;
            match to_json(&progress) {
                Ok(json) => {
                    stored = Some(json.clone());
                    Some(json)
                }
                Err(error) => {
                    halt = Some(error);
                    None
                }
            }
        });
        if !self.pulse.is_given_up() {
            self.gauge.rebuilds(None);
        }
        let ended = match (halt, failed) {
            (Some(halt), _) => Err(halt),
            // As in an attempt, a connection that cannot roll back is the cause.
            (None, Some((position, error))) => transacted.and_then(|()| {
                if P::ON_FAILURE == ProjectionFailure::Skip {
                    tracing::warn!(projection = P::NAME, position, %error, "a rebuild skips an event, and begins again");
                    self.failed_in_rebuild.insert(position, error.to_string());
                    return Err(Halt::Moved);
                }
                Err(Halt::Event(error))
            }),
            (None, None) => transacted,
        };
        ended?;
        Ok(Place {
            progress: Some(progress),
            stored,
            cursor,
        })
    }
}
