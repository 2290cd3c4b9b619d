//! The role of this node, and who learns of the commits of other nodes.

use std::sync::OnceLock;

use tokio::sync::watch;

use super::{CommitError, OnApplied, StreamId};
use crate::replication::Role;

/// See the [module](self).
pub(in crate::journal) struct Standing {
    role: watch::Sender<Role>,
    on_applied: OnceLock<OnApplied>,
}

impl Standing {
    pub(in crate::journal) fn new(role: Role) -> Self {
        Self {
            role: watch::Sender::new(role),
            on_applied: OnceLock::new(),
        }
    }

    pub(in crate::journal) fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
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
