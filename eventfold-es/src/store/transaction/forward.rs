//! A transaction of a follower, which the leader commits; and a transaction of another node, which this node commits.

use std::sync::Arc;

use super::{Committed, CommittedCommand, Transaction, commit_here};
use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{StoreError, TransactionCommandAt, TransactionError};
use crate::journal::StreamId;
use crate::replication::Node;
use crate::runtime::{Decision, Purpose, TransactionCommand, decide_together};
use crate::store::Shared;
use crate::store::forwarding::{Errand, Found, Part, Told};

/// Commits on the leader, or here as soon as this node is the leader.
pub(super) async fn commit(
    shared: &Arc<Shared>,
    leader: Option<Node>,
    context: CommandContext,
    commands: Vec<TransactionCommand>,
) -> Result<Committed, TransactionError> {
    let not_leader = StoreError::NotLeader { leader };
    let mut errand = Errand::begin(shared, context, true, not_leader)?;
    let mut addresses = Vec::with_capacity(commands.len());
    for command in &commands {
        let stream = command.stream().clone();
        addresses.push(stream.clone());
        errand.add(stream, command.expected_version(), command.command())?;
    }
    drop(commands);
    let committed = commit_by(shared, &mut errand, &addresses).await;
    errand.ends(&committed);
    committed
}

async fn commit_by(
    shared: &Arc<Shared>,
    errand: &mut Errand<'_>,
    addresses: &[StreamId],
) -> Result<Committed, TransactionError> {
    loop {
        match errand.find().await? {
            Found::Here(room) => {
                let mut commands = decoded(shared, errand, errand.context().clone())?;
                if let Some(key) = errand.generated_key() {
                    let each = commands.iter_mut();
                    each.for_each(|command| command.set_generated_key(&key));
                }
                match commit_here(shared, room, commands).await {
                    Err(TransactionError::NotLeader { leader }) => errand.lost(leader),
                    Err(TransactionError::Unavailable { reason }) => {
                        return Err(errand.doubted(StoreError::Unavailable { reason }).into());
                    }
                    Err(TransactionError::Store(error)) => {
                        return Err(errand.doubted(error).into());
                    }
                    committed => return committed,
                }
            }
            Found::There(Told::Executed {
                commands,
                reactions,
            }) => {
                return Ok(Committed {
                    position: commands.iter().filter_map(|part| part.position).max(),
                    commands: commands.into_iter().map(CommittedCommand::from).collect(),
                    reactions,
                });
            }
            Found::There(Told::Rejected) => {
                // The key would find the answer to an earlier transaction.
                let mut context = errand.context().clone();
                context.idempotency_key = None;
                let commands = decoded(shared, errand, context)?;
                let decided = decide_together(&shared.runtime, Purpose::Error, commands).await?;
                if let Decision::Answer {
                    answer: Err(error), ..
                } = &decided.decision
                {
                    return Err(error.clone());
                }
                // A state has changed since. Asking again settles it.
            }
            Found::There(Told::Conflict {
                index,
                expected,
                actual,
            }) => {
                let stream = addresses.get(index);
                let text = |text: &Arc<str>| text.to_string();
                return Err(TransactionError::Conflict {
                    at: TransactionCommandAt {
                        index,
                        aggregate_type: stream
                            .map_or_else(String::new, |stream| text(&stream.aggregate_type)),
                        instance_id: stream
                            .map_or_else(String::new, |stream| text(&stream.instance_id)),
                    },
                    expected,
                    actual,
                });
            }
            Found::There(told) => return Err(told.into_error().into()),
        }
    }
}

/// The commands of an errand, again.
fn decoded(
    shared: &Arc<Shared>,
    errand: &Errand<'_>,
    context: CommandContext,
) -> Result<Vec<TransactionCommand>, StoreError> {
    let mut transaction = Transaction {
        shared: Arc::clone(shared),
        context,
        commands: Ok(Vec::new()),
    };
    for (route, asked) in errand.commands() {
        transaction = (route.add)(transaction, &asked)?;
    }
    transaction.commands
}

impl From<Part> for CommittedCommand {
    fn from(part: Part) -> Self {
        Self {
            version: part.version,
            position: part.position,
        }
    }
}

impl From<CommittedCommand> for Part {
    fn from(command: CommittedCommand) -> Self {
        Self {
            version: command.version,
            position: command.position,
            events: 0,
        }
    }
}

impl Transaction {
    /// Adds a command of another node.
    pub(in crate::store) fn add_asked<A: Aggregate>(
        self,
        id: &str,
        command: A::Command,
        expected_version: Option<u64>,
    ) -> Self {
        let mut context = self.context.clone();
        context.expected_version = expected_version;
        self.add::<A>(id, command, context)
    }

    /// Commits for a node that has the log up to the batch `known`, with a generated key if the user has given none.
    pub(in crate::store) async fn commit_for_node(self, key: Option<String>, known: u64) -> Told {
        let Self {
            shared, commands, ..
        } = self;
        let mut commands = match commands {
            Ok(commands) => commands,
            Err(error) => return error.into(),
        };
        if let Some(key) = &key {
            let each = commands.iter_mut();
            each.for_each(|command| command.set_generated_key(key));
        }
        let room = match shared.runtime.leadership.room_for_node(known).await {
            Ok(room) => room,
            Err(reason) => return reason.into(),
        };
        match commit_here(&shared, room, commands).await {
            Ok(Committed {
                commands,
                reactions,
                ..
            }) => Told::Executed {
                commands: commands.into_iter().map(Part::from).collect(),
                reactions,
            },
            Err(error) => error.into(),
        }
    }
}
