//! The threads for one kind of work. They start when there is work for them, up to a bound, and end after an idle time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::runtime::guard;

/// Work that a thread of a lane runs once for each push. It blocks for I/O only, never for other work of its lane.
pub(super) trait Run: Send + Sync {
    fn run(self: Arc<Self>);
}

/// The place of delayed work: its time, and a number that distinguishes it from other work of that time.
pub(super) type Timer = (Instant, u64);

/// See the [module](self).
pub(super) struct Lane {
    name: &'static str,
    max_threads: usize,
    /// The idle time after which a thread ends.
    patience: Duration,
    state: Mutex<LaneState>,
    /// The length of the queue, for a query without the lock.
    ready: AtomicUsize,
}

#[derive(Default)]
struct LaneState {
    /// The queue of ready work, in order of arrival.
    ready: VecDeque<Arc<dyn Run>>,
    later: BTreeMap<Timer, Arc<dyn Run>>,
    next_timer: u64,
    threads: usize,
    /// The number of threads that run work.
    busy: usize,
    /// The idle threads. The lane wakes the last one first, so that superfluous threads stay idle and end.
    parked: Vec<Thread>,
    /// The number of workers. A thread stays as long as there is a worker.
    workers: usize,
    /// The lane ends after the ready work. No further work arrives.
    is_ending: bool,
}

impl Lane {
    pub(super) fn new(name: &'static str, max_threads: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            name,
            max_threads,
            patience,
            state: Mutex::default(),
            ready: AtomicUsize::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of threads.
    pub(super) fn threads(&self) -> usize {
        self.state().threads
    }

    /// The number of idle threads.
    #[cfg(test)]
    pub(super) fn parked(&self) -> usize {
        self.state().parked.len()
    }

    /// Whether ready work waits for a thread.
    pub(super) fn has_waiting(&self) -> bool {
        self.ready.load(Ordering::Relaxed) > 0
    }

    /// Counts a worker. From now on one thread stays for it.
    ///
    /// # Errors
    ///
    /// If the lane has no thread, and none can be started.
    pub(super) fn enter(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.state();
        if state.threads == 0 {
            self.start_thread(&mut state)?;
        }
        state.workers += 1;
        Ok(())
    }

    /// Removes a worker from the count.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.workers -= 1;
        if state.workers == 0 {
            // The thread that stayed for it now ends after its idle time.
            wake_all(state);
        }
    }

    /// Lets a thread run `run` as soon as a thread is free.
    ///
    /// # Errors
    ///
    /// If the lane has no thread, and none can be started; `run` does not run then. With a worker in the lane it always
    /// runs.
    pub(super) fn push(self: &Arc<Self>, run: Arc<dyn Run>) -> io::Result<()> {
        let mut state = self.state();
        let parked = state.parked.pop();
        if parked.is_none()
            && let Err(error) = self.start_thread_for_one_more(&mut state)
            && state.threads == 0
        {
            return Err(error);
        }
        self.make_ready(&mut state, run);
        drop(state);
        if let Some(parked) = parked {
            parked.unpark();
        }
        Ok(())
    }

    /// Like [`push`](Self::push), from a thread of the lane that is about to look for work itself.
    pub(super) fn push_behind(&self, run: Arc<dyn Run>) {
        self.make_ready(&mut self.state(), run);
    }

    fn make_ready(&self, state: &mut LaneState, run: Arc<dyn Run>) {
        state.ready.push_back(run);
        self.ready.store(state.ready.len(), Ordering::Relaxed);
    }

    /// Lets a thread run `run` at a time, unless it is [cancelled](Self::cancel) first. Only a thread of the lane calls
    /// this, when it is about to look for work: it then also watches the time.
    pub(super) fn push_later(&self, at: Instant, run: Arc<dyn Run>) -> Timer {
        let mut state = self.state();
        let timer = (at, state.next_timer);
        state.next_timer += 1;
        state.later.insert(timer, run);
        timer
    }

    /// Removes delayed work; `false` if it has been taken already.
    pub(super) fn cancel(&self, timer: Timer) -> bool {
        self.state().later.remove(&timer).is_some()
    }

    /// Ends each thread when no work is ready any more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_ending = true;
        wake_all(state);
    }

    /// Starts a thread for one more piece of ready work, unless a free thread can run it or the bound is reached.
    fn start_thread_for_one_more(self: &Arc<Self>, state: &mut LaneState) -> io::Result<()> {
        // Free threads that have not parked yet are about to look for work.
        let free = state.threads - state.busy;
        match free > state.ready.len() || state.threads == self.max_threads {
            true => Ok(()),
            false => self.start_thread(state),
        }
    }

    fn start_thread(self: &Arc<Self>, state: &mut LaneState) -> io::Result<()> {
        let lane = Arc::clone(self);
        thread::Builder::new()
            .name(self.name.to_owned())
            .spawn(move || lane.serve())?;
        state.threads += 1;
        Ok(())
    }

    /// The loop of each thread.
    fn serve(self: Arc<Self>) {
        let mut idle_since = Instant::now();
        let mut state = self.state();
        loop {
            let now = Instant::now();
            self.take_due(&mut state, now);
            if let Some(run) = state.ready.pop_front() {
                self.ready.store(state.ready.len(), Ordering::Relaxed);
                state.busy += 1;
                drop(state);
                // The work itself reports its panic.
                let _ = guard(|| self.name.to_owned(), || run.run());
                idle_since = Instant::now();
                state = self.state();
                state.busy -= 1;
                continue;
            }
            let ends_at = idle_since + self.patience;
            let is_last = state.threads <= usize::from(state.workers > 0);
            if state.is_ending || (now >= ends_at && !is_last) {
                state.threads -= 1;
                return;
            }
            let next = state.later.first_key_value().map(|((at, _), _)| *at);
            let until = match is_last {
                true => next,
                false => Some(next.map_or(ends_at, |next| next.min(ends_at))),
            };
            state.parked.push(thread::current());
            drop(state);
            match until {
                Some(until) => thread::park_timeout(until - now),
                None => thread::park(),
            }
            state = self.state();
            // A thread that has woken this one has already removed it.
            let own = thread::current().id();
            state.parked.retain(|parked| parked.id() != own);
        }
    }

    /// Makes due work ready. It wakes a thread for each piece but the first, which this thread runs.
    fn take_due(self: &Arc<Self>, state: &mut LaneState, now: Instant) {
        while let Some(due) = state.later.first_entry() {
            if due.key().0 > now {
                break;
            }
            let run = due.remove();
            if !state.ready.is_empty() {
                match state.parked.pop() {
                    Some(parked) => parked.unpark(),
                    // Without another thread it waits for this one.
                    None => drop(self.start_thread_for_one_more(state)),
                }
            }
            self.make_ready(state, run);
        }
    }
}

fn wake_all(mut state: MutexGuard<'_, LaneState>) {
    let parked = std::mem::take(&mut state.parked);
    drop(state);
    for parked in parked {
        parked.unpark();
    }
}
