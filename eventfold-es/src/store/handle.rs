mod past;

use std::fmt;
use std::iter::once;
use std::sync::Arc;

use tracing::Instrument as _;

use serde::Serialize;

use super::{RunMode, Shared};
use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{ExecuteError, StateError, StoreError};
use crate::journal::{OnDurable, Outcome, ProposedCommit};
use crate::runtime::{
    AggregateCells, Cell, Decided, Kept, Key, Keys, LockedCell, PartOfCommit, Reactions, Repeated,
    WaitGuard, check_context, guard, recall, refuse_inside_reaction, room,
};
use crate::sabotage::{Bug, planted};

/// A handle to one aggregate. It holds an id, not the aggregate. So it survives evictions, and an aggregate without
/// events has a handle like any other.
///
/// It is cheap to clone. While a handle lives, its store stays open.
pub struct AggregateHandle<A: Aggregate> {
    shared: Arc<Shared>,
    cells: Arc<AggregateCells<A>>,
    id: Arc<str>,
}

impl<A: Aggregate> Clone for AggregateHandle<A> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            cells: Arc::clone(&self.cells),
            id: Arc::clone(&self.id),
        }
    }
}

impl<A: Aggregate> fmt::Debug for AggregateHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateHandle")
            .field("aggregate_type", &A::AGGREGATE_TYPE)
            .field("id", &self.id)
            .finish()
    }
}

/// The result of a command.
///
/// # JSON
///
/// ```json
/// {"events":[{"type":"Placed","data":{"sku":"W-1","qty":2}}],"version":1,"position":7,"reactions":"done"}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Executed<E> {
    /// The events of the command, as they are stored; none if it had nothing to do.
    pub events: Vec<E>,
    /// The version of the stream after it: its number of events.
    pub version: u64,
    /// The position of the last event in the order over all streams; `None` without events.
    pub position: Option<u64>,
    /// The outcome of the reactions of process managers.
    pub reactions: Reactions,
}

/// A loaded aggregate: its durable state, and the version that a later change can expect.
///
/// See [`AggregateHandle::load`].
///
/// # JSON
///
/// ```json
/// {"state":{"status":"placed"},"version":3,"exists":true}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// The durable state, as after a restart. An aggregate without events has its default.
    pub state: A,
    /// The version of the stream: its number of events. A command can
    /// [expect](CommandContext::with_expected_version) it.
    pub version: u64,
    /// Whether the aggregate has an event.
    pub exists: bool,
}

type Answer<A> =
    Result<Decided<<A as Aggregate>::DomainEvent>, ExecuteError<<A as Aggregate>::Error>>;

/// The knowledge of a stream that a decision on it needs.
pub(super) enum Needs {
    /// The state of the aggregate.
    State,
    /// The state, and the ids of its events.
    EventIds,
    /// The state, and the answers to commands with these keys.
    Answers(Keys),
}

/// The result of deciding a command under the lock of its cell.
enum Decision<A: Aggregate> {
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

impl<A: Aggregate> AggregateHandle<A> {
    pub(super) fn new(shared: Arc<Shared>, cells: Arc<AggregateCells<A>>, id: &str) -> Self {
        Self {
            shared,
            cells,
            id: id.into(),
        }
    }

    /// The instance id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Executes a command: decides it, stores its events, and returns when they are durable.
    ///
    /// In [`RunMode::Inline`] it also waits for the reactions of process managers to its events, and for the reactions
    /// to their events. The outcome is in [`Executed::reactions`]. It is never an error, since the command itself is
    /// done.
    ///
    /// # Errors
    ///
    /// - [`ExecuteError::Domain`] if the aggregate rejects the command;
    /// - [`ExecuteError::Conflict`] if the stream does not have the version that the context
    ///   [expects](CommandContext::with_expected_version);
    /// - [`ExecuteError::KeyReused`] if its idempotency key is that of another command;
    /// - [`ExecuteError::Store`] if it could not be decided or written, if its idempotency key or its metadata cannot be used,
    ///   or inside a reaction of a process manager.
    ///
    /// These errors store nothing. [`ExecuteError::OutcomeUnknown`] if it is unknown whether the command is stored.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves either nothing or the whole command with its reactions.
    pub async fn execute(
        &self,
        command: A::Command,
        context: impl Into<CommandContext>,
    ) -> Result<Executed<A::DomainEvent>, ExecuteError<A::Error>> {
        self.execute_with(command, context.into()).await
    }

    /// [`execute`](Self::execute) with a converted context, so that it is compiled once for all context types.
    pub(super) async fn execute_with(
        &self,
        command: A::Command,
        context: CommandContext,
    ) -> Result<Executed<A::DomainEvent>, ExecuteError<A::Error>> {
        let span = tracing::debug_span!(
            "execute",
            aggregate = A::AGGREGATE_TYPE,
            instance = &*self.id,
            position = tracing::field::Empty
        );
        let executing = self.execute_in_span(Kept::new(command), context);
        let executed = executing.instrument(span.clone()).await?;
        span.record("position", executed.position);
        Ok(executed)
    }

    async fn execute_in_span(
        &self,
        command: Kept<A::Command>,
        context: CommandContext,
    ) -> Result<Executed<A::DomainEvent>, ExecuteError<A::Error>> {
        refuse_inside_reaction()?;
        check_context(&context)?;
        let hub = &self.shared.runtime.reactions;
        let is_awaited = self.shared.run_mode == RunMode::Inline && hub.concerns(A::AGGREGATE_TYPE);
        let wait = is_awaited.then(|| hub.wait());
        let on_durable: Option<OnDurable> = wait.as_ref().map(|wait| {
            let (hub, id) = (Arc::clone(hub), wait.id());
            Box::new(move |receipt: &_| hub.begin(id, receipt, once(A::AGGREGATE_TYPE)))
                as OnDurable
        });

        let (cell, outcome, decided) = match self.decide(command, &context, on_durable).await? {
            Decision::Committed {
                cell,
                outcome,
                decided,
            } => (cell, outcome, decided),
            Decision::Answer { pending, answer } => {
                if let Some(pending) = pending {
                    pending.wait().await.map_err(StoreError::from)?;
                }
                let decided = answer.into_inner()?;
                return Ok(Executed {
                    version: decided.version,
                    events: decided.into_events(),
                    position: None,
                    reactions: Reactions::NotAwaited,
                });
            }
            Decision::Repeated(repeated) => return Ok(self.answer_again(repeated, wait).await?),
        };
        let receipt = outcome.wait().await.map_err(StoreError::from)?;
        cell.settle_if_free();
        let reactions = self.shared.reactions(wait).await;
        Ok(Executed {
            version: decided.version,
            events: decided.into_events(),
            position: Some(receipt.last_position()),
            reactions,
        })
    }

    /// Executes a command of the store itself, without waiting for reactions.
    #[cfg(feature = "schedules")]
    pub(super) async fn execute_unawaited(
        &self,
        command: A::Command,
    ) -> Result<(), ExecuteError<A::Error>> {
        let context = CommandContext::default();
        match self.decide(Kept::new(command), &context, None).await? {
            Decision::Committed { cell, outcome, .. } => {
                outcome.wait().await.map_err(StoreError::from)?;
                cell.settle_if_free();
            }
            Decision::Answer { pending, answer } => {
                if let Some(pending) = pending {
                    pending.wait().await.map_err(StoreError::from)?;
                }
                answer.into_inner()?;
            }
            // The command has no idempotency key.
            Decision::Repeated(_) => {}
        }
        Ok(())
    }

    /// Returns the first answer to a command again.
    async fn answer_again(
        &self,
        repeated: Repeated<A::DomainEvent>,
        wait: Option<WaitGuard>,
    ) -> Result<Executed<A::DomainEvent>, StoreError> {
        let journal = &self.shared.runtime.journal;
        let (answer, events) = match repeated {
            Repeated::Pending(pending) => {
                let receipt = pending.outcome.wait().await?;
                (pending.with(&receipt), pending.events)
            }
            Repeated::Durable(answer) => {
                let stream = self.cells.stream(&self.id);
                let events = recall::<A>(journal, stream, answer).await?;
                (answer, Kept::each(events))
            }
        };
        if let Some(wait) = &wait {
            let positions = (answer.first_position, answer.last_position());
            let durable = *journal.durable().borrow();
            wait.begin_again(positions, once(A::AGGREGATE_TYPE), durable);
        }
        let reactions = self.shared.reactions(wait).await;
        Ok(Executed {
            events: events.into_iter().map(Kept::into_inner).collect(),
            version: answer.last_version(),
            position: Some(answer.last_position()),
            reactions,
        })
    }

    async fn decide(
        &self,
        command: Kept<A::Command>,
        context: &CommandContext,
        on_durable: Option<OnDurable>,
    ) -> Result<Decision<A>, ExecuteError<A::Error>> {
        let journal = &self.shared.runtime.journal;
        // Waits for room first: between the lock and the submission it must not wait.
        let room = room(&**journal).await?;
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

    /// The durable state, as after a restart. An aggregate without events has its default.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the stream cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn state(&self) -> Result<A, StateError> {
        Ok(self.load().await?.state)
    }

    /// The durable state with its version, which a later command can [expect](CommandContext::with_expected_version). An
    /// aggregate without events has version 0.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the stream cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # use eventfold_es::AggregateHandle;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum CartCommand { Empty }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum CartEvent { Emptied }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Cart { items: u64 }
    /// # impl Decider for Cart {
    /// #     fn decide(&self, _: CartCommand) -> Result<Vec<CartEvent>, std::convert::Infallible> { Ok(vec![CartEvent::Emptied]) }
    /// #     fn evolve(&mut self, _: &CartEvent) { self.items = 0 }
    /// # }
    /// # async fn empty(cart: AggregateHandle<Cart>) -> Result<(), eventfold_es::Error> {
    /// let loaded = cart.load().await?;
    /// if loaded.state.items > 0 {
    ///     let context = CommandContext::default().with_expected_version(loaded.version);
    ///     cart.execute(CartCommand::Empty, context).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn load(&self) -> Result<Loaded<A>, StateError> {
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
        .map_err(|source| self.state_error(source))
    }

    fn state_error(&self, source: StoreError) -> StateError {
        StateError {
            aggregate_type: A::AGGREGATE_TYPE.to_owned(),
            instance_id: self.id.to_string(),
            source,
        }
    }

    /// Whether the aggregate has a durable event. It loads nothing, so an unreadable stream exists as well.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the index cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn exists(&self) -> Result<bool, StateError> {
        let exists = self.cells.exists(&self.id).await;
        exists.map_err(|source| self.state_error(source))
    }

    /// Runs `action` under the lock of the settled cell, with the required knowledge loaded.
    pub(super) async fn with_cell<T, E: From<StoreError>>(
        &self,
        mut needs: Needs,
        action: impl FnOnce(&Arc<Cell<A>>, &mut LockedCell<'_, A>) -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let cell = self.cells.cell(&self.id).await?;
            let is_evicted = {
                let mut locked = cell.lock();
                if !locked.is_evicted() {
                    locked.settle()?;
                    // Settling may show that the stream has to be loaded again.
                    let is_known = match &needs {
                        Needs::State => true,
                        Needs::EventIds => locked.knows_event_ids(),
                        Needs::Answers(keys) => {
                            locked.learn_answers(keys, &*self.shared.runtime.journal)
                        }
                    };
                    if is_known && !locked.is_evicted() {
                        return action(&cell, &mut locked);
                    }
                }
                locked.is_evicted()
            };
            if is_evicted {
                self.cells.forget(&self.id, &cell);
            } else {
                match &mut needs {
                    Needs::State => {}
                    Needs::EventIds => self.cells.learn_event_ids(&self.id, &cell).await?,
                    Needs::Answers(keys) => self.cells.look_for(&self.id, keys).await?,
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
