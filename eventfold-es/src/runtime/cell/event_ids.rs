//! The ids of the events of a stream, as far as its cell knows them.
//!
//! Most aggregates are never asked, so nothing is known until the first time; then the stream is read, once. What becomes
//! durable meanwhile is collected, so that a stream that never rests becomes known as well. Only what is durable is in here: what is
//! pending is looked up where it is, and leaves nothing behind when it fails.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use super::{Cell, LockedCell, Pending};
use crate::aggregate::Aggregate;
use crate::journal::{JournalError, Outcome, StreamEnd, StreamId, Streams};
use crate::sabotage::{Bug, planted};

/// The ids of durable events of a stream.
#[derive(Default)]
pub(super) struct EventIds {
    ids: HashSet<String>,
    /// Otherwise the stream is being read, and here is what became durable since that began.
    are_complete: bool,
}

impl EventIds {
    /// Takes over those of a commit that became durable.
    pub(super) fn add(&mut self, ids: Vec<String>) {
        self.ids.extend(ids);
    }
}

/// The ids of all durable events of a stream. Blocks.
pub(in crate::runtime) fn read_event_ids(
    streams: &dyn Streams,
    stream: &StreamId,
) -> Result<HashSet<String>, JournalError> {
    #[derive(Deserialize)]
    struct Identity {
        id: Option<String>,
    }
    let mut ids = HashSet::new();
    let mut reader = streams.read_stream(stream, StreamEnd::default())?;
    while let Some(append) = reader.next()? {
        for line in append.lines.iter() {
            let damage = |error| reader.damage(format!("the line is no event: {error}"));
            let event: Identity = serde_json::from_str(line).map_err(damage)?;
            ids.extend(event.id.filter(|_| !planted(Bug::InjectedIdForgotten)));
        }
    }
    Ok(ids)
}

/// Where something that was looked for is.
pub(crate) enum Place {
    Durable,
    /// In a commit on its way.
    Pending(Arc<Outcome>),
}

impl<A: Aggregate> Cell<A> {
    /// Collects the ids of events from now on; whether the stream is to be read for the rest.
    pub(in crate::runtime) fn begin_to_learn(&self) -> bool {
        let mut locked = self.lock();
        !locked.body.event_ids.get_or_insert_default().are_complete
    }

    /// Takes the ids that were found in the stream after [`begin_to_learn`](Self::begin_to_learn). They are all that were durable when
    /// collecting began.
    pub(in crate::runtime) fn learn(&self, found: HashSet<String>) {
        let mut locked = self.lock();
        let known = locked.body.event_ids.get_or_insert_default();
        known.ids.extend(found);
        known.are_complete = true;
    }
}

impl<A: Aggregate> LockedCell<'_, A> {
    /// Whether it can be told which ids are there.
    pub(crate) fn knows_event_ids(&self) -> bool {
        let known = self.body.event_ids.as_ref();
        known.is_some_and(|known| known.are_complete)
    }

    /// Where the event of this id is.
    pub(crate) fn find_event(&self, id: &str) -> Option<Place> {
        let known = self.body.event_ids.as_ref();
        if known.is_some_and(|known| known.ids.contains(id)) {
            return Some(Place::Durable);
        }
        let has_id = |pending: &&Pending<A>| pending.marks.event_ids.iter().any(|own| own == id);
        let pending = self.body.pending.iter().rev().find(has_id);
        pending.map(|pending| Place::Pending(Arc::clone(&pending.outcome)))
    }
}
