//! The tasks of process managers and event handlers, term for term.
//!
//! A process manager runs while this node is the leader. Each term begins at its durable progress, as a start of the program does. A term
//! that is lost drops the task, as a crash does: no state in memory survives it, and the journal refuses all commits of an earlier term.
//! A store that is not replicated has one term, and no task beside that of the process manager itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use super::parts::ProcessManagerPart;
use super::starting_points::starting_points;
use crate::clock::Clock;
use crate::error::OpenError;
use crate::journal::{Progress, Seat, Term};
use crate::runtime::{
    ProcessManagerRunner, Request, RunnerContext, RunnerTask, Runtime, Tally, blocking,
};
use crate::store::RunMode;
use crate::store::closing::Staged;

/// The waits between two attempts to begin a term: the first is doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What all process managers of a store need.
pub(super) struct Common {
    pub(super) runtime: Arc<Runtime>,
    pub(super) run_mode: RunMode,
    pub(super) max_depth: u32,
    pub(super) max_starts: u32,
    pub(super) parks_unreadable: bool,
    pub(super) handler_patience: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

/// The requests of operators to one process manager. They wait here until its task runs.
pub(super) struct Requests {
    /// The task has it while it runs.
    received: Arc<Mutex<mpsc::UnboundedReceiver<Request>>>,
    sender: mpsc::WeakUnboundedSender<Request>,
}

impl Requests {
    pub(super) fn new() -> (mpsc::UnboundedSender<Request>, Self) {
        let (sender, received) = mpsc::unbounded_channel();
        let requests = Self {
            received: Arc::new(Mutex::new(received)),
            sender: sender.downgrade(),
        };
        (sender, requests)
    }

    /// Puts a request back, behind the others.
    fn put_back(&self, request: Request) {
        // Without a sender the store is closed, and an error means the same.
        if let Some(sender) = self.sender.upgrade() {
            let _ = sender.send(request);
        }
    }
}

/// The place of one process manager in a store.
pub(super) struct Station {
    pub(super) common: Arc<Common>,
    pub(super) staged: Staged,
    pub(super) part: ProcessManagerPart,
    pub(super) member: usize,
    pub(super) subscriptions: &'static [&'static str],
    pub(super) requests: Requests,
}

impl Station {
    /// The task, from its progress on, in a term.
    ///
    /// # Errors
    ///
    /// The reason, if the stored state does not decode.
    pub(super) async fn task(
        &self,
        term: Term,
        progress: Progress,
        unreadable: Option<String>,
    ) -> Result<RunnerTask, String> {
        let Common {
            runtime,
            run_mode,
            max_depth,
            max_starts,
            parks_unreadable,
            handler_patience,
            clock,
        } = &*self.common;
        let Staged { closing, alive } = &self.staged;
        let is_inline = *run_mode == RunMode::Inline;
        let audience = runtime.journal.audience();
        // The world outside must not learn of an event that is not durable.
        let audience =
            audience.filter(|_| *run_mode != RunMode::OnDemand && self.part.handler.is_none());
        let seat = audience
            .map(|audience| Seat::new(audience, self.subscriptions, progress.position, is_inline));
        let context = RunnerContext {
            runtime: Arc::clone(runtime),
            term,
            subscriptions: self.subscriptions,
            member: self.member,
            max_depth: *max_depth,
            max_starts: *max_starts,
            parks_unreadable: *parks_unreadable,
            unreadable,
            clock: Arc::clone(clock),
            handler_patience: *handler_patience,
            fires: *run_mode != RunMode::OnDemand,
            requests: self.requests().await,
            target: match (run_mode, &seat) {
                (RunMode::OnDemand, _) => runtime.reactions.demand(),
                (RunMode::Inline | RunMode::Background, Some(seat)) => seat.shown(),
                (RunMode::Inline | RunMode::Background, None) => runtime.journal.durable(),
            },
            seat,
            closing: closing.clone(),
            _alive: alive.clone(),
        };
        let handler = self.part.handler.clone();
        ProcessManagerRunner::start(self.part.definition, handler, context, progress)
    }

    async fn requests(&self) -> OwnedMutexGuard<mpsc::UnboundedReceiver<Request>> {
        Arc::clone(&self.requests.received).lock_owned().await
    }

    /// Runs the process manager in each term of this node, until the store closes. `first` is the task of the present term.
    pub(super) async fn keep(self, mut first: Option<(Term, RunnerTask)>) {
        let mut closing = self.staged.closing.clone();
        let journal = &self.common.runtime.journal;
        loop {
            let (term, task) = match first.take() {
                Some((term, task)) => (term, Some(task)),
                None => tokio::select! {
                    biased;
                    _ = closing.wait_for(|closing| *closing) => return,
                    term = self.next_term() => (term, None),
                },
            };
            tokio::select! {
                biased;
                // Whatever the task does is dropped with it. A commit is submitted without an await, so none is half submitted.
                () = journal.standing().lost(term) => {}
                () = self.serve(term, task) => return,
            }
            self.leave().await;
        }
    }

    /// Waits for the next term. Requests of operators get no answer meanwhile.
    async fn next_term(&self) -> Term {
        let standing = self.common.runtime.journal.standing();
        let mut role = standing.role();
        let mut requests = self.requests().await;
        loop {
            role.mark_unchanged();
            if let Some(term) = standing.term() {
                return term;
            }
            // A term may have come and gone.
            self.announce_absence();
            tokio::select! {
                // The journal owns the sender of the role, and the store that of the requests.
                _ = role.changed() => {}
                Some(request) = requests.recv() => match standing.term() {
                    // Its caller has seen the next term already.
                    Some(_) => self.requests.put_back(request),
                    None => drop(request),
                },
            }
        }
    }

    /// Runs the process manager until the store closes.
    async fn serve(&self, term: Term, task: Option<RunnerTask>) {
        let task = match task {
            Some(task) => task,
            None => match self.begin_until_done(term).await {
                Some(task) => task,
                None => return,
            },
        };
        task.await;
        // It has ended by itself, for example because the store is poisoned.
        self.refuse_for(None).await;
    }

    /// Begins a term. An attempt that fails is repeated. `None` when the store closes.
    async fn begin_until_done(&self, term: Term) -> Option<RunnerTask> {
        let (mut wait, most) = RETRY;
        let mut closing = self.staged.closing.clone();
        loop {
            let begun = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return None,
                begun = self.begin(term) => begun,
            };
            let error = match begun {
                Ok(task) => return Some(task),
                Err(error) => error,
            };
            tracing::warn!(
                process_manager = self.part.name,
                %error,
                seconds = wait.as_secs(),
                "a process manager cannot begin to run on the new leader; trying again"
            );
            let hub = &self.common.runtime.reactions;
            let reason = error.to_string().into();
            hub.ended(self.member, crate::error::StoreError::Refused { reason });
            if self.refuse_for(Some(wait)).await {
                return None;
            }
            wait = wait.saturating_mul(2).min(most);
        }
    }

    /// Begins a term: from the durable progress at this moment.
    async fn begin(&self, term: Term) -> Result<RunnerTask, OpenError> {
        let Common {
            runtime,
            parks_unreadable,
            ..
        } = &*self.common;
        let (journal, name) = (&runtime.journal, self.part.name);
        let parts = std::slice::from_ref(&self.part);
        let mut points = starting_points(journal, parts, *parks_unreadable, Some(term)).await?;
        let Some((progress, unreadable)) = points.pop() else {
            return Err(OpenError::Store(crate::error::StoreError::Closed));
        };
        let counted = Arc::clone(journal);
        let what = || "counting dead letters and parked work".to_owned();
        let tally = blocking(what, move || Ok(Tally::read(&*counted, name)?)).await?;
        let position = progress.position;
        let refused = |reason| OpenError::ProcessManagerState {
            name: name.to_owned(),
            reason,
        };
        let task = self.task(term, progress, unreadable).await;
        let task = task.map_err(refused)?;
        runtime.reactions.enters(self.member, position, tally);
        Ok(task)
    }

    /// Gives no answer to requests, for a time or without end. Returns whether the store closes.
    async fn refuse_for(&self, time: Option<Duration>) -> bool {
        let mut closing = self.staged.closing.clone();
        let mut requests = self.requests().await;
        let over = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let refusing = async {
            while let Some(request) = requests.recv().await {
                drop(request);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => true,
            () = over => false,
            () = refusing => false,
        }
    }

    /// Ends a term: nothing of it is left in memory.
    async fn leave(&self) {
        self.announce_absence();
        // The program has not aborted, so the start of this term does not count. See `runtime::process_manager::starts`.
        let starts = self.common.runtime.journal.starts(self.part.name);
        let what = || "removing the note of a start".to_owned();
        let removed = blocking(what, move || Ok(starts.remove()?)).await;
        if let Err(error) = removed {
            tracing::warn!(process_manager = self.part.name, %error, "the note of a start was not removed");
        }
    }

    fn announce_absence(&self) {
        let Runtime {
            journal, reactions, ..
        } = &*self.common.runtime;
        reactions.leaves(self.member, journal.standing().role());
    }
}
