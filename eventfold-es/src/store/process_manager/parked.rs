//! Parked work, to be released or discarded.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{OperatorReport, ParkedAt, ProcessManagerHandle, rows, text_of};
use crate::error::StoreError;
use crate::journal::{RowRange, StreamId};
use crate::process_manager::ProcessManager;
use crate::runtime::{Request, Scope};
use rows::InstanceRow;

/// Work that waits until it is released.
///
/// # JSON
///
/// ```json
/// {"instance":null,"stream":{"aggregate_type":"order","instance_id":"ord-1"},
///  "parked":{"position":7,"reason":"it panicked"},
///  "ts":1700000000,"retries_at":"2023-11-14T22:13:20.250Z","held":2}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ParkedWork {
    /// The key of the instance; `None` for a held stream.
    pub instance: Option<String>,
    /// The aggregate type and the id of the stream, for a held stream whose events have an unknown instance key.
    #[serde(serialize_with = "crate::report_json::stream")]
    pub stream: Option<(String, String)>,
    /// The event at which it was parked, and the reason.
    pub parked: ParkedAt,
    /// The time, in seconds since 1970.
    pub ts: u64,
    /// The time of its next attempt, if its policy retries it.
    #[serde(serialize_with = "crate::report_json::time")]
    pub retries_at: Option<SystemTime>,
    /// The number of held events, deadlines and commands.
    pub held: u64,
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// All work that waits until it is released: instances, and held streams.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn parked(&self) -> Result<Vec<ParkedWork>, StoreError> {
        let instances = self.of_instances(|table| async move {
            let mut found = Vec::new();
            self.each(RowRange::of_kind(table.kind()), |row| {
                let read: InstanceRow = self.read(row)?;
                if let Some(parked) = read.parked {
                    let key = row.key.get(1..).unwrap_or_default().to_owned();
                    let held = RowRange::numbered(&rows::held_prefix(&key));
                    found.push((Some(key), None, parked, held));
                }
                Ok(())
            })
            .await?;
            Ok(found)
        });
        let mut found = instances.await?;
        self.each(RowRange::of_kind(rows::STREAMS), |row| {
            if let Some(stream) = rows::stream_of(&row.key) {
                let held = RowRange::numbered(&rows::stream_held_prefix(&stream));
                let names = (
                    stream.aggregate_type.to_string(),
                    stream.instance_id.to_string(),
                );
                found.push((None, Some(names), self.read(row)?, held));
            }
            Ok(())
        })
        .await?;
        let mut parked = Vec::with_capacity(found.len());
        for (instance, stream, row, held) in found {
            parked.push(ParkedWork {
                instance,
                stream,
                parked: ParkedAt {
                    position: row.position,
                    reason: row.reason,
                },
                ts: row.ts,
                retries_at: row
                    .retry
                    .map(|retry| UNIX_EPOCH + Duration::from_millis(retry.due)),
                held: self.count(held).await?,
            });
        }
        Ok(parked)
    }

    /// Releases a parked instance: it handles its held work, in order, and then reacts again. `done` is the amount of
    /// finished work. If something fails again (`failed` is 1), the instance stays parked with that work and the rest.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Releasing continues without the caller, and after a crash.
    pub async fn release(&self, key: impl fmt::Display) -> Result<OperatorReport, StoreError> {
        let key = text_of(key)?;
        self.operate(|asked| Request::Release(Scope::Instance(key), asked))
            .await
    }

    /// Releases a held stream, as [`release`](Self::release) does an instance.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// As [`release`](Self::release).
    pub async fn release_stream(
        &self,
        aggregate_type: &str,
        stream_id: &str,
    ) -> Result<OperatorReport, StoreError> {
        let stream = StreamId::new(aggregate_type, stream_id);
        self.operate(|asked| Request::Release(Scope::Stream(stream), asked))
            .await
    }

    /// Drops the held work of a parked instance, and lets it react again with its present state. An instance that was
    /// parked at its first event ends. `done` is the amount of held work. If its state cannot be read, the instance
    /// stays parked (`failed` is 1).
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn discard_parked(
        &self,
        key: impl fmt::Display,
    ) -> Result<OperatorReport, StoreError> {
        let key = text_of(key)?;
        self.operate(|asked| Request::Discard(Scope::Instance(key), asked))
            .await
    }

    /// Drops the held work of a stream, and continues after it. `done` is the amount of held work.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// As [`discard_parked`](Self::discard_parked).
    pub async fn discard_stream(
        &self,
        aggregate_type: &str,
        stream_id: &str,
    ) -> Result<OperatorReport, StoreError> {
        let stream = StreamId::new(aggregate_type, stream_id);
        self.operate(|asked| Request::Discard(Scope::Stream(stream), asked))
            .await
    }
}
