//! The events that are given to a projection.

use std::collections::HashMap;

use super::print::recorded;
use crate::aggregate::Aggregate;
use crate::event::RecordedEvent;

/// Gives each event its position, and its version in its stream.
#[derive(Debug, Default)]
pub(super) struct Given {
    position: u64,
    versions: HashMap<(&'static str, String), u64>,
}

impl Given {
    /// The next event, as it is stored.
    ///
    /// # Panics
    ///
    /// If the projection does not subscribe to `A`, or the event cannot be stored.
    #[track_caller]
    pub(super) fn next<A: Aggregate>(
        &mut self,
        projection: &str,
        subscriptions: &[&str],
        stream_id: &str,
        event: &A::DomainEvent,
    ) -> RecordedEvent {
        assert!(
            subscriptions.contains(&A::AGGREGATE_TYPE),
            "the projection `{projection}` does not subscribe to `{}`",
            A::AGGREGATE_TYPE
        );
        self.position += 1;
        let stream = (A::AGGREGATE_TYPE, stream_id.to_owned());
        let version = self.versions.entry(stream).or_default();
        *version += 1;
        recorded(event, self.position, *version)
    }
}
