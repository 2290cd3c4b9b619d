//! The calls of a projection, which may hang.
//!
//! The calls of a database are on a thread of their own. A thread of the pool waits for the end, but not without limit: a call that
//! does not return in time keeps its thread, its connection and its follower. It holds up neither the store nor the runtime.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Follower, RebuildOrder};
use crate::error::StoreError;
use crate::guarded::{blocking, guard};
use crate::projection::{Sink, SinkProjection};

/// The time that a call has when the store closes, or its rebuild is cancelled. It is shorter than the wait of a closing store for
/// its tasks.
pub(super) const GRACE: Duration = Duration::from_secs(4);
/// The number of hanging calls with which a projection begins no other.
pub(super) const MOST_HANGING: usize = 4;
/// The time between two looks at a call.
const LOOK: Duration = Duration::from_millis(50);

/// The signs of life of one call.
#[derive(Default)]
pub(super) struct Pulse {
    beats: AtomicU64,
    end: OnceLock<End>,
    /// The rebuild that the call makes.
    rebuild: Mutex<Option<RebuildOrder>>,
}

enum End {
    Returned,
    GivenUp,
}

impl Pulse {
    /// Tells that the call goes on. `false` if the wait for it has ended: then it has to end, and to change nothing.
    pub(super) fn beat(&self) -> bool {
        // Only the thread of the call writes.
        let beats = self.beats.load(Ordering::Relaxed);
        self.beats.store(beats.wrapping_add(1), Ordering::Relaxed);
        !self.is_given_up()
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.end.get(), Some(End::GivenUp))
    }

    /// Tells which rebuild the call makes.
    pub(super) fn rebuilds(&self, order: Option<RebuildOrder>) {
        *self.rebuild.lock().unwrap_or_else(PoisonError::into_inner) = order;
    }

    fn cancelled(&self) -> Option<RebuildOrder> {
        let order = self.rebuild.lock().unwrap_or_else(PoisonError::into_inner);
        order.clone().filter(RebuildOrder::is_cancelled)
    }
}

/// The end of a call.
pub(super) enum Called<P: SinkProjection, T> {
    Returned(Box<Follower<P>>, T),
    /// It gave no sign of life for this time. The store waits for it no longer.
    Hangs(Duration),
    /// The store closes, or this rebuild is cancelled, and the call has not ended in the time for that.
    Left(Option<RebuildOrder>),
}

/// The follower and the result of a call that has returned. An error is a panic.
type Returned<P, T> = Result<(Box<Follower<P>>, T), StoreError>;

type Job = Box<dyn FnOnce() + Send>;

/// The calls that have not returned, and for which the store waits no longer.
#[derive(Default)]
struct Hanging {
    calls: AtomicUsize,
    one_has_ended: Notify,
}

/// The calls of one projection.
pub(super) struct Calls {
    name: &'static str,
    timeout: Duration,
    /// The thread of the next call. `None` while its last call hangs.
    thread: Option<mpsc::Sender<Job>>,
    hanging: Arc<Hanging>,
    /// Dropped with the task of the projection.
    task: Arc<()>,
}

impl Calls {
    pub(super) fn new<P: SinkProjection>(sink: &P::Sink) -> Self {
        let what = || format!("the timeout of the projection `{}`", P::NAME);
        let timeout = guard(what, || sink.timeout());
        Self {
            name: P::NAME,
            timeout: timeout.unwrap_or(crate::projection::SINK_TIMEOUT),
            thread: None,
            hanging: Arc::default(),
            task: Arc::default(),
        }
    }

    /// The number of calls that hang.
    pub(super) fn hanging(&self) -> usize {
        self.hanging.calls.load(Ordering::SeqCst)
    }

    /// Waits until a call that hangs has returned.
    pub(super) async fn one_has_ended(&self) {
        self.hanging.one_has_ended.notified().await;
    }

    /// Calls `run`, and waits while the call gives signs of life.
    pub(super) async fn call<P: SinkProjection, T: Send + 'static>(
        &mut self,
        mut follower: Box<Follower<P>>,
        run: impl FnOnce(&mut Follower<P>) -> T + Send + 'static,
    ) -> Result<Called<P, T>, StoreError> {
        let name = self.name;
        let what = move || format!("the projection `{name}`");
        let pulse = Arc::<Pulse>::default();
        follower.pulse = Arc::clone(&pulse);
        // The files of the store stay open until the call has returned.
        if P::Sink::IS_IN_STORE {
            return blocking(what, move || {
                let done = run(&mut follower);
                Ok(Called::Returned(follower, done))
            })
            .await;
        }
        let wait = Wait {
            pulse: Arc::clone(&pulse),
            timeout: self.timeout,
            closing: follower.closing.clone(),
            task: Arc::downgrade(&self.task),
            hanging: Arc::clone(&self.hanging),
        };
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => started().map_err(|error| StoreError::Sink {
                name,
                reason: format!("no thread for its calls: {error}").into(),
            })?,
        };
        let hanging = Arc::clone(&self.hanging);
        let (done, ended) = mpsc::sync_channel(1);
        let span = tracing::Span::current();
        let job = Box::new(move || {
            let called = guard(what, || {
                let done = span.in_scope(|| run(&mut follower));
                (follower, done)
            });
            if pulse.end.set(End::Returned).is_ok() {
                // An error means that the runtime has ended.
                let _ = done.send(called);
                return;
            }
            drop(called);
            hanging.calls.fetch_sub(1, Ordering::SeqCst);
            hanging.one_has_ended.notify_one();
        });
        let waited = blocking(what, move || {
            let is_begun = thread.send(job).is_ok();
            let called = match is_begun {
                true => wait.until_ended(&ended),
                false => Err(gone(name)),
            };
            Ok((thread, called?))
        });
        let (thread, called) = waited.await?;
        if matches!(called, Called::Returned(..)) {
            self.thread = Some(thread);
        }
        Ok(called)
    }
}

fn started() -> io::Result<mpsc::Sender<Job>> {
    let (jobs, received) = mpsc::channel::<Job>();
    let thread = thread::Builder::new().name("eventfold-es-sink".to_owned());
    thread.spawn(move || received.into_iter().for_each(|job| job()))?;
    Ok(jobs)
}

fn gone(name: &'static str) -> StoreError {
    StoreError::Panicked {
        what: format!("the thread of the projection `{name}`"),
        message: "no message".to_owned(),
    }
}

/// A wait for the end of a call.
struct Wait {
    pulse: Arc<Pulse>,
    timeout: Duration,
    closing: tokio::sync::watch::Receiver<bool>,
    task: Weak<()>,
    hanging: Arc<Hanging>,
}

impl Wait {
    /// Blocks, at most as long as the call may take.
    fn until_ended<P: SinkProjection, T>(
        &self,
        ended: &mpsc::Receiver<Returned<P, T>>,
    ) -> Result<Called<P, T>, StoreError> {
        let returned = |called: Returned<P, T>| {
            called.map(|(follower, done)| Called::Returned(follower, done))
        };
        let mut seen = (0, Instant::now());
        let mut asked: Option<Instant> = None;
        let given_up = loop {
            match ended.recv_timeout(LOOK) {
                Ok(called) => return returned(called),
                Err(RecvTimeoutError::Disconnected) => return Err(gone(P::NAME)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let beats = self.pulse.beats.load(Ordering::Relaxed);
            if beats != seen.0 {
                seen = (beats, Instant::now());
            }
            if seen.1.elapsed() >= self.timeout {
                break Called::Hangs(self.timeout);
            }
            let cancelled = self.pulse.cancelled();
            let is_over = *self.closing.borrow() || self.task.strong_count() == 0;
            if !is_over && cancelled.is_none() {
                asked = None;
            } else if asked.get_or_insert_with(Instant::now).elapsed() >= GRACE {
                break Called::Left(cancelled);
            }
        };
        self.hanging.calls.fetch_add(1, Ordering::SeqCst);
        if self.pulse.end.set(End::GivenUp).is_ok() {
            return Ok(given_up);
        }
        // It has ended at this moment.
        self.hanging.calls.fetch_sub(1, Ordering::SeqCst);
        returned(ended.recv().unwrap_or_else(|_| Err(gone(P::NAME))))
    }
}
