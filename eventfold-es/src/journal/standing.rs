//! The role of this node, and who learns of the commits of other nodes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::{CommitError, OnApplied, StreamId};
use crate::replication::Role;

/// See the [module](self).
pub(in crate::journal) struct Standing {
    role: watch::Sender<Role>,
    /// The number of the last batch of a replicated journal.
    batch: AtomicU64,
    on_applied: OnceLock<OnApplied>,
}

impl Standing {
    pub(in crate::journal) fn new(role: Role) -> Self {
        Self {
            role: watch::Sender::new(role),
            batch: AtomicU64::new(0),
            on_applied: OnceLock::new(),
        }
    }

    pub(in crate::journal) fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    pub(in crate::journal) fn batch(&self) -> u64 {
        self.batch.load(Ordering::Acquire)
    }

    pub(in crate::journal) fn has_batch(&self, batch: u64) {
        self.batch.store(batch, Ordering::Release);
    }

    /// Changes the role; the same role is no change.
    pub(in crate::journal) fn set(&self, role: Role) {
        self.role.send_if_modified(|present| {
            let is_new = *present != role;
            if is_new {
                *present = role;
            }
            is_new
        });
    }

    pub(in crate::journal) fn is_leader(&self) -> bool {
        self.role.borrow().is_leader()
    }

    /// The reason why this node decides no command, unless it is the leader.
    pub(in crate::journal) fn refusal(&self) -> Option<CommitError> {
        match &*self.role.borrow() {
            Role::Leader => None,
            Role::Follower { leader } => Some(CommitError::NotLeader(leader.clone())),
            Role::Detached { reason, .. } => Some(CommitError::Unavailable(reason.as_str().into())),
        }
    }

    pub(in crate::journal) fn tell_of_applied(&self, on_applied: OnApplied) {
        // The first counts.
        let _ = self.on_applied.set(on_applied);
    }

    pub(in crate::journal) fn applied(&self, stream: &StreamId) {
        if let Some(on_applied) = self.on_applied.get() {
            on_applied(stream);
        }
    }
}
