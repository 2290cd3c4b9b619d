//! The aggregate types of one store: one Rust type per stored name.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cells::{AggregateCells, Sweep};
use super::guarded::{Kept, blocking, guard};
use super::snapshots::{SnapshotPolicy, check_state};
use crate::aggregate::Aggregate;
use crate::command::{CommandContext, RESERVED_METADATA};
use crate::error::StoreError;
use crate::event::DomainEvent as _;
use crate::journal::{Journal, Snapshot, StateChecked, StreamId, StreamReader};
use crate::names;
use crate::short;
use crate::threads::StoreRuntime;

/// The maximum length of an instance id or an idempotency key, in bytes.
const MAX_BYTES: usize = 512;

/// Refuses ids that no stream can have.
pub(crate) fn check_id(aggregate_type: &str, id: &str) -> Result<(), StoreError> {
    check_text(id).map_err(|reason| StoreError::InvalidId {
        aggregate_type: aggregate_type.to_owned(),
        id: short::id(id),
        reason,
    })
}

/// Refuses a context that cannot be stored: an invalid idempotency key, or entries that are reserved for the store.
pub(crate) fn check_context(context: &CommandContext) -> Result<(), StoreError> {
    let entries = context
        .metadata
        .as_ref()
        .and_then(|value| value.as_object());
    let reserved = entries.and_then(|entries| {
        let mut names = RESERVED_METADATA.iter();
        names.find(|name| entries.contains_key(**name))
    });
    if let Some(name) = reserved {
        return Err(StoreError::ReservedMetadata { name });
    }
    let Some(key) = &context.idempotency_key else {
        return Ok(());
    };
    check_text(key).map_err(|reason| StoreError::InvalidIdempotencyKey {
        key: short::id(key),
        reason,
    })
}

/// The reason why a text cannot be an id or a key.
pub(crate) fn check_text(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("it is empty")
    } else if text.len() > MAX_BYTES {
        Err("it is longer than 512 bytes")
    } else if text.chars().any(char::is_control) {
        Err("it has control characters")
    } else {
        Ok(())
    }
}

pub(crate) struct AggregateTypes {
    journal: Arc<dyn Journal>,
    snapshots: SnapshotPolicy,
    threads: StoreRuntime,
    known: Mutex<HashMap<&'static str, KnownType>>,
}

struct KnownType {
    type_id: TypeId,
    type_name: &'static str,
    cells: Arc<dyn Any + Send + Sync>,
    sweep: Arc<dyn Sweep>,
    check_state: fn(&StreamId, &Snapshot, &mut dyn StreamReader) -> StateChecked,
    check_event: fn(&eventfold::Event) -> Option<String>,
}

/// The reason why an event does not decode as an event of `A`.
fn check_event<A: Aggregate>(event: &eventfold::Event) -> Option<String> {
    let decoded = guard(
        || format!("the decoding of an event of `{}`", A::AGGREGATE_TYPE),
        || A::DomainEvent::from_event(event).map(Kept::new),
    );
    match decoded {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

impl AggregateTypes {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        snapshots: SnapshotPolicy,
        threads: StoreRuntime,
    ) -> Self {
        Self {
            journal,
            snapshots,
            threads,
            known: Mutex::default(),
        }
    }

    /// The cells of `A`. Fails if its name cannot be stored or belongs to another type.
    pub(crate) fn cells<A: Aggregate>(&self) -> Result<Arc<AggregateCells<A>>, StoreError> {
        let invalid = |reason: String| StoreError::InvalidName {
            name: A::AGGREGATE_TYPE.to_owned(),
            type_name: type_name::<A>(),
            reason,
        };
        let mut known = self.known();
        if !known.contains_key(A::AGGREGATE_TYPE) {
            if !names::is_storable(A::AGGREGATE_TYPE) {
                return Err(invalid("it cannot be the name of a directory".to_owned()));
            }
            let twin = known
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(A::AGGREGATE_TYPE));
            if let Some((name, twin)) = twin {
                let other = twin.type_name;
                return Err(invalid(format!(
                    "{other} is stored as `{name}`, which is the same directory on some file systems"
                )));
            }
        }
        let known = match known.entry(A::AGGREGATE_TYPE) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let cells = Arc::new(AggregateCells::<A>::new(
                    Arc::clone(&self.journal),
                    self.snapshots.clone(),
                    self.threads.clone(),
                ));
                entry.insert(KnownType {
                    type_id: TypeId::of::<A>(),
                    type_name: type_name::<A>(),
                    sweep: Arc::clone(&cells) as Arc<dyn Sweep>,
                    check_state: check_state::<A>,
                    check_event: check_event::<A>,
                    cells,
                })
            }
        };
        if known.type_id != TypeId::of::<A>() {
            return Err(invalid(format!("{} is stored under it", known.type_name)));
        }
        Arc::clone(&known.cells)
            .downcast()
            .map_err(|_| invalid("its cells have another type".to_owned()))
    }

    /// The reason why a snapshot is not the fold of the first events of its stream. `None` for types that this program has not used.
    pub(crate) fn check_state(
        &self,
        stream: &StreamId,
        snapshot: &Snapshot,
        events: &mut dyn StreamReader,
    ) -> StateChecked {
        let check = self
            .known()
            .get(&*stream.aggregate_type)
            .map(|known| known.check_state);
        match check {
            Some(check) => check(stream, snapshot, events),
            None => Ok(None),
        }
    }

    /// The reason why an event does not decode as an event of its aggregate type. `None` for types that this program has not used.
    pub(crate) fn check_event(
        &self,
        aggregate_type: &str,
        event: &eventfold::Event,
    ) -> Option<String> {
        let check = self
            .known()
            .get(aggregate_type)
            .map(|known| known.check_event)?;
        check(event)
    }

    /// Evicts the aggregate of a stream that has got durable events from elsewhere. Takes short locks at most.
    pub(crate) fn let_go(&self, stream: &StreamId) {
        let sweep = self
            .known()
            .get(&*stream.aggregate_type)
            .map(|known| Arc::clone(&known.sweep));
        if let Some(sweep) = sweep {
            sweep.let_go(&stream.instance_id);
        }
    }

    /// Evicts the aggregates that were idle for `timeout`. Unsaved aggregates are saved first, one after the other.
    pub(crate) async fn sweep(&self, timeout: Duration) {
        let sweeps: Vec<_> = self
            .known()
            .values()
            .map(|known| Arc::clone(&known.sweep))
            .collect();
        for sweep in sweeps {
            for id in sweep.evict(timeout) {
                let sweep = Arc::clone(&sweep);
                let what = || "evicting an aggregate".to_owned();
                let evicted = blocking(what, move || {
                    sweep.save_and_evict(&id, timeout);
                    Ok(())
                });
                if let Err(error) = evicted.await {
                    tracing::warn!(%error, "an idle aggregate was not evicted");
                }
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<&'static str, KnownType>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
