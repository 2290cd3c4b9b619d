//! The thread of a node: it follows the log, tells other nodes that it lives, and claims the log when the leader is silent.

mod hearing;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, oneshot, watch};

use super::claim::Claimant;
use super::joining::BEING_PUBLISHED;
use super::signal::Kind;
use super::{Errand, Followed, NotApplied, Program};
use crate::disk::FileError;
use crate::error::OpenError;
use crate::journal::local::queue::Queue;
use crate::journal::local::release::Release;
use crate::replication::{AppendError, Entry, LogError, Measured, Role};

/// The time between two signals of the leader.
const BEAT: Duration = Duration::from_millis(250);
/// The silence of a leader after which another node claims the log. It only decides how fast that is: a leader that is merely slow
/// is fenced, and loses nothing.
const SILENCE: Duration = Duration::from_millis(1500);
/// The silence after which a node claims a log without entries.
const SHORT_SILENCE: Duration = Duration::from_millis(300);
/// The longest time for which opening waits for the next entry, and then until a leader is known.
const OPENING: Duration = Duration::from_secs(10);
/// The time after which an idle leader looks at the log.
const LEADER_LOOKS_EVERY: Duration = Duration::from_secs(1);
/// The delay of a call, or of the end of a wait, after which the silence of the leader says nothing.
const DEAF: Duration = Duration::from_millis(750);
/// The time in which signals are awaited after such a call.
const GRACE: Duration = Duration::from_millis(500);
/// The time between two lines about the progress of opening.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The longest wait for news of the log.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The pause after a failure of the log.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause after an entry that cannot be applied.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// The size of entries that are applied at once, in bytes.
const CHUNK_BYTES: usize = 4 << 20;

/// How far a node has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    problem: Option<Problem>,
    /// Whether it has come to the end of the log once.
    is_caught_up: bool,
}

/// The reason why a node cannot take part.
#[derive(Debug, Clone)]
enum Problem {
    /// Another open store has the same name.
    Namesake,
    /// An entry of the log cannot be applied.
    Unfit(String),
}

/// The parts of a node.
pub(in crate::journal::local) struct Parts {
    pub(in crate::journal::local) log: Arc<Measured>,
    pub(in crate::journal::local) claimant: Claimant,
    pub(in crate::journal::local) may_claim: bool,
    pub(in crate::journal::local) program: Program,
    pub(in crate::journal::local) queue: Arc<Queue>,
    /// Closed when the writer appends nothing more.
    pub(in crate::journal::local) ended: watch::Receiver<()>,
    /// The directory is released after the last signal.
    pub(in crate::journal::local) release: Arc<Release>,
}

/// Starts the thread of the node, which ends with the writer. Waits until the node has the events of the log, and leads or knows its
/// leader. Blocks.
pub(in crate::journal::local) fn take_part(parts: Parts, base: &Path) -> Result<(), OpenError> {
    let queue = Arc::clone(&parts.queue);
    let role = queue.standing().role();
    let (log, name) = (parts.log.describe(), parts.claimant.node.name.clone());
    let (progress, found) = watch::channel(Progress::default());
    let failed = |error| OpenError::File(FileError::new("start a thread for", base, error));
    let waits = tokio::runtime::Builder::new_current_thread();
    start(parts, waits, progress).map_err(failed)?;
    let (mut until, mut batch, mut reported) = (Instant::now() + OPENING, 0, Instant::now());
    while Instant::now() < until {
        let Progress {
            problem,
            is_caught_up,
        } = found.borrow().clone();
        match problem {
            None => {}
            Some(Problem::Namesake) => return Err(OpenError::NodeNameTaken { name }),
            Some(Problem::Unfit(reason)) => return Err(OpenError::LogUnusable { log, reason }),
        }
        if is_caught_up {
            match &*role.borrow() {
                Role::Leader | Role::Follower { leader: Some(_) } => return Ok(()),
                Role::Follower { leader: None } | Role::Detached { .. } => {}
            }
        } else if queue.standing().batch() != batch {
            batch = queue.standing().batch();
            until = Instant::now() + OPENING;
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                tracing::info!(batch, "taking over the events of the log");
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let role = role.borrow().clone();
    match role {
        Role::Detached { reason, .. } => Err(OpenError::LogUnavailable { log, reason }),
        Role::Leader | Role::Follower { .. } => Ok(()),
    }
}

fn start(
    parts: Parts,
    mut waits: tokio::runtime::Builder,
    progress: watch::Sender<Progress>,
) -> std::io::Result<()> {
    let Parts {
        log,
        claimant,
        may_claim,
        program,
        queue,
        ended,
        release,
    } = parts;
    let mut node = Node {
        waits: waits.enable_time().build()?,
        signals: log.signals(),
        news: log.follow(),
        role: queue.standing().role(),
        log,
        claimant,
        may_claim,
        program,
        queue,
        ended,
        progress,
        suspects: false,
        failed_looks: 0,
        is_graced: false,
        heard: Instant::now(),
        looked: Instant::now(),
        seen: 0,
        beaten: None,
        patience: SILENCE,
        is_vacant: false,
        was_cut_off: false,
    };
    let thread = std::thread::Builder::new().name("eventfold-node".to_owned());
    thread.spawn(move || {
        node.run();
        node.log.close();
        drop(node);
        drop(release);
    })?;
    Ok(())
}

struct Node {
    log: Arc<Measured>,
    claimant: Claimant,
    /// Whether the log has a claim, or this node has published it. Only then a log with entries is claimed.
    may_claim: bool,
    program: Program,
    queue: Arc<Queue>,
    ended: watch::Receiver<()>,
    role: watch::Receiver<Role>,
    progress: watch::Sender<Progress>,
    signals: broadcast::Receiver<String>,
    news: watch::Receiver<u64>,
    /// The time of the last sign of life of a leader.
    heard: Instant,
    /// The time of the last look at the log for entries of another node.
    looked: Instant,
    /// The last batch at that time.
    seen: u64,
    /// Whether another node says that it is the leader.
    suspects: bool,
    /// The number of looks in a row that failed.
    failed_looks: u8,
    /// Whether this silence has had its grace.
    is_graced: bool,
    /// The time of the last own beat.
    beaten: Option<Instant>,
    /// The silence after which the node claims the log.
    patience: Duration,
    /// Whether the leader has closed its store.
    is_vacant: bool,
    /// Whether this node was the leader when it lost the log. No other node may have noticed.
    was_cut_off: bool,
    waits: tokio::runtime::Runtime,
}

/// The writer appends nothing more.
struct Ended;

impl Node {
    fn run(&mut self) {
        self.say(Kind::Hello);
        self.patience = Self::jittered(match self.queue.standing().batch() {
            0 => SHORT_SILENCE,
            _ => SILENCE,
        });
        while let Ok(()) = self.step() {}
        if self.role.borrow().is_leader() {
            tracing::info!(
                node = self.claimant.node.name,
                "this node hands the leadership over: its store is closed"
            );
            self.say(Kind::Resigned);
        }
    }

    fn step(&mut self) -> Result<(), Ended> {
        if let Some(reason) = self.queue.poison() {
            // The store writes nothing any more. Another node takes over at once.
            if self.beaten.take().is_some() {
                let reason = reason.to_string();
                self.queue.send(Errand::Detach { reason });
                self.say(Kind::Resigned);
            }
            return self.wait(LONG_PAUSE);
        }
        // Signals that came during a call of the log are as old as that call.
        while let Ok(text) = self.signals.try_recv() {
            self.hear(&text);
        }
        let role = self.role.borrow_and_update().clone();
        match role {
            Role::Leader => {
                self.was_cut_off = false;
                self.beat();
                self.look_behind_own()?;
                self.wait(BEAT)
            }
            Role::Follower { .. } | Role::Detached { .. } => self.follow(&role),
        }
    }

    /// Tells the others that the leader lives, if it is time.
    fn beat(&mut self) {
        if self.beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT) {
            self.beaten = Some(Instant::now());
            self.say(Kind::Beat);
        }
    }

    /// Looks for entries of another leader, if this node has appended nothing for a while. The look also shows whether the log is in
    /// reach: an idle leader that is cut off must not go on to call the world outside.
    fn look_behind_own(&mut self) -> Result<(), Ended> {
        let batch = self.queue.standing().batch();
        if batch != self.seen {
            (self.seen, self.looked) = (batch, Instant::now());
        }
        // The next entry may be its own, whose answer is on the way.
        let has_news = *self.news.borrow() > batch + 1;
        let suspects = std::mem::take(&mut self.suspects);
        if self.looked.elapsed() < LEADER_LOOKS_EVERY && !has_news && !suspects {
            return Ok(());
        }
        self.looked = Instant::now();
        // From its last batch on: a log without this batch, or with another one, has lost data.
        let reason = match self.log.read(batch.max(1), CHUNK_BYTES) {
            Ok(entries) if entries.is_empty() && batch > 0 => {
                format!(
                    "{} has lost entries: it ends before entry {batch}, which this node has",
                    self.log.describe()
                )
            }
            Ok(entries) => match self.apply(entries)? {
                Ok(followed) => {
                    self.failed_looks = 0;
                    self.followed(followed);
                    return Ok(());
                }
                Err(NotApplied::Entry(reason) | NotApplied::Files(reason)) => reason,
            },
            Err(LogError::Unavailable(reason) | LogError::Unusable(reason)) => {
                // One lost connection is no reason to lose the leadership.
                self.failed_looks += 1;
                if self.failed_looks < 2 {
                    return Ok(());
                }
                reason
            }
        };
        self.failed_looks = 0;
        self.queue.send(Errand::Detach { reason });
        Ok(())
    }

    /// Gives entries to the writer.
    fn apply(&self, entries: Vec<Entry>) -> Result<Result<Followed, NotApplied>, Ended> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Errand::Apply { entries, answer });
        answered.blocking_recv().map_err(|_| Ended)
    }

    fn follow(&mut self, role: &Role) -> Result<(), Ended> {
        if self.beaten.take().is_some() {
            // It was the leader. If it is only cut off, nobody else may know.
            self.was_cut_off = matches!(role, Role::Detached { .. });
            self.heard = Instant::now();
        }
        let left = self.patience.saturating_sub(self.heard.elapsed());
        let next_look = LOOK_EVERY.saturating_sub(self.looked.elapsed()).min(left);
        if self.has_all_news(role) && !next_look.is_zero() {
            return self.wait(next_look);
        }
        let (known, begun) = (*self.news.borrow(), Instant::now());
        self.looked = begun;
        let read = self
            .log
            .read(self.queue.standing().batch() + 1, CHUNK_BYTES);
        if begun.elapsed() >= DEAF && !std::mem::replace(&mut self.is_graced, true) {
            // The program was stopped, or the log is slow. Once for each silence, this node waits for the signals of the meantime.
            let grace = self.patience.saturating_sub(GRACE);
            let heard = Instant::now().checked_sub(grace);
            self.heard = heard.map_or(self.heard, |heard| heard.max(self.heard));
        }
        match read {
            Err(LogError::Unavailable(reason) | LogError::Unusable(reason)) => {
                self.detach(&reason);
                // Silence says nothing while the log is out of reach.
                self.heard = Instant::now();
                self.wait(PAUSE)
            }
            Ok(entries)
                if entries.is_empty() && !self.may_claim && self.queue.standing().batch() > 0 =>
            {
                self.detach(BEING_PUBLISHED);
                self.wait(LOOK_EVERY)
            }
            Ok(entries) if entries.is_empty() => {
                if let Some(reason) = self.comes_to_the_end() {
                    return self.cannot_follow(reason);
                }
                self.attach(role);
                match self.was_cut_off || self.heard.elapsed() >= self.patience {
                    true => self.claim(),
                    false => {
                        let left = self.patience.saturating_sub(self.heard.elapsed());
                        self.wait(left.min(LOOK_EVERY))
                    }
                }
            }
            Ok(entries) => match self.apply(entries)? {
                Ok(followed) => {
                    self.followed(followed);
                    if self.queue.standing().batch() >= known
                        && let Some(reason) = self.comes_to_the_end()
                    {
                        return self.cannot_follow(reason);
                    }
                    let role = self.role.borrow().clone();
                    self.attach(&role);
                    Ok(())
                }
                Err(NotApplied::Files(reason)) => {
                    self.detach(&reason);
                    self.wait(LONG_PAUSE)
                }
                Err(NotApplied::Entry(reason)) => {
                    self.cannot_follow(format!("{}: {reason}", self.log.describe()))
                }
            },
        }
    }

    /// Whether a follower has all entries of which it was told.
    fn has_all_news(&self, role: &Role) -> bool {
        matches!(role, Role::Follower { .. })
            && !self.was_cut_off
            && self.progress.borrow().is_caught_up
            && *self.news.borrow() <= self.queue.standing().batch()
    }

    /// Notes that the node has come to the end of the log. The first time, returns the reason if it is the log of another program.
    fn comes_to_the_end(&self) -> Option<String> {
        if self.progress.borrow().is_caught_up {
            return None;
        }
        let foreign = self.program.is_foreign();
        if foreign.is_none() {
            self.progress
                .send_modify(|progress| progress.is_caught_up = true);
        }
        foreign
    }

    /// Tells that an operator has to change something.
    fn cannot_follow(&mut self, reason: String) -> Result<(), Ended> {
        let node = &self.claimant.node.name;
        tracing::error!(node, reason, "this node cannot follow the log");
        self.detach(&reason);
        let problem = Some(Problem::Unfit(reason));
        self.progress
            .send_modify(|progress| progress.problem = problem);
        self.wait(LONG_PAUSE)
    }

    /// The log is in reach again. A leader that was only cut off claims it first.
    fn attach(&self, role: &Role) {
        if matches!(role, Role::Detached { .. }) && !self.was_cut_off {
            self.set(Role::Follower { leader: None });
        }
    }

    fn followed(&mut self, followed: Followed) {
        let Followed { claim } = followed;
        self.may_claim |= claim.is_some();
        self.heard = Instant::now();
        let Some(claim) = claim else {
            // The last entries of a leader that has resigned may come behind its signal. The wait for the next leader stays short.
            return;
        };
        self.patience = Self::jittered(SILENCE);
        self.is_vacant = false;
        if !claim.is_of(&self.claimant) {
            self.was_cut_off = false;
        }
    }

    fn claim(&mut self) -> Result<(), Ended> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Errand::Claim { answer });
        match answered.blocking_recv().map_err(|_| Ended)? {
            Ok(()) => {
                self.may_claim = true;
                if std::mem::take(&mut self.is_vacant) {
                    self.queue.standing().takes_over();
                }
                Ok(())
            }
            // The entry of the node that was faster comes next.
            Err(AppendError::Fenced) => {
                self.heard = Instant::now();
                Ok(())
            }
            // The next look at the log settles it.
            Err(AppendError::Unknown(reason) | AppendError::Unavailable(reason)) => {
                self.detach(&reason);
                self.wait(PAUSE)
            }
            Err(AppendError::Refused(reason)) => {
                self.detach(&reason);
                self.wait(LONG_PAUSE)
            }
        }
    }

    fn set(&self, role: Role) {
        self.queue.change_role(role);
    }

    fn detach(&self, reason: &str) {
        self.set(self.queue.standing().cut_off(reason));
    }

    /// A silence of at least `time`. Some nodes are patient for longer, so that they rarely claim the log at once.
    fn jittered(time: Duration) -> Duration {
        let mut random = [0_u8; 1];
        // Without random numbers, the nodes claim at once, and the log decides.
        let _ = getrandom::fill(&mut random);
        let [random] = random;
        // Behind a leader that closes, clients wait for each millisecond.
        let spread = if time.is_zero() {
            random / 8
        } else {
            random / 2
        };
        time + Duration::from_millis(u64::from(spread))
    }
}
