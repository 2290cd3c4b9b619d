//! The signals of other nodes, and the waits of the node.

use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::super::signal::{Kind, Signal};
use super::{DEAF, Ended, Node, Problem, SILENCE};
use crate::replication::Role;

/// The reason why a wait has ended.
enum Woken {
    Signal(String),
    News,
    Ended,
}

impl Node {
    /// Waits for news, for at most this time.
    pub(super) fn wait(&mut self, time: Duration) -> Result<(), Ended> {
        let begun = Instant::now();
        let until = begun + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            match self.woken_within(left) {
                None | Some(Woken::News) => {
                    if begun.elapsed() >= time + DEAF {
                        // The program was stopped, and has heard nothing meanwhile.
                        self.heard = Instant::now();
                    }
                    return Ok(());
                }
                Some(Woken::Ended) => return Err(Ended),
                Some(Woken::Signal(text)) => {
                    if self.hear(&text) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn woken_within(&mut self, time: Duration) -> Option<Woken> {
        let Self {
            signals,
            news,
            ended,
            role,
            waits,
            ..
        } = self;
        let is_leader = role.borrow().is_leader();
        let woken = async {
            loop {
                tokio::select! {
                    ended = ended.changed() => if ended.is_err() { return Woken::Ended },
                    signal = signals.recv() => match signal {
                        Ok(text) => return Woken::Signal(text),
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                    },
                    changed = role.changed() => if changed.is_ok() { return Woken::News },
                    // The leader knows the log: it appends to it.
                    changed = news.changed(), if !is_leader => match changed {
                        Ok(()) => return Woken::News,
                        Err(_) => std::future::pending().await,
                    },
                }
            }
        };
        waits.block_on(async { tokio::time::timeout(time, woken).await.ok() })
    }

    /// Takes a signal of another node. Whether it calls for a look at the log.
    pub(super) fn hear(&mut self, text: &str) -> bool {
        let Some(signal) = Signal::of_other(text, &self.claimant) else {
            return false;
        };
        if signal.is_of_namesake(&self.claimant) && signal.kind() != Kind::Resigned {
            let is_new = self.progress.send_if_modified(|progress| {
                let is_new = progress.problem.is_none();
                progress.problem.get_or_insert(Problem::Namesake);
                is_new
            });
            if is_new {
                tracing::error!(
                    node = self.claimant.node.name,
                    "another open store has the name of this node"
                );
            }
        }
        match signal.kind() {
            Kind::Beat if self.role.borrow().is_leader() => {
                // Two nodes lead, as far as they know. The log decides.
                self.suspects = true;
                true
            }
            Kind::Beat => {
                self.heard = Instant::now();
                self.is_graced = false;
                self.is_vacant = false;
                self.patience = Self::jittered(SILENCE);
                let standing = self.queue.standing();
                standing.hears_of(signal.claim(), signal.position());
                self.knows_leader(&signal);
                false
            }
            Kind::Resigned => {
                // A former leader may close as well.
                let is_leader = match &*self.role.borrow() {
                    Role::Follower { leader } => leader
                        .as_ref()
                        .is_none_or(|leader| *leader == signal.node()),
                    Role::Leader | Role::Detached { .. } => false,
                };
                if is_leader {
                    self.patience = Self::jittered(Duration::ZERO);
                    self.is_vacant = true;
                }
                is_leader
            }
            Kind::Hello => {
                let kind = match self.role.borrow().is_leader() {
                    true => Kind::Beat,
                    false => Kind::Here,
                };
                self.say(kind);
                false
            }
            Kind::Here | Kind::Other => false,
        }
    }

    fn knows_leader(&self, signal: &Signal) {
        let is_unknown = matches!(&*self.role.borrow(), Role::Follower { leader } if leader.as_ref() != Some(&signal.node()));
        if is_unknown {
            let leader = Some(signal.node());
            self.set(Role::Follower { leader });
        }
    }

    pub(super) fn say(&self, kind: Kind) {
        let text = Signal::text(kind, &self.claimant, self.queue.standing());
        self.log.signal(text);
    }
}
