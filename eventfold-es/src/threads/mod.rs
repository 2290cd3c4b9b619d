//! The threads of stores: a few for all stores that share them.
//!
//! There are two lanes. The journal lane only writes journals; the upkeep lane does all work that may take long. A turn
//! of the journal lane never waits for the upkeep lane. So every store commits, however slow the upkeep lane is. A turn
//! never waits for another turn of its own lane: it ends, and its worker is woken later.

mod at_once;
mod lane;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::disk::FileError;
use lane::{Lane, Run};
pub(crate) use worker::{Next, Turn, Turns, Worker};

/// The number of threads that write journals. It exceeds the number of processors, since these threads wait for the disk.
const JOURNAL_THREADS: usize = 16;
/// The number of threads for all other work.
const UPKEEP_THREADS: usize = 16;
/// The time after which an idle thread ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// The threads on which stores write, load aggregates, save, open and close.
///
/// A program with one store needs no `StoreRuntime`: by default each store has its own. A program with many stores, for
/// example one store per tenant, opens all of them with one runtime, so that they share its threads:
///
/// ```
/// # use eventfold_es::prelude::*;
/// use std::collections::HashMap;
///
/// use eventfold_es::StoreRuntime;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp { on: bool }
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
/// #     fn evolve(&mut self, _: &LampEvent) { self.on = !self.on }
/// # }
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let base = tempfile::tempdir().unwrap();
/// # let base = base.path();
///
/// let threads = StoreRuntime::new();
/// let mut tenants = HashMap::new();
/// for tenant in ["ada", "grace", "barbara"] {
///     let builder = AggregateStore::builder(base.join(tenant)).runtime(&threads);
///     tenants.insert(tenant.to_owned(), builder.open().await?);
/// }
///
/// let done = tenants["ada"].send("hall", LampCommand::Switch, ()).await?;
/// assert_eq!(done.events, [LampEvent::Switched]);
/// # Ok(())
/// # }
/// ```
///
/// A clone is the same runtime.
///
/// # Threads
///
/// A runtime has at most 16 threads that write journals, and at most 16 for all other work. They start when there is
/// work for them, and end after ten idle seconds. One thread of each kind stays while a store is open, so that a
/// command on an idle store starts no thread. 1,000 idle stores take two threads together.
///
/// If all threads of a kind are busy, work waits in order of arrival. A store with more work gives way after one batch
/// of commits or one loaded aggregate, if other stores wait. A journal never waits for slow work elsewhere. Commits
/// have threads of their own, and each store takes at most one of them. So a store with a disk that does not respond
/// takes one of these 16 threads.
///
/// Such a store may take more of the other 16 threads, one for each piece of its work. For example, it takes up to 8
/// for each aggregate type that is being loaded, and up to 7 that help a load which waits for the disk. While all 16
/// hang, the other stores commit, but load nothing, save no checkpoint, and neither open nor close.
///
/// Process managers and projections read the history elsewhere, on the blocking pool of the tokio runtime.
///
/// # Lifetime
///
/// The runtime lives as long as a handle or a store uses it: you may drop the handle when the stores are open. Its
/// threads end with the last store: at once without a handle, and otherwise after ten idle seconds.
///
/// # Errors
///
/// If no thread can be started, [`open`](crate::AggregateStoreBuilder::open) is an error, unless the runtime has a
/// thread of each kind. After that, the work of the stores waits for the existing threads.
#[derive(Clone)]
pub struct StoreRuntime {
    lanes: Arc<Lanes>,
}

struct Lanes {
    journal: Arc<Lane>,
    upkeep: Arc<Lane>,
    /// Whether an item that ran [at once](StoreRuntime::at_once) has waited for the disk lately.
    is_slow: AtomicBool,
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.journal.end();
        self.upkeep.end();
    }
}

impl Default for StoreRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StoreRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRuntime")
            .field("journal_threads", &self.lanes.journal.threads())
            .field("upkeep_threads", &self.lanes.upkeep.threads())
            .finish()
    }
}

impl StoreRuntime {
    /// A runtime without threads. They start when a store needs them.
    #[must_use]
    pub fn new() -> Self {
        let lanes = Lanes {
            journal: Lane::new("eventfold-es-journal", JOURNAL_THREADS, PATIENCE),
            upkeep: Lane::new("eventfold-es-upkeep", UPKEEP_THREADS, PATIENCE),
            // Nothing of a store that was just opened is in memory.
            is_slow: AtomicBool::new(true),
        };
        Self {
            lanes: Arc::new(lanes),
        }
    }

    /// A worker for the journal of the store in `base`.
    pub(crate) fn journal_worker(&self, base: &Path) -> Result<Worker, FileError> {
        self.worker(&self.lanes.journal, base)
    }

    /// A worker for all other work.
    pub(crate) fn upkeep_worker(&self, base: &Path) -> Result<Worker, FileError> {
        self.worker(&self.lanes.upkeep, base)
    }

    fn worker(&self, lane: &Arc<Lane>, base: &Path) -> Result<Worker, FileError> {
        Worker::new(self.clone(), Arc::clone(lane)).map_err(|error| no_thread(base, error))
    }

    /// Runs blocking code for the store in `base`. The receiver gets no value if the code panics.
    ///
    /// # Errors
    ///
    /// If there is no thread for it, and none can be started. This does not happen while a store is open.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        base: &Path,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, FileError> {
        let (done, result) = oneshot::channel();
        // The receiver may be dropped already.
        self.submit(move || drop(done.send(run())))
            .map_err(|error| no_thread(base, error))?;
        Ok(result)
    }

    /// Like [`run`](Self::run), for code that reports its end itself. If it cannot run, it is dropped.
    pub(crate) fn submit(&self, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let once = Once(Mutex::new(Some(Box::new(run))));
        self.lanes.upkeep.push(Arc::new(once))
    }

    /// Whether work waits for a thread of the upkeep lane.
    pub(crate) fn has_waiting(&self) -> bool {
        self.lanes.upkeep.has_waiting()
    }
}

fn no_thread(base: &Path, error: io::Error) -> FileError {
    FileError::new("start a thread for", base, error)
}

/// Work that runs once.
struct Once(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Run for Once {
    fn run(self: Arc<Self>) {
        let run = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(run) = run {
            run();
        }
    }
}
