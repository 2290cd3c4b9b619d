use std::path::PathBuf;

use serde::Serialize;

use crate::journal::Damage;

/// The report of migrating a directory of eventfold-es 0.2.0 at its first opening.
///
/// # JSON
///
/// ```json
/// {"streams":1,"events":2,"empty_streams":0,"unreadable_registry_lines":0,"unreadable_dead_letters":0,
///  "quarantined":[],"torn_tails":[],
///  "process_managers":[{"name":"saga","problem":"it is torn"}],"projections":[{"name":"totals","problem":null}]}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdoptionReport {
    /// The number of migrated streams.
    pub streams: u64,
    /// The number of their events. They are the first of the store, in the order of their times.
    pub events: u64,
    /// Streams that were created but have no event.
    pub empty_streams: u64,
    /// The number of lines of `meta/streams.jsonl` that are not entries, such as a torn line. The directories identify the
    /// streams.
    pub unreadable_registry_lines: u64,
    /// The number of lines in dead-letter files that are not dead letters. The files are kept as `dead_letters-0.2.0.jsonl`.
    pub unreadable_dead_letters: u64,
    /// Streams that were not migrated. Using such a stream fails with the reason, as
    /// [`StoreError::Damaged`](crate::StoreError::Damaged).
    pub quarantined: Vec<QuarantinedStream>,
    /// Incompletely written last events, which were left out. No caller was told that they are stored.
    pub torn_tails: Vec<TornTail>,
    /// The process managers of the directory.
    pub process_managers: Vec<AdoptedCheckpoint>,
    /// The projections of the directory.
    pub projections: Vec<AdoptedCheckpoint>,
}

/// A stream that was not migrated.
///
/// # JSON
///
/// ```json
/// {"aggregate_type":"order","instance_id":"ord-1",
///  "damage":{"path":"shop/streams/order/ord-1/app.jsonl","offset":96,"reason":"the line is no event"}}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuarantinedStream {
    /// The stored name of the aggregate type.
    pub aggregate_type: String,
    /// The instance.
    pub instance_id: String,
    /// The problem and its place.
    pub damage: Damage,
}

/// An incompletely written last event.
///
/// # JSON
///
/// ```json
/// {"aggregate_type":"order","instance_id":"ord-2","kept_in":"shop/streams/order/ord-2/app-0.2.0.jsonl","offset":96,"bytes":12}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TornTail {
    /// The stored name of the aggregate type.
    pub aggregate_type: String,
    /// The instance.
    pub instance_id: String,
    /// The file that keeps its bytes; nothing reads it.
    #[serde(serialize_with = "crate::report_json::path")]
    pub kept_in: PathBuf,
    /// The beginning of its bytes; in an archive, in the decompressed text.
    pub offset: u64,
    /// The number of its bytes.
    pub bytes: u64,
}

/// A process manager or a projection of 0.2.0.
///
/// # JSON
///
/// ```json
/// {"name":"saga","problem":"it is torn"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdoptedCheckpoint {
    /// Its stored name.
    pub name: String,
    /// The reason why its checkpoint was not migrated. A projection is rebuilt then, and a process manager is
    /// [refused](crate::OpenError::ProcessManagerCheckpoint).
    pub problem: Option<String>,
}
