use super::AggregateStore;
use super::handle::Needs;
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::ProposedCommit;
use crate::runtime::{EncodedEvent, PartOfCommit, Place, refuse_inside_reaction};

/// Options of [`AggregateStore::inject_event`].
///
/// # Examples
///
/// ```
/// use eventfold_es::store::InjectOptions;
///
/// assert!(!InjectOptions::default().run_process_managers);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InjectOptions {
    /// Whether to run the process managers and wait for them, as [`run_process_managers`](AggregateStore::run_process_managers)
    /// does. Otherwise they react to the event according to their run mode. Default: `false`.
    pub run_process_managers: bool,
}

impl AggregateStore {
    /// Appends an event unchanged, without a command: for events that another store has already accepted.
    ///
    /// An event whose id is already in the stream changes nothing, also after a restart. Events without an id are never
    /// the same. The first injected event with an id reads the aggregate's events once. From then on their ids are in
    /// memory, until the aggregate is evicted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unstorable`] if the event does not decode into `A::DomainEvent` or would not survive storage;
    /// otherwise the errors of [`AggregateHandle::execute`](crate::AggregateHandle::execute).
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
        refuse_inside_reaction()?;
        let handle = self.get::<A>(instance_id).await?;
        let encoded = EncodedEvent::<A::DomainEvent>::from_stored::<A>(&event)?;
        let journal = &self.shared.runtime.journal;
        let leadership = &self.shared.runtime.leadership;
        let room = leadership.room().await?;
        let id = event.id.as_deref();
        let needs = id.map_or(Needs::State, |_| Needs::EventIds);
        let outcome = handle
            .with_cell(needs, |_, locked| {
                match id.and_then(|id| locked.find_event(id)) {
                    Some(Place::Durable) => Ok::<_, StoreError>(None),
                    Some(Place::Pending(outcome)) => Ok(Some(outcome)),
                    None => {
                        locked.stage(vec![encoded])?;
                        let outcome = journal.submit(
                            room,
                            ProposedCommit {
                                after: locked.last_pending().into_iter().collect(),
                                appends: locked.proposed().into_iter().collect(),
                                ..ProposedCommit::default()
                            },
                        );
                        locked.handed_over(&outcome, PartOfCommit::default());
                        Ok(Some(outcome))
                    }
                }
            })
            .await?;
        if let Some(outcome) = outcome {
            leadership.settled(&outcome).await?;
        }
        if options.run_process_managers {
            self.run_process_managers().await?;
        }
        Ok(())
    }
}
