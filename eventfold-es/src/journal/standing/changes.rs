//! The changes of the role of a node: their numbers, and a line in the log for each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::replication::Role;

/// The number of changes of each kind, since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Changes {
    claims: AtomicU64,
    handovers: AtomicU64,
    cut_offs: AtomicU64,
    reconnects: AtomicU64,
}

/// The numbers of [`Changes`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    /// This node has become the leader.
    pub(crate) claims: u64,
    /// This node has become the leader behind a leader that had closed its store.
    pub(crate) handovers: u64,
    /// This node has lost the log.
    pub(crate) cut_offs: u64,
    /// This node has found the log again.
    pub(crate) reconnects: u64,
}

impl Changes {
    pub(super) fn count(&self, former: &Role, role: &Role) {
        let (was_cut_off, is_cut_off) = (is_detached(former), is_detached(role));
        let counters = [
            (&self.claims, role.is_leader()),
            (&self.cut_offs, is_cut_off && !was_cut_off),
            (&self.reconnects, was_cut_off && !is_cut_off),
        ];
        for (counter, counts) in counters {
            counter.fetch_add(u64::from(counts), Ordering::Relaxed);
        }
    }

    pub(super) fn take_over(&self) {
        self.handovers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn so_far(&self) -> Changed {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Changed {
            claims: of(&self.claims),
            handovers: of(&self.handovers),
            cut_offs: of(&self.cut_offs),
            reconnects: of(&self.reconnects),
        }
    }
}

fn is_detached(role: &Role) -> bool {
    matches!(role, Role::Detached { .. })
}

/// Logs a change of the role of a node, in the term with this number.
pub(super) fn log(node: &str, former: &Role, role: &Role, term: u64) {
    if let Role::Detached { since, .. } = former
        && !is_detached(role)
    {
        let seconds = SystemTime::now().duration_since(*since);
        let seconds = seconds.map_or(0, |time| time.as_secs());
        tracing::info!(node, seconds, "this node is no longer cut off from the log");
    }
    match (former, role) {
        (_, Role::Leader) => tracing::info!(node, term, "this node is the leader"),
        (Role::Leader, Role::Follower { leader }) => {
            let leader = leader.as_ref().map(tracing::field::display);
            tracing::warn!(
                node,
                leader,
                "this node is no longer the leader: another node has claimed the log"
            );
        }
        (Role::Leader, Role::Detached { reason, .. }) => {
            tracing::warn!(
                node,
                reason,
                "this node is no longer the leader: it is cut off from the log"
            );
        }
        (
            _,
            Role::Follower {
                leader: Some(leader),
            },
        ) => tracing::info!(node, %leader, "this node follows the leader"),
        (_, Role::Follower { leader: None }) => {
            tracing::debug!(node, "this node follows a leader that it does not know");
        }
        (_, Role::Detached { reason, .. }) => {
            tracing::warn!(node, reason, "this node is cut off from the log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_by_their_kind() {
        let cut_off = |reason: &str| Role::Detached {
            since: SystemTime::UNIX_EPOCH,
            reason: reason.to_owned(),
        };
        let follower = Role::Follower { leader: None };
        let roles = [
            follower.clone(),
            Role::Leader,
            cut_off("no server answers"),
            cut_off("no connection"),
            Role::Leader,
            follower.clone(),
            cut_off("no connection"),
            follower,
        ];
        let changes = Changes::default();
        for pair in roles.windows(2) {
            if let [former, role] = pair {
                changes.count(former, role);
            }
        }
        let expected = Changed {
            claims: 2,
            handovers: 0,
            cut_offs: 2,
            reconnects: 2,
        };
        assert_eq!(changes.so_far(), expected);
    }
}
