//! Deciding on an aggregate, and loading it, without a handle that keeps the store open.

use std::sync::Arc;

use super::Loaded;
use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{ExecuteError, StoreError};
use crate::journal::{OnDurable, Outcome, ProposedCommit, Room};
use crate::runtime::{
    AggregateCells, Cell, Decided, Kept, Key, Keys, LockedCell, PartOfCommit, Repeated, Runtime,
    guard,
};
use crate::sabotage::{Bug, planted};

type Answer<A> =
    Result<Decided<<A as Aggregate>::DomainEvent>, ExecuteError<<A as Aggregate>::Error>>;

/// The knowledge of a stream that a decision on it needs.
pub(in crate::store) enum Needs {
    /// The state of the aggregate.
    State,
    /// The state, and the ids of its events.
    EventIds,
    /// The state, and the answers to commands with these keys.
    Answers(Keys),
}

/// The result of deciding a command under the lock of its cell.
pub(super) enum Decision<A: Aggregate> {
    /// A commit was submitted.
    Committed {
        cell: Arc<Cell<A>>,
        outcome: Arc<Outcome>,
        decided: Decided<A::DomainEvent>,
    },
    /// There is nothing to commit. The answer holds once the earlier commits are durable.
    Answer {
        pending: Option<Arc<Outcome>>,
        answer: Kept<Answer<A>>,
    },
    /// The command was decided before, under the same key.
    Repeated(Repeated<A::DomainEvent>),
}

/// One aggregate of a store.
pub(in crate::store) struct Target<'a, A: Aggregate> {
    runtime: &'a Runtime,
    cells: &'a Arc<AggregateCells<A>>,
    id: &'a Arc<str>,
}

impl<'a, A: Aggregate> Target<'a, A> {
    pub(in crate::store) fn new(
        runtime: &'a Runtime,
        cells: &'a Arc<AggregateCells<A>>,
        id: &'a Arc<str>,
    ) -> Self {
        Self { runtime, cells, id }
    }

    /// Executes a command of the store itself, without waiting for reactions.
    #[cfg(feature = "schedules")]
    pub(in crate::store) async fn execute_unawaited(
        &self,
        command: A::Command,
    ) -> Result<(), ExecuteError<A::Error>> {
        let context = CommandContext::default();
        let room = self.runtime.leadership.room().await?;
        match self
            .decide(room, Kept::new(command), &context, None)
            .await?
        {
            Decision::Committed { cell, outcome, .. } => {
                self.runtime.leadership.settled(&outcome).await?;
                cell.settle_if_free();
            }
            Decision::Answer { pending, answer } => {
                if let Some(pending) = pending {
                    self.runtime.leadership.settled_before(&pending).await?;
                }
                answer.into_inner()?;
            }
            // The command has no idempotency key.
            Decision::Repeated(_) => {}
        }
        Ok(())
    }

    /// Decides a command, and submits its events. The room comes first: between the lock and the submission nothing may wait.
    pub(super) async fn decide(
        &self,
        room: Room,
        command: Kept<A::Command>,
        context: &CommandContext,
        on_durable: Option<OnDurable>,
    ) -> Result<Decision<A>, ExecuteError<A::Error>> {
        let journal = &self.runtime.journal;
        let key = Key::of::<A>(context, &command);
        let keys = Keys::of(context.idempotency_key.as_deref());
        self.with_cell(Needs::Answers(keys), |cell, locked| {
            if let Some(key) = key
                && let Some(repeated) = locked.repeated(key.text)?
            {
                return Ok(match key.is_reused(repeated.digest()) {
                    false => Decision::Repeated(repeated),
                    true => Decision::Answer {
                        pending: repeated.pending(),
                        answer: Kept::new(Err(key.reused().into())),
                    },
                });
            }
            let decided = match locked.decide(command, context, key, journal.clock()) {
                Ok(decided) if !decided.events.is_empty() => decided,
                answer => {
                    return Ok(Decision::Answer {
                        pending: locked
                            .last_pending()
                            .filter(|_| !planted(Bug::EarlyRejection)),
                        answer: Kept::new(answer),
                    });
                }
            };
            let outcome = journal.submit(
                room,
                ProposedCommit {
                    after: locked.last_pending().into_iter().collect(),
                    appends: locked.proposed().into_iter().collect(),
                    reaction: None,
                    on_durable,
                    on_settled: None,
                },
            );
            locked.handed_over(&outcome, PartOfCommit::default());
            Ok(Decision::Committed {
                cell: Arc::clone(cell),
                outcome,
                decided,
            })
        })
        .await
    }

    pub(in crate::store) async fn load(&self) -> Result<Loaded<A>, StoreError> {
        self.with_cell(Needs::State, |_, locked| {
            let (state, version) = locked.durable();
            let copy = guard(
                || format!("the clone of `{}`", A::AGGREGATE_TYPE),
                || state.clone(),
            )?;
            Ok(Loaded {
                state: copy,
                version,
                exists: version > 0,
            })
        })
        .await
    }

    /// Runs `action` under the lock of the settled cell, with the required knowledge loaded.
    pub(in crate::store) async fn with_cell<T, E: From<StoreError>>(
        &self,
        mut needs: Needs,
        action: impl FnOnce(&Arc<Cell<A>>, &mut LockedCell<'_, A>) -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let cell = self.cells.cell(self.id).await?;
            let is_evicted = {
                let mut locked = cell.lock();
                if !locked.is_evicted() {
                    locked.settle()?;
                    // Settling may show that the stream has to be loaded again.
                    let is_known = match &needs {
                        Needs::State => true,
                        Needs::EventIds => locked.knows_event_ids(),
                        Needs::Answers(keys) => locked.learn_answers(keys, &*self.runtime.journal),
                    };
                    if is_known && !locked.is_evicted() {
                        return action(&cell, &mut locked);
                    }
                }
                locked.is_evicted()
            };
            if is_evicted {
                self.cells.forget(self.id, &cell);
            } else {
                match &mut needs {
                    Needs::State => {}
                    Needs::EventIds => self.cells.learn_event_ids(self.id, &cell).await?,
                    Needs::Answers(keys) => self.cells.look_for(self.id, keys).await?,
                }
            }
        }
    }
}
