//! The commands of one commit, of a reaction or a transaction. Their targets are looked up, locked in one order, and decide them.

use std::any::{Any, type_name};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cell::{Cell, Key, Keys, LockedCell, PartOfCommit, Repeated};
use super::cells::AggregateCells;
use super::guarded::{Kept, guard};
use super::origin::Origin;
use super::types::{AggregateTypes, check_context, check_id};
use crate::aggregate::Aggregate;
use crate::clock::StoreClock;
use crate::command::CommandContext;
use crate::envelope::{CommandEnvelope, DispatchTarget, Envelope};
use crate::error::{ExecuteError, StoreError};
use crate::journal::{Outcome, ProposedAppend, StreamId, Streams};
use crate::process_manager::FailureCause;
use crate::short;

/// A command whose target is known.
pub(super) type Staged = Box<dyn StagedCommand>;

/// A command that cannot be executed, with the reason that is stored beside it.
#[derive(Clone)]
pub(super) struct Undeliverable {
    pub(super) envelope: CommandEnvelope,
    pub(super) cause: FailureCause,
}

impl Undeliverable {
    pub(super) fn new(envelope: CommandEnvelope, reason: String) -> Box<Self> {
        let cause = FailureCause::Undecodable { reason };
        Box::new(Self { envelope, cause })
    }

    /// A command whose own code panicked.
    pub(super) fn panicked(envelope: CommandEnvelope, error: &StoreError) -> Box<Self> {
        let cause = cause_of(error);
        Box::new(Self { envelope, cause })
    }
}

type Loaded = Pin<Box<dyn Future<Output = Result<(Arc<dyn Target>, Keys), StoreError>> + Send>>;

/// Loads the cell of a target, and looks up the keys of its commands. Can be called repeatedly.
pub(super) type Loading = Box<dyn Fn() -> Loaded + Send + Sync>;

/// An aggregate of any type. Its cell can be looked up repeatedly.
pub(super) trait Address: Send + Sync {
    fn stream(&self) -> &StreamId;

    /// The cell of the target, if it is live and the lookup of these keys needs no I/O.
    fn live(&self, keys: &Keys) -> Option<Arc<dyn Target>>;

    /// Finds or loads the cell of the target, and looks up the keys.
    fn load(&self, keys: Keys) -> Loading;
}

/// A command of a process manager, for an aggregate of any type.
pub(super) trait StagedCommand: Send {
    fn address(&self) -> &dyn Address;

    /// A copy of the command, for the decision of the target.
    fn command(&self) -> Result<Box<dyn Any>, StoreError>;

    fn context(&self) -> &CommandContext;

    /// The idempotency key of the command.
    fn key(&self) -> Option<Key<'_>>;

    /// The stored form, for dead letters.
    fn erase(&self) -> CommandEnvelope;
}

/// The cell of an aggregate of any type.
pub(super) trait Target: Send + Sync {
    fn lock(&self) -> Box<dyn LockedTarget + '_>;

    /// Removes the cell from the live ones after its eviction.
    fn forget(self: Arc<Self>);

    /// See [`Cell::settle_if_free`].
    fn settle_if_free(&self);
}

/// The events of one command among the staged events of its stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StagedEvents {
    /// The version of the stream after these events.
    pub(super) version: u64,
    pub(super) count: usize,
}

/// The reason why an aggregate of any type did not execute a command.
pub(super) type Refusal = ExecuteError<Rejection>;

/// The rejection by an aggregate of any type.
#[derive(Debug, Clone)]
pub(super) struct Rejection(pub(super) Arc<dyn Error + Send + Sync>);

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Rejection {}

/// The locked cell of an aggregate of any type.
pub(super) trait LockedTarget {
    fn is_evicted(&self) -> bool;

    fn settle(&mut self) -> Result<(), StoreError>;

    /// See [`LockedCell::learn_answers`].
    fn learn_answers(&mut self, keys: &Keys, streams: &dyn Streams) -> bool;

    /// The last commit that a decision here depends on.
    fn last_pending(&self) -> Option<Arc<Outcome>>;

    /// The outcome of the earlier command with this key, unless that command is only staged.
    fn repeated(&self, key: &str) -> Option<Repeated<()>>;

    /// Decides a command and stages its events, with this key. `None` if an earlier command with the key was decided, and is the same one
    /// as far as commands can be compared.
    fn decide(
        &mut self,
        command: Box<dyn Any>,
        context: &CommandContext,
        key: Option<Key<'_>>,
        origin: Option<Origin<'_>>,
        clock: &StoreClock,
    ) -> Result<Option<StagedEvents>, Refusal>;

    /// The staged events, which are submitted next.
    fn proposed(&mut self) -> Option<ProposedAppend>;

    fn handed_over(&mut self, outcome: &Arc<Outcome>, part: PartOfCommit);
}

pub(super) fn stage<A: DispatchTarget>(
    types: &AggregateTypes,
    envelope: Envelope<A>,
) -> Result<Staged, Box<Undeliverable>> {
    let found = check_context(&envelope.context)
        .and_then(|()| AddressOf::<A>::new(types, &envelope.instance_id));
    match found {
        Ok(address) => Ok(Box::new(TypedCommand {
            address,
            envelope: Kept::new(envelope),
        })),
        Err(error) => {
            let envelope = Kept::new(envelope);
            Err(Undeliverable::new(erase(&envelope), error.to_string()))
        }
    }
}

fn erase<A: DispatchTarget>(envelope: &Envelope<A>) -> CommandEnvelope {
    let erased = guard(
        || format!("the encoding of a command of `{}`", A::AGGREGATE_TYPE),
        || envelope.erase(),
    );
    let reason = match erased {
        Ok(Ok(erased)) => return erased,
        Ok(Err(error)) => short::reason(error),
        Err(error) => short::reason(error),
    };
    CommandEnvelope {
        aggregate_type: A::AGGREGATE_TYPE.to_owned(),
        instance_id: envelope.instance_id.clone(),
        command: serde_json::Value::String(format!("the command does not serialize: {reason}")),
        context: envelope.context.clone(),
    }
}

/// The address of one aggregate.
pub(super) struct AddressOf<A: Aggregate> {
    stream: StreamId,
    cells: Arc<AggregateCells<A>>,
}

impl<A: Aggregate> AddressOf<A> {
    /// # Errors
    ///
    /// [`StoreError::InvalidId`] or [`StoreError::InvalidName`] if no such aggregate can exist.
    pub(super) fn new(types: &AggregateTypes, id: &str) -> Result<Self, StoreError> {
        check_id(A::AGGREGATE_TYPE, id)?;
        let cells = types.cells::<A>()?;
        Ok(Self {
            stream: cells.stream(&id.into()),
            cells,
        })
    }
}

impl<A: Aggregate> Address for AddressOf<A> {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn live(&self, keys: &Keys) -> Option<Arc<dyn Target>> {
        let id = &self.stream.instance_id;
        // A panic here occurs again in `load`, which reports it.
        let cell = self.cells.live_or_new(id).ok()??;
        self.cells.knows(id, keys).then(|| {
            Arc::new(TypedTarget {
                cells: Arc::clone(&self.cells),
                cell,
                id: Arc::clone(id),
            }) as Arc<dyn Target>
        })
    }

    fn load(&self, keys: Keys) -> Loading {
        let cells = Arc::clone(&self.cells);
        let id = Arc::clone(&self.stream.instance_id);
        Box::new(move || {
            let (cells, id, mut keys) = (Arc::clone(&cells), Arc::clone(&id), keys.clone());
            Box::pin(async move {
                let cell = cells.cell(&id).await?;
                cells.look_for(&id, &mut keys).await?;
                let target = TypedTarget { cells, cell, id };
                Ok((Arc::new(target) as Arc<dyn Target>, keys))
            })
        })
    }
}

struct TypedCommand<A: DispatchTarget> {
    address: AddressOf<A>,
    envelope: Kept<Envelope<A>>,
}

impl<A: DispatchTarget> StagedCommand for TypedCommand<A> {
    fn address(&self) -> &dyn Address {
        &self.address
    }

    fn command(&self) -> Result<Box<dyn Any>, StoreError> {
        let copy = guard(
            || format!("the clone of a command of `{}`", A::AGGREGATE_TYPE),
            || self.envelope.command.clone(),
        )?;
        Ok(Box::new(Kept::new(copy)))
    }

    fn context(&self) -> &CommandContext {
        &self.envelope.context
    }

    fn key(&self) -> Option<Key<'_>> {
        Key::of::<A>(&self.envelope.context, &self.envelope.command)
    }

    fn erase(&self) -> CommandEnvelope {
        erase(&self.envelope)
    }
}

struct TypedTarget<A: Aggregate> {
    cells: Arc<AggregateCells<A>>,
    cell: Arc<Cell<A>>,
    id: Arc<str>,
}

impl<A: Aggregate> Target for TypedTarget<A> {
    fn lock(&self) -> Box<dyn LockedTarget + '_> {
        Box::new(self.cell.lock())
    }

    fn forget(self: Arc<Self>) {
        self.cells.forget(&self.id, &self.cell);
    }

    fn settle_if_free(&self) {
        self.cell.settle_if_free();
    }
}

impl<A: Aggregate> LockedTarget for LockedCell<'_, A> {
    fn is_evicted(&self) -> bool {
        LockedCell::is_evicted(self)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        LockedCell::settle(self)
    }

    fn learn_answers(&mut self, keys: &Keys, streams: &dyn Streams) -> bool {
        LockedCell::learn_answers(self, keys, streams)
    }

    fn last_pending(&self) -> Option<Arc<Outcome>> {
        LockedCell::last_pending(self)
    }

    fn repeated(&self, key: &str) -> Option<Repeated<()>> {
        self.repeated_without_events(key)
    }

    fn decide(
        &mut self,
        command: Box<dyn Any>,
        context: &CommandContext,
        key: Option<Key<'_>>,
        origin: Option<Origin<'_>>,
        clock: &StoreClock,
    ) -> Result<Option<StagedEvents>, Refusal> {
        let Ok(command) = command.downcast::<Kept<A::Command>>() else {
            return Err(ExecuteError::Store(StoreError::InvalidName {
                name: A::AGGREGATE_TYPE.to_owned(),
                type_name: type_name::<A>(),
                reason: "the command has another type than its target decides".to_owned(),
            }));
        };
        if let Some(key) = key
            && let Some(before) = self.decided_before(key.text)
        {
            return match key.is_reused(before) {
                false => Ok(None),
                true => Err(key.reused().into()),
            };
        }
        let decided = self.decide_for(*command, context, key, origin, clock);
        let decided = decided.map_err(|error| match error {
            ExecuteError::Domain(error) => ExecuteError::Domain(Rejection(Arc::new(error))),
            ExecuteError::Conflict { expected, actual } => {
                ExecuteError::Conflict { expected, actual }
            }
            ExecuteError::KeyReused { key } => ExecuteError::KeyReused { key },
            ExecuteError::OutcomeUnknown { reason } => ExecuteError::OutcomeUnknown { reason },
            ExecuteError::NotLeader { leader } => ExecuteError::NotLeader { leader },
            ExecuteError::Unavailable { reason } => ExecuteError::Unavailable { reason },
            ExecuteError::Store(error) => ExecuteError::Store(error),
        })?;
        Ok(Some(StagedEvents {
            version: decided.version,
            count: decided.events.len(),
        }))
    }

    fn proposed(&mut self) -> Option<ProposedAppend> {
        LockedCell::proposed(self)
    }

    fn handed_over(&mut self, outcome: &Arc<Outcome>, part: PartOfCommit) {
        LockedCell::handed_over(self, outcome, part);
    }
}

/// An envelope of a reaction before the decision.
pub(super) enum Letter {
    Staged(Staged),
    Dead(Box<Undeliverable>),
}

/// The failure cause for the refusal of a target.
pub(super) fn cause_of_refusal(refusal: Refusal) -> FailureCause {
    match refusal {
        // Many places use the text of the error, so an error whose text panics is replaced.
        ExecuteError::Domain(Rejection(error)) => {
            match guard(|| "the text of the error".to_owned(), || error.to_string()) {
                Ok(_) => FailureCause::Rejected { error },
                Err(panicked) => {
                    drop(Kept::new(error));
                    cause_of(&panicked)
                }
            }
        }
        ExecuteError::Conflict { expected, actual } => FailureCause::Rejected {
            error: Arc::new(StoreError::Conflict { expected, actual }),
        },
        ExecuteError::KeyReused { key } => FailureCause::Rejected {
            error: Arc::new(StoreError::KeyReused { key }),
        },
        ExecuteError::OutcomeUnknown { reason } | ExecuteError::Unavailable { reason } => {
            FailureCause::Storage {
                reason: reason.to_string(),
            }
        }
        ExecuteError::NotLeader { leader } => cause_of(&StoreError::NotLeader { leader }),
        ExecuteError::Store(error) => cause_of(&error),
    }
}

/// The failure cause for an error of the store: an unreadable target, or a command that cannot be executed.
pub(super) fn cause_of(error: &StoreError) -> FailureCause {
    match error {
        StoreError::Panicked { what, message } => FailureCause::Panicked {
            message: format!("{what}: {message}"),
        },
        // The command is not the cause of these errors. It is executed when this or a newer program can read its target.
        StoreError::File(_)
        | StoreError::Damaged(_)
        | StoreError::Undecodable { .. }
        | StoreError::Refused { .. }
        | StoreError::OutcomeUnknown { .. }
        | StoreError::Poisoned { .. }
        | StoreError::Conflict { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::NotLeader { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Closed
        | StoreError::RuntimeGone => FailureCause::Storage {
            reason: error.to_string(),
        },
        _ => FailureCause::Undecodable {
            reason: error.to_string(),
        },
    }
}

impl Letter {
    /// The target and the key of the command. `None` for a dead letter.
    pub(super) fn wanted(&self) -> Option<Wanted<'_>> {
        match self {
            Self::Staged(staged) => Some(Wanted {
                address: staged.address(),
                keys: Keys::of(staged.context().idempotency_key.as_deref()),
            }),
            Self::Dead(_) => None,
        }
    }
}

/// A target to look up, and the keys of commands to it.
pub(super) struct Wanted<'a> {
    pub(super) address: &'a dyn Address,
    pub(super) keys: Keys,
}

/// The target of commands or the reason why it is unreadable, and the keys of the commands.
pub(super) struct FoundTarget {
    pub(super) stream: StreamId,
    pub(super) target: Result<Arc<dyn Target>, StoreError>,
    pub(super) keys: Keys,
}

/// The targets of one commit, each once, in the order of their locks. Most commits have one.
pub(super) type Targets = SmallVec<[FoundTarget; 1]>;

/// A live target, or its load.
pub(super) enum Lookup {
    Live(Arc<dyn Target>),
    Load(Loading),
}

/// The stream of a target, the keys of the commands to it, and the target.
pub(super) type Lookups = SmallVec<[(StreamId, Keys, Lookup); 1]>;

/// Looks up the targets of commands, each once, in the order of their locks.
pub(super) fn look_up<'a>(wanted: impl Iterator<Item = Wanted<'a>>) -> Lookups {
    let mut wanted: SmallVec<[Wanted<'a>; 1]> = wanted.collect();
    wanted.sort_by(|one, other| one.address.stream().cmp(other.address.stream()));
    wanted.dedup_by(|later, first| {
        let is_same = later.address.stream() == first.address.stream();
        if is_same {
            first.keys.append(std::mem::take(&mut later.keys));
        }
        is_same
    });
    let lookups = wanted.into_iter().map(|Wanted { address, keys }| {
        let lookup = match address.live(&keys) {
            Some(target) => Lookup::Live(target),
            None => Lookup::Load(address.load(keys.clone())),
        };
        (address.stream().clone(), keys, lookup)
    });
    lookups.collect()
}

/// Finds the cells of all targets.
///
/// # Errors
///
/// [`StoreError::RuntimeGone`] or [`StoreError::Closed`]. The state of the targets is unknown then, and no failure may be recorded for
/// them.
pub(super) async fn find_targets(lookups: Lookups) -> Result<Targets, StoreError> {
    let mut targets = Targets::with_capacity(lookups.len());
    for (stream, keys, lookup) in lookups {
        let found = match lookup {
            Lookup::Live(target) => Ok((target, keys.clone())),
            Lookup::Load(load) => match load().await {
                Err(error) => load_again(&load, error).await,
                loaded => loaded,
            },
        };
        let (target, keys) = match found {
            Ok((target, keys)) => (Ok(target), keys),
            Err(error @ (StoreError::RuntimeGone | StoreError::Closed)) => return Err(error),
            Err(error) => (Err(error), keys),
        };
        targets.push(FoundTarget {
            stream,
            target,
            keys,
        });
    }
    Ok(targets)
}

/// Loads a target once more after a failed read, which may be temporary. There is no delay: the policy handles longer failures, and no
/// other work has to wait for them.
async fn load_again(
    load: &Loading,
    error: StoreError,
) -> Result<(Arc<dyn Target>, Keys), StoreError> {
    match &error {
        StoreError::File(file) if !file.is_not_found() => load().await,
        _ => Err(error),
    }
}
