//! A rebuild: the state is made again from the first event, and readers see the old state until the new state is complete.
//!
//! If the sink has a second place, the new state grows there in many transactions, each with its progress. An interrupted rebuild
//! continues after the last one. The exchange of the two states is one transaction.

use std::sync::Arc;
use std::time::Instant;

use super::advance::{CHUNK_BYTES, is_of_this_history};
use super::progress::SavedProgress;
use super::project::to_json;
use super::{Follower, Halt, Place, State};
use crate::error::StoreError;
use crate::journal::Cursor;
use crate::projection::{RebuildStep, SinkProjection};
use crate::runtime::progress_gauge::RebuildProgress;
use crate::runtime::read_ahead::read_ahead;

/// The new state replaces the old one when it lacks at most so many positions. They are projected afterwards.
const NEAR: u64 = 1_000;

/// The new state in a sink.
enum Found {
    /// The sink has no place for it.
    NoPlace,
    Nothing,
    /// Its progress.
    Saved(String),
}

impl<P: SinkProjection> Follower<P> {
    /// Whether the rebuild is cancelled, and its call may still change the sink.
    pub(super) fn is_cancelled(&self) -> bool {
        let is_cancelled = self
            .rebuild
            .as_ref()
            .is_some_and(super::RebuildOrder::is_cancelled);
        is_cancelled && !self.pulse.is_given_up()
    }

    /// Orders the rest of a rebuild that an earlier program has begun.
    pub(super) fn find_interrupted_rebuild(&mut self) -> Result<(), Halt> {
        if self.rebuild.is_some() {
            return Ok(());
        }
        let Found::Saved(stored) = self.new_state()? else {
            return Ok(());
        };
        let Some(saved) = self.usable(&stored)? else {
            return self.discard();
        };
        tracing::info!(
            projection = P::NAME,
            position = saved.position,
            "an interrupted rebuild of a projection goes on"
        );
        self.order_rebuild();
        self.pulse.rebuilds(self.rebuild.clone());
        Ok(())
    }

    /// Removes the new state, if there is one.
    pub(super) fn discard(&mut self) -> Result<(), Halt> {
        self.new = Place::default();
        self.transact_new(&mut |_, stored| stored.map(|_| RebuildStep::Discard))?;
        Ok(())
    }

    /// Rebuilds the state. Blocks.
    pub(super) fn run_rebuild(&mut self) -> Result<(), Halt> {
        let begun = Instant::now();
        let rebuilt = match self.rebuild_beside() {
            Ok(None) => self.rebuild_at_once(),
            Ok(Some(rebuilt)) => Ok(rebuilt),
            Err(halt) => Err(halt),
        };
        if !self.pulse.is_given_up() {
            self.gauge.rebuilds(None);
        }
        let mut rebuilt = rebuilt?;
        tracing::info!(
            projection = P::NAME,
            position = rebuilt.cursor.position,
            ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "a projection was rebuilt"
        );
        self.rebuild = None;
        self.failed_in_rebuild.clear();
        let progress = rebuilt.progress.take();
        self.current = rebuilt;
        if let Some(progress) = progress {
            if let Some(event) = &progress.event {
                self.gauge.has_changed(event.position);
            }
            self.is_at(State::Current, progress);
        }
        Ok(())
    }

    /// Makes the new state beside the old state, and exchanges them. `None` if the sink has no place for it.
    fn rebuild_beside(&mut self) -> Result<Option<Place>, Halt> {
        let found = match self.new_state()? {
            Found::NoPlace => return Ok(None),
            Found::Nothing => None,
            Found::Saved(stored) => Some(stored),
        };
        self.stop_if_asked()?;
        let begins_anew = self.rebuild.as_ref().is_some_and(|order| order.begins_anew);
        let usable = match &found {
            Some(stored) if !begins_anew => self.usable(stored)?,
            _ => None,
        };
        match usable {
            Some(saved) => {
                self.new = Place {
                    cursor: Cursor::after(saved.position),
                    progress: Some(saved),
                    stored: found,
                };
            }
            None => {
                if found.is_some() {
                    self.discard()?;
                }
                self.new = Place::default();
                let first = SavedProgress::new::<P>();
                self.save(State::New, &first)?;
                self.new.progress = Some(first);
            }
        }
        // From here on, the new state is that of this order.
        if let Some(order) = &mut self.rebuild {
            order.begins_anew = false;
        }
        self.catch_up()?;
        self.exchange().map(Some)
    }

    /// Projects into the new state until it is near the last durable event.
    fn catch_up(&mut self) -> Result<(), Halt> {
        let journal = Arc::clone(&self.journal);
        loop {
            let target = *journal.durable().borrow();
            self.shows_rebuild(target);
            let mut halt = None;
            let cursor = self.new.cursor;
            let read = read_ahead(
                &*journal,
                cursor,
                target,
                CHUNK_BYTES,
                &mut |chunk, read| {
                    let projected = self.stop_if_asked();
                    let projected = projected.and_then(|()| self.project(State::New, chunk, read));
                    match projected {
                        Ok(_) => {
                            self.gauge.fails(None, false);
                            self.shows_rebuild(target);
                            Ok(())
                        }
                        Err(reason) => {
                            halt = Some(reason);
                            Err(StoreError::Closed)
                        }
                    }
                },
            );
            if let Some(halt) = halt {
                return Err(halt);
            }
            // The journal cannot be read.
            read.map_err(Halt::Sink)?;
            let behind = journal
                .durable()
                .borrow()
                .saturating_sub(self.new.cursor.position);
            if behind <= NEAR {
                return Ok(());
            }
        }
    }

    fn shows_rebuild(&self, of: u64) {
        let position = self.new.cursor.position;
        self.gauge.rebuilds(Some(RebuildProgress { position, of }));
    }

    /// The new state replaces the old state.
    fn exchange(&mut self) -> Result<Place, Halt> {
        self.stop_if_asked()?;
        let mut place = std::mem::take(&mut self.new);
        let Some(progress) = &mut place.progress else {
            return Err(Halt::Moved);
        };
        progress.position = place.cursor.position;
        let next = to_json(progress)?;
        let mut has_moved = false;
        self.transact_new(&mut |_, stored| {
            has_moved = stored != place.stored.as_deref();
            (!has_moved).then(|| RebuildStep::Exchange(next.clone()))
        })?;
        if has_moved {
            return Err(Halt::Moved);
        }
        place.stored = Some(next);
        Ok(place)
    }

    fn stop_if_asked(&self) -> Result<(), Halt> {
        let has_to_stop = self.is_cancelled() || self.is_closing() || self.pulse.is_given_up();
        match has_to_stop {
            true => Err(Halt::Asked),
            false => Ok(()),
        }
    }

    /// Looks for the new state in the sink.
    fn new_state(&mut self) -> Result<Found, Halt> {
        let mut found = Found::Nothing;
        let has_place = self.transact_new(&mut |_, stored| {
            if let Some(stored) = stored {
                found = Found::Saved(stored.to_owned());
            }
            None
        })?;
        match has_place {
            true => Ok(found),
            false => Ok(Found::NoPlace),
        }
    }

    /// The saved progress of the new state, if this program can go on from it.
    fn usable(&mut self, stored: &str) -> Result<Option<SavedProgress>, Halt> {
        let Ok(saved) = serde_json::from_str::<SavedProgress>(stored) else {
            return Ok(None);
        };
        let durable = *self.journal.durable().borrow();
        if saved.position > durable || !is_of_this_history(&*self.journal, &saved) {
            return Ok(None);
        }
        Ok(self.outdated(&saved)?.is_none().then_some(saved))
    }
}
