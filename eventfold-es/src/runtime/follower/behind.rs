//! A database that several nodes share may have events that this node does not have yet. The node waits until it has them.

use super::advance::is_of_this_history;
use super::progress::SavedProgress;
use super::{Follower, Halt};
use crate::projection::{Sink, SinkProjection};

impl<P: SinkProjection> Follower<P> {
    /// Whether other nodes may write to the sink.
    pub(super) fn is_shared(&self) -> bool {
        !P::Sink::IS_IN_STORE && self.journal.standing().is_replicated()
    }

    /// Notes that another node has saved a progress that this node has not reached.
    pub(super) fn is_behind(&mut self, saved: SavedProgress) -> Halt {
        let position = saved.position;
        tracing::debug!(
            projection = P::NAME,
            position,
            "a projection waits for events that another node has projected"
        );
        self.awaited = Some(saved);
        Halt::Behind(position)
    }

    /// Announces the awaited progress when this node has reached it. By then the sink may be ahead again, so that the next look at
    /// it would announce nothing.
    pub(super) fn announce_awaited(&mut self) {
        let durable = *self.journal.durable().borrow();
        let awaited = self.awaited.take();
        let Some(awaited) = awaited.filter(|awaited| awaited.position <= durable) else {
            return;
        };
        if is_of_this_history(&*self.journal, &awaited) {
            self.gauge.is_at(awaited.position);
            self.gauge.has_skipped(awaited.skipped);
            if let Some(last) = awaited.event {
                self.gauge.has_changed(last.position);
            }
        }
    }
}
