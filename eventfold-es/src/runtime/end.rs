use std::sync::Arc;

use super::reactions::ReactionHub;
use crate::error::StoreError;
use crate::journal::{Journal, Term};

/// Reports the end of a process manager's task to its waiting callers, for any reason.
pub(super) struct End {
    hub: Arc<ReactionHub>,
    member: usize,
    reason: StoreError,
    /// The term that the task belongs to.
    term: Option<(Arc<dyn Journal>, Term)>,
}

impl End {
    pub(super) fn new(hub: &Arc<ReactionHub>, member: usize) -> Self {
        Self {
            hub: Arc::clone(hub),
            member,
            // Without another reason, the tokio runtime has dropped the task.
            reason: StoreError::RuntimeGone,
            term: None,
        }
    }

    /// The end of a term ends the task, too. That is no failure.
    pub(super) fn of_term(mut self, journal: &Arc<dyn Journal>, term: Term) -> Self {
        self.term = Some((Arc::clone(journal), term));
        self
    }

    /// Reports that the task has finished or panicked.
    pub(super) fn of_task(mut self, ended: Result<(), StoreError>) {
        self.reason = match ended {
            Ok(()) => StoreError::Closed,
            Err(panicked) => {
                self.hub.panicked(self.member, &panicked);
                panicked
            }
        };
    }
}

impl Drop for End {
    fn drop(&mut self) {
        match &self.term {
            Some((journal, term)) if journal.standing().refusal(*term).is_some() => {
                self.hub.leaves(self.member, journal.standing().role());
            }
            _ => self.hub.ended(self.member, self.reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guarded::guard_task;
    use super::super::reactions::{Member, Presence, Reactions};
    use super::*;

    fn hub() -> Arc<ReactionHub> {
        Arc::new(ReactionHub::new(
            vec![Member {
                name: "saga",
                subscriptions: &["counter"],
                is_awaited: true,
                processed: 3,
                stays: None,
                is_paused: false,
                ignored: 0,
                skipped: 0,
                presence: Presence::Here,
            }],
            Vec::new(),
        ))
    }

    fn reason(hub: &Arc<ReactionHub>) -> String {
        let member = hub.members().remove(0);
        let ended = member.presence.ended();
        ended.map_or_else(String::new, ToString::to_string)
    }

    #[tokio::test]
    async fn whoever_asks_later_is_told_what_has_ended_a_task() {
        let hub = hub();
        drop(End::new(&hub, 0));
        assert_eq!(reason(&hub), "the tokio runtime has shut down");
        End::new(&hub, 0).of_task(Ok(()));
        assert_eq!(reason(&hub), "the store is closed");
        let task = async {
            tokio::task::yield_now().await;
            panic!("boom");
        };
        let what = || "the process manager `saga`".to_owned();
        let ended = guard_task(what, task).await;
        End::new(&hub, 0).of_task(ended);
        assert_eq!(reason(&hub), "the process manager `saga` panicked: boom");
        let stays = hub.members().remove(0).stays;
        let stays = stays.map(|stay| (stay.position, stay.outcome, stay.reason));
        let said = "the process manager `saga` panicked: boom; at this event or a later one";
        assert_eq!(stays, Some((4, Reactions::Parked, said.to_owned())));
    }
}
