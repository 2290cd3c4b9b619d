//! Commands for several aggregates that are decided together and submitted as one commit.

use std::any::Any;
use std::collections::HashMap;
use std::mem::replace;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::cell::{Key, Keys, Repeated};
use super::guarded::Kept;
use super::locked_targets::{LockedTargets, forget_evicted};
use super::staging::{
    Address, AddressOf, Refusal, Rejection, StagedEvents, Targets, Wanted, find_targets, look_up,
};
use super::types::{AggregateTypes, check_context};
use super::{ReactionHub, Runtime};
use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{ExecuteError, StoreError, TransactionCommandAt, TransactionError};
use crate::journal::{Log, OnDurable, Outcome, ProposedCommit, Room, StreamId};
use crate::sabotage::{Bug, planted};

/// A command of a transaction, for an aggregate of any type.
pub(crate) struct TransactionCommand {
    address: Box<dyn Address>,
    command: Box<dyn Any + Send>,
    context: CommandContext,
    /// See [`Key::digest`].
    digest: Option<u64>,
}

impl TransactionCommand {
    /// # Errors
    ///
    /// [`StoreError`] if no such aggregate can exist, or if its context cannot be stored.
    pub(crate) fn new<A: Aggregate>(
        types: &AggregateTypes,
        id: &str,
        command: A::Command,
        context: CommandContext,
    ) -> Result<Self, StoreError> {
        let command = Kept::new(command);
        check_context(&context)?;
        Ok(Self {
            address: Box::new(AddressOf::<A>::new(types, id)?),
            digest: Key::of::<A>(&context, &command).and_then(|key| key.digest),
            command: Box::new(command),
            context,
        })
    }

    pub(crate) fn stream(&self) -> &StreamId {
        self.address.stream()
    }

    pub(crate) fn expected_version(&self) -> Option<u64> {
        self.context.expected_version
    }

    /// A `Kept<A::Command>`.
    pub(crate) fn command(&self) -> &dyn Any {
        &*self.command
    }

    /// Gives the command the generated key of its transaction.
    pub(crate) fn set_generated_key(&mut self, key: &str) {
        self.context.idempotency_key = Some(key.to_owned());
    }
}

/// The keys of the commands: the key of their transaction, and the number of earlier commands to the same target. So each command has the
/// same key in any order of the targets. A user's key contains no line break.
fn keys(commands: &[TransactionCommand]) -> Vec<Option<String>> {
    let mut counts: HashMap<&StreamId, usize> = HashMap::new();
    let keys = commands.iter().map(|command| {
        let key = command.context.idempotency_key.as_deref()?;
        let count = counts.entry(command.stream()).or_default();
        let before = replace(count, *count + 1);
        Some(format!("{key}\n{before}"))
    });
    keys.collect()
}

/// The events of one command in the commit of its transaction.
pub(crate) struct CommittedEvents {
    /// The version of the stream after these events.
    pub(crate) version: u64,
    /// The number of events in the commit before the last of them.
    pub(crate) before_last: u64,
}

/// The result of a decided transaction.
pub(crate) struct DecidedTogether {
    pub(crate) decision: Decision,
    targets: Targets,
}

impl DecidedTogether {
    /// Folds durable commits into the states of the targets. See [`Cell::settle_if_free`](super::Cell::settle_if_free).
    pub(crate) fn settle_targets(&self) {
        for target in self.targets.iter().flat_map(|found| &found.target) {
            target.settle_if_free();
        }
    }
}

/// The decision, with an entry for each command that caused events.
pub(crate) enum Decision {
    /// A commit was submitted.
    Committed {
        outcome: Arc<Outcome>,
        commands: Vec<Option<CommittedEvents>>,
    },
    /// There is nothing to commit. The answer is valid once these commits are durable.
    Answer {
        pending: Vec<Arc<Outcome>>,
        /// The number of commands, all without events, or the error.
        answer: Result<usize, TransactionError>,
    },
    /// The transaction was decided before, under the same key.
    Repeated(Vec<Option<Repeated<()>>>),
}

/// The wait for the reactions to a transaction.
pub(crate) type Waiting = Option<(Arc<ReactionHub>, u64)>;

/// The purpose of a decision.
pub(crate) enum Purpose {
    /// It is submitted, with this room.
    Commit { room: Room, waiting: Waiting },
    /// Nothing is submitted: only its error counts.
    Error,
}

/// Finds the targets of a transaction, and decides its commands in order, each on the state after the previous ones.
///
/// No await lies between the locks and the submission. So a dropped future leaves either nothing or the whole commit.
///
/// # Errors
///
/// [`TransactionError::Store`] if a target cannot be read or the store takes no commands.
pub(crate) async fn decide_together(
    runtime: &Runtime,
    purpose: Purpose,
    commands: Vec<TransactionCommand>,
) -> Result<DecidedTogether, TransactionError> {
    loop {
        let keys = keys(&commands);
        let wanted = commands.iter().zip(&keys).map(|(command, key)| Wanted {
            address: &*command.address,
            keys: Keys::of(key.as_deref()),
        });
        let lookups = look_up(wanted);
        let targets = find_targets(lookups).await?;
        let journal = &*runtime.journal;
        let Some(locked) = LockedTargets::lock(&targets, journal) else {
            forget_evicted(targets);
            continue;
        };
        let decision = decide_locked(locked, commands, keys, purpose, journal)?;
        return Ok(DecidedTogether { decision, targets });
    }
}

fn decide_locked(
    mut locked: LockedTargets<'_>,
    commands: Vec<TransactionCommand>,
    keys: Vec<Option<String>>,
    purpose: Purpose,
    log: &dyn Log,
) -> Result<Decision, TransactionError> {
    let digest = digest(&commands);
    let mut repeated = Vec::with_capacity(commands.len());
    for (command, key) in commands.iter().zip(&keys) {
        let target = match locked.peek(command.stream()) {
            Some(Ok(target)) => target,
            Some(Err(error)) => return Err(error.clone().into()),
            None => return Err(StoreError::Closed.into()),
        };
        repeated.push(key.as_deref().and_then(|key| target.repeated(key)));
    }
    if let Some(first) = repeated.iter().flatten().next() {
        let mut contexts = commands.iter().map(|command| &command.context);
        let key = contexts.find_map(|context| context.idempotency_key.as_deref());
        let key = Key {
            text: key.unwrap_or_default(),
            digest: Some(digest),
        };
        return Ok(match key.is_reused(first.digest()) {
            false => Decision::Repeated(repeated),
            true => Decision::Answer {
                pending: first.pending().into_iter().collect(),
                answer: Err(key.reused().into()),
            },
        });
    }
    let mut staged: Vec<(StreamId, Option<StagedEvents>)> = Vec::with_capacity(commands.len());
    for (index, (command, text)) in commands.into_iter().zip(keys).enumerate() {
        let key = text.as_deref().map(|text| Key {
            text,
            digest: Some(digest),
        });
        let stream = command.stream().clone();
        let Some(Ok(target)) = locked.target(&stream, text.as_deref()) else {
            return Err(StoreError::Closed.into());
        };
        let decided = target.decide(command.command, &command.context, key, None, log.clock());
        match decided {
            // A command that was decided before under its key stages nothing here.
            Ok(events) => staged.push((stream, events)),
            Err(_) if planted(Bug::RejectedTransactionGoesOn) => {}
            Err(refusal) => {
                let pending = locked.last_pending().collect();
                let answer = Err(refused(index, &stream, refusal));
                return Ok(Decision::Answer { pending, answer });
            }
        }
    }
    let after = locked.last_pending().collect();
    let Purpose::Commit { room, waiting } = purpose else {
        return Ok(Decision::Answer {
            pending: after,
            answer: Ok(staged.len()),
        });
    };
    let appends = locked.proposed();
    let commands = staged.into_iter().map(|(stream, events)| {
        let events = events.filter(|events| events.count > 0)?;
        let part = locked.part_of(&stream)?;
        let append = appends.get(part.append)?;
        Some(CommittedEvents {
            version: events.version,
            before_last: part.before + events.version - append.expected_version - 1,
        })
    });
    let commands: Vec<_> = commands.collect();
    if appends.is_empty() {
        return Ok(Decision::Answer {
            pending: after,
            answer: Ok(commands.len()),
        });
    }
    let aggregate_types: Vec<_> = appends
        .iter()
        .map(|append| Arc::clone(&append.stream.aggregate_type))
        .collect();
    let commit = ProposedCommit {
        after,
        appends,
        on_durable: waiting.map(|(hub, wait)| {
            let begin = move |receipt: &_| {
                hub.begin(wait, receipt, aggregate_types.iter().map(|name| &**name));
            };
            Box::new(begin) as OnDurable
        }),
        ..ProposedCommit::default()
    };
    let outcome = log.submit(room, commit);
    locked.handed_over(&outcome);
    Ok(Decision::Committed { outcome, commands })
}

/// The digest of a transaction: its targets, and its commands as far as they can be compared.
fn digest(commands: &[TransactionCommand]) -> u64 {
    let mut hash = Xxh3::new();
    for command in commands {
        let stream = command.stream();
        for text in [&stream.aggregate_type, &stream.instance_id] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(&[u8::from(command.digest.is_some())]);
        hash.update(&command.digest.unwrap_or_default().to_le_bytes());
    }
    hash.digest()
}

/// The error of a transaction whose command at `index` was not executed.
fn refused(index: usize, stream: &StreamId, refusal: Refusal) -> TransactionError {
    let at = || TransactionCommandAt {
        index,
        aggregate_type: stream.aggregate_type.to_string(),
        instance_id: stream.instance_id.to_string(),
    };
    match refusal {
        ExecuteError::Domain(Rejection(error)) => TransactionError::Rejected { at: at(), error },
        ExecuteError::Conflict { expected, actual } => TransactionError::Conflict {
            at: at(),
            expected,
            actual,
        },
        ExecuteError::KeyReused { key } => TransactionError::KeyReused { key },
        ExecuteError::OutcomeUnknown { reason } => TransactionError::OutcomeUnknown { reason },
        ExecuteError::NotLeader { leader } => TransactionError::NotLeader { leader },
        ExecuteError::Unavailable { reason } => TransactionError::Unavailable { reason },
        ExecuteError::Store(error) => TransactionError::Store(error),
    }
}
