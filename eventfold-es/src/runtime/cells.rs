//! The live aggregates of one type.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cell::{Cell, Idle, Keys, read_event_ids};
use super::guarded::blocking;
use super::loader::{Load, Loader};
use super::snapshots::{SnapshotPolicy, TypeSnapshots};
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::{Journal, StreamId, Streams};
use crate::threads::StoreRuntime;

const SHARDS: usize = 64;
/// The maximum number of loads of an aggregate that seems new, because it may get events meanwhile.
const MAX_LOADS: u32 = 4;

/// The live aggregates of one type. Other aggregates are loaded on demand.
pub(crate) struct AggregateCells<A: Aggregate> {
    pub(super) streams: Arc<dyn Streams>,
    pub(super) snapshots: Arc<TypeSnapshots>,
    aggregate_type: Arc<str>,
    live: Arc<LiveCells<A>>,
    loader: Arc<Loader<Arc<Cell<A>>>>,
}

struct LiveCells<A: Aggregate> {
    hasher: RandomState,
    shards: Vec<Shard<A>>,
}

struct Shard<A: Aggregate> {
    cells: Mutex<ShardCells<A>>,
    /// Held while a cell learns the ids of its events, so that each stream is read once.
    learning: tokio::sync::Mutex<()>,
}

struct ShardCells<A: Aggregate> {
    live: HashMap<Arc<str>, Arc<Cell<A>>>,
    /// The aggregates that are being loaded, each with whether its stream has got events from elsewhere meanwhile.
    loading: HashMap<Arc<str>, bool>,
}

impl<A: Aggregate> Default for ShardCells<A> {
    fn default() -> Self {
        Self {
            live: HashMap::new(),
            loading: HashMap::new(),
        }
    }
}

impl<A: Aggregate> Shard<A> {
    fn cells(&self) -> MutexGuard<'_, ShardCells<A>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Aggregate> AggregateCells<A> {
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        policy: SnapshotPolicy,
        threads: StoreRuntime,
    ) -> Self {
        Self {
            snapshots: TypeSnapshots::new::<A>(Arc::clone(&journal), policy),
            streams: journal,
            aggregate_type: A::AGGREGATE_TYPE.into(),
            live: Arc::new(LiveCells {
                hasher: RandomState::new(),
                shards: (0..SHARDS)
                    .map(|_| Shard {
                        cells: Mutex::default(),
                        learning: tokio::sync::Mutex::default(),
                    })
                    .collect(),
            }),
            loader: Arc::new(Loader::new(threads)),
        }
    }

    pub(crate) fn stream(&self, id: &Arc<str>) -> StreamId {
        StreamId {
            aggregate_type: Arc::clone(&self.aggregate_type),
            instance_id: Arc::clone(id),
        }
    }

    /// Whether the aggregate has a durable event. Cancel safe.
    pub(crate) async fn exists(&self, id: &Arc<str>) -> Result<bool, StoreError> {
        let stream = self.stream(id);
        if let Some(version) = self.streams.known_version(&stream) {
            return Ok(version > 0);
        }
        let streams = Arc::clone(&self.streams);
        let what = || format!("looking for `{id}` of `{}`", A::AGGREGATE_TYPE);
        blocking(what, move || Ok(streams.has_stream(&stream)?)).await
    }

    /// The cell of a live aggregate.
    pub(crate) fn live(&self, id: &str) -> Option<Arc<Cell<A>>> {
        self.live.shard(id)?.cells().live.get(id).cloned()
    }

    /// The cell of an aggregate, loaded on demand. Cancel safe.
    pub(crate) async fn cell(&self, id: &Arc<str>) -> Result<Arc<Cell<A>>, StoreError> {
        if let Some(cell) = self.live_or_new(id)? {
            return Ok(cell);
        }
        let snapshots = Arc::clone(&self.snapshots);
        let live = Arc::clone(&self.live);
        let streams = Arc::clone(&self.streams);
        let aggregate_type = Arc::clone(&self.aggregate_type);
        let load = move |id: &Arc<str>| {
            let stream = StreamId {
                aggregate_type: Arc::clone(&aggregate_type),
                instance_id: Arc::clone(id),
            };
            let Some(shard) = live.shard(id) else {
                return Err(StoreError::Closed);
            };
            let mut attempts = 1..MAX_LOADS;
            loop {
                let loading = Loading::begin(shard, id);
                let cell = Arc::new(snapshots.load(&stream)?);
                let mut cells = shard.cells();
                let is_behind = loading.end(&mut cells);
                // An aggregate with events is loaded only here, and once at a time. An aggregate without events may have got some
                // meanwhile.
                let is_stale = cell.is_new()
                    && streams.known_version(&stream) != Some(0)
                    && attempts.next().is_some();
                match cells.live.get(id) {
                    Some(cell) => return Ok(Load::Current(Arc::clone(cell))),
                    None if is_behind => return Ok(Load::Behind(cell)),
                    None if is_stale => {}
                    None => {
                        cells.live.insert(Arc::clone(id), Arc::clone(&cell));
                        return Ok(Load::Current(cell));
                    }
                }
            }
        };
        self.loader.load(id, || self.live(id), load).await
    }

    /// The cell of an aggregate that is live or known to have no events.
    pub(super) fn live_or_new(&self, id: &Arc<str>) -> Result<Option<Arc<Cell<A>>>, StoreError> {
        let Some(shard) = self.live.shard(id) else {
            return Ok(None);
        };
        let mut cells = shard.cells();
        if let Some(cell) = cells.live.get(id) {
            return Ok(Some(Arc::clone(cell)));
        }
        // The lock matters: the cell of a first event stays in the map until the event is durable and the journal knows it.
        let stream = self.stream(id);
        if self.streams.known_version(&stream) != Some(0) {
            return Ok(None);
        }
        let cell = Arc::new(Cell::new(stream, self.snapshots.of_cell(0))?);
        cells.live.insert(Arc::clone(id), Arc::clone(&cell));
        Ok(Some(cell))
    }

    /// Lets a cell learn the ids of the events of its stream, which is read once. Cancel safe.
    pub(crate) async fn learn_event_ids(
        &self,
        id: &Arc<str>,
        cell: &Arc<Cell<A>>,
    ) -> Result<(), StoreError> {
        let Some(shard) = self.live.shard(id) else {
            return Err(StoreError::Closed);
        };
        // Of several concurrent callers, only one reads.
        let _learning = shard.learning.lock().await;
        if !cell.begin_to_learn() {
            return Ok(());
        }
        let stream = self.stream(id);
        let found = if self.streams.known_version(&stream) != Some(0) {
            let streams = Arc::clone(&self.streams);
            let what = || format!("reading the stream `{id}` of `{}`", A::AGGREGATE_TYPE);
            let read = move || Ok(read_event_ids(&*streams, &stream)?);
            blocking(what, read).await?
        } else {
            HashSet::new()
        };
        cell.learn(found);
        Ok(())
    }

    /// Looks up the keys of commands to an aggregate. Cancel safe.
    pub(crate) async fn look_for(&self, id: &Arc<str>, keys: &mut Keys) -> Result<(), StoreError> {
        keys.look_for(&self.streams, &self.stream(id)).await
    }

    /// Whether all durable answers for these keys are known without I/O.
    pub(super) fn knows(&self, id: &Arc<str>, keys: &Keys) -> bool {
        keys.are_known(&*self.streams, &self.stream(id))
    }

    /// Removes a cell that is marked as evicted.
    pub(crate) fn forget(&self, id: &str, cell: &Arc<Cell<A>>) {
        if let Some(shard) = self.live.shard(id) {
            let mut cells = shard.cells();
            let found = cells.live.get(id);
            if found.is_some_and(|found| Arc::ptr_eq(found, cell)) {
                cells.live.remove(id);
            }
        }
    }
}

impl<A: Aggregate> LiveCells<A> {
    fn shard(&self, id: &str) -> Option<&Shard<A>> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        self.shards.get(index)
    }
}

/// The part of [`AggregateCells`] that does not depend on the aggregate.
pub(super) trait Sweep: Send + Sync {
    /// Evicts the aggregates that were idle for `timeout`. Returns the ids of aggregates that have to be saved first.
    fn evict(&self, timeout: Duration) -> Vec<Arc<str>>;

    /// Saves an aggregate that was idle for `timeout`, and evicts it if it still is idle. Blocks.
    fn save_and_evict(&self, id: &Arc<str>, timeout: Duration);

    /// Evicts an aggregate whose stream has got durable events from elsewhere, so that it is loaded again. A load that is under way may
    /// have missed them, so its result does not become live. Takes short locks at most.
    fn let_go(&self, id: &str);
}

impl<A: Aggregate> Sweep for AggregateCells<A> {
    fn evict(&self, timeout: Duration) -> Vec<Arc<str>> {
        let now = Instant::now();
        let mut unsaved = Vec::new();
        for shard in &self.live.shards {
            shard.cells().live.retain(|id, cell| {
                let idle = evict(cell, now, timeout);
                if idle == Idle::Unsaved {
                    unsaved.push(Arc::clone(id));
                }
                idle != Idle::Evicted
            });
        }
        unsaved
    }

    fn save_and_evict(&self, id: &Arc<str>, timeout: Duration) {
        let (Some(shard), Some(cell)) = (self.live.shard(id), self.live(id)) else {
            return;
        };
        let save = cell.save_before_eviction(Instant::now(), timeout);
        drop(cell);
        if let Some(save) = save {
            save();
        }
        let mut cells = shard.cells();
        let idle = cells
            .live
            .get(id)
            .map(|cell| evict(cell, Instant::now(), timeout));
        if idle == Some(Idle::Evicted) {
            cells.live.remove(id);
        }
    }

    fn let_go(&self, id: &str) {
        let Some(shard) = self.live.shard(id) else {
            return;
        };
        let mut cells = shard.cells();
        if let Some(is_behind) = cells.loading.get_mut(id) {
            *is_behind = true;
        }
        if let Some(cell) = cells.live.remove(id) {
            cell.set_stale();
        }
    }
}

/// A load that is under way.
struct Loading<'a, A: Aggregate> {
    shard: &'a Shard<A>,
    id: &'a Arc<str>,
    is_over: bool,
}

impl<'a, A: Aggregate> Loading<'a, A> {
    fn begin(shard: &'a Shard<A>, id: &'a Arc<str>) -> Self {
        shard.cells().loading.insert(Arc::clone(id), false);
        Self {
            shard,
            id,
            is_over: false,
        }
    }

    /// Ends the load. Returns whether the stream has got events from elsewhere since its begin.
    fn end(mut self, cells: &mut ShardCells<A>) -> bool {
        self.is_over = true;
        cells.loading.remove(self.id).unwrap_or_default()
    }
}

impl<A: Aggregate> Drop for Loading<'_, A> {
    /// The load has failed.
    fn drop(&mut self) {
        if !self.is_over {
            self.shard.cells().loading.remove(self.id);
        }
    }
}

/// Runs under the lock of the shard, so that no caller finds the cell between its mark and its removal. A cell with another owner is about
/// to be locked, so it is in use, even if its last use was long ago.
fn evict<A: Aggregate>(cell: &Arc<Cell<A>>, now: Instant, timeout: Duration) -> Idle {
    if Arc::strong_count(cell) > 1 {
        return Idle::Kept;
    }
    cell.evict_if_idle(now, timeout)
}
