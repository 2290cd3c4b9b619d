//! Snapshots: saved states, each with the end of the stream that it contains. Loading folds only the later events.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::cell::{Cell, fold};
use super::guarded::{Kept, blocking, guard};
use super::read_back_states::{difference, difference_of_json};
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::finite;
use crate::journal::{Journal, Snapshot, StateChecked, StreamEnd, StreamId, StreamReader};
use crate::short;

/// The maximum number of snapshots that wait to be saved. Each holds a copy of a state. Beyond it, snapshots are taken later.
const MAX_WAITING: usize = 16;

/// The number of new events below which an aggregate is not saved before eviction. Folding so few events costs about as much as reading a
/// snapshot.
const NOT_WORTH_SAVING: u64 = 16;

/// The length of the longest stream, in events, that is read to check whether the states of an aggregate survive a save.
const MAX_COMPARED: u64 = 100_000;

/// The save of a copied state as a snapshot. Blocks.
pub(super) type Save = Box<dyn FnOnce() + Send>;

/// The snapshot policy of a store.
#[derive(Clone)]
pub(crate) struct SnapshotPolicy {
    /// The number of events after which the next snapshot is due. Without it, snapshots are neither saved nor used.
    every: Option<NonZeroU64>,
    waiting: mpsc::Sender<Save>,
}

/// The snapshots that wait to be saved.
pub(crate) struct WaitingSnapshots(mpsc::Receiver<Save>);

impl SnapshotPolicy {
    pub(crate) fn new(every: u64) -> (Self, WaitingSnapshots) {
        let (waiting, received) = mpsc::channel(MAX_WAITING);
        let every = NonZeroU64::new(every);
        (Self { every, waiting }, WaitingSnapshots(received))
    }
}

impl WaitingSnapshots {
    /// Saves the snapshots one after the other.
    pub(crate) async fn save(mut self) {
        while let Some(save) = self.0.recv().await {
            run(save).await;
        }
    }
}

/// Saves a snapshot on the pool for blocking code.
async fn run(save: Save) {
    let what = || "saving a snapshot".to_owned();
    let saved = blocking(what, move || {
        save();
        Ok(())
    });
    if let Err(error) = saved.await {
        tracing::warn!(%error, "a snapshot was not saved");
    }
}

/// The snapshots of one aggregate type.
pub(super) struct TypeSnapshots {
    journal: Arc<dyn Journal>,
    policy: SnapshotPolicy,
    has_warned: AtomicBool,
    /// Whether a saved state is known to differ from the state itself. Then snapshots are neither saved nor used.
    is_off: AtomicBool,
    /// The number of snapshots that were due. At each power of two, the state is compared before it is saved.
    tried: AtomicU64,
}

impl TypeSnapshots {
    pub(super) fn new<A: Aggregate>(
        journal: Arc<dyn Journal>,
        policy: SnapshotPolicy,
    ) -> Arc<Self> {
        let is_off = !A::NOT_SAVED.is_empty();
        if is_off && policy.every.is_some() {
            tracing::info!(
                aggregate = A::AGGREGATE_TYPE, not_saved = ?A::NOT_SAVED,
                "an aggregate has no snapshots, because fields of its state are not saved; each load folds all events of a stream"
            );
        }
        Arc::new(Self {
            journal,
            policy,
            has_warned: AtomicBool::new(false),
            is_off: AtomicBool::new(is_off),
            tried: AtomicU64::new(0),
        })
    }

    fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    /// The number of events after which the next snapshot is due, if snapshots are on.
    fn every(&self) -> Option<u64> {
        let every = self.policy.every.filter(|_| !self.is_off());
        every.map(NonZeroU64::get)
    }

    /// The minimum number of new events in a snapshot, if snapshots are on.
    fn worth_saving(&self) -> Option<u64> {
        self.every().map(|every| every.min(NOT_WORTH_SAVING))
    }

    /// Loads an aggregate, from its snapshot if that is usable. Blocks.
    pub(super) fn load<A: Aggregate>(
        self: &Arc<Self>,
        stream: &StreamId,
    ) -> Result<Cell<A>, StoreError> {
        self.with_snapshot(stream, u64::MAX, |state, seen| {
            let mut events = self.journal.read_stream(stream, seen)?;
            let snapshots = self.of_cell(seen.version);
            Cell::load(stream.clone(), state, &mut *events, snapshots)
        })
    }

    /// The state at a version of a stream, from its snapshot if that is not behind the version. Blocks.
    pub(super) fn state_at<A: Aggregate>(
        &self,
        stream: &StreamId,
        version: u64,
    ) -> Result<A, StoreError> {
        let (state, last) = self.with_snapshot(stream, version, |state, seen| {
            let mut events = self.journal.read_stream(stream, seen)?;
            let state = fold::<A>(stream, state, &mut *events, version)??;
            Ok((state, events.end().version))
        })?;
        match last < version {
            true => Err(StoreError::NoSuchVersion { version, last }),
            false => Ok(state),
        }
    }

    /// Folds events of a stream into the state of its snapshot, if that has seen no version beyond `up_to` and can be used. Otherwise all
    /// of them into the default. Blocks.
    fn with_snapshot<A: Aggregate, T>(
        &self,
        stream: &StreamId,
        up_to: u64,
        fold: impl Fn(A, StreamEnd) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.every().is_some()
            && let Some(snapshot) = self.journal.load_snapshot(stream)
            && snapshot.seen.version <= up_to
        {
            if snapshot.snapshot_version == A::SNAPSHOT_VERSION {
                let folded = decode(&snapshot.state).and_then(|state| {
                    fold(state, snapshot.seen).map_err(|error| error.to_string())
                });
                match folded {
                    Ok(folded) => return Ok(folded),
                    Err(reason) => self.ignored(stream, &reason),
                }
            } else {
                tracing::debug!(
                    aggregate = A::AGGREGATE_TYPE, instance = %stream.instance_id, found = snapshot.snapshot_version,
                    expected = A::SNAPSHOT_VERSION, "a snapshot of another version is not used"
                );
            }
        }
        fold(A::default(), StreamEnd::default())
    }

    fn ignored(&self, stream: &StreamId, reason: &str) {
        tracing::warn!(
            aggregate = %stream.aggregate_type, instance = %stream.instance_id, reason,
            "a snapshot cannot be used; its stream is read from the beginning"
        );
    }

    /// The snapshots of a cell whose first `covered` events are in a snapshot.
    pub(super) fn of_cell(self: &Arc<Self>, covered: u64) -> CellSnapshots {
        CellSnapshots {
            of_type: Arc::clone(self),
            is_from_snapshot: covered > 0,
            covered: AtomicU64::new(covered),
            is_saving: Arc::default(),
        }
    }

    fn save<A: Aggregate>(&self, stream: &StreamId, end: StreamEnd, state: &A) {
        // After a failed sync, the content of the disk is unknown until the store is opened again.
        if self.journal.poisoned().is_some() || self.journal.read_only().is_some() || self.is_off()
        {
            return;
        }
        let state = match encode(state) {
            Ok(state) => state,
            Err(reason) if self.has_warned.swap(true, Ordering::Relaxed) => {
                tracing::debug!(reason, aggregate = A::AGGREGATE_TYPE, instance = %stream.instance_id, "a snapshot was not saved");
                return;
            }
            Err(reason) => {
                tracing::warn!(
                    reason, aggregate = A::AGGREGATE_TYPE, instance = %stream.instance_id,
                    "states of this aggregate cannot be saved; each load folds all events of a stream"
                );
                return;
            }
        };
        if let Some(difference) = self.difference::<A>(stream, end) {
            self.is_off.store(true, Ordering::Relaxed);
            tracing::warn!(
                aggregate = A::AGGREGATE_TYPE, instance = %stream.instance_id, difference,
                "states of this aggregate differ after they are saved and read back, so snapshots of it are off; each load folds all \
                 events of a stream. Let `Serialize` and `Deserialize` keep all fields that `decide` and `evolve` read, and raise \
                 `snapshot_version`"
            );
            return;
        }
        let snapshot = Snapshot {
            seen: end,
            snapshot_version: A::SNAPSHOT_VERSION,
            state,
        };
        self.journal.save_snapshot(stream, &snapshot);
    }
}

impl TypeSnapshots {
    /// The place where a state of this aggregate differs from its copy. The check runs at the first, second, fourth, eighth .. snapshot of
    /// the type. Blocks.
    fn difference<A: Aggregate>(&self, stream: &StreamId, end: StreamEnd) -> Option<String> {
        if end.version > MAX_COMPARED {
            return None;
        }
        let tried = self.tried.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !tried.is_power_of_two() {
            return None;
        }
        difference::<A>(&*self.journal, stream, end.version)
    }
}

fn decode<A: Aggregate>(state: &RawValue) -> Result<A, String> {
    let what = || format!("the decoding of the state of `{}`", A::AGGREGATE_TYPE);
    guard(what, || serde_json::from_str(state.get()))
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("the state does not read back: {}", short::reason(error)))
}

/// Encodes a state, and checks that it reads back.
fn encode<A: Aggregate>(state: &A) -> Result<Box<RawValue>, String> {
    let what = || format!("the encoding of the state of `{}`", A::AGGREGATE_TYPE);
    let encoded = guard(what, || finite::to_raw_value(state))
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("the state does not serialize: {}", short::reason(error)))?;
    decode::<A>(&encoded)?;
    Ok(encoded)
}

/// The snapshots of one cell.
pub(super) struct CellSnapshots {
    of_type: Arc<TypeSnapshots>,
    is_from_snapshot: bool,
    /// The number of events in the last snapshot, saved or attempted. So after a failure, the next one is due as late as after a success.
    covered: AtomicU64,
    is_saving: Arc<AtomicBool>,
}

impl CellSnapshots {
    /// Whether the cell was loaded from a snapshot, and snapshots of its type are no longer used.
    pub(super) fn are_refuted(&self) -> bool {
        self.is_from_snapshot && self.of_type.is_off()
    }

    /// Whether a cell of this version has to be saved before its eviction.
    pub(super) fn is_unsaved(&self, version: u64) -> bool {
        let Some(worth_saving) = self.of_type.worth_saving() else {
            return false;
        };
        let unsaved = version.saturating_sub(self.covered());
        unsaved >= worth_saving || self.is_saving.load(Ordering::Acquire)
    }

    /// Saves a copy of the state in the background, if a snapshot is due. Called under the lock of the cell.
    pub(super) fn save_if_due<A: Aggregate>(&self, stream: &StreamId, state: &A, end: StreamEnd) {
        let Some(every) = self.of_type.every() else {
            return;
        };
        if end.version.saturating_sub(self.covered()) < every {
            return;
        }
        // The slot comes first. Without one, each command would copy the state for nothing.
        if let Ok(place) = self.of_type.policy.waiting.try_reserve()
            && let Some(save) = self.begin(stream, state, end)
        {
            place.send(save);
        }
    }

    /// Copies the state for a save, unless another save is running. Called under the lock of the cell.
    pub(super) fn begin<A: Aggregate>(
        &self,
        stream: &StreamId,
        state: &A,
        end: StreamEnd,
    ) -> Option<Save> {
        if self.is_saving.load(Ordering::Acquire) {
            return None;
        }
        self.covered.store(end.version, Ordering::Relaxed);
        let what = || format!("the clone of `{}`", A::AGGREGATE_TYPE);
        let state = match guard(what, || state.clone()) {
            Ok(state) => Kept::new(state),
            Err(error) => {
                tracing::warn!(%error, instance = %stream.instance_id, "a snapshot was not taken");
                return None;
            }
        };
        self.is_saving.store(true, Ordering::Release);
        let saving = Saving(Arc::clone(&self.is_saving));
        let (of_type, stream) = (Arc::clone(&self.of_type), stream.clone());
        Some(Box::new(move || {
            of_type.save::<A>(&stream, end, &state);
            drop(saving);
        }))
    }

    fn covered(&self) -> u64 {
        self.covered.load(Ordering::Relaxed)
    }
}

/// Held until the save of a cell's snapshot ends, with or without success.
struct Saving(Arc<AtomicBool>);

impl Drop for Saving {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The reason why a snapshot is not the fold of the first events of its stream, if it is not.
pub(super) fn check_state<A: Aggregate>(
    stream: &StreamId,
    snapshot: &Snapshot,
    events: &mut dyn StreamReader,
) -> StateChecked {
    if snapshot.snapshot_version != A::SNAPSHOT_VERSION {
        return Ok(None);
    }
    let what = || format!("the comparison of a state of `{}`", A::AGGREGATE_TYPE);
    guard(what, || check_state_of::<A>(stream, snapshot, events))
        .unwrap_or_else(|error| Ok(Some(error.to_string())))
}

fn check_state_of<A: Aggregate>(
    stream: &StreamId,
    snapshot: &Snapshot,
    events: &mut dyn StreamReader,
) -> StateChecked {
    let state = match fold(stream, A::default(), events, snapshot.seen.version)? {
        Ok(state) => state,
        Err(error) => return Ok(Some(error.to_string())),
    };
    // Both are parsed from text, because a number may have other digits in a value.
    let value = |json: &RawValue| serde_json::from_str(json.get()).ok();
    let expected = finite::to_raw_value(&state).ok();
    let expected = expected.and_then(|expected| value(&expected));
    let difference = value(&snapshot.state)
        .zip(expected)
        .and_then(|(found, expected)| difference_of_json(&found, &expected));
    Ok(difference.map(|_| {
        "the snapshot differs from the fold of its events; if the fold was changed, raise `snapshot_version`, otherwise \
         `repair` discards all snapshots"
            .to_owned()
    }))
}
