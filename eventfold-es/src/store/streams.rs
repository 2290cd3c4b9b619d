//! What there is in a store: its streams, and the events of one.

use std::sync::Arc;

use super::AggregateStore;
use crate::aggregate::Aggregate;
use crate::error::{Damage, StoreError};
use crate::journal::StreamId;
use crate::runtime::blocking;

impl AggregateStore {
    /// The ids of all instances of `A` with at least one event, sorted.
    ///
    /// # Errors
    ///
    /// None with the local journal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn list<A: Aggregate>(&self) -> Result<Vec<String>, StoreError> {
        let streams = self.shared.runtime.journal.streams(Some(A::AGGREGATE_TYPE));
        Ok(streams
            .into_iter()
            .map(|stream| stream.instance_id.to_string())
            .collect())
    }

    /// The aggregate type and instance of every stream with at least one event, of one type or of all, sorted.
    ///
    /// # Errors
    ///
    /// None with the local journal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn list_streams(
        &self,
        aggregate_type: Option<&str>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let streams = self.shared.runtime.journal.streams(aggregate_type);
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
        if !journal.has_stream(&stream) {
            return Err(StoreError::UnknownStream {
                aggregate_type: aggregate_type.to_owned(),
                instance_id: instance_id.to_owned(),
            });
        }
        let what = || "reading a stream".to_owned();
        blocking(what, move || {
            let stored = journal.read_stream(&stream)?;
            let mut offset = 0;
            let mut events = Vec::new();
            for line in stored.text.lines() {
                let event = serde_json::from_str(line)
                    .map_err(|error| {
                        Damage::new(
                            &stored.path,
                            offset,
                            format!("the line is no event: {error}"),
                        )
                    })
                    .map_err(|damage| StoreError::Damaged(Arc::new(damage)))?;
                offset += line.len() as u64 + 1;
                events.push(event);
            }
            Ok(events)
        })
        .await
    }
}
