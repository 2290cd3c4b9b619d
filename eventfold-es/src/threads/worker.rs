//! Work that is done in turns, on any free thread of a lane, and never on two threads at once.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::StoreRuntime;
use super::lane::{Lane, Run, Timer};
use crate::runtime::guard;

/// The next step after a turn.
pub(crate) enum Next {
    /// Another turn, after the other waiting work.
    Again,
    /// A turn when the worker is woken, or after this time.
    Later(Duration),
    /// A turn when the worker is woken.
    Idle,
    /// No further turn; the [`Turns`] are dropped.
    Ended,
}

/// The work of a worker, done in turns.
///
/// A turn blocks for I/O only. It never waits for another worker, which may need this very thread. It ends instead, and
/// is woken later.
pub(crate) trait Turns: Send + 'static {
    fn turn(&mut self, turn: &Turn<'_>) -> Next;

    /// Called after a turn has panicked, before `self` is dropped. No further turn follows.
    fn panicked(&mut self);
}

/// The context of a turn.
pub(crate) struct Turn<'a>(&'a Arc<Inner>);

impl Turn<'_> {
    /// Whether other work waits for the thread. In that case a fair turn with more work ends with [`Next::Again`].
    pub(crate) fn others_wait(&self) -> bool {
        self.0.lane.has_waiting()
    }

    /// Wakes the worker.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(self.0))
    }
}

/// A worker, for its callers. All clones are one worker.
#[derive(Clone)]
pub(crate) struct Worker(Arc<Inner>);

struct Inner {
    /// Keeps the threads as long as the worker lives.
    _runtime: StoreRuntime,
    lane: Arc<Lane>,
    state: Mutex<State>,
    /// Locked by the thread that runs a turn. Before the first turn, [`Worker::begin`] locks it.
    work: Mutex<Option<Box<dyn Turns>>>,
}

enum State {
    /// No turn is needed.
    Idle,
    /// A turn follows when a thread is free.
    Ready,
    Later(Timer),
    Running {
        /// Whether the worker was woken during the turn, which may not have seen the reason.
        is_woken: bool,
    },
    Ended,
}

impl Worker {
    /// A worker that has not started.
    ///
    /// # Errors
    ///
    /// If the lane has no thread, and none can be started.
    pub(super) fn new(runtime: StoreRuntime, lane: Arc<Lane>) -> io::Result<Self> {
        lane.enter()?;
        Ok(Self(Arc::new(Inner {
            _runtime: runtime,
            lane,
            state: Mutex::new(State::Idle),
            work: Mutex::default(),
        })))
    }

    /// Starts the worker with a first turn. Call it once.
    pub(crate) fn begin(&self, work: impl Turns) {
        *self.0.work() = Some(Box::new(work));
        self.wake();
    }

    /// Causes a turn that sees everything that happened before this call. Never waits.
    pub(crate) fn wake(&self) {
        self.0.wake_up();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) -> MutexGuard<'_, Option<Box<dyn Turns>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_up(self: &Arc<Self>) {
        let mut state = self.state();
        match &mut *state {
            State::Idle => {}
            // If the timer is gone, a thread has just taken the work.
            State::Later(timer) if self.lane.cancel(*timer) => {}
            State::Running { is_woken } => {
                *is_woken = true;
                return;
            }
            State::Later(_) | State::Ready | State::Ended => return,
        }
        *state = State::Ready;
        drop(state);
        let run = Arc::clone(self);
        if self.lane.push(run).is_err() {
            unreachable!("a lane with a worker has a thread");
        }
    }
}

impl Run for Inner {
    fn run(self: Arc<Self>) {
        *self.state() = State::Running { is_woken: false };
        let mut work = self.work();
        let next = match &mut *work {
            Some(work) => guard(|| "a turn".to_owned(), || work.turn(&Turn(&self))),
            None => Ok(Next::Idle),
        };
        let next = next.unwrap_or_else(|_| {
            if let Some(work) = &mut *work {
                work.panicked();
            }
            Next::Ended
        });
        if matches!(next, Next::Ended) {
            *self.state() = State::Ended;
            let ended = work.take();
            drop(work);
            drop(ended);
            return;
        }
        drop(work);
        let mut state = self.state();
        let is_woken = matches!(*state, State::Running { is_woken: true });
        *state = match next {
            Next::Later(time) if !is_woken => {
                let run = Arc::clone(&self);
                State::Later(self.lane.push_later(Instant::now() + time, run))
            }
            Next::Idle if !is_woken => State::Idle,
            _ => {
                self.lane.push_behind(Arc::clone(&self) as Arc<dyn Run>);
                State::Ready
            }
        };
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.lane.leave();
    }
}
