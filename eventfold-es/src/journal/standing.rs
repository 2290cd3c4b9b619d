//! The role of this node, and who learns of the commits of other nodes.

mod changes;

use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{CommitError, OnApplied, StreamId};
use crate::replication::Role;
use crate::sabotage::{Bug, planted};
pub(crate) use changes::Changed;
use changes::Changes;

/// The answer to a commit of an earlier term, when this node is the leader again.
const OF_AN_EARLIER_TERM: &str =
    "meanwhile this node lost the leadership and regained it; try again";

/// One uninterrupted time of this node as the leader. A later time is another term, even if no other node was the leader
/// between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term(NonZeroU64);

/// Room for one commit, which is decided in a term. The journal refuses it in every other term.
pub(crate) struct Room {
    pub(in crate::journal) term: Term,
    pub(in crate::journal) _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new(permit: OwnedSemaphorePermit, term: Term) -> Self {
        Self {
            term,
            _permit: permit,
        }
    }
}

/// See the [module](self).
pub(crate) struct Standing {
    role: watch::Sender<Role>,
    /// The number of the last batch of a replicated journal, and the position behind it.
    batch: AtomicU64,
    position: AtomicU64,
    /// The number of the batch with the claim of the leader, and its position, as far as this node has heard.
    leader_claim: AtomicU64,
    leader_position: AtomicU64,
    changes: Changes,
    /// The number of the batch with the last claim that this node has applied; 0 before the first. While this node is the leader, it is
    /// that of its own claim.
    claim: AtomicU64,
    /// The number of the present term; 0 unless this node is the leader. It changes under the lock of `role`.
    term: AtomicU64,
    /// The number of terms so far. It changes under the lock of `role`.
    terms: AtomicU64,
    /// The name of this node, if the store is replicated.
    node: OnceLock<Box<str>>,
    on_applied: OnceLock<OnApplied>,
}

impl Standing {
    /// The standing of a store that is not replicated: it is the leader, in one term.
    pub(in crate::journal) fn alone() -> Self {
        Self {
            role: watch::Sender::new(Role::Leader),
            term: AtomicU64::new(1),
            terms: AtomicU64::new(1),
            node: OnceLock::new(),
            batch: AtomicU64::new(0),
            position: AtomicU64::new(0),
            leader_claim: AtomicU64::new(0),
            leader_position: AtomicU64::new(0),
            changes: Changes::default(),
            claim: AtomicU64::new(0),
            on_applied: OnceLock::new(),
        }
    }

    /// The store is replicated from now on. This node has this name, and is not the leader yet. Called before any part of the store runs.
    pub(in crate::journal) fn replicate(&self, node: &str) {
        // The first counts, and there is one.
        let _ = self.node.set(node.into());
        self.set(Role::Follower { leader: None });
    }

    /// Whether the store has other nodes. Otherwise the role never changes.
    pub(crate) fn is_replicated(&self) -> bool {
        self.node.get().is_some()
    }

    /// The role of this node. It is always the leader, unless the journal is replicated.
    pub(crate) fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// The number of the last batch. The journal of a store that is not replicated has none.
    pub(crate) fn batch(&self) -> u64 {
        self.batch.load(Ordering::Acquire)
    }

    pub(in crate::journal) fn has_batch(&self, batch: u64, position: u64) {
        self.position.store(position, Ordering::Relaxed);
        self.batch.store(batch, Ordering::Release);
    }

    /// The position behind the last batch. The journal of a store that is not replicated has none.
    pub(in crate::journal) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The leader has told its claim and its position.
    pub(in crate::journal) fn hears_of(&self, claim: u64, position: u64) {
        self.leader_claim.store(claim, Ordering::Relaxed);
        self.leader_position.store(position, Ordering::Relaxed);
    }

    /// The number of events that the leader has and this node does not have, as far as it has heard.
    pub(crate) fn events_behind(&self) -> u64 {
        let leader = self.leader_position.load(Ordering::Relaxed);
        leader.saturating_sub(self.position())
    }

    /// The number of the batch with the last claim of which this node knows; 0 without one.
    pub(crate) fn known_claim(&self) -> u64 {
        self.claim().max(self.leader_claim.load(Ordering::Relaxed))
    }

    /// This node has become the leader behind a leader that had closed its store.
    pub(in crate::journal) fn takes_over(&self) {
        self.changes.take_over();
    }

    /// The number of changes of the role so far.
    pub(crate) fn changes(&self) -> Changed {
        self.changes.so_far()
    }

    /// The number of the batch with the last claim that this node has applied, and of all before it.
    pub(crate) fn claim(&self) -> u64 {
        self.claim.load(Ordering::Acquire)
    }

    /// Notes a claim, before this node becomes the leader by it.
    pub(in crate::journal) fn has_claim(&self, batch: u64) {
        self.claim.store(batch, Ordering::Release);
    }

    /// The present term, and the number of the batch with its claim.
    ///
    /// # Errors
    ///
    /// The reason why nothing can be committed, if this node is not the leader.
    pub(crate) fn leads(&self) -> Result<(Term, u64), CommitError> {
        let Some(term) = self.term() else {
            return Err(self.reason());
        };
        let claim = self.claim();
        // In another term, it could be the claim of that.
        match self.refusal(term) {
            None => Ok((term, claim)),
            Some(refusal) => Err(refusal),
        }
    }

    /// The present term, if this node is the leader.
    pub(crate) fn term(&self) -> Option<Term> {
        NonZeroU64::new(self.term.load(Ordering::Acquire)).map(Term)
    }

    /// Changes the role; the same role is no change. Returns the former role if it has changed.
    pub(in crate::journal) fn set(&self, role: Role) -> Option<Role> {
        let mut former = None;
        self.role.send_if_modified(|present| {
            let is_new = *present != role;
            if is_new {
                self.changes.count(present, &role);
                let term = match &role {
                    Role::Leader => self.terms.fetch_add(1, Ordering::Relaxed) + 1,
                    Role::Follower { .. } | Role::Detached { .. } => 0,
                };
                self.term.store(term, Ordering::Release);
                former = Some(std::mem::replace(present, role));
            }
            is_new
        });
        former
    }

    /// The role of this node without the log, for its last reason and since its first.
    pub(in crate::journal) fn cut_off(&self, reason: &str) -> Role {
        let since = match &*self.role.borrow() {
            Role::Detached { since, .. } => *since,
            Role::Leader | Role::Follower { .. } => SystemTime::now(),
        };
        let reason = reason.to_owned();
        Role::Detached { since, reason }
    }

    /// Logs a change of the role.
    pub(in crate::journal) fn log_change(&self, former: &Role, role: &Role) {
        let node = self.node.get().map(|node| &**node).unwrap_or_default();
        changes::log(node, former, role, self.claim());
    }

    pub(in crate::journal) fn is_leader(&self) -> bool {
        self.term().is_some()
    }

    /// The reason why nothing can be committed in a term, unless it is the present one.
    pub(crate) fn refusal(&self, term: Term) -> Option<CommitError> {
        match self.term() {
            Some(present) if present == term || planted(Bug::TermNotCompared) => None,
            _ => Some(self.reason()),
        }
    }

    /// The reason for refusing a commit of a term that is not the present one.
    pub(in crate::journal) fn reason(&self) -> CommitError {
        match &*self.role.borrow() {
            Role::Leader => CommitError::Unavailable(OF_AN_EARLIER_TERM.into()),
            Role::Follower { leader } => CommitError::NotLeader(leader.clone()),
            Role::Detached { reason, .. } => CommitError::Unavailable(reason.as_str().into()),
        }
    }

    /// Waits until a term is over. Cancel safe.
    pub(crate) async fn lost(&self, term: Term) {
        let mut role = self.role();
        loop {
            // Marked as seen before the term is compared: a change in between ends the wait.
            role.mark_unchanged();
            if self.term() != Some(term) {
                return;
            }
            // The sender is `self`.
            let _ = role.changed().await;
        }
    }

    /// Calls `applied` with each stream that gets events from another node. The call comes on the thread of the journal, when the events can
    /// be read and before [`durable`](super::Log::durable) announces them. Only the first call of this method counts.
    pub(crate) fn on_applied(&self, applied: OnApplied) {
        // The first counts.
        let _ = self.on_applied.set(applied);
    }

    /// Tells of the events of another node in a stream.
    pub(crate) fn applied(&self, stream: &StreamId) {
        if let Some(on_applied) = self.on_applied.get()
            && !planted(Bug::LiveAggregateKept)
        {
            on_applied(stream);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn follower() -> Role {
        Role::Follower { leader: None }
    }

    #[test]
    fn each_leadership_is_another_term() {
        let standing = Standing::alone();
        let first = standing.term().unwrap();
        assert!(standing.refusal(first).is_none());
        assert_eq!(standing.set(Role::Leader), None);
        assert_eq!(standing.term(), Some(first));
        assert_eq!(standing.set(follower()), Some(Role::Leader));
        assert_eq!(standing.term(), None);
        assert!(matches!(
            standing.refusal(first),
            Some(CommitError::NotLeader(None))
        ));
        standing.set(Role::Detached {
            since: SystemTime::UNIX_EPOCH,
            reason: "no server answers".to_owned(),
        });
        let refusal = standing.refusal(first).unwrap();
        assert_eq!(refusal.to_string(), "no server answers");
        standing.set(Role::Leader);
        let second = standing.term().unwrap();
        assert_ne!(second, first);
        assert!(standing.refusal(second).is_none());
        assert!(matches!(
            standing.refusal(first),
            Some(CommitError::Unavailable(_))
        ));
    }

    #[tokio::test]
    async fn a_term_between_two_looks_is_noticed() {
        let standing = std::sync::Arc::new(Standing::alone());
        let term = standing.term().unwrap();
        let waiting = tokio::spawn({
            let standing = std::sync::Arc::clone(&standing);
            async move { standing.lost(term).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // Both happen before the task runs again.
        standing.set(follower());
        standing.set(Role::Leader);
        waiting.await.unwrap();
    }
}
