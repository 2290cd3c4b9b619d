//! A command of a follower, which the leader executes; and a command of another node, which this node executes.

use super::{AggregateHandle, Executed, Needs};
use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{ExecuteError, StoreError};
use crate::replication::Node;
use crate::runtime::{EventsOfStream, Kept, Reactions, recall_events};
use crate::store::forwarding::{Errand, Found, Part, Told};

type Result<A> = std::result::Result<
    Executed<<A as Aggregate>::DomainEvent>,
    ExecuteError<<A as Aggregate>::Error>,
>;

impl<A: Aggregate> AggregateHandle<A> {
    /// Executes a command on the leader, or here as soon as this node is the leader.
    pub(super) async fn forward(
        &self,
        leader: Option<Node>,
        command: Kept<A::Command>,
        context: CommandContext,
    ) -> Result<A> {
        let expected_version = context.expected_version;
        let not_leader = StoreError::NotLeader { leader };
        let mut errand = Errand::begin(&self.shared, context, false, not_leader)?;
        errand.add(self.cells.stream(&self.id), expected_version, &command)?;
        drop(command);
        let executed = self.forward_by(&mut errand, expected_version).await;
        errand.ends(&executed);
        executed
    }

    async fn forward_by(
        &self,
        errand: &mut Errand<'_>,
        expected_version: Option<u64>,
    ) -> Result<A> {
        let mut context = errand.context().clone();
        context.expected_version = expected_version;
        loop {
            match errand.find().await? {
                Found::Here(room) => {
                    let command = self.decoded(errand)?;
                    let mut context = context.clone();
                    if let Some(key) = errand.generated_key() {
                        context.idempotency_key = Some(key);
                    }
                    match self.execute_here(room, command, &context).await {
                        Err(ExecuteError::NotLeader { leader }) => errand.lost(leader),
                        Err(ExecuteError::Unavailable { reason }) => {
                            return Err(errand.doubted(StoreError::Unavailable { reason }).into());
                        }
                        Err(ExecuteError::Store(error)) => {
                            return Err(errand.doubted(error).into());
                        }
                        executed => return executed,
                    }
                }
                Found::There(Told::Executed {
                    commands,
                    reactions,
                }) => return self.executed_there(&commands, reactions).await,
                Found::There(Told::Rejected) => {
                    let command = self.decoded(errand)?;
                    if let Some(error) = self.rejects(command, &context).await? {
                        return Err(error);
                    }
                    // The state has changed since. Asking again settles it.
                }
                Found::There(told) => return Err(told.into_error().into()),
            }
        }
    }

    /// The command of an errand, again.
    fn decoded(&self, errand: &Errand<'_>) -> std::result::Result<Kept<A::Command>, StoreError> {
        let mut commands = errand.commands();
        let decoded = commands
            .next()
            .map(|(route, asked)| (route.decode)(asked.command));
        match decoded.transpose()?.map(|command| command.downcast()) {
            Some(Ok(command)) => Ok(*command),
            Some(Err(_)) | None => Err(StoreError::Closed),
        }
    }

    /// The error of the command on the state of this node. `None` if it would be accepted.
    async fn rejects(
        &self,
        command: Kept<A::Command>,
        context: &CommandContext,
    ) -> std::result::Result<Option<ExecuteError<A::Error>>, StoreError> {
        let clock = self.shared.runtime.journal.clock();
        let decided = self.with_cell(Needs::State, |_, locked| {
            // The lock undoes staged events that are not submitted.
            Ok::<_, StoreError>(locked.decide(command, context, None, clock).err())
        });
        decided.await
    }

    /// The result of a command that the leader has executed, with the events from the journal of this node.
    async fn executed_there(&self, commands: &[Part], reactions: Reactions) -> Result<A> {
        let unknown = |reason: String| {
            let reason = reason.into();
            ExecuteError::OutcomeUnknown { reason }
        };
        let Some(Part {
            version: Some(version),
            position,
            events: count,
        }) = commands.first().copied()
        else {
            return Err(unknown(
                "the answer of the leader has no version".to_owned(),
            ));
        };
        let place = EventsOfStream {
            first_version: version.saturating_add(1).saturating_sub(count),
            first_position: position.map_or(0, |last| last.saturating_add(1).saturating_sub(count)),
            count,
        };
        let stream = self.cells.stream(&self.id);
        let events = recall_events::<A>(&self.shared.runtime.journal, stream, place).await;
        let events = events.map_err(|error| {
            unknown(format!(
                "the command is stored, and its events cannot be read on this node: {error}"
            ))
        })?;
        if events.len() as u64 != count {
            drop(Kept::each::<Vec<_>>(events));
            return Err(unknown(
                "the command is stored, and its events are not in the journal of this node"
                    .to_owned(),
            ));
        }
        Ok(Executed {
            events,
            version,
            position,
            reactions,
        })
    }

    /// Executes a command of a node that has the log up to the batch `known`.
    pub(in crate::store) async fn execute_for_node(
        &self,
        command: Kept<A::Command>,
        context: &CommandContext,
        known: u64,
    ) -> Told {
        let leadership = &self.shared.runtime.leadership;
        let room = match leadership.room_for_node(known).await {
            Ok(room) => room,
            Err(reason) => return reason.into(),
        };
        match self
            .in_span(self.execute_here(room, command, context))
            .await
        {
            Ok(executed) => {
                let part = Part {
                    version: Some(executed.version),
                    position: executed.position,
                    events: executed.events.len() as u64,
                };
                drop(Kept::each::<Vec<_>>(executed.events));
                Told::Executed {
                    commands: vec![part],
                    reactions: executed.reactions,
                }
            }
            Err(error) => error.into(),
        }
    }
}
