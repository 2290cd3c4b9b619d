//! Commands for several aggregates in one commit.

mod forward;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tracing::Instrument as _;

use super::{AggregateStore, RunMode, Shared};
use crate::aggregate::Aggregate;
use crate::command::{Command, CommandContext};
use crate::error::{StoreError, TransactionError};
use crate::journal::Room;
use crate::runtime::{
    Decision, Purpose, Reactions, Repeated, TransactionCommand, WaitGuard, check_context,
    decide_together, refuse_inside_reaction,
};

/// Commands for several aggregates that are executed in one commit: all or none.
///
/// [`AggregateStore::transaction`] begins one. Nothing happens before [`commit`](Self::commit).
#[must_use = "a transaction does nothing before `commit().await`"]
pub struct Transaction {
    shared: Arc<Shared>,
    context: CommandContext,
    /// The commands, or the error of the first command that cannot be sent.
    commands: Result<Vec<TransactionCommand>, StoreError>,
}

/// The result of a transaction.
///
/// # JSON
///
/// ```json
/// {"commands":[{"version":1,"position":7},{"version":null,"position":null}],"position":7,"reactions":"done"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Committed {
    /// The result of each command, in the order of sending.
    pub commands: Vec<CommittedCommand>,
    /// The position of the last event in the order over all streams; `None` if no command had anything to do.
    pub position: Option<u64>,
    /// The outcome of the reactions of process managers.
    pub reactions: Reactions,
}

/// The result of one command of a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommittedCommand {
    /// The version of its stream after it; `None` if it had nothing to do.
    pub version: Option<u64>,
    /// The position of its last event in the order over all streams; `None` if it had nothing to do.
    pub position: Option<u64>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = self.commands.as_ref().map(|commands| {
            let streams = commands.iter().map(TransactionCommand::stream);
            streams.collect::<Vec<_>>()
        });
        f.debug_struct("Transaction")
            .field("context", &self.context)
            .field("streams", &streams)
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    /// Begins a transaction: commands for several aggregates that are executed in one commit, all or none.
    ///
    /// The commands are decided one after the other, in the order of sending. Each sees the events of the earlier commands,
    /// also on the same aggregate. If a command is rejected, nothing of the transaction is stored. No reader, projection or
    /// process manager ever sees a part of it, and no crash leaves a part.
    ///
    /// - `context` is the context of each command; `()` is an empty context. An [expected
    ///   version](CommandContext::with_expected_version) in it holds for each command.
    ///   [`send_expecting`](Transaction::send_expecting) gives one command a version of its own.
    /// - An [idempotency key](CommandContext::with_idempotency_key) in the context belongs to the whole transaction. A repeat
    ///   with the same commands returns the first answer and does nothing, also after a restart. It is separate from the keys
    ///   of single commands.
    ///   - Other commands under the key, or the same commands in another order, are refused if one of their aggregates knows
    ///     the key. So send commands from a `HashMap` in a fixed order.
    ///   - Commands with nothing to do leave no trace: an aggregate knows the key from its events. Each event records the
    ///     number of earlier commands to its aggregate. So a repeat without such a command may count as a new transaction. A
    ///     transaction in which no command had anything to do is decided again.
    /// - The events of one aggregate stand together, and the aggregates stand in the order of their first command.
    /// - All its aggregates are loaded, and locked while it is decided. So use a transaction for decisions that belong
    ///   together, and process managers for everything else.
    /// - Its size is limited only by memory: its events are one line of the journal. A transaction without commands does
    ///   nothing.
    ///
    /// # Examples
    ///
    /// An e-mail address belongs to one user. An aggregate stands for the address, and is claimed together with the
    /// registration.
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum EmailCommand { Claim { user: String } }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum EmailEvent { Claimed { user: String } }
    /// # #[derive(Debug, PartialEq, thiserror::Error)]
    /// # #[error("the address belongs to {0}")]
    /// # pub struct Taken(String);
    /// # #[aggregate(error = Taken)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Email { user: Option<String> }
    /// # impl Decider for Email {
    /// #     fn decide(&self, command: EmailCommand) -> Result<Vec<EmailEvent>, Taken> {
    /// #         let EmailCommand::Claim { user } = command;
    /// #         match &self.user {
    /// #             Some(owner) => Err(Taken(owner.clone())),
    /// #             None => Ok(vec![EmailEvent::Claimed { user }]),
    /// #         }
    /// #     }
    /// #     fn evolve(&mut self, event: &EmailEvent) { let EmailEvent::Claimed { user } = event; self.user = Some(user.clone()); }
    /// # }
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum UserCommand { Register { email: String } }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum UserEvent { Registered { email: String } }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct User { email: String }
    /// # impl Decider for User {
    /// #     fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, std::convert::Infallible> {
    /// #         let UserCommand::Register { email } = command;
    /// #         Ok(vec![UserEvent::Registered { email }])
    /// #     }
    /// #     fn evolve(&mut self, event: &UserEvent) { let UserEvent::Registered { email } = event; self.email.clone_from(email); }
    /// # }
    /// use eventfold_es::TransactionError;
    /// use eventfold_es::store::Committed;
    ///
    /// async fn register(store: &AggregateStore, id: &str, email: &str) -> Result<Committed, TransactionError> {
    ///     store
    ///         .transaction(())
    ///         .send(format!("email-{email}"), EmailCommand::Claim { user: id.to_owned() })
    ///         .send_expecting(id, 0, UserCommand::Register { email: email.to_owned() })
    ///         .commit()
    ///         .await
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = AggregateStore::open(directory.path()).await?;
    /// register(&store, "user-1", "ada@example.com").await?;
    ///
    /// let taken = register(&store, "user-2", "ada@example.com").await.unwrap_err();
    /// assert_eq!(taken.downcast_ref::<Taken>(), Some(&Taken("user-1".to_owned())));
    /// assert!(!store.get::<User>("user-2").await?.exists().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction(&self, context: impl Into<CommandContext>) -> Transaction {
        Transaction {
            shared: Arc::clone(&self.shared),
            context: context.into(),
            commands: Ok(Vec::new()),
        }
    }
}

impl Transaction {
    /// Adds a command for the instance `id` of the command's aggregate.
    pub fn send<C: Command>(self, id: impl AsRef<str>, command: C) -> Self {
        let context = self.context.clone();
        self.add::<C::Aggregate>(id.as_ref(), command, context)
    }

    /// Adds a command that is executed only if its stream has this version at the decision; 0 means that the aggregate
    /// must not exist yet. See [`CommandContext::with_expected_version`].
    pub fn send_expecting<C: Command>(self, id: impl AsRef<str>, version: u64, command: C) -> Self {
        let context = self.context.clone().with_expected_version(version);
        self.add::<C::Aggregate>(id.as_ref(), command, context)
    }

    fn add<A: Aggregate>(mut self, id: &str, command: A::Command, context: CommandContext) -> Self {
        if let Ok(commands) = &mut self.commands {
            let types = &self.shared.runtime.types;
            match TransactionCommand::new::<A>(types, id, command, context) {
                Ok(command) => commands.push(command),
                Err(error) => self.commands = Err(error),
            }
        }
        self
    }

    /// Executes the commands: decides them, stores their events in one commit, and returns when they are durable.
    ///
    /// In [`RunMode::Inline`] it also waits for the reactions to its events, as
    /// [`AggregateHandle::execute`](crate::AggregateHandle::execute) does.
    ///
    /// # Errors
    ///
    /// - [`TransactionError::Rejected`] if an aggregate rejects its command, with the command;
    /// - [`TransactionError::Conflict`] if a stream does not have the version that its command expects, with the command;
    /// - [`TransactionError::KeyReused`] if its idempotency key is that of another transaction;
    /// - [`TransactionError::NotLeader`] if another node is the leader, and the transaction cannot be
    ///   [forwarded](crate::AggregateStoreBuilder::replicated) to it;
    /// - [`TransactionError::Unavailable`] if no leader is found within
    ///   [`leader_patience`](crate::AggregateStoreBuilder::leader_patience). Only a replicated store has other nodes;
    /// - [`TransactionError::Store`] if a command could not be decided or written, if an id, the key or the metadata
    ///   cannot be used, or inside a reaction of a process manager.
    ///
    /// These errors store nothing. [`TransactionError::OutcomeUnknown`] if it is unknown whether the transaction is
    /// stored.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves either nothing or the whole transaction with its reactions.
    pub async fn commit(self) -> Result<Committed, TransactionError> {
        let span = tracing::debug_span!(
            "transaction",
            commands = self.commands.as_ref().map_or(0, Vec::len),
            position = tracing::field::Empty
        );
        let committed = self.commit_in_span().instrument(span.clone()).await?;
        span.record("position", committed.position);
        Ok(committed)
    }

    async fn commit_in_span(self) -> Result<Committed, TransactionError> {
        let Self {
            shared,
            context,
            commands,
        } = self;
        refuse_inside_reaction()?;
        check_context(&context)?;
        let commands = commands?;
        match shared.runtime.leadership.room().await {
            Ok(room) => commit_here(&shared, room, commands).await,
            Err(StoreError::NotLeader { leader }) => {
                Box::pin(forward::commit(&shared, leader, context, commands)).await
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Commits on this node, which was the leader when it got the room.
async fn commit_here(
    shared: &Shared,
    room: Room,
    commands: Vec<TransactionCommand>,
) -> Result<Committed, TransactionError> {
    let types: Vec<_> = commands
        .iter()
        .map(|command| Arc::clone(&command.stream().aggregate_type))
        .collect();
    let leadership = &shared.runtime.leadership;
    let hub = &shared.runtime.reactions;
    let is_awaited =
        shared.run_mode == RunMode::Inline && types.iter().any(|name| hub.concerns(name));
    let wait = is_awaited.then(|| hub.wait());
    let waiting = wait.as_ref().map(|wait| (Arc::clone(hub), wait.id()));

    let purpose = Purpose::Commit { room, waiting };
    let decided = decide_together(&shared.runtime, purpose, commands).await?;
    match &decided.decision {
        Decision::Committed { outcome, commands } => {
            let receipt = leadership.settled(outcome).await?;
            decided.settle_targets();
            let commands = commands.iter().map(|events| {
                let events = events.as_ref();
                CommittedCommand {
                    version: events.map(|events| events.version),
                    position: events.map(|events| receipt.first_position + events.before_last),
                }
            });
            Ok(Committed {
                commands: commands.collect(),
                position: Some(receipt.last_position()),
                reactions: shared.reactions(wait).await,
            })
        }
        Decision::Answer { pending, answer } => {
            for pending in pending {
                leadership.settled_before(pending).await?;
            }
            let count = answer.clone()?;
            Ok(Committed {
                commands: vec![CommittedCommand::default(); count],
                position: None,
                reactions: Reactions::NotAwaited,
            })
        }
        Decision::Repeated(repeated) => answer_again(shared, repeated, &types, wait).await,
    }
}

/// Returns the first answer to a transaction again.
async fn answer_again(
    shared: &Shared,
    repeated: &[Option<Repeated<()>>],
    types: &[Arc<str>],
    wait: Option<WaitGuard>,
) -> Result<Committed, TransactionError> {
    let mut commands = Vec::with_capacity(repeated.len());
    let mut positions: Option<(u64, u64)> = None;
    for repeated in repeated {
        let answer = match repeated {
            None => None,
            Some(Repeated::Durable(answer)) => Some(*answer),
            Some(Repeated::Pending(pending)) => {
                let leadership = &shared.runtime.leadership;
                let receipt = leadership.settled(&pending.outcome).await?;
                Some(pending.with(&receipt))
            }
        };
        if let Some(answer) = answer {
            let (first, last) = (answer.first_position, answer.last_position());
            positions = Some(match positions {
                None => (first, last),
                Some((begin, end)) => (first.min(begin), last.max(end)),
            });
        }
        commands.push(CommittedCommand {
            version: answer.map(|answer| answer.last_version()),
            position: answer.map(|answer| answer.last_position()),
        });
    }
    if let (Some(wait), Some(positions)) = (&wait, positions) {
        let durable = *shared.runtime.journal.durable().borrow();
        wait.begin_again(positions, types.iter().map(|name| &**name), durable);
    }
    Ok(Committed {
        commands,
        position: positions.map(|(_, last)| last),
        reactions: shared.reactions(wait).await,
    })
}
