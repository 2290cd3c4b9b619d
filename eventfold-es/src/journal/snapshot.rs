use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Extent;

/// The state of an aggregate after some of its events.
///
/// It is believed only where it fits: the events behind it must lead from its extent to what the journal knows of the stream.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// What of the stream the state has seen.
    pub(crate) extent: Extent,
    /// What the state means; see [`Aggregate::SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    pub(crate) snapshot_version: u32,
    pub(crate) state: Box<RawValue>,
}
