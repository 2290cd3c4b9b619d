//! The progress of a projection, as it is saved beside its rows.

use serde::{Deserialize, Serialize};

use crate::journal::SkippedEvent;
use crate::projection::{Sink as _, SinkProjection};

/// The number of skipped events whose reasons are kept.
const KEPT_REASONS: usize = 100;

/// The saved progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedProgress {
    /// The position of the last event that the projection has seen.
    pub(super) position: u64,
    /// The last event that it has projected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<SavedEvent>,
    /// The version of the projection.
    pub(super) version: u32,
    /// The aggregate types whose events it has seen.
    pub(super) subscriptions: Vec<String>,
    /// The key and the indexes of its rows. A database has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) layout: Vec<String>,
    /// The unknown events that it has skipped, the first event of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<SkippedEvent>,
    /// The number of events that it could not project and has skipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) skipped: u64,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<SkipReason>,
}

/// An event, and the hash of its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedEvent {
    pub(super) position: u64,
    pub(super) hash: String,
}

/// A skipped event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SkipReason {
    position: u64,
    reason: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl SavedProgress {
    /// The progress of `P` before the first event.
    pub(super) fn new<P: SinkProjection>() -> Self {
        Self {
            position: 0,
            event: None,
            version: P::VERSION,
            subscriptions: P::SUBSCRIPTIONS.iter().map(ToString::to_string).collect(),
            layout: P::Sink::layout(),
            unknown: Vec::new(),
            skipped: 0,
            reasons: Vec::new(),
        }
    }

    /// Notes an event that cannot be projected.
    pub(super) fn skip(&mut self, position: u64, reason: String) {
        self.skipped += 1;
        self.reasons.push(SkipReason { position, reason });
        if self.reasons.len() > KEPT_REASONS {
            self.reasons.remove(0);
        }
    }
}
