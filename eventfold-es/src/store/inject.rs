use std::collections::HashSet;
use std::sync::Arc;

use super::AggregateStore;
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::ProposedCommit;
use crate::runtime::EncodedEvent;

/// What [`AggregateStore::inject_event`] does beside storing the event.
///
/// # Examples
///
/// ```
/// use eventfold_es::InjectOptions;
///
/// assert!(!InjectOptions::default().run_process_managers);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InjectOptions {
    /// Whether to run the process managers and wait for them, as
    /// [`run_process_managers`](AggregateStore::run_process_managers) does. Without it they react to the event when their run
    /// mode says so. Default: `false`.
    pub run_process_managers: bool,
}

impl AggregateStore {
    /// Appends an event as it is, without a command: for events that another store has already accepted.
    ///
    /// An event whose id is in the stream already changes nothing, also after a restart; events without an id are never taken
    /// for the same.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unstorable`] if the event does not decode into `A::DomainEvent` or would not survive storage; otherwise as
    /// [`AggregateHandle::execute`](crate::AggregateHandle::execute).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves either nothing or the whole event.
    pub async fn inject_event<A: Aggregate>(
        &self,
        instance_id: &str,
        event: eventfold::Event,
        options: InjectOptions,
    ) -> Result<(), StoreError> {
        let handle = self.get::<A>(instance_id).await?;
        let encoded =
            EncodedEvent::<A::DomainEvent>::from_stored(&event).map_err(StoreError::Unstorable)?;
        let journal = &self.shared.runtime.journal;
        let room = Arc::clone(journal.room())
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let mut room = Some(room);
        let mut encoded = Some(encoded);
        let outcome = loop {
            let step = handle
                .with_cell(|locked| {
                    if let Some(id) = &event.id {
                        match locked.has_event(id) {
                            Some(true) => return Ok(Step::Known(locked.last_pending())),
                            Some(false) => {}
                            None => {
                                return Ok(Step::LoadIds(locked.last_pending(), locked.version()));
                            }
                        }
                    }
                    let (Some(room), Some(encoded)) = (room.take(), encoded.take()) else {
                        return Err(StoreError::Closed);
                    };
                    locked.stage(vec![encoded])?;
                    let outcome = journal.submit(
                        room,
                        ProposedCommit {
                            after: locked.last_pending().into_iter().collect(),
                            appends: locked.proposed().into_iter().collect(),
                            ..ProposedCommit::default()
                        },
                    );
                    locked.handed_over(&outcome, 0);
                    Ok(Step::Done(Some(outcome)))
                })
                .await?;
            match step {
                Step::Known(outcome) | Step::Done(outcome) => break outcome,
                Step::LoadIds(pending, version) => {
                    if let Some(pending) = pending {
                        pending.wait().await?;
                    }
                    let events = match self.read_events(A::AGGREGATE_TYPE, instance_id).await {
                        Ok(events) => events,
                        Err(StoreError::UnknownStream { .. }) => Vec::new(),
                        Err(error) => return Err(error),
                    };
                    if events.len() as u64 == version {
                        let ids: HashSet<_> =
                            events.into_iter().filter_map(|event| event.id).collect();
                        handle
                            .with_cell(|locked| {
                                locked.load_event_ids(version, ids);
                                Ok(())
                            })
                            .await?;
                    }
                }
            }
        };
        if let Some(outcome) = outcome {
            outcome.wait().await?;
        }
        if options.run_process_managers {
            self.run_process_managers().await?;
        }
        Ok(())
    }
}

enum Step {
    /// The event is there; it is durable when this outcome is.
    Known(Option<Arc<crate::journal::Outcome>>),
    LoadIds(Option<Arc<crate::journal::Outcome>>, u64),
    Done(Option<Arc<crate::journal::Outcome>>),
}
