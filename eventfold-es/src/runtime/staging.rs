//! The commands of one reaction: loaded, locked in one order, decided in theirs, and handed over as one commit.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cell::{Cell, LockedCell, Needs, PartOfCommit};
use super::cells::AggregateCells;
use super::origin::Origin;
use super::types::{AggregateTypes, check_context, check_id};
use crate::clock::StoreClock;
use crate::command::CommandContext;
use crate::envelope::{CommandEnvelope, DispatchTarget, Envelope};
use crate::error::{ExecuteError, StoreError};
use crate::journal::{Outcome, ProposedAppend, StreamId};
use crate::process_manager::FailureCause;

/// A command whose target is known.
pub(super) type Staged = Box<dyn StagedCommand>;

/// A command that cannot be executed, with the reason that is stored beside it.
pub(super) struct Undeliverable {
    pub(super) envelope: CommandEnvelope,
    pub(super) reason: String,
}

impl Undeliverable {
    pub(super) fn new(envelope: CommandEnvelope, reason: String) -> Box<Self> {
        Box::new(Self { envelope, reason })
    }
}

type Loaded = Pin<Box<dyn Future<Output = Result<Arc<dyn Target>, StoreError>> + Send>>;

/// Finds the cell of a target, as often as it is called.
pub(super) type Loading = Box<dyn Fn() -> Loaded + Send + Sync>;

/// A command of any aggregate.
pub(super) trait StagedCommand: Send {
    fn stream(&self) -> &StreamId;

    /// The cell of the target, if it is live and knows what is needed.
    fn live(&self, needs: Needs) -> Option<Arc<dyn Target>>;

    /// Finds the cell of the target, loading it if need be, and lets it learn what is needed.
    fn load(&self, needs: Needs) -> Loading;

    /// A copy of the command, for the target's decision.
    fn command(&self) -> Box<dyn Any>;

    fn context(&self) -> &CommandContext;

    /// The stored form, for the dead-letter log.
    fn erase(&self) -> CommandEnvelope;
}

/// The cell of any aggregate.
pub(super) trait Target: Send + Sync {
    fn lock(&self) -> Box<dyn LockedTarget + '_>;

    /// Removes the cell from the live ones after it was evicted.
    fn forget(self: Arc<Self>);
}

/// The locked cell of any aggregate.
pub(super) trait LockedTarget {
    fn is_evicted(&self) -> bool;

    fn settle(&mut self) -> Result<(), StoreError>;

    /// The last commit that a decision here depends on.
    fn last_pending(&self) -> Option<Arc<Outcome>>;

    /// Decides a command and stages its events, unless it was decided before under the same key; the cause if it is rejected
    /// or cannot be decided.
    fn decide(
        &mut self,
        command: Box<dyn Any>,
        context: &CommandContext,
        origin: Origin<'_>,
        clock: &StoreClock,
    ) -> Result<(), FailureCause>;

    /// What was staged, which is handed over next.
    fn proposed(&mut self) -> Option<ProposedAppend>;

    fn handed_over(&mut self, outcome: &Arc<Outcome>, part: PartOfCommit);
}

pub(super) fn stage<A: DispatchTarget>(
    types: &AggregateTypes,
    envelope: Envelope<A>,
) -> Result<Staged, Box<Undeliverable>> {
    let found = check_id(A::AGGREGATE_TYPE, &envelope.instance_id)
        .and_then(|()| check_context(&envelope.context))
        .and_then(|()| types.cells::<A>());
    match found {
        Ok(cells) => Ok(Box::new(TypedCommand {
            stream: cells.stream(&envelope.instance_id.as_str().into()),
            cells,
            envelope,
        })),
        Err(error) => Err(Undeliverable::new(erase(&envelope), error.to_string())),
    }
}

fn erase<A: DispatchTarget>(envelope: &Envelope<A>) -> CommandEnvelope {
    envelope.erase().unwrap_or_else(|error| CommandEnvelope {
        aggregate_type: A::AGGREGATE_TYPE.to_owned(),
        instance_id: envelope.instance_id.clone(),
        command: serde_json::Value::String(format!("the command does not serialize: {error}")),
        context: envelope.context.clone(),
    })
}

struct TypedCommand<A: DispatchTarget> {
    stream: StreamId,
    cells: Arc<AggregateCells<A>>,
    envelope: Envelope<A>,
}

impl<A: DispatchTarget> StagedCommand for TypedCommand<A> {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn live(&self, needs: Needs) -> Option<Arc<dyn Target>> {
        let id = &self.stream.instance_id;
        let cell = self.cells.live_or_new(id)?;
        let is_enough = cell.lock().knows(needs);
        is_enough.then(|| {
            Arc::new(TypedTarget {
                cells: Arc::clone(&self.cells),
                cell,
                id: Arc::clone(id),
            }) as Arc<dyn Target>
        })
    }

    fn load(&self, needs: Needs) -> Loading {
        let cells = Arc::clone(&self.cells);
        let id = Arc::clone(&self.stream.instance_id);
        Box::new(move || {
            let (cells, id) = (Arc::clone(&cells), Arc::clone(&id));
            Box::pin(async move {
                let cell = cells.cell(&id).await?;
                cells.learn(&id, &cell, needs).await?;
                Ok(Arc::new(TypedTarget { cells, cell, id }) as Arc<dyn Target>)
            })
        })
    }

    fn command(&self) -> Box<dyn Any> {
        Box::new(self.envelope.command.clone())
    }

    fn context(&self) -> &CommandContext {
        &self.envelope.context
    }

    fn erase(&self) -> CommandEnvelope {
        erase(&self.envelope)
    }
}

struct TypedTarget<A: DispatchTarget> {
    cells: Arc<AggregateCells<A>>,
    cell: Arc<Cell<A>>,
    id: Arc<str>,
}

impl<A: DispatchTarget> Target for TypedTarget<A> {
    fn lock(&self) -> Box<dyn LockedTarget + '_> {
        Box::new(self.cell.lock())
    }

    fn forget(self: Arc<Self>) {
        self.cells.forget(&self.id, &self.cell);
    }
}

impl<A: DispatchTarget> LockedTarget for LockedCell<'_, A> {
    fn is_evicted(&self) -> bool {
        LockedCell::is_evicted(self)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        LockedCell::settle(self)
    }

    fn last_pending(&self) -> Option<Arc<Outcome>> {
        LockedCell::last_pending(self)
    }

    fn decide(
        &mut self,
        command: Box<dyn Any>,
        context: &CommandContext,
        origin: Origin<'_>,
        clock: &StoreClock,
    ) -> Result<(), FailureCause> {
        let command = command
            .downcast::<A::Command>()
            .map_err(|_| FailureCause::Undecodable {
                reason: "the command has another type than its target decides".to_owned(),
            })?;
        if let Some(key) = &context.idempotency_key
            && self.find_answer(key).is_some()
        {
            return Ok(());
        }
        self.decide_for(*command, context, Some(origin), clock)
            .map(drop)
            .map_err(|error| match error {
                ExecuteError::Domain(error) => FailureCause::Rejected {
                    error: Arc::new(error),
                },
                ExecuteError::Store(error) => cause_of(&error),
                ExecuteError::Conflict { expected, actual } => FailureCause::Rejected {
                    error: Arc::new(StoreError::Conflict { expected, actual }),
                },
                other => FailureCause::Storage {
                    reason: other.to_string(),
                },
            })
    }

    fn proposed(&mut self) -> Option<ProposedAppend> {
        LockedCell::proposed(self)
    }

    fn handed_over(&mut self, outcome: &Arc<Outcome>, part: PartOfCommit) {
        LockedCell::handed_over(self, outcome, part);
    }
}

/// What became of one envelope before it was decided.
pub(super) enum Letter {
    Staged(Staged),
    Dead(Box<Undeliverable>),
}

/// The cause of a command's failure, if the store failed like this: its target cannot be read, or the command cannot be executed.
pub(super) fn cause_of(error: &StoreError) -> FailureCause {
    match error {
        StoreError::Panicked { what, message } => FailureCause::Panicked {
            message: format!("{what}: {message}"),
        },
        // The command is not to blame: it is executed when its target can be read, by this program or by a newer one.
        StoreError::File(_)
        | StoreError::Damaged(_)
        | StoreError::Undecodable { .. }
        | StoreError::Refused { .. }
        | StoreError::OutcomeUnknown { .. }
        | StoreError::Poisoned { .. }
        | StoreError::Conflict { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::Closed
        | StoreError::RuntimeGone => FailureCause::Storage {
            reason: error.to_string(),
        },
        _ => FailureCause::Undecodable {
            reason: error.to_string(),
        },
    }
}

/// The target of commands, or the reason why it cannot be read, which their policy is told.
pub(super) struct FoundTarget {
    pub(super) stream: StreamId,
    pub(super) target: Result<Arc<dyn Target>, FailureCause>,
}

/// The targets of one reaction, each once, in the order in which they are locked; most reactions have one.
pub(super) type Targets = SmallVec<[FoundTarget; 1]>;

/// A target that is live, or how it is loaded.
pub(super) enum Lookup {
    Live(Arc<dyn Target>),
    Load(Loading),
}

/// Looks for the targets of the commands of a reaction, each once, in the order in which they are locked.
pub(super) fn look_up<'a>(
    letters: impl Iterator<Item = &'a Letter>,
) -> SmallVec<[(StreamId, Lookup); 1]> {
    let mut staged: SmallVec<[(&dyn StagedCommand, Needs); 1]> = letters
        .filter_map(|letter| match letter {
            Letter::Staged(staged) => Some((
                &**staged,
                match staged.context().idempotency_key {
                    Some(_) => Needs::Answers,
                    None => Needs::State,
                },
            )),
            Letter::Dead(_) => None,
        })
        .collect();
    // Of several commands to one target, the first is one that needs most.
    staged.sort_by(|(one, needs), (other, other_needs)| {
        let is_least = |needs: &Needs| *needs == Needs::State;
        one.stream()
            .cmp(other.stream())
            .then_with(|| is_least(needs).cmp(&is_least(other_needs)))
    });
    staged.dedup_by(|(later, _), (first, _)| later.stream() == first.stream());
    staged
        .into_iter()
        .map(|(staged, needs)| {
            let lookup = match staged.live(needs) {
                Some(target) => Lookup::Live(target),
                None => Lookup::Load(staged.load(needs)),
            };
            (staged.stream().clone(), lookup)
        })
        .collect()
}

/// Finds the cells of all targets.
///
/// # Errors
///
/// [`StoreError::RuntimeGone`] or [`StoreError::Closed`]: nothing is known of the targets then, and nothing may be said of them.
pub(super) async fn find_targets(
    lookups: SmallVec<[(StreamId, Lookup); 1]>,
) -> Result<Targets, StoreError> {
    let mut targets = Targets::with_capacity(lookups.len());
    for (stream, lookup) in lookups {
        let target = match lookup {
            Lookup::Live(target) => Ok(target),
            Lookup::Load(load) => match load().await {
                Err(error) => load_again(&load, error).await,
                loaded => loaded,
            },
        };
        let target = match target {
            Err(error @ (StoreError::RuntimeGone | StoreError::Closed)) => return Err(error),
            found => found.map_err(|error| cause_of(&error)),
        };
        targets.push(FoundTarget { stream, target });
    }
    Ok(targets)
}

/// Looks once more for a target that could not be read, since the reason may have been one of a moment. It waits for nothing: what lasts
/// longer is a matter of the policy, and nobody else is to wait for that.
async fn load_again(load: &Loading, error: StoreError) -> Result<Arc<dyn Target>, StoreError> {
    match &error {
        StoreError::File(file) if !file.is_not_found() => load().await,
        _ => Err(error),
    }
}
