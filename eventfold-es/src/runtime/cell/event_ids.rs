//! The ids of the events of a stream, as far as its cell knows them.
//!
//! Most aggregates never need them, so the first lookup reads the whole stream, once. The cell collects the ids that become durable
//! meanwhile, so that a busy stream becomes complete, too. The set contains only durable ids. Pending ids are looked up in the pending
//! commits, and a failed commit leaves nothing behind.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use super::{Cell, LockedCell, Pending};
use crate::aggregate::Aggregate;
use crate::journal::{JournalError, Outcome, StreamEnd, StreamId, StreamPiece, Streams};
use crate::sabotage::{Bug, planted};

/// The ids of durable events of a stream.
#[derive(Default)]
pub(super) struct EventIds {
    ids: HashSet<String>,
    /// If false, the stream is still being read, and `ids` contains only later events.
    are_complete: bool,
}

impl EventIds {
    /// Adds the ids of a commit that became durable.
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
    let mut piece = StreamPiece::default();
    while reader.next(&mut piece)? {
        for (version, line) in piece.events() {
            let damage =
                |error| reader.damage(version, format!("the line is not an event: {error}"));
            let event: Identity = serde_json::from_str(line).map_err(damage)?;
            ids.extend(event.id.filter(|_| !planted(Bug::InjectedIdForgotten)));
        }
    }
    Ok(ids)
}

/// The place of an event that was found.
pub(crate) enum Place {
    Durable,
    /// In a pending commit.
    Pending(Arc<Outcome>),
}

impl<A: Aggregate> Cell<A> {
    /// Collects the ids of events from now on. Returns whether the stream has to be read for the earlier ones.
    pub(in crate::runtime) fn begin_to_learn(&self) -> bool {
        let mut locked = self.lock();
        !locked.body.event_ids.get_or_insert_default().are_complete
    }

    /// Adds the ids from a read of the stream after [`begin_to_learn`](Self::begin_to_learn). They include all ids that were durable when
    /// the collection began.
    pub(in crate::runtime) fn learn(&self, found: HashSet<String>) {
        let mut locked = self.lock();
        let known = locked.body.event_ids.get_or_insert_default();
        known.ids.extend(found);
        known.are_complete = true;
    }
}

impl<A: Aggregate> LockedCell<'_, A> {
    /// Whether the ids of all durable events are known.
    pub(crate) fn knows_event_ids(&self) -> bool {
        let known = self.body.event_ids.as_ref();
        known.is_some_and(|known| known.are_complete)
    }

    /// The place of the event with this id.
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
