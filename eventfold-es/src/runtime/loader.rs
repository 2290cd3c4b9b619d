//! Loads aggregates that are not live: many aggregates, with few threads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::guarded::guard;
use crate::error::StoreError;
use crate::threads::StoreRuntime;

/// The maximum number of loading threads. It may exceed the number of processors, because the threads wait for the disk.
const MAX_WORKERS: usize = 8;

/// Loads values by their ids. Each value is loaded once, for all callers that wait for it. A thread continues with the next value itself,
/// without a switch to another thread, unless other work waits for a thread.
pub(super) struct Loader<T> {
    threads: StoreRuntime,
    state: Mutex<LoaderState<T>>,
}

/// A loaded value.
pub(super) enum Load<T> {
    /// It is published: later callers find it.
    Current(T),
    /// It is not published, because it may miss a change that came while it was loaded. It is good enough for callers that came before the
    /// load began.
    Behind(T),
}

type Callers<T> = Vec<oneshot::Sender<Result<T, StoreError>>>;

struct LoaderState<T> {
    /// The values to load and their waiting callers, including the values that are being loaded.
    waiting: HashMap<Arc<str>, Callers<T>>,
    /// The values whose load has not begun.
    queue: VecDeque<Arc<str>>,
    workers: usize,
}

impl<T> Loader<T> {
    pub(super) fn new(threads: StoreRuntime) -> Self {
        Self {
            threads,
            state: Mutex::new(LoaderState {
                waiting: HashMap::new(),
                queue: VecDeque::new(),
                workers: 0,
            }),
        }
    }
}

impl<T: Clone + Send + 'static> Loader<T> {
    /// Loads the value of this id, unless `find` has it while no load is running. `load` blocks, and has to publish a current value to `find`
    /// before it returns. After a value that is behind, it is called again for the callers that have come meanwhile. Cancel safe: the load
    /// continues.
    pub(super) async fn load(
        self: &Arc<Self>,
        id: &Arc<str>,
        find: impl FnOnce() -> Option<T> + Send,
        load: impl Fn(&Arc<str>) -> Result<Load<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (loaded, worker) = {
            let mut state = self.state();
            let LoaderState { waiting, queue, .. } = &mut *state;
            let (sender, receiver) = oneshot::channel();
            match waiting.get_mut(id) {
                Some(waiting) => waiting.push(sender),
                None => {
                    if let Some(found) = find() {
                        return Ok(found);
                    }
                    waiting.insert(Arc::clone(id), vec![sender]);
                    queue.push_back(Arc::clone(id));
                }
            }
            let is_needed = !queue.is_empty() && state.workers < MAX_WORKERS;
            let worker = is_needed.then(|| {
                state.workers += 1;
                Worker {
                    loader: Arc::clone(self),
                    has_ended: false,
                }
            });
            (receiver, worker)
        };
        if let Some(worker) = worker {
            worker.begin(load);
        }
        // If no thread is left, there is no answer.
        loaded.await.unwrap_or(Err(StoreError::RuntimeGone))
    }
}

impl<T> Loader<T> {
    fn state(&self) -> MutexGuard<'_, LoaderState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> LoaderState<T> {
    /// The next value for a worker, and the number of its callers so far. Without one, the worker ends.
    fn next(&mut self) -> Option<(Arc<str>, usize)> {
        let Some(next) = self.queue.pop_front() else {
            self.workers -= 1;
            return None;
        };
        let callers = self.waiting.get(&next).map_or(0, Vec::len);
        Some((next, callers))
    }

    /// The first callers of a loaded value. If there are others, the value is loaded again.
    fn served(&mut self, id: &Arc<str>, count: usize) -> Callers<T> {
        let mut callers = self.waiting.remove(id).unwrap_or_default();
        let others = callers.split_off(count.min(callers.len()));
        if !others.is_empty() {
            self.waiting.insert(Arc::clone(id), others);
            self.queue.push_back(Arc::clone(id));
        }
        callers
    }
}

/// A worker that loads queued values until none is left.
struct Worker<T> {
    loader: Arc<Loader<T>>,
    has_ended: bool,
}

impl<T: Clone + Send + 'static> Worker<T> {
    fn begin(self, load: impl Fn(&Arc<str>) -> Result<Load<T>, StoreError> + Send + 'static) {
        let threads = self.loader.threads.clone();
        // An open store has a thread.
        let _ = threads.submit(move || self.run(load));
    }

    fn run(mut self, load: impl Fn(&Arc<str>) -> Result<Load<T>, StoreError> + Send + 'static) {
        loop {
            let Some((id, callers)) = self.loader.state().next() else {
                self.has_ended = true;
                return;
            };
            let loaded = guard(|| format!("loading `{id}`"), || load(&id)).flatten();
            let (loaded, served) = match loaded {
                Ok(Load::Current(value)) => (Ok(value), usize::MAX),
                Ok(Load::Behind(value)) => (Ok(value), callers),
                Err(error) => (Err(error), usize::MAX),
            };
            for waiting in self.loader.state().served(&id, served) {
                // A caller that is gone needs no answer.
                let _ = waiting.send(loaded.clone());
            }
            if self.loader.threads.has_waiting() {
                return self.begin(load);
            }
        }
    }
}

impl<T> Drop for Worker<T> {
    /// If the last worker fails, the waiting callers get an error, because no other worker may start.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut state = self.loader.state();
        state.workers -= 1;
        if state.workers == 0 {
            let left = std::mem::take(&mut state.queue);
            let told: Vec<_> = left.iter().map(|id| state.waiting.remove(id)).collect();
            drop(state);
            drop(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the length of an id, and counts the loads.
    fn length(
        count: &Arc<AtomicUsize>,
    ) -> impl Fn(&Arc<str>) -> Result<Load<usize>, StoreError> + Clone + Send + use<> {
        let count = Arc::clone(count);
        move |id| {
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
            match &**id {
                "panic" => std::panic::resume_unwind(Box::new("no")),
                _ => Ok(Load::Current(id.len())),
            }
        }
    }

    #[tokio::test]
    async fn what_many_wait_for_is_loaded_once() -> Result<(), StoreError> {
        let loader = Arc::new(Loader::new(StoreRuntime::new()));
        let count = Arc::default();
        let loaded = Arc::new(Mutex::new(HashMap::new()));
        // First concurrently, then with all values loaded.
        for _ in 0..2 {
            let waiting: Vec<_> = (0..1000)
                .map(|number| {
                    let (loader, length) = (Arc::clone(&loader), length(&count));
                    let (found, kept) = (Arc::clone(&loaded), Arc::clone(&loaded));
                    let load = move |id: &Arc<str>| {
                        let Load::Current(length) = length(id)? else {
                            return Err(StoreError::Closed);
                        };
                        lock(&kept).insert(Arc::clone(id), length);
                        Ok(Load::Current(length))
                    };
                    let id: Arc<str> = "x".repeat(1 + number % 50).into();
                    tokio::spawn(async move {
                        let find = || lock(&found).get(&id).copied();
                        (loader.load(&id, find, load).await, id.len())
                    })
                })
                .collect();
            for waiting in waiting {
                let (loaded, expected) = waiting.await.map_err(|_| StoreError::RuntimeGone)?;
                assert_eq!(loaded?, expected);
            }
        }
        assert_eq!(count.load(Ordering::Relaxed), 50);
        // The last worker sends its answers before it ends.
        while loader.state().workers > 0 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_panic_fails_one_and_stops_no_other() {
        let loader = Arc::new(Loader::new(StoreRuntime::new()));
        let load = length(&Arc::default());
        for id in ["panic", "other", "panic"] {
            let loaded = loader.load(&id.into(), || None, load.clone()).await;
            match id {
                "panic" => assert!(
                    matches!(loaded, Err(StoreError::Panicked { .. })),
                    "{loaded:?}"
                ),
                _ => assert_eq!(loaded.ok(), Some(5)),
            }
        }
    }

    /// A value that is behind serves the callers that came before its load began, and no other.
    #[tokio::test]
    async fn who_comes_during_a_load_that_is_behind_gets_the_next_value() {
        let loader = Arc::new(Loader::new(StoreRuntime::new()));
        let (begun, began) = std::sync::mpsc::channel();
        let (go_on, gate) = std::sync::mpsc::channel();
        let (gate, count) = (Mutex::new(gate), AtomicUsize::new(0));
        let load = Arc::new(move |_: &Arc<str>| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let _ = begun.send(());
            let _ = lock(&gate).recv();
            Ok(match number {
                0 => Load::Behind(number),
                _ => Load::Current(number),
            })
        });
        let caller = || {
            let (loader, load) = (Arc::clone(&loader), Arc::clone(&load));
            let load = move |id: &Arc<str>| load(id);
            tokio::spawn(async move { loader.load(&"a".into(), || None, load).await })
        };
        let first = caller();
        while began.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let second = caller();
        while loader
            .state()
            .waiting
            .get("a")
            .is_some_and(|all| all.len() < 2)
        {
            tokio::task::yield_now().await;
        }
        assert!(go_on.send(()).is_ok() && go_on.send(()).is_ok());
        assert!(matches!(first.await, Ok(Ok(0))));
        assert!(matches!(second.await, Ok(Ok(1))));
    }

    #[tokio::test]
    async fn who_waits_is_told_that_nobody_can_load() {
        let loader = Arc::new(Loader::<usize>::new(StoreRuntime::new()));
        let (sender, waiting) = oneshot::channel();
        {
            let mut state = loader.state();
            state.waiting.insert("late".into(), vec![sender]);
            state.queue.push_back("late".into());
            state.workers = 1;
        }
        drop(Worker {
            loader: Arc::clone(&loader),
            has_ended: false,
        });
        assert!(waiting.await.is_err());
        assert_eq!(loader.state().workers, 0);
    }
}
