//! One command on its way to the leader.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Forwarding;
use super::outcomes::{self, Ended};
use super::routes::ForwardRoute;
use super::wire::{Answer, Asked, AskedCommand, DISAGREE, FORMAT, Told};
use crate::command::CommandContext;
use crate::error::StoreError;
use crate::journal::{Room, StreamId};
use crate::replication::{AskError, Node};
use crate::runtime::generated_key;
use crate::sabotage::{Bug, planted};
use crate::store::{RunMode, Shared};

/// The silence after which the leader is asked again.
const SILENCE: Duration = Duration::from_secs(1);
/// A time without an end, in practice: 30 years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(20);

/// See the [module](super).
pub(in crate::store) struct Errand<'a> {
    shared: &'a Shared,
    forwarding: &'a Forwarding,
    id: String,
    /// The number of attempts so far.
    attempt: u32,
    /// The context of all commands, without an expected version.
    context: CommandContext,
    is_together: bool,
    commands: Vec<Sent>,
    /// The time until which attempts begin.
    until: Instant,
    /// The time until which no silence of the leader moves `until`.
    limit: Instant,
    /// Whether an attempt may have been executed.
    is_open: bool,
    /// The leader by the word of another node.
    hint: Option<Node>,
    /// The error of the last attempt, by which nothing is stored.
    last: StoreError,
    _alive: mpsc::Sender<()>,
}

struct Sent {
    route: ForwardRoute,
    stream: StreamId,
    expected_version: Option<u64>,
    command: Box<RawValue>,
}

/// The place where the command is decided.
pub(in crate::store) enum Found {
    /// Here: this node is the leader now.
    Here(Room),
    /// On the leader, whose answer this is. This node has the events that the leader had.
    There(Told),
}

impl<'a> Errand<'a> {
    /// Begins an errand, if this node has a way to the leader. `not_leader` is its error otherwise.
    pub(in crate::store) fn begin(
        shared: &'a Shared,
        mut context: CommandContext,
        is_together: bool,
        not_leader: StoreError,
    ) -> Result<Self, StoreError> {
        let Some(forwarding) = &shared.forwarding else {
            return Err(not_leader);
        };
        let waits = shared.runtime.leadership.waits();
        let reactions = match shared.run_mode {
            RunMode::Inline => shared.reaction_timeout,
            RunMode::Background | RunMode::OnDemand => Duration::ZERO,
        };
        context.expected_version = None;
        Ok(Self {
            shared,
            forwarding,
            id: random_id()?,
            attempt: 0,
            context,
            is_together,
            commands: Vec::with_capacity(1),
            until: within(waits.leader),
            limit: within(
                waits
                    .leader
                    .saturating_add(waits.outcome)
                    .saturating_add(reactions),
            ),
            is_open: false,
            hint: None,
            last: not_leader,
            _alive: forwarding.alive.upgrade().ok_or(StoreError::Closed)?,
        })
    }

    /// Adds a `Kept<A::Command>`.
    ///
    /// # Errors
    ///
    /// That of the beginning, if the aggregate type is not registered; and those of encoding the command.
    pub(in crate::store) fn add(
        &mut self,
        stream: StreamId,
        expected_version: Option<u64>,
        command: &dyn Any,
    ) -> Result<(), StoreError> {
        let Some(route) = self.forwarding.routes.of(&stream.aggregate_type) else {
            return Err(self.last.clone());
        };
        let command = (route.encode)(command)?;
        self.commands.push(Sent {
            route,
            stream,
            expected_version,
            command,
        });
        Ok(())
    }

    /// The context of all commands, with the key of the errand. A generated key is not in it.
    pub(in crate::store) fn context(&self) -> &CommandContext {
        &self.context
    }

    /// The generated key, if the user has given none.
    pub(in crate::store) fn generated_key(&self) -> Option<String> {
        match self.context.idempotency_key {
            Some(_) => None,
            None if planted(Bug::TakeoverWithoutTheKey) => None,
            None => Some(generated_key(&self.id)),
        }
    }

    /// The commands, as another node gets them.
    pub(in crate::store) fn commands(
        &self,
    ) -> impl Iterator<Item = (ForwardRoute, AskedCommand<'_>)> {
        self.commands.iter().map(|sent| (sent.route, sent.asked()))
    }

    /// Finds the place where the command is decided. The next call is another attempt.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutcomeUnknown`] if the command may be stored; every other error means that it is not stored.
    pub(in crate::store) async fn find(&mut self) -> Result<Found, StoreError> {
        loop {
            if self.attempt > 0 {
                if Instant::now() >= self.until {
                    return Err(self.given_up());
                }
                sleep(PAUSE).await;
            }
            let leader = match self.leader().await? {
                Some(Ok(room)) => return Ok(Found::Here(room)),
                Some(Err(leader)) => leader,
                None => continue,
            };
            let Some(Answer { seen, told, .. }) = self.ask(&leader).await else {
                continue;
            };
            match told {
                Told::Executed { .. } => {
                    let reached = self.catch_up(seen, &leader).await;
                    reached.map_err(|reason| StoreError::OutcomeUnknown { reason })?;
                    return Ok(Found::There(told));
                }
                Told::Rejected => {
                    let reached = self.catch_up(seen, &leader).await;
                    reached.map_err(|reason| StoreError::Unavailable { reason })?;
                    self.last = StoreError::Unavailable {
                        reason: DISAGREE.into(),
                    };
                    return Ok(Found::There(told));
                }
                // Decided, so the leader has looked for the key before.
                Told::Conflict { .. } | Told::KeyReused { .. } => return Ok(Found::There(told)),
                Told::Panicked { .. } | Told::Refused { .. } => {
                    return Err(self.doubted(told.into_error()));
                }
                Told::Unknown { .. } => self.is_silent(told.into_error()),
                Told::NotLeader { .. } | Told::Unavailable { .. } => {
                    let error = told.into_error();
                    if let StoreError::NotLeader { leader } = &error {
                        let is_other = |node: &&Node| node.name != self.forwarding.node;
                        self.hint = leader.as_ref().filter(is_other).cloned();
                    }
                    self.last = error;
                }
                Told::Foreign { reason } => {
                    tracing::warn!(
                        %leader,
                        reason,
                        "the leader cannot take a command of this node: do both run the same program?"
                    );
                    let leader = Some(leader);
                    self.last = StoreError::NotLeader { leader };
                    return Err(self.given_up());
                }
            }
        }
    }

    /// Goes on after this node has lost the leadership before the command was stored.
    pub(in crate::store) fn lost(&mut self, leader: Option<Node>) {
        self.attempt = self.attempt.max(1);
        self.last = StoreError::NotLeader { leader };
    }

    /// Room on this node, or the leader to ask. `None` if no leader is known yet.
    async fn leader(&mut self) -> Result<Option<Result<Room, Node>>, StoreError> {
        if *self.shared.closing.borrow() {
            self.last = StoreError::Closed;
            return Err(self.given_up());
        }
        let leadership = &self.shared.runtime.leadership;
        match timeout_at(self.until, leadership.room()).await {
            Ok(Ok(room)) => Ok(Some(Ok(room))),
            Ok(Err(StoreError::NotLeader {
                leader: Some(leader),
            })) => Ok(Some(Err(self.hint.take().unwrap_or(leader)))),
            Ok(Err(error @ StoreError::Unavailable { .. })) => {
                self.last = error;
                // It counts as an attempt, so that the time is looked at.
                self.attempt += 1;
                Ok(None)
            }
            Ok(Err(error)) => {
                self.last = error;
                Err(self.given_up())
            }
            Err(_) => Err(self.given_up()),
        }
    }

    /// Counts the outcome, and logs it if nothing is stored or known.
    pub(in crate::store) fn ends<T, E>(&self, outcome: &Result<T, E>)
    where
        E: fmt::Display,
        for<'e> Ended: From<&'e E>,
    {
        let ended = match outcome {
            Ok(_) => Ended::Executed,
            Err(error) => {
                let ended = Ended::from(error);
                outcomes::log(ended, error);
                ended
            }
        };
        self.forwarding.sent.ended(ended);
    }

    /// Asks a node once. `None` if it has not answered; another attempt follows.
    async fn ask(&mut self, leader: &Node) -> Option<Answer> {
        self.attempt += 1;
        if planted(Bug::AttemptWithItsOwnId) {
            self.id = format!("{}-{}", self.id, self.attempt);
        }
        let standing = self.shared.runtime.journal.standing();
        let asked = Asked {
            format: FORMAT,
            errand: Cow::Borrowed(&self.id),
            attempt: self.attempt,
            batch: standing.batch(),
            is_together: self.is_together,
            context: Cow::Borrowed(&self.context),
            commands: self.commands.iter().map(Sent::asked).collect(),
        };
        let refused = |reason: String| {
            Some(Answer {
                format: FORMAT,
                seen: 0,
                told: Told::Refused { reason },
            })
        };
        let text = match asked.text() {
            Ok(text) => text,
            Err(error) => return refused(format!("the command does not serialize: {error}")),
        };
        drop(asked);
        self.forwarding.sent.asked();
        let asking = self.forwarding.messenger.ask(&leader.name, text, SILENCE);
        let answer = match asking.await {
            Ok(text) => Answer::read(&text).map_err(AskError::NoAnswer),
            Err(error) => Err(error),
        };
        let error = match answer {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        tracing::debug!(%leader, %error, "a command was not answered by the leader");
        match error {
            AskError::TooLarge(reason) => {
                return refused(format!(
                    "the command cannot be sent to the leader: {reason}"
                ));
            }
            AskError::NotDelivered(_) => {
                let leader = Some(leader.clone());
                self.last = StoreError::NotLeader { leader };
            }
            AskError::NoAnswer(reason) => self.is_silent(StoreError::Unavailable {
                reason: format!("{leader} has not answered: {reason}").into(),
            }),
        }
        None
    }

    /// An attempt may have been executed. The leader has as much time again as the log has for a commit.
    fn is_silent(&mut self, error: StoreError) {
        self.is_open = !planted(Bug::SilenceTakenForRefusal);
        let until = within(self.shared.runtime.leadership.waits().outcome);
        self.until = until.min(self.limit).max(self.until);
        self.last = error;
    }

    /// The error at the end of the patience.
    fn given_up(&self) -> StoreError {
        self.doubted(self.last.clone())
    }

    /// An error that may come before the key of the command was looked for. An earlier attempt may be stored all the same.
    pub(in crate::store) fn doubted(&self, error: StoreError) -> StoreError {
        match error {
            error @ StoreError::OutcomeUnknown { .. } => error,
            error if self.is_open => {
                let reason = format!("a leader has not answered, and then: {error}").into();
                StoreError::OutcomeUnknown { reason }
            }
            error => error,
        }
    }

    /// Waits until this node has the events that the leader had, so that a read on this node sees them.
    async fn catch_up(&self, seen: u64, leader: &Node) -> Result<(), Arc<str>> {
        if planted(Bug::AnswerBeforeItsEvents) {
            return Ok(());
        }
        let mut durable = self.shared.runtime.journal.durable();
        let patience = self.shared.runtime.leadership.waits().outcome;
        let reached = timeout(patience, durable.wait_for(|position| *position >= seen)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            // The journal owns the sender.
            Ok(Err(_)) | Err(_) => {
                let reason = format!(
                    "{leader} has answered at position {seen}, which this node has not got within {patience:?}"
                );
                Err(reason.into())
            }
        }
    }
}

impl Sent {
    fn asked(&self) -> AskedCommand<'_> {
        AskedCommand {
            aggregate_type: Cow::Borrowed(&self.stream.aggregate_type),
            id: Cow::Borrowed(&self.stream.instance_id),
            expected_version: self
                .expected_version
                .filter(|_| !planted(Bug::ExpectedVersionNotSent)),
            command: &self.command,
        }
    }
}

/// The end of a time from now on. A longer time than [`FAR`] is as long as that.
fn within(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time.min(FAR)).unwrap_or(now)
}

/// The digits of an id: 64, so that each has six bits.
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// 96 random bits as 16 digits, which no other errand has.
fn random_id() -> Result<String, StoreError> {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        let reason = format!("the system has no random numbers: {error}").into();
        return Err(StoreError::Refused { reason });
    }
    let mut bits = u128::from_le_bytes(random);
    let digits = (0..16).filter_map(|_| {
        let digit = DIGITS.get((bits & 63) as usize);
        bits >>= 6;
        digit.map(|digit| char::from(*digit))
    });
    Ok(digits.collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_patience_may_be_endless() {
        let now = Instant::now();
        assert!(within(Duration::MAX) > now + FAR / 2);
        assert!(within(Duration::ZERO) >= now);
    }

    #[test]
    fn ids_are_different() {
        let ids: HashSet<String> = (0..1_000).map(|_| random_id().unwrap()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
