//! The cell of one live aggregate: its durable state, the state that commands are decided on, and what lies between.

mod answers;
mod event_ids;
mod keys;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use answers::Marks;
pub(crate) use answers::Repeated;
use event_ids::EventIds;
pub(crate) use event_ids::Place;
pub(super) use event_ids::read_event_ids;
use keys::KnownKeys;
pub(crate) use keys::{Key, Keys};

use super::encode::EncodedEvent;
use super::guarded::{Kept, guard};
use super::origin::Origin;
use super::snapshots::{CellSnapshots, Save};
use crate::aggregate::{Aggregate, Deciding};
use crate::clock::StoreClock;
use crate::command::CommandContext;
use crate::error::{ExecuteError, StoreError};
use crate::journal::{
    CommitError, JournalError, KeyedLines, Outcome, ProposedAppend, StreamEnd, StreamId,
    StreamReader,
};
use crate::sabotage::{Bug, planted};

/// A live aggregate.
pub(crate) struct Cell<A: Aggregate> {
    stream: StreamId,
    snapshots: CellSnapshots,
    body: Mutex<CellBody<A>>,
}

struct CellBody<A: Aggregate> {
    /// Set under the lock when the cell leaves the map: whoever waited for the lock looks the aggregate up again.
    is_evicted: bool,
    durable: Kept<A>,
    /// Where the stream ends that the durable state has seen.
    durable_end: StreamEnd,
    /// The durable state with the pending events; rebuilt from them when missing.
    speculative: Option<Kept<A>>,
    /// The version of the speculative state.
    version: u64,
    /// The commits that were handed over and not seen durable yet, oldest first.
    pending: VecDeque<Pending<A>>,
    /// If they were asked for; most are never asked.
    event_ids: Option<Box<EventIds>>,
    last_used: Instant,
}

struct Pending<A: Aggregate> {
    outcome: Arc<Outcome>,
    /// Which append of the commit it is.
    append: usize,
    events: Vec<Kept<A::DomainEvent>>,
    marks: Marks,
}

impl<A: Aggregate> Pending<A> {
    /// Where the stream ends with it, once it is durable.
    fn end(&self) -> Option<StreamEnd> {
        let receipt = self.outcome.get()?.as_ref().ok()?;
        receipt.ends.get(self.append).copied()
    }
}

/// Where in a commit the events of one stream are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PartOfCommit {
    /// Which append they are.
    pub(crate) append: usize,
    /// How many events of other streams stand before them.
    pub(crate) before: u64,
}

/// What became of a cell that may be idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// It stays.
    Kept,
    /// It can go when its state is saved.
    Unsaved,
    /// It is marked.
    Evicted,
}

/// What a command came to.
pub(crate) struct Decided<E> {
    /// As they read back.
    pub(crate) events: Vec<Kept<E>>,
    /// The version of the stream with them.
    pub(crate) version: u64,
}

impl<E> Decided<E> {
    /// Its events, for the caller of the store.
    pub(crate) fn into_events(self) -> Vec<E> {
        self.events.into_iter().map(Kept::into_inner).collect()
    }
}

impl<A: Aggregate> Cell<A> {
    /// The cell of a stream without events.
    pub(super) fn new(stream: StreamId, snapshots: CellSnapshots) -> Result<Self, StoreError> {
        let state = guard(
            || format!("the default of `{}`", A::AGGREGATE_TYPE),
            A::default,
        )?;
        Ok(Self::with_state(
            stream,
            state,
            StreamEnd::default(),
            snapshots,
        ))
    }

    /// Folds the next events of a stream into the state before them.
    pub(super) fn load(
        stream: StreamId,
        state: A,
        events: &mut dyn StreamReader,
        snapshots: CellSnapshots,
    ) -> Result<Self, StoreError> {
        let state = fold(&stream, state, events, u64::MAX)??;
        Ok(Self::with_state(stream, state, events.end(), snapshots))
    }

    fn with_state(
        stream: StreamId,
        durable: A,
        durable_end: StreamEnd,
        snapshots: CellSnapshots,
    ) -> Self {
        Self {
            stream,
            snapshots,
            body: Mutex::new(CellBody {
                is_evicted: false,
                durable: Kept::new(durable),
                durable_end,
                speculative: None,
                version: durable_end.version,
                pending: VecDeque::new(),
                event_ids: None,
                last_used: Instant::now(),
            }),
        }
    }

    /// Whether it has no event, durable or not.
    pub(super) fn is_new(&self) -> bool {
        self.lock().body.version == 0
    }

    /// Locks the cell; never held across an await.
    pub(crate) fn lock(&self) -> LockedCell<'_, A> {
        // A poisoned lock is fine: user code runs under `guard`, and what it was changing is discarded.
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever finds it looks it up again, and folds it from its first event.
        body.is_evicted |= self.snapshots.are_refuted() && body.pending.is_empty();
        self.locked(body)
    }

    fn locked<'a>(&'a self, body: MutexGuard<'a, CellBody<A>>) -> LockedCell<'a, A> {
        LockedCell {
            stream: &self.stream,
            snapshots: &self.snapshots,
            body,
            staged: Vec::new(),
            staged_keys: Vec::new(),
            known_keys: KnownKeys::new(),
        }
    }

    /// Marks the cell as evicted since its stream has got events that did not come from here. Whatever was decided without them
    /// fails, or was durable before them.
    pub(super) fn evict_as_stale(&self) {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.is_evicted = true;
    }

    /// Takes what became durable into the durable state, unless somebody is at it who will, so that nothing of what is done
    /// stays with an aggregate that is not used again.
    pub(crate) fn settle_if_free(&self) {
        let Ok(body) = self.body.try_lock() else {
            return;
        };
        let mut locked = self.locked(body);
        // A state that cannot be folded is evicted; whoever needs it next is told.
        if locked.settle().is_ok() && locked.body.pending.is_empty() {
            locked.body.pending = VecDeque::new();
        }
    }

    /// Marks the cell as evicted if it was idle for `timeout`, nothing of it is pending and its state is saved; keeps
    /// only the durable state if it was idle for a moment.
    pub(super) fn evict_if_idle(&self, now: Instant, timeout: Duration) -> Idle {
        let Ok(mut body) = self.body.try_lock() else {
            return Idle::Kept;
        };
        if body.is_evicted {
            return Idle::Evicted;
        }
        let idle = now.saturating_duration_since(body.last_used);
        let is_settled = body
            .pending
            .iter()
            .all(|pending| pending.outcome.is_durable());
        if !is_settled && !planted(Bug::EvictionWithPendingCommits) {
            return Idle::Kept;
        }
        if idle >= timeout {
            if self.snapshots.is_unsaved(body.version) {
                return Idle::Unsaved;
            }
            body.is_evicted = true;
            return Idle::Evicted;
        }
        if idle >= SECOND_COPY_IDLE {
            let mut locked = self.locked(body);
            if locked.settle().is_err() {
                return Idle::Evicted;
            }
            locked.body.speculative = None;
            locked.body.pending = VecDeque::new();
        }
        Idle::Kept
    }

    /// What saves the state, if that is all that keeps the cell from being evicted.
    pub(super) fn save_before_eviction(&self, now: Instant, timeout: Duration) -> Option<Save> {
        if self.evict_if_idle(now, timeout) != Idle::Unsaved {
            return None;
        }
        let mut locked = self.lock();
        locked.settle().ok()?;
        let body = &*locked.body;
        if body.is_evicted || !body.pending.is_empty() {
            return None;
        }
        self.snapshots
            .begin::<A>(&self.stream, &body.durable, body.durable_end)
    }
}

/// Copies of events of `aggregate_type`.
fn clones<'e, E: Clone + 'e>(
    aggregate_type: &str,
    events: impl Iterator<Item = &'e E>,
) -> Result<Vec<Kept<E>>, StoreError> {
    guard(
        || format!("the clone of an event of `{aggregate_type}`"),
        || events.map(|event| Kept::new(event.clone())).collect(),
    )
}

/// How long an aggregate keeps the second copy of its state after its last command.
const SECOND_COPY_IDLE: Duration = Duration::from_secs(1);

pub(super) fn decode<A: Aggregate>(
    stream: &StreamId,
    version: u64,
    line: &str,
) -> Result<A::DomainEvent, StoreError> {
    use crate::event::{DomainEvent as _, StoredEvent};
    // Where it stands in the store is nothing to its decoding.
    StoredEvent::of_line(0, version, line)
        .and_then(|event| A::DomainEvent::from_stored(&event))
        .map_err(|source| StoreError::Undecodable {
            aggregate_type: stream.aggregate_type.to_string(),
            instance_id: stream.instance_id.to_string(),
            version,
            source,
        })
}

/// Folds the next events of a stream into the state before them, up to a version. The inner error is of an event or its fold.
pub(super) fn fold<A: Aggregate>(
    stream: &StreamId,
    mut state: A,
    events: &mut dyn StreamReader,
    up_to: u64,
) -> Result<Result<A, StoreError>, JournalError> {
    while events.end().version < up_to
        && let Some(append) = events.next()?
    {
        for (version, line) in append.events().take_while(|(version, _)| *version <= up_to) {
            let folded = decode::<A>(stream, version, line).and_then(|event| {
                guard(
                    || format!("the fold of `{}`", A::AGGREGATE_TYPE),
                    || state.apply(&event),
                )
            });
            match folded {
                Ok(folded) => state = folded,
                Err(error) => return Ok(Err(error)),
            }
        }
    }
    Ok(Ok(state))
}

/// A locked cell: commands are decided and staged here, then handed over together.
pub(crate) struct LockedCell<'a, A: Aggregate> {
    stream: &'a StreamId,
    snapshots: &'a CellSnapshots,
    body: MutexGuard<'a, CellBody<A>>,
    /// Decided and folded, but not handed over.
    staged: Vec<EncodedEvent<A::DomainEvent>>,
    /// Which of the staged events commands with an idempotency key caused.
    staged_keys: Vec<KeyedLines>,
    /// The durable answers to the commands that are to be decided and have keys.
    known_keys: KnownKeys,
}

impl<A: Aggregate> LockedCell<'_, A> {
    pub(crate) fn is_evicted(&self) -> bool {
        self.body.is_evicted
    }

    /// Takes what became durable into the durable state, and discards what a failure undid.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        let body = &mut *self.body;
        while let Some(end) = body.pending.front().and_then(Pending::end)
            && let Some(pending) = body.pending.pop_front()
        {
            let durable = &mut body.durable;
            let folded = guard(
                || format!("the fold of `{}`", A::AGGREGATE_TYPE),
                || {
                    let durable = std::mem::take(durable).into_inner();
                    let events = pending.events.iter();
                    events.fold(durable, |state, event| state.apply(event))
                },
            );
            match folded {
                Ok(durable) => {
                    body.durable = Kept::new(durable);
                    if let Some(known) = &mut body.event_ids {
                        known.add(pending.marks.event_ids);
                    }
                    body.durable_end = end;
                }
                Err(error) => {
                    // The durable copy is lost; the stream is not.
                    body.is_evicted = true;
                    return Err(error);
                }
            }
        }
        // What stands before the first failure is not undone by it; what stands behind it was decided on it.
        let failed = body
            .pending
            .iter()
            .position(|pending| matches!(pending.outcome.get(), Some(Err(_))));
        if let Some(failed) = failed {
            let undone = body.pending.split_off(failed);
            let is_stale = undone.iter().any(|pending| {
                matches!(
                    pending.outcome.get(),
                    Some(Err(CommitError::Conflict { .. }))
                )
            });
            // What the stream holds is to be read again then.
            body.is_evicted |= is_stale;
            body.speculative = None;
            body.version = body.durable_end.version
                + body
                    .pending
                    .iter()
                    .map(|pending| pending.events.len() as u64)
                    .sum::<u64>();
        }
        if !body.is_evicted {
            let state = match &body.speculative {
                Some(state) if planted(Bug::SpeculativeSnapshot) => state,
                _ => &body.durable,
            };
            self.snapshots
                .save_if_due::<A>(self.stream, state, body.durable_end);
        }
        Ok(())
    }

    /// The durable state, and its version.
    pub(crate) fn durable(&mut self) -> (&A, u64) {
        self.body.last_used = Instant::now();
        (&self.body.durable, self.body.durable_end.version)
    }

    /// Decides a command on the state with everything pending and stages its events.
    pub(crate) fn decide(
        &mut self,
        command: Kept<A::Command>,
        context: &CommandContext,
        key: Option<Key<'_>>,
        clock: &StoreClock,
    ) -> Result<Decided<A::DomainEvent>, ExecuteError<A::Error>> {
        self.decide_for(command, context, key, None, clock)
    }

    /// [`decide`](Self::decide), of a command of a process manager or a transaction, whose events have this key.
    pub(super) fn decide_for(
        &mut self,
        command: Kept<A::Command>,
        context: &CommandContext,
        key: Option<Key<'_>>,
        origin: Option<Origin<'_>>,
        clock: &StoreClock,
    ) -> Result<Decided<A::DomainEvent>, ExecuteError<A::Error>> {
        let actual = self.body.version;
        if let Some(expected) = context.expected_version
            && expected != actual
        {
            return Err(ExecuteError::Conflict { expected, actual });
        }
        let stream = self.stream;
        let state = self.speculative()?;
        let decided = guard(
            || format!("the decision of `{}`", A::AGGREGATE_TYPE),
            || {
                let cx = Deciding::new(&stream.instance_id)
                    .with_version(actual)
                    .with_now(clock.now())
                    .with_context(context)
                    .or_correlation_id(origin.map(|origin| &*origin.cause.correlation_id));
                state.handle_with(command.into_inner(), &cx)
            },
        )?;
        let events: Vec<_> = Kept::each(decided.map_err(ExecuteError::Domain)?);
        let encoded = events
            .iter()
            .map(|event| EncodedEvent::new::<A>(event, context, origin, clock))
            .collect::<Result<Vec<_>, _>>()?;
        let (before, count) = (self.staged.len(), encoded.len());
        let decided = self.stage(encoded)?;
        if let Some(key) = key.filter(|_| count > 0) {
            self.staged_keys.push(KeyedLines {
                key: key.text.into(),
                digest: key.digest,
                before,
                count,
            });
        }
        Ok(decided)
    }

    /// Folds events into the speculative state and keeps them to be handed over.
    pub(crate) fn stage(
        &mut self,
        encoded: Vec<EncodedEvent<A::DomainEvent>>,
    ) -> Result<Decided<A::DomainEvent>, StoreError> {
        // Whatever panics leaves the version and what is staged as they are.
        let events = clones(
            A::AGGREGATE_TYPE,
            encoded.iter().map(|encoded| &*encoded.event),
        )?;
        if !encoded.is_empty() {
            self.speculative()?;
            if let Some(state) = self.body.speculative.take() {
                let folded = guard(
                    || format!("the fold of `{}`", A::AGGREGATE_TYPE),
                    || {
                        encoded.iter().fold(state.into_inner(), |state, encoded| {
                            state.apply(&encoded.event)
                        })
                    },
                )?;
                self.body.speculative = Some(Kept::new(folded));
            }
        }
        self.body.version += encoded.len() as u64;
        self.staged.extend(encoded);
        Ok(Decided {
            events,
            version: self.body.version,
        })
    }

    /// The state that commands are decided on.
    fn speculative(&mut self) -> Result<&A, StoreError> {
        self.body.last_used = Instant::now();
        let body = &mut *self.body;
        let is_current = body.pending.is_empty() && self.staged.is_empty();
        if body.speculative.is_none() && !is_current {
            let events = body.pending.iter().flat_map(|pending| &pending.events);
            let staged = self.staged.iter().map(|staged| &staged.event);
            let durable: &A = &body.durable;
            let rebuilt = guard(
                || format!("the fold of `{}`", A::AGGREGATE_TYPE),
                || {
                    events
                        .chain(staged)
                        .fold(durable.clone(), |state, event| state.apply(event))
                },
            )?;
            body.speculative = Some(Kept::new(rebuilt));
        }
        if body.speculative.is_none() {
            let durable: &A = &body.durable;
            let copy = guard(
                || format!("the clone of `{}`", A::AGGREGATE_TYPE),
                || durable.clone(),
            )?;
            body.speculative = Some(Kept::new(copy));
        }
        Ok(body.speculative.as_ref().unwrap_or(&body.durable))
    }

    /// The commit that the state depends on and that is not durable yet, if any: an answer without a commit waits for it.
    pub(crate) fn last_pending(&self) -> Option<Arc<Outcome>> {
        self.body
            .pending
            .back()
            .map(|pending| Arc::clone(&pending.outcome))
    }

    /// What was staged, as a part of a commit; it is to be [handed over](Self::handed_over) next.
    pub(crate) fn proposed(&mut self) -> Option<ProposedAppend> {
        let lines: Vec<_> = self
            .staged
            .iter_mut()
            .map(|staged| std::mem::take(&mut staged.line))
            .collect();
        (!lines.is_empty()).then(|| ProposedAppend {
            stream: self.stream.clone(),
            expected_version: self.body.version - lines.len() as u64,
            lines,
            keyed: self.staged_keys.clone(),
        })
    }

    /// Notes that what was staged is in the commit with this outcome, and where in it.
    pub(crate) fn handed_over(&mut self, outcome: &Arc<Outcome>, part: PartOfCommit) {
        let staged = self.staged.drain(..);
        let (events, ids): (Vec<_>, Vec<_>) =
            staged.map(|staged| (staged.event, staged.id)).unzip();
        if !events.is_empty() {
            self.body.pending.push_back(Pending {
                outcome: Arc::clone(outcome),
                append: part.append,
                events,
                marks: Marks {
                    before: part.before,
                    event_ids: ids.into_iter().flatten().collect(),
                    keyed: std::mem::take(&mut self.staged_keys),
                },
            });
        }
    }
}

impl<A: Aggregate> Drop for LockedCell<'_, A> {
    /// What was staged and not handed over never happened.
    fn drop(&mut self) {
        if !self.staged.is_empty() {
            self.body.version -= self.staged.len() as u64;
            self.body.speculative = None;
        }
    }
}
