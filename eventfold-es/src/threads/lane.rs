//! The threads for one kind of work. They start when there is work for them, up to a bound, and end when there was none for a
//! while.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::runtime::guard;

/// Something that a thread of a lane runs once each time it is pushed. It blocks for I/O only, never for another of its lane.
pub(super) trait Run: Send + Sync {
    fn run(self: Arc<Self>);
}

/// The place of something that runs later: when, and a number that tells it from others of that time.
pub(super) type Timer = (Instant, u64);

/// See the [module](self).
pub(super) struct Lane {
    name: &'static str,
    max_threads: usize,
    /// How long a thread without work waits for some before it ends.
    patience: Duration,
    state: Mutex<LaneState>,
    /// The length of the queue, for threads that ask without the lock.
    ready: AtomicUsize,
}

#[derive(Default)]
struct LaneState {
    /// First come, first served.
    ready: VecDeque<Arc<dyn Run>>,
    later: BTreeMap<Timer, Arc<dyn Run>>,
    next_timer: u64,
    threads: usize,
    /// The number of threads that run something.
    busy: usize,
    /// The threads without work; the last one is woken first, so that those that are not needed end.
    parked: Vec<Thread>,
    /// The number of workers. A thread stays as long as there is a worker.
    workers: usize,
    /// Nothing can come any more but what is ready.
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

    /// The number of threads that wait for work.
    #[cfg(test)]
    pub(super) fn parked(&self) -> usize {
        self.state().parked.len()
    }

    /// Whether something is ready that no thread has taken yet.
    pub(super) fn has_waiting(&self) -> bool {
        self.ready.load(Ordering::Relaxed) > 0
    }

    /// Counts a worker, for which a thread stays from now on.
    ///
    /// # Errors
    ///
    /// If there is no thread yet, and none can be started.
    pub(super) fn enter(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.state();
        if state.threads == 0 {
            self.start_thread(&mut state)?;
        }
        state.workers += 1;
        Ok(())
    }

    /// Ends the count of a worker.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.workers -= 1;
        if state.workers == 0 {
            // The thread that stayed for it ends when it has been idle for long enough.
            wake_all(state);
        }
    }

    /// Lets a thread run it as soon as one is free.
    ///
    /// # Errors
    ///
    /// If there is no thread, and none can be started; it does not run then. While there is a worker it always runs.
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

    /// The same from a thread of the lane that is about to look for work itself.
    pub(super) fn push_behind(&self, run: Arc<dyn Run>) {
        self.make_ready(&mut self.state(), run);
    }

    fn make_ready(&self, state: &mut LaneState, run: Arc<dyn Run>) {
        state.ready.push_back(run);
        self.ready.store(state.ready.len(), Ordering::Relaxed);
    }

    /// Lets a thread run it at a time, unless it is [cancelled](Self::cancel) before; from a thread of the lane that is about to
    /// look for work, and so for the time, itself.
    pub(super) fn push_later(&self, at: Instant, run: Arc<dyn Run>) -> Timer {
        let mut state = self.state();
        let timer = (at, state.next_timer);
        state.next_timer += 1;
        state.later.insert(timer, run);
        timer
    }

    /// Whether it was still to come.
    pub(super) fn cancel(&self, timer: Timer) -> bool {
        self.state().later.remove(&timer).is_some()
    }

    /// Lets the threads end when nothing is ready any more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_ending = true;
        wake_all(state);
    }

    /// Starts a thread for one more than are ready, unless that has to wait for one that is there.
    fn start_thread_for_one_more(self: &Arc<Self>, state: &mut LaneState) -> io::Result<()> {
        // Those that have not parked yet are about to look for work.
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
                // What runs tells of its own panic.
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
            // Whoever has woken it has done so.
            let own = thread::current().id();
            state.parked.retain(|parked| parked.id() != own);
        }
    }

    /// Makes ready what is due, and wakes threads for all of it but the first, which this one takes.
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
