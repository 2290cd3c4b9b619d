//! Runs several items that wait for the disk at once: on the caller, and on free threads of the runtime.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreRuntime;

/// An item that takes longer has waited for the disk. An item in memory is done before another thread wakes up.
const PATIENCE: Duration = Duration::from_micros(100);
/// The maximum number of threads that help one caller.
const MAX_HELPERS: usize = 7;

struct Work<T, R, F> {
    items: Vec<T>,
    run: F,
    left: Mutex<Left<R>>,
}

struct Left<R> {
    /// The index of the next item without a worker.
    next: usize,
    /// `None` once every item has started. Each worker of an item has a clone until the item is done.
    results: Option<Sender<(usize, R)>>,
}

impl StoreRuntime {
    /// Runs `run` for each item, and returns the results in the order of the items. The caller starts alone. Threads
    /// help as soon as an item takes long. They help from the start if an item of the last call did, and with the first
    /// items of all. The caller waits for the items that helpers have started, but never for a thread to become free.
    /// Blocks.
    pub(crate) fn at_once<T, R, F>(&self, items: Vec<T>, run: F) -> Vec<R>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
        F: Fn(&T) -> R + Send + Sync + 'static,
    {
        if items.is_empty() {
            return Vec::new();
        }
        let mut is_slow = self.lanes.is_slow.load(Ordering::Relaxed);
        let mut has_waited = false;
        let (mut items, mut done) = (items.into_iter(), Vec::new());
        while (!is_slow || items.len() < 2)
            && let Some(item) = items.next()
        {
            let begun = Instant::now();
            done.push(run(&item));
            has_waited |= begun.elapsed() > PATIENCE;
            is_slow |= has_waited;
        }
        if items.len() > 0 {
            done.extend(self.helped(items.collect(), run, &mut has_waited));
        }
        self.lanes.is_slow.store(has_waited, Ordering::Relaxed);
        done
    }

    /// [`at_once`](Self::at_once), with threads that help from the start.
    fn helped<T, R, F>(&self, items: Vec<T>, run: F, has_waited: &mut bool) -> Vec<R>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
        F: Fn(&T) -> R + Send + Sync + 'static,
    {
        let (sender, results) = mpsc::channel();
        let work = Arc::new(Work {
            items,
            run,
            left: Mutex::new(Left {
                next: 0,
                results: Some(sender),
            }),
        });
        for _ in 0..work.items.len().saturating_sub(1).min(MAX_HELPERS) {
            let work = Arc::clone(&work);
            // Without a helper the caller runs all items.
            let _ = self.submit(move || while work.step() {});
        }
        loop {
            let begun = Instant::now();
            if !work.step() {
                break;
            }
            *has_waited |= begun.elapsed() > PATIENCE;
        }
        let mut found: Vec<Option<R>> = work.items.iter().map(|_| None).collect();
        for (index, result) in results {
            if let Some(place) = found.get_mut(index) {
                *place = Some(result);
            }
        }
        // A helper that panics leaves no result. The caller runs the item again, so that it panics as it would alone.
        let found = work.items.iter().zip(found);
        found
            .map(|(item, found)| found.unwrap_or_else(|| (work.run)(item)))
            .collect()
    }
}

impl<T, R, F: Fn(&T) -> R> Work<T, R, F> {
    /// Runs the next item; `false` if every item has started.
    fn step(&self) -> bool {
        let (index, item, results) = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let index = left.next;
            let (Some(item), Some(results)) = (self.items.get(index), left.results.clone()) else {
                left.results = None;
                return false;
            };
            left.next += 1;
            (index, item, results)
        };
        // A caller that has panicked receives no results.
        let _ = results.send((index, (self.run)(item)));
        true
    }
}
