//! The streams of a store, and the events of one stream.

use std::sync::Arc;

use super::AggregateStore;
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::StreamId;
use crate::runtime::blocking;

impl AggregateStore {
    /// The ids of all instances of `A` with at least one event, sorted.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] or [`StoreError::Damaged`] if the index cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn list<A: Aggregate>(&self) -> Result<Vec<String>, StoreError> {
        let streams = self.streams(Some(A::AGGREGATE_TYPE)).await?;
        Ok(streams
            .into_iter()
            .map(|stream| stream.instance_id.to_string())
            .collect())
    }

    /// The aggregate type and instance of every stream with at least one event, of one type or of all, sorted.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] or [`StoreError::Damaged`] if the index cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn list_streams(
        &self,
        aggregate_type: Option<&str>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let streams = self.streams(aggregate_type).await?;
        Ok(streams
            .into_iter()
            .map(|stream| {
                (
                    stream.aggregate_type.to_string(),
                    stream.instance_id.to_string(),
                )
            })
            .collect())
    }

    async fn streams(&self, aggregate_type: Option<&str>) -> Result<Vec<StreamId>, StoreError> {
        let journal = Arc::clone(&self.shared.runtime.journal);
        let aggregate_type = aggregate_type.map(ToOwned::to_owned);
        let what = || "listing the streams".to_owned();
        blocking(
            what,
            move || Ok(journal.streams(aggregate_type.as_deref())?),
        )
        .await
    }

    /// All durable events of a stream as they are stored, oldest first, all in memory. [`history`](Self::history) reads
    /// them one by one.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownStream`] if it has no events; [`StoreError::File`] or [`StoreError::Damaged`] if it cannot
    /// be read; [`StoreError::Closed`] if the store closes first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn read_events(
        &self,
        aggregate_type: &str,
        instance_id: &str,
    ) -> Result<Vec<eventfold::Event>, StoreError> {
        let mut history = self.raw_history(aggregate_type, instance_id);
        let mut events = Vec::new();
        while let Some(recorded) = history.next().await {
            let event = recorded.and_then(|recorded| recorded.read());
            events.push(event.map_err(StoreError::from)?);
        }
        if events.is_empty() {
            return Err(StoreError::UnknownStream {
                aggregate_type: aggregate_type.to_owned(),
                instance_id: instance_id.to_owned(),
            });
        }
        Ok(events)
    }
}
