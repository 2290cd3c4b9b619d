//! The cell of one live aggregate: its durable state, the speculative state that commands are decided on, and the commits between them.

mod answers;
mod event_ids;
mod keys;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use answers::Marks;
pub(crate) use answers::Repeated;
use event_ids::EventIds;
pub(crate) use event_ids::Place;
pub(super) use event_ids::read_event_ids;
use keys::KnownKeys;
pub(crate) use keys::{Key, Keys, generated_key};

use super::encode::EncodedEvent;
use super::guarded::{Kept, guard};
use super::origin::Origin;
use super::snapshots::{CellSnapshots, Save};
use super::stream_ahead::each_piece;
use crate::aggregate::{Aggregate, Deciding};
use crate::clock::StoreClock;
use crate::command::CommandContext;
use crate::error::{ExecuteError, StoreError};
use crate::journal::{
    CommitError, JournalError, KeyedLines, Outcome, ProposedAppend, StreamEnd, StreamId,
    StreamPiece, StreamReader,
};
use crate::sabotage::{Bug, planted};

/// A live aggregate.
pub(crate) struct Cell<A: Aggregate> {
    stream: StreamId,
    snapshots: CellSnapshots,
    /// Set without the lock, when the stream has got events from elsewhere. The next lock finds the cell evicted.
    is_stale: AtomicBool,
    body: Mutex<CellBody<A>>,
}

struct CellBody<A: Aggregate> {
    /// Set under the lock when the cell leaves the map. A caller that waited for the lock then looks the aggregate up again.
    is_evicted: bool,
    durable: Kept<A>,
    /// The end of the stream that the durable state contains.
    durable_end: StreamEnd,
    /// The durable state with the pending events. If it is missing, it is rebuilt from them.
    speculative: Option<Kept<A>>,
    /// The version of the speculative state.
    version: u64,
    /// The submitted commits that are not yet folded into the durable state, oldest first.
    pending: VecDeque<Pending<A>>,
    /// The ids of the events, for the few aggregates that need them.
    event_ids: Option<Box<EventIds>>,
    last_used: Instant,
}

struct Pending<A: Aggregate> {
    outcome: Arc<Outcome>,
    /// The index of the append in its commit.
    append: usize,
    events: Vec<Kept<A::DomainEvent>>,
    marks: Marks,
}

impl<A: Aggregate> Pending<A> {
    /// The end of the stream after this commit, once the commit is durable.
    fn end(&self) -> Option<StreamEnd> {
        let receipt = self.outcome.get()?.as_ref().ok()?;
        receipt.ends.get(self.append).copied()
    }
}

/// The place of one stream's events in a commit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PartOfCommit {
    /// The index of their append.
    pub(crate) append: usize,
    /// The number of events of other streams before them.
    pub(crate) before: u64,
}

/// The result of a check for idle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// The cell remains.
    Kept,
    /// The cell can be evicted after its state is saved.
    Unsaved,
    /// The cell is marked as evicted.
    Evicted,
}

/// The result of a decided command.
pub(crate) struct Decided<E> {
    /// The events as they read back from their stored form.
    pub(crate) events: Vec<Kept<E>>,
    /// The version of the stream after these events.
    pub(crate) version: u64,
}

impl<E> Decided<E> {
    /// The events, for the caller of the store.
    pub(crate) fn into_events(self) -> Vec<E> {
        self.events.into_iter().map(Kept::into_inner).collect()
    }
}

impl<A: Aggregate> Cell<A> {
    /// Creates the cell of a stream without events.
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
            is_stale: AtomicBool::new(false),
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

    /// Whether the stream has no event, durable or pending.
    pub(super) fn is_new(&self) -> bool {
        self.lock().body.version == 0
    }

    /// Locks the cell. The lock is never held across an await.
    pub(crate) fn lock(&self) -> LockedCell<'_, A> {
        // A poisoned lock is harmless: user code runs under `guard`, and its partial changes are discarded.
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        // The caller looks the cell up again, which folds the stream from its first event.
        body.is_evicted |= self.snapshots.are_refuted() && body.pending.is_empty();
        body.is_evicted |= self.is_stale.load(Ordering::Acquire);
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

    /// Records that the stream has got events from elsewhere. Decisions without those events fail, unless they were durable before.
    pub(super) fn set_stale(&self) {
        self.is_stale.store(true, Ordering::Release);
    }

    /// Folds durable commits into the durable state, unless the cell is locked: then the holder of the lock does it. So an aggregate that
    /// is not used again keeps no finished commits in memory.
    pub(crate) fn settle_if_free(&self) {
        let Ok(body) = self.body.try_lock() else {
            return;
        };
        let mut locked = self.locked(body);
        // A cell whose fold fails is evicted, and its next caller gets the error.
        if locked.settle().is_ok() && locked.body.pending.is_empty() {
            locked.body.pending = VecDeque::new();
        }
    }

    /// Marks the cell as evicted if it was idle for `timeout`, has no pending commits, and its state is saved. After a shorter idle time,
    /// it keeps only the durable state.
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

    /// The save of the state, if only the missing save keeps the cell from eviction.
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

/// The idle time after which an aggregate drops the second copy of its state.
const SECOND_COPY_IDLE: Duration = Duration::from_secs(1);

pub(super) fn decode<A: Aggregate>(
    stream: &StreamId,
    version: u64,
    line: &str,
) -> Result<A::DomainEvent, StoreError> {
    use crate::event::{DomainEvent as _, StoredEvent};
    // The decoding does not depend on the position.
    StoredEvent::of_line(0, version, line)
        .and_then(|event| A::DomainEvent::from_stored(&event))
        .map_err(|source| StoreError::Undecodable {
            aggregate_type: stream.aggregate_type.to_string(),
            instance_id: stream.instance_id.to_string(),
            version,
            source,
        })
}

/// Folds the next events of a stream into the state before them, up to a version. The inner error concerns an event or its fold.
pub(super) fn fold<A: Aggregate>(
    stream: &StreamId,
    state: A,
    events: &mut dyn StreamReader,
    up_to: u64,
) -> Result<Result<A, StoreError>, JournalError> {
    if events.end().version >= up_to {
        return Ok(Ok(state));
    }
    let mut folded = Ok(state);
    each_piece(events, &mut |piece| {
        let before = std::mem::replace(&mut folded, Err(StoreError::Closed));
        folded = before.and_then(|state| fold_piece(stream, state, piece, up_to));
        match &folded {
            Ok(_) if piece.last_version() < up_to => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    })?;
    Ok(folded)
}

fn fold_piece<A: Aggregate>(
    stream: &StreamId,
    mut state: A,
    piece: &StreamPiece,
    up_to: u64,
) -> Result<A, StoreError> {
    for (version, line) in piece.events().take_while(|(version, _)| *version <= up_to) {
        let event = decode::<A>(stream, version, line)?;
        state = guard(
            || format!("the fold of `{}`", A::AGGREGATE_TYPE),
            || state.apply(&event),
        )?;
    }
    Ok(state)
}

/// A locked cell. Commands are decided and staged here, and then submitted together.
pub(crate) struct LockedCell<'a, A: Aggregate> {
    stream: &'a StreamId,
    snapshots: &'a CellSnapshots,
    body: MutexGuard<'a, CellBody<A>>,
    /// Events that are decided and folded, but not submitted.
    staged: Vec<EncodedEvent<A::DomainEvent>>,
    /// The staged events of commands with an idempotency key.
    staged_keys: Vec<KeyedLines>,
    /// The durable answers for the keys of the next commands.
    known_keys: KnownKeys,
}

impl<A: Aggregate> LockedCell<'_, A> {
    pub(crate) fn is_evicted(&self) -> bool {
        self.body.is_evicted
    }

    /// Folds durable commits into the durable state, and discards the effects of failed commits.
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
                    // The durable state in memory is lost, but its stream is not.
                    body.is_evicted = true;
                    return Err(error);
                }
            }
        }
        // Commits before the first failure remain. Later commits were decided on the failed one, so they fail with it.
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
            // After a conflict, the stream has to be read again.
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

    /// The durable state and its version.
    pub(crate) fn durable(&mut self) -> (&A, u64) {
        self.body.last_used = Instant::now();
        (&self.body.durable, self.body.durable_end.version)
    }

    /// Decides a command on the state with all pending events, and stages the new events.
    pub(crate) fn decide(
        &mut self,
        command: Kept<A::Command>,
        context: &CommandContext,
        key: Option<Key<'_>>,
        clock: &StoreClock,
    ) -> Result<Decided<A::DomainEvent>, ExecuteError<A::Error>> {
        self.decide_for(command, context, key, None, clock)
    }

    /// [`decide`](Self::decide) for a command of a process manager or a transaction, with the key and the origin of its events.
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

    /// Folds events into the speculative state, and stages them for the next commit.
    pub(crate) fn stage(
        &mut self,
        encoded: Vec<EncodedEvent<A::DomainEvent>>,
    ) -> Result<Decided<A::DomainEvent>, StoreError> {
        // A panic leaves the version and the staged events unchanged.
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

    /// The last commit that the state depends on, if it is not durable yet. An answer without a commit waits for it.
    pub(crate) fn last_pending(&self) -> Option<Arc<Outcome>> {
        self.body
            .pending
            .back()
            .map(|pending| Arc::clone(&pending.outcome))
    }

    /// The staged events as a part of a commit. A call of [`handed_over`](Self::handed_over) follows.
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

    /// Records that the commit with this outcome contains the staged events, and their place in it.
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
    /// Undoes staged events that were not submitted.
    fn drop(&mut self) {
        if !self.staged.is_empty() {
            self.body.version -= self.staged.len() as u64;
            self.body.speculative = None;
        }
    }
}
