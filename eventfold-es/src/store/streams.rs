//! The streams of a store, and the events of one stream.

use std::sync::Arc;

use super::AggregateStore;
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::{StreamEnd, StreamId};
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

    /// All durable events of a stream, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownStream`] if it has none; [`StoreError::File`] or [`StoreError::Damaged`] if it cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn read_events(
        &self,
        aggregate_type: &str,
        instance_id: &str,
    ) -> Result<Vec<eventfold::Event>, StoreError> {
        let stream = StreamId::new(aggregate_type, instance_id);
        let journal = Arc::clone(&self.shared.runtime.journal);
        let what = || "reading a stream".to_owned();
        blocking(what, move || {
            let mut events = Vec::new();
            let mut reader = journal.read_stream(&stream, StreamEnd::default())?;
            while let Some(append) = reader.next()? {
                for line in append.lines.iter() {
                    let event = serde_json::from_str(line);
                    let damage = |error| reader.damage(format!("the line is no event: {error}"));
                    events.push(event.map_err(damage)?);
                }
            }
            if events.is_empty() {
                return Err(StoreError::UnknownStream {
                    aggregate_type: stream.aggregate_type.to_string(),
                    instance_id: stream.instance_id.to_string(),
                });
            }
            Ok(events)
        })
        .await
    }
}
