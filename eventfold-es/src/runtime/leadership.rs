//! The leadership of this node, for everybody who commits.
//!
//! A store that is not replicated is always the leader, and pays one load of an atomic for each commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::error::StoreError;
use crate::journal::{Journal, Outcome, Receipt, Room, Term};
use crate::replication::Role;
use crate::sabotage::{Bug, planted};

/// See the [module](self).
pub(crate) struct Leadership {
    journal: Arc<dyn Journal>,
    waits: Waits,
    /// Turns true when the store begins to close.
    closing: watch::Receiver<bool>,
}

/// The longest waits of a replicated store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// For a leader.
    pub(crate) leader: Duration,
    /// For the log, which decides whether a commit is stored.
    pub(crate) outcome: Duration,
}

/// The reason why a command of another node is not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The other node asks the leader of an earlier term. It does not have the claim of this term yet.
    Behind,
    /// The store does not take it.
    Store(StoreError),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Leadership {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        waits: Waits,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            journal,
            waits,
            closing,
        }
    }

    /// The present term of this node. Without a leader, waits until this node is the leader or another leader is known. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotLeader`] with the other leader; [`StoreError::Unavailable`] if none is known in time.
    pub(crate) async fn term(&self) -> Result<Term, StoreError> {
        match self.journal.standing().term() {
            Some(term) => Ok(term),
            None => self.awaited_term().await,
        }
    }

    async fn awaited_term(&self) -> Result<Term, StoreError> {
        let standing = self.journal.standing();
        let mut role = standing.role();
        let decided = async {
            loop {
                let leader = match &*role.borrow_and_update() {
                    Role::Follower { leader } => leader.clone(),
                    Role::Leader | Role::Detached { .. } => None,
                };
                if leader.is_some() {
                    return Err(StoreError::NotLeader { leader });
                }
                if let Some(term) = standing.term() {
                    return Ok(term);
                }
                // The journal owns the sender.
                let _ = role.changed().await;
            }
        };
        let mut closing = self.closing.clone();
        let decided = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return Err(StoreError::Closed),
            decided = tokio::time::timeout(self.waits.leader, decided) => decided,
        };
        decided.unwrap_or_else(|_| Err(self.without_leader()))
    }

    fn without_leader(&self) -> StoreError {
        let waited = self.waits.leader;
        let reason = match &*self.journal.standing().role().borrow() {
            Role::Detached { reason, .. } => {
                format!("this node is cut off from the log: {reason}; waited {waited:?}")
            }
            Role::Leader | Role::Follower { .. } => {
                format!("no node is the leader; waited {waited:?}")
            }
        };
        let reason = reason.into();
        StoreError::Unavailable { reason }
    }

    /// Waits for the leadership, and for room for one commit. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`term`](Self::term); [`StoreError::Unavailable`] if a replicated log takes no commit in time, and [`StoreError::Closed`].
    pub(crate) async fn room(&self) -> Result<Room, StoreError> {
        let term = self.term().await?;
        room(&*self.journal, term, self.limit()).await
    }

    /// Waits for room for a command of another node, which has the log up to the batch `known`. It does not wait for the leadership. Cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// As [`room`](Self::room). [`NotTaken::Behind`] if the other node asks the leader of an earlier term.
    pub(crate) async fn room_for_node(&self, known: u64) -> Result<Room, NotTaken> {
        let (term, claim) = self.journal.standing().leads().map_err(StoreError::from)?;
        if claim > known && !planted(Bug::ClaimNotCompared) {
            return Err(NotTaken::Behind);
        }
        Ok(room(&*self.journal, term, self.limit()).await?)
    }

    /// The longest waits.
    pub(crate) fn waits(&self) -> Waits {
        self.waits
    }

    /// Waits until a commit of the caller is durable. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of the commit. [`StoreError::OutcomeUnknown`] if a replicated log does not answer in time.
    pub(crate) async fn settled(&self, outcome: &Outcome) -> Result<Receipt, StoreError> {
        self.settled_or(outcome, |reason| StoreError::OutcomeUnknown { reason })
            .await
    }

    /// Waits until an earlier commit is durable, on which an answer without a commit depends. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`settled`](Self::settled), but [`StoreError::Unavailable`] if a replicated log does not answer in time.
    pub(crate) async fn settled_before(&self, outcome: &Outcome) -> Result<Receipt, StoreError> {
        self.settled_or(outcome, |reason| StoreError::Unavailable { reason })
            .await
    }

    async fn settled_or(
        &self,
        outcome: &Outcome,
        late: impl FnOnce(Arc<str>) -> StoreError,
    ) -> Result<Receipt, StoreError> {
        let Some(limit) = self.limit() else {
            return Ok(outcome.wait().await?);
        };
        match tokio::time::timeout(limit, outcome.wait()).await {
            Ok(settled) => Ok(settled?),
            Err(_) => Err(late(unanswered(limit))),
        }
    }

    /// The longest wait for the log, if the store is replicated.
    fn limit(&self) -> Option<Duration> {
        let is_replicated = self.journal.standing().is_replicated();
        is_replicated.then_some(self.waits.outcome)
    }
}

/// Waits for room for one commit of a term, up to a limit. Fails if the journal is closed.
async fn room(
    journal: &dyn Journal,
    term: Term,
    limit: Option<Duration>,
) -> Result<Room, StoreError> {
    let permit = permit(journal);
    let permit = match limit {
        None => permit.await,
        Some(limit) => match tokio::time::timeout(limit, permit).await {
            Ok(permit) => permit,
            Err(_) => {
                let reason = unanswered(limit);
                return Err(StoreError::Unavailable { reason });
            }
        },
    };
    permit.map(|permit| Room::new(permit, term))
}

/// Waits for room for one commit of a term, for as long as it takes. Fails if the journal is closed.
pub(crate) async fn room_in(journal: &dyn Journal, term: Term) -> Result<Room, StoreError> {
    room(journal, term, None).await
}

/// Waits until a commit of a term is durable, for as long as the term lasts. Cancel safe.
///
/// # Errors
///
/// Those of the commit. After the term, those of any commit of it: its outcome may be unknown then.
pub(crate) async fn settled_in(
    journal: &dyn Journal,
    term: Term,
    outcome: &Outcome,
) -> Result<Receipt, StoreError> {
    let standing = journal.standing();
    tokio::select! {
        biased;
        settled = outcome.wait() => Ok(settled?),
        () = standing.lost(term) => Err(standing.refusal(term).map_or(StoreError::Closed, StoreError::from)),
    }
}

async fn permit(journal: &dyn Journal) -> Result<OwnedSemaphorePermit, StoreError> {
    let permit = Arc::clone(journal.room()).acquire_owned().await;
    permit.map_err(|_| StoreError::Closed)
}

fn unanswered(limit: Duration) -> Arc<str> {
    format!("the replicated log has not answered within {limit:?}").into()
}
