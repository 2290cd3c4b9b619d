mod forward;
mod past;
mod target;

use std::fmt;
use std::future::Future;
use std::iter::once;
use std::sync::Arc;

use tracing::Instrument as _;

use serde::Serialize;

pub(super) use target::{Needs, Target};

use super::{RunMode, Shared};
use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{ExecuteError, StateError, StoreError};
use crate::journal::{OnDurable, Room};
use crate::runtime::{
    AggregateCells, Cell, Kept, LockedCell, Reactions, Repeated, WaitGuard, check_context, recall,
    refuse_inside_reaction,
};
use target::Decision;

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
    /// - [`ExecuteError::NotLeader`] if another node is the leader, and the command cannot be
    ///   [forwarded](crate::AggregateStoreBuilder::replicated) to it;
    /// - [`ExecuteError::Unavailable`] if no leader is found within
    ///   [`leader_patience`](crate::AggregateStoreBuilder::leader_patience). Only a replicated store has other nodes;
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
        self.in_span(self.execute_somewhere(Kept::new(command), context))
            .await
    }

    /// Runs the execution of a command in its span.
    async fn in_span(
        &self,
        executing: impl Future<Output = Result<Executed<A::DomainEvent>, ExecuteError<A::Error>>>,
    ) -> Result<Executed<A::DomainEvent>, ExecuteError<A::Error>> {
        let span = tracing::debug_span!(
            "execute",
            aggregate = A::AGGREGATE_TYPE,
            instance = &*self.id,
            position = tracing::field::Empty
        );
        let executed = executing.instrument(span.clone()).await?;
        span.record("position", executed.position);
        Ok(executed)
    }

    /// Executes a command here, or on the leader.
    async fn execute_somewhere(
        &self,
        command: Kept<A::Command>,
        context: CommandContext,
    ) -> Result<Executed<A::DomainEvent>, ExecuteError<A::Error>> {
        refuse_inside_reaction()?;
        check_context(&context)?;
        match self.shared.runtime.leadership.room().await {
            Ok(room) => self.execute_here(room, command, &context).await,
            Err(StoreError::NotLeader { leader }) => {
                // Boxed, so that the future of a command on the leader stays small.
                Box::pin(self.forward(leader, command, context)).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Executes a command on this node, which was the leader when it got the room.
    async fn execute_here(
        &self,
        room: Room,
        command: Kept<A::Command>,
        context: &CommandContext,
    ) -> Result<Executed<A::DomainEvent>, ExecuteError<A::Error>> {
        let leadership = &self.shared.runtime.leadership;
        let hub = &self.shared.runtime.reactions;
        let is_awaited = self.shared.run_mode == RunMode::Inline && hub.concerns(A::AGGREGATE_TYPE);
        let wait = is_awaited.then(|| hub.wait());
        let on_durable: Option<OnDurable> = wait.as_ref().map(|wait| {
            let (hub, id) = (Arc::clone(hub), wait.id());
            Box::new(move |receipt: &_| hub.begin(id, receipt, once(A::AGGREGATE_TYPE)))
                as OnDurable
        });

        let target = self.target();
        let decision = target.decide(room, command, context, on_durable);
        let (cell, outcome, decided) = match decision.await? {
            Decision::Committed {
                cell,
                outcome,
                decided,
            } => (cell, outcome, decided),
            Decision::Answer { pending, answer } => {
                if let Some(pending) = pending {
                    leadership.settled_before(&pending).await?;
                }
                let decided = answer.into_inner()?;
                return Ok(Executed {
                    version: decided.version,
                    events: decided.into_events(),
                    position: None,
                    reactions: Reactions::NotAwaited,
                });
            }
            Decision::Repeated(repeated) => {
                return Ok(self.answer_again(repeated, wait).await?);
            }
        };
        let receipt = leadership.settled(&outcome).await?;
        cell.settle_if_free();
        let reactions = self.shared.reactions(wait).await;
        Ok(Executed {
            version: decided.version,
            events: decided.into_events(),
            position: Some(receipt.last_position()),
            reactions,
        })
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
                let leadership = &self.shared.runtime.leadership;
                let receipt = leadership.settled(&pending.outcome).await?;
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
        let loaded = self.target().load().await;
        loaded.map_err(|source| self.state_error(source))
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

    fn target(&self) -> Target<'_, A> {
        Target::new(&self.shared.runtime, &self.cells, &self.id)
    }

    /// Runs `action` under the lock of the settled cell, with the required knowledge loaded.
    pub(super) async fn with_cell<T, E: From<StoreError>>(
        &self,
        needs: Needs,
        action: impl FnOnce(&Arc<Cell<A>>, &mut LockedCell<'_, A>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.target().with_cell(needs, action).await
    }
}

#[cfg(test)]
pub(super) mod tests;
