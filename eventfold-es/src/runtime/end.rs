use std::sync::Arc;

use super::reactions::ReactionHub;
use crate::error::StoreError;

/// Tells those who wait for a process manager that its task has ended, however that comes about.
pub(super) struct End {
    hub: Arc<ReactionHub>,
    member: usize,
    is_orderly: bool,
}

impl End {
    pub(super) fn new(hub: &Arc<ReactionHub>, member: usize) -> Self {
        Self {
            hub: Arc::clone(hub),
            member,
            is_orderly: false,
        }
    }

    /// The task came to its end, and was not dropped by its runtime.
    pub(super) fn orderly(mut self) {
        self.is_orderly = true;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.hub.panicked(self.member);
        }
        let reason = if self.is_orderly {
            StoreError::Closed
        } else {
            StoreError::RuntimeGone
        };
        self.hub.ended(self.member, reason);
    }
}
