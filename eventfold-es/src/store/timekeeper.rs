//! The task that records the occurrences of a store's schedules when they are due, while this node is the leader.

mod part;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

pub(super) use part::SchedulePart;
use part::{Answer, Calls};

use super::builder::started;
use super::schedules::{Progress, ScheduleGauge};
use crate::clock::Clock;
use crate::error::StoreError;
use crate::journal::Term;
use crate::runtime::{Runtime, blocking};
use crate::schedule::{DueOccurrences, Occurrence, Portion, Timetable, instant};

/// The waits between two attempts after an error: the first is doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Asks for a look at the clock. The answer is the number of recorded occurrences.
pub(super) type Look = oneshot::Sender<usize>;

/// The schedules of a store, as its other parts see them.
#[derive(Default)]
pub(super) struct Schedules {
    pub(super) gauges: Vec<Arc<ScheduleGauge>>,
    /// The requests to the task; none without schedules, and on a read-only file system.
    pub(super) looks: Option<mpsc::UnboundedSender<Look>>,
}

impl Schedules {
    /// Those of these entries, and the other end of the requests if there is a task.
    pub(super) fn of(
        entries: &[Entry],
        is_kept: bool,
    ) -> (Self, Option<mpsc::UnboundedReceiver<Look>>) {
        let gauges = entries.iter().map(|entry| Arc::clone(&entry.gauge));
        let gauges: Vec<_> = gauges.collect();
        let (looks, asked) = (is_kept && !gauges.is_empty())
            .then(mpsc::unbounded_channel)
            .unzip();
        (Self { gauges, looks }, asked)
    }
}

/// One schedule.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) timetable: Arc<Timetable>,
    pub(super) calls: Calls,
    /// The time at which the store began to keep it.
    pub(super) started: SystemTime,
    pub(super) gauge: Arc<ScheduleGauge>,
    pub(super) state: State,
}

/// The knowledge of the task about a schedule.
pub(super) enum State {
    /// Its stream was not read.
    Unread,
    /// All occurrences up to `up_to` are recorded, or left out by policy.
    Kept {
        up_to: SystemTime,
        next: Option<SystemTime>,
    },
    /// An attempt has failed. Another attempt begins at `at`, after `wait`.
    Failed { at: Instant, wait: Duration },
}

/// The task. It ends when the store closes.
pub(super) struct Timekeeper {
    /// Not the store itself, which stays open as long as anything holds it.
    runtime: Arc<Runtime>,
    entries: Vec<Entry>,
    clock: Arc<dyn Clock>,
    /// Whether it looks at the clock by itself.
    looks_by_itself: bool,
    _alive: mpsc::Sender<()>,
}

impl Timekeeper {
    pub(super) fn new(
        runtime: &Arc<Runtime>,
        entries: Vec<Entry>,
        clock: Arc<dyn Clock>,
        looks_by_itself: bool,
        alive: mpsc::Sender<()>,
    ) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            entries,
            clock,
            looks_by_itself,
            _alive: alive,
        }
    }

    /// Reads the progress of each schedule. A stream that cannot be read is read again by the task.
    pub(super) async fn read(&mut self) {
        for entry in &mut self.entries {
            // At the beginning of time nothing is due, so that it only finds the next occurrence.
            let read = entry.look(&self.runtime, SystemTime::UNIX_EPOCH).await;
            entry.note(read);
        }
    }

    /// Keeps the schedules in each term of this node, until the store closes. Their streams are read for the term `read`.
    pub(super) async fn run(
        mut self,
        mut looks: mpsc::UnboundedReceiver<Look>,
        mut closing: watch::Receiver<bool>,
        read: Option<Term>,
    ) {
        let kept = async {
            let mut begun = read;
            loop {
                let (term, asked) = self.next_term(&mut looks).await;
                let runtime = Arc::clone(&self.runtime);
                // A commit that is under way is stored as a whole, or not at all.
                tokio::select! {
                    biased;
                    () = runtime.journal.standing().lost(term) => {}
                    () = self.keep(term, begun.take() == Some(term), asked, &mut looks) => return,
                }
            }
        };
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => {}
            () = kept => {}
        }
    }

    /// Waits for the next term. Nothing is recorded meanwhile, and nothing of an earlier term is known.
    async fn next_term(
        &mut self,
        looks: &mut mpsc::UnboundedReceiver<Look>,
    ) -> (Term, Option<Look>) {
        let standing = self.runtime.journal.standing();
        let mut role = standing.role();
        let mut asked = None;
        loop {
            role.mark_unchanged();
            if let Some(term) = standing.term() {
                // Its caller may have seen the term already.
                return (term, asked);
            }
            asked = None;
            for entry in &mut self.entries {
                entry.state = State::Unread;
                entry
                    .gauge
                    .change(|progress| *progress = Progress::default());
            }
            tokio::select! {
                // The journal owns the sender of the role, and the store that of the requests.
                _ = role.changed() => {}
                Some(look) = looks.recv() => asked = Some(look).filter(|_| standing.term().is_some()),
            }
        }
    }

    /// Keeps the schedules in a term.
    async fn keep(
        &mut self,
        term: Term,
        is_read: bool,
        mut first: Option<Look>,
        looks: &mut mpsc::UnboundedReceiver<Look>,
    ) {
        if !is_read {
            self.begin(term).await;
        }
        loop {
            let asked = match first.take() {
                Some(first) => Some(first),
                None => tokio::select! {
                    asked = looks.recv() => match asked {
                        Some(asked) => Some(asked),
                        None => return,
                    },
                    () = self.sleep() => None,
                },
            };
            let recorded = self.look(asked.is_some()).await;
            if recorded == 0 {
                // A clock of the user may always end its sleep at once.
                tokio::task::yield_now().await;
            }
            if let Some(asked) = asked {
                // An error means that the caller no longer waits.
                let _ = asked.send(recorded);
            }
        }
    }

    /// Begins a term: from the durable beginnings of the schedules. Other nodes may have recorded occurrences since the last term.
    async fn begin(&mut self, term: Term) {
        for entry in &mut self.entries {
            entry.state = State::Unread;
            let (mut wait, most) = RETRY;
            loop {
                match started(&self.runtime.journal, entry.name, Some(term)).await {
                    Ok(started) => {
                        entry.started = started;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(
                            schedule = entry.name,
                            %error,
                            seconds = wait.as_secs(),
                            "the beginning of a schedule could not be stored; trying again"
                        );
                        tokio::time::sleep(wait).await;
                        wait = wait.saturating_mul(2).min(most);
                    }
                }
            }
        }
        self.read().await;
    }

    /// Waits until a look may find something.
    async fn sleep(&self) {
        if !self.looks_by_itself {
            return std::future::pending().await;
        }
        if self
            .entries
            .iter()
            .any(|entry| matches!(entry.state, State::Unread))
        {
            return;
        }
        let next = self.entries.iter().filter_map(|entry| match entry.state {
            State::Kept { next, .. } => next,
            _ => None,
        });
        let again = self.entries.iter().filter_map(|entry| match entry.state {
            State::Failed { at, .. } => Some(at),
            _ => None,
        });
        let (next, again) = (next.min(), again.min());
        let due = async {
            match next {
                Some(next) => self.clock.sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        let retried = async {
            match again {
                Some(again) => tokio::time::sleep_until(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = retried => {}
        }
    }

    /// Looks at the clock, and records what is due; the number of recorded occurrences. If a caller has asked, failed attempts are made
    /// again at once.
    async fn look(&mut self, is_asked: bool) -> usize {
        let mut recorded = 0;
        for entry in &mut self.entries {
            if let State::Failed { at, .. } = entry.state
                && !is_asked
                && at > Instant::now()
            {
                continue;
            }
            let now = self.runtime.journal.clock().now();
            let looked = entry.look(&self.runtime, now).await;
            recorded += entry.note(looked);
        }
        recorded
    }
}

/// The result of a look: the number of recorded occurrences, and the next one.
struct Looked {
    recorded: usize,
    up_to: SystemTime,
    next: Option<SystemTime>,
}

impl Entry {
    /// Records the occurrences that are due at `now`.
    async fn look(&self, runtime: &Arc<Runtime>, now: SystemTime) -> Result<Looked, StoreError> {
        let mut up_to = match self.state {
            State::Kept {
                up_to,
                next: Some(next),
            } if next > now => {
                return Ok(Looked {
                    recorded: 0,
                    up_to,
                    next: Some(next),
                });
            }
            State::Kept { up_to, .. } => up_to,
            State::Unread | State::Failed { .. } => self.last(runtime).await?,
        };
        let mut recorded = 0;
        let find = |up_to| {
            let timetable = Arc::clone(&self.timetable);
            DueOccurrences::new(timetable, instant(up_to), instant(now))
        };
        let mut due = find(up_to);
        loop {
            let what = || format!("finding the occurrences of `{}`", self.name);
            let found = blocking(what, move || {
                let portion = due.portion();
                Ok((due, portion))
            });
            let (rest, portion) = found.await?;
            due = rest;
            match portion {
                Portion::More => {}
                Portion::Done(next) => {
                    let next = next.map(|next| next.timestamp().into());
                    up_to = up_to.max(due.found_up_to());
                    return Ok(Looked {
                        recorded,
                        up_to,
                        next,
                    });
                }
                Portion::Record(occurrences) => {
                    let count = occurrences.len();
                    let first = occurrences.first().map_or(up_to, Occurrence::due);
                    let last = occurrences.last().map_or(first, Occurrence::due);
                    let last = match (self.calls.record)(Arc::clone(runtime), occurrences).await? {
                        Answer::Recorded => {
                            recorded += count;
                            last
                        }
                        // The program itself has recorded a later occurrence.
                        Answer::NotDue(last) => {
                            up_to = last.max(first);
                            due = find(up_to);
                            last
                        }
                    };
                    self.gauge.change(|progress| progress.last = Some(last));
                }
            }
        }
    }

    /// The time of the last recorded occurrence; before the first, the time at which the store began to keep the schedule.
    async fn last(&self, runtime: &Arc<Runtime>) -> Result<SystemTime, StoreError> {
        let last = (self.calls.last)(Arc::clone(runtime)).await?;
        if let Some(last) = last {
            self.gauge.change(|progress| progress.last = Some(last));
        }
        Ok(last.unwrap_or(self.started))
    }

    /// Notes the result of a look; the number of recorded occurrences.
    fn note(&mut self, looked: Result<Looked, StoreError>) -> usize {
        match looked {
            Ok(Looked {
                recorded,
                up_to,
                next,
            }) => {
                self.state = State::Kept { up_to, next };
                self.gauge.change(|progress| {
                    progress.next = next;
                    progress.failure = None;
                });
                recorded
            }
            // The end of a term is no failure, as the end of the store is none.
            Err(StoreError::Closed | StoreError::NotLeader { .. }) => 0,
            Err(error) => {
                let (first, most) = RETRY;
                let wait = match self.state {
                    State::Failed { wait, .. } => wait.saturating_mul(2).min(most),
                    _ => first,
                };
                tracing::warn!(
                    schedule = self.name,
                    %error,
                    seconds = wait.as_secs(),
                    "the occurrences of a schedule could not be recorded; trying again"
                );
                self.gauge.change(|progress| {
                    progress.next = None;
                    progress.failure = Some(error.to_string());
                });
                self.state = State::Failed {
                    at: Instant::now() + wait,
                    wait,
                };
                0
            }
        }
    }
}
