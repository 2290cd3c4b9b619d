//! The task of a projection that writes to a sink. It follows the durable events, and commits its progress with its rows.

mod advance;
mod behind;
mod calls;
mod fault;
mod progress;
mod project;
mod rebuild;
mod rebuild_at_once;
mod transact;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::progress_gauge::ProjectionGauge;
use crate::error::StoreError;
use crate::guarded::Kept;
use crate::journal::{Cursor, Journal};
use crate::process_manager::Backoff;
use crate::projection::{Sink, SinkProjection};
use calls::{Called, Calls, GRACE, MOST_HANGING, Pulse};
use progress::SavedProgress;

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A request to a follower.
pub(crate) enum FollowerRequest {
    /// Rebuilds the state. The answer comes when it is there.
    Rebuild {
        is_cancelled: Arc<AtomicBool>,
        answer: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Tries again, at once.
    Resume,
}

/// The parts of the store that a follower uses.
pub(crate) struct FollowerContext {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) gauge: Arc<ProjectionGauge>,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) requests: mpsc::UnboundedReceiver<FollowerRequest>,
    /// Closing waits until it is dropped.
    pub(crate) _alive: mpsc::Sender<()>,
}

/// A projection and its connection.
pub(crate) struct Follower<P: SinkProjection> {
    journal: Arc<dyn Journal>,
    gauge: Arc<ProjectionGauge>,
    closing: watch::Receiver<bool>,
    sink: Arc<P::Sink>,
    /// The signs of life of the call under way.
    pulse: Arc<Pulse>,
    connection: Option<Kept<<P::Sink as Sink>::Connection>>,
    current: Place,
    new: Place,
    /// The progress in the sink that is ahead of this node; another node has saved it.
    awaited: Option<SavedProgress>,
    /// The requested rebuild, or the rebuild that the saved progress requires.
    rebuild: Option<RebuildOrder>,
    /// The events that a rebuild skips, because they failed in its earlier attempts.
    failed_in_rebuild: BTreeMap<u64, String>,
    /// The event that fails, and the number of its attempts.
    failing: Option<(u64, u32)>,
}

/// A state in the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Readers see it.
    Current,
    /// A rebuild makes it.
    New,
}

/// The place of a state in the history.
#[derive(Debug, Default)]
struct Place {
    /// The progress in the sink; none before it was read.
    progress: Option<SavedProgress>,
    /// The text of the progress in the sink; none if it has none.
    stored: Option<String>,
    cursor: Cursor,
}

/// A rebuild that is to be done.
#[derive(Clone)]
struct RebuildOrder {
    cancels: Arc<AtomicBool>,
    /// Whether this program cannot go on with the old state.
    is_required: bool,
    /// Whether it begins at the first event, also if an earlier rebuild was interrupted.
    begins_anew: bool,
}

impl RebuildOrder {
    fn is_cancelled(&self) -> bool {
        self.cancels.load(Ordering::Acquire)
    }
}

/// The reason why a follower does not advance.
enum Halt {
    /// The store closes, or the rebuild is cancelled.
    Asked,
    /// The progress in the sink is not the expected progress, or a rebuild begins again. The progress has to be read again.
    Moved,
    /// Another node has projected events up to this position, and this node does not have them yet.
    Behind(u64),
    /// The sink fails. This is always retried.
    Sink(StoreError),
    /// An event cannot be projected.
    Event(StoreError),
}

impl<P: SinkProjection> Follower<P> {
    /// Follows the events until the store closes.
    pub(crate) async fn run(context: FollowerContext, sink: Arc<P::Sink>) {
        let FollowerContext {
            journal,
            gauge,
            closing,
            mut requests,
            _alive,
        } = context;
        let mut durable = journal.durable();
        let mut is_closing = closing.clone();
        let new = {
            let (gauge, sink) = (Arc::clone(&gauge), Arc::clone(&sink));
            move |rebuild| {
                let (journal, gauge) = (Arc::clone(&journal), Arc::clone(&gauge));
                Self::new(journal, gauge, closing.clone(), Arc::clone(&sink), rebuild)
            }
        };
        let mut calls = Calls::new::<P>(&sink);
        let mut follower = new(None);
        let mut answers = Vec::new();
        let mut attempts = 0;
        while !*is_closing.borrow() {
            durable.borrow_and_update();
            let called = match calls.hanging() {
                hanging @ MOST_HANGING.. if attempts > 0 => {
                    let error = unanswered::<P>(format!(
                        "{hanging} calls have not returned. The projection goes on when one of them returns, or by `resume_projection`"
                    ));
                    Ok(Called::Returned(follower, Err(Halt::Sink(error))))
                }
                _ => calls.call(follower, Self::advance).await,
            };
            let advanced = match called {
                Ok(Called::Returned(returned, advanced)) => {
                    follower = returned;
                    advanced
                }
                // A rebuild does not begin again by itself: its commit may be the call that hangs.
                Ok(Called::Hangs(time)) => {
                    follower = new(None);
                    gauge.rebuilds(None);
                    let hangs = format!("a call has not returned for {time:?}, and was given up");
                    Err(Halt::Sink(unanswered::<P>(hangs)))
                }
                Ok(Called::Left(cancelled)) => {
                    tracing::warn!(
                        projection = P::NAME,
                        "a call of the database of a projection has not returned for {GRACE:?}, and was given up"
                    );
                    follower = new(cancelled);
                    gauge.rebuilds(None);
                    Err(Halt::Asked)
                }
                Err(error @ StoreError::Sink { .. }) => {
                    follower = new(None);
                    Err(Halt::Sink(error))
                }
                Err(error) => {
                    gauge.fails(Some(error.to_string()), true);
                    return;
                }
            };
            let behind = match &advanced {
                Err(Halt::Behind(position)) => Some(*position),
                _ => None,
            };
            let wait = match advanced {
                Ok(()) | Err(Halt::Behind(_)) => {
                    attempts = 0;
                    gauge.fails(None, false);
                    answer(&mut answers, &Ok(()));
                    None
                }
                Err(Halt::Moved) => continue,
                Err(Halt::Asked) if *is_closing.borrow() => break,
                Err(Halt::Asked) => {
                    answer(&mut answers, &Err(StoreError::RebuildCancelled));
                    follower.current.progress = None;
                    match follower.rebuild.take() {
                        Some(rebuild) if rebuild.is_required => {
                            let reason =
                                "its rebuild was cancelled, and its state is of another version";
                            gauge.fails(Some(reason.to_owned()), true);
                        }
                        _ => continue,
                    }
                    None
                }
                Err(halt) => {
                    let is_event = matches!(halt, Halt::Event(_));
                    let (Halt::Sink(error) | Halt::Event(error)) = halt else {
                        continue;
                    };
                    attempts += 1;
                    let stops = is_event && follower.stops();
                    tracing::warn!(projection = P::NAME, %error, attempts, stops, "a projection cannot go on");
                    gauge.fails(Some(error.to_string()), stops);
                    answer(&mut answers, &Err(error));
                    (!stops).then(|| {
                        let backoff = Backoff::exponential(FIRST_RETRY).max(LAST_RETRY).forever();
                        backoff.delay(attempts, P::NAME).unwrap_or(LAST_RETRY)
                    })
                }
            };
            let has_failed = gauge.failure().is_some();
            let request = tokio::select! {
                _ = is_closing.changed() => None,
                request = requests.recv() => request,
                true = advances(&mut durable, behind), if !has_failed => None,
                () = sleep(wait), if wait.is_some() => None,
                // The database answers again.
                () = calls.one_has_ended(), if wait.is_some() => None,
            };
            match request {
                None => {}
                Some(FollowerRequest::Resume) => attempts = 0,
                Some(FollowerRequest::Rebuild {
                    is_cancelled,
                    answer,
                }) => {
                    follower.rebuild = Some(RebuildOrder {
                        cancels: is_cancelled,
                        is_required: false,
                        begins_anew: true,
                    });
                    follower.failed_in_rebuild.clear();
                    answers.push(answer);
                }
            }
        }
        if follower.connection.is_some() {
            // It may save its last transactions.
            let disconnect = |follower: &mut Self| follower.connection = None;
            let _ = calls.call(follower, disconnect).await;
        }
        answer(&mut answers, &Err(StoreError::Closed));
    }

    fn new(
        journal: Arc<dyn Journal>,
        gauge: Arc<ProjectionGauge>,
        closing: watch::Receiver<bool>,
        sink: Arc<P::Sink>,
        rebuild: Option<RebuildOrder>,
    ) -> Box<Self> {
        Box::new(Self {
            journal,
            gauge,
            closing,
            sink,
            pulse: Arc::default(),
            connection: None,
            current: Place::default(),
            new: Place::default(),
            awaited: None,
            rebuild,
            failed_in_rebuild: BTreeMap::new(),
            failing: None,
        })
    }

    fn place(&mut self, of: State) -> &mut Place {
        match of {
            State::Current => &mut self.current,
            State::New => &mut self.new,
        }
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Orders the rebuild without which this program cannot go on.
    fn require_rebuild(&mut self) {
        self.order_rebuild().is_required = true;
        self.pulse.rebuilds(self.rebuild.clone());
    }

    /// The order of the rebuild. It is made if there is none.
    fn order_rebuild(&mut self) -> &mut RebuildOrder {
        let gauge = &self.gauge;
        self.rebuild.get_or_insert_with(|| {
            let cancels = Arc::default();
            gauge.can_cancel(&cancels);
            RebuildOrder {
                cancels,
                is_required: false,
                begins_anew: false,
            }
        })
    }
}

impl<P: SinkProjection> Drop for Follower<P> {
    /// If the runtime ends before the store, this is a thread of the runtime. There, a client that blocks panics as it closes
    /// its connection.
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let thread = thread::Builder::new().name("eventfold-es-disconnect".to_owned());
        let (done, is_done) = channel::<()>();
        let disconnecting = thread.spawn(move || {
            drop(connection);
            drop(done);
        });
        if disconnecting.is_ok() {
            // The store may be opened again now.
            let _ = is_done.recv_timeout(GRACE);
        }
    }
}

/// The database has not answered.
fn unanswered<P: SinkProjection>(reason: String) -> StoreError {
    StoreError::Sink {
        name: P::NAME,
        reason: reason.into(),
    }
}

fn answer(
    answers: &mut Vec<oneshot::Sender<Result<(), StoreError>>>,
    result: &Result<(), StoreError>,
) {
    for answer in answers.drain(..) {
        // The caller may be gone.
        let _ = answer.send(result.clone());
    }
}

/// Waits for durable events, or until this node is no longer behind a position. False if the journal is gone.
async fn advances(durable: &mut watch::Receiver<u64>, behind: Option<u64>) -> bool {
    match behind {
        Some(position) => durable
            .wait_for(|durable| *durable >= position)
            .await
            .is_ok(),
        None => durable.changed().await.is_ok(),
    }
}

async fn sleep(time: Option<Duration>) {
    tokio::time::sleep(time.unwrap_or_default()).await;
}
