//! The health of a store, for a probe.

mod node;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use node::{AppendHealth, ForwardedHealth, NodeHealth};

use super::{AggregateStore, ParkedAt};
use crate::error::StoreError;
use crate::journal::{CommittedEvent, Cursor, Log};
use crate::replication::Role;
use crate::report_json;
use crate::runtime::{Member, RebuildProgress, Tallied, blocking};

/// The health of a store, with its figures.
///
/// # JSON
///
/// ```json
/// {
///   "status": "degraded",
///   "reasons": ["`fulfillment` is paused; `resume()` on its handle lets it react again"],
///   "position": 1204,
///   "journal": {"bytes": 524288, "last_sync": "2026-11-26T22:00:49.120Z", "last_checkpoint": null},
///   "process_managers": [{
///     "name": "fulfillment", "position": 1200, "lag": 4, "lag_seconds": 12, "is_paused": true, "parked_at": null,
///     "parked": 0, "retrying": 1, "dead_letters": 38, "ended": null
///   }],
///   "projections": [{"name": "sales", "position": 1204, "lag": 0, "lag_seconds": 0, "failure": null, "rebuild": null, "skipped": 0}]
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The status.
    pub status: HealthStatus,
    /// The reasons why it is not [`HealthStatus::Healthy`], each with the remedy; empty if it is.
    pub reasons: Vec<String>,
    /// The role of this node in a replicated store; none in any other, and then it is not in the JSON. For example,
    /// `"role": "follower", "leader": {"name": "node-1", "address": null}`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The figures of this node in a replicated store; none in any other, and then they are not in the JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeHealth>,
    /// The position of the last durable event; 0 in an empty store.
    pub position: u64,
    /// The journal.
    pub journal: JournalHealth,
    /// Every process manager, in the order of registration.
    pub process_managers: Vec<ProcessManagerHealth>,
    /// Every projection, in the order of registration.
    pub projections: Vec<ProjectionHealth>,
}

/// The status of a store, and the action for it.
///
/// # JSON
///
/// `"healthy"`, `"degraded"` or `"unusable"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// No action is needed.
    Healthy,
    /// It serves, but some work waits until an operator acts. For example, a process manager is parked or paused, an
    /// instance is parked, or a projection fails. The clock may also be at least a minute behind the last commit, or
    /// the file system read-only, or the last write of the journal may have failed. A node of a replicated store may
    /// know no leader. A restart does not help.
    Degraded,
    /// This process executes no more commands: the store is poisoned or closed, or its tokio runtime has ended. Open it
    /// again.
    Unusable,
}

/// The journal of a store.
///
/// # JSON
///
/// ```json
/// {"bytes":524288,"last_sync":"2026-11-26T22:00:49.120Z","last_checkpoint":null}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalHealth {
    /// The size of the journal on the disk, its archive included, in bytes.
    pub bytes: u64,
    /// The time of the last sync of commits; none if that was before the store was opened.
    #[serde(serialize_with = "report_json::time")]
    pub last_sync: Option<SystemTime>,
    /// The time of the last checkpoint; none if that was before the store was opened. A checkpoint is due after 16 MiB of the
    /// journal, so a quiet store takes none.
    #[serde(serialize_with = "report_json::time")]
    pub last_checkpoint: Option<SystemTime>,
}

/// One process manager of a store.
///
/// It has what a probe of all process managers needs. [`status`](crate::ProcessManagerHandle::status) on the handle of one also counts its
/// instances and deadlines.
///
/// # JSON
///
/// ```json
/// {
///   "name": "fulfillment", "position": 1200, "lag": 4, "lag_seconds": 12, "is_paused": false,
///   "parked_at": {"position": 1201, "reason": "it panicked"},
///   "parked": 0, "retrying": 1, "dead_letters": 38, "ended": null
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessManagerHealth {
    /// Its stored name.
    pub name: String,
    /// The position up to which all its reactions are durable.
    pub position: u64,
    /// The number of positions behind it.
    pub lag: u64,
    /// The age of the first position behind it, in seconds; 0 without lag, and none if the journal cannot be read.
    pub lag_seconds: Option<u64>,
    /// Whether an operator has [paused](crate::ProcessManagerHandle::pause) it.
    pub is_paused: bool,
    /// The event at which it has stopped as a whole until an operator acts. An event that its policy retries is counted in `retrying`, and
    /// [`ProcessManagerStatus::parked_at`](crate::store::ProcessManagerStatus::parked_at) names it.
    pub parked_at: Option<ParkedAt>,
    /// The number of instances and streams that hold their events until an operator
    /// [releases](crate::ProcessManagerHandle::release) them.
    pub parked: u64,
    /// The number of commands, instances and streams that wait for their next attempt; without `key`, the process manager
    /// itself.
    pub retrying: u64,
    /// The number of dead letters that can be redriven or discarded. They do not make a store [`HealthStatus::Degraded`], since
    /// the business may want a rejection: compare the number with your expectation.
    pub dead_letters: u64,
    /// The reason why it has ended in this process, if it has.
    pub ended: Option<String>,
    /// Whether it runs on another node, which is the leader of a replicated store. Then `position` is its last durable progress, and its
    /// other figures are 0 here. It is in the JSON only if it is true.
    #[serde(skip_serializing_if = "is_false")]
    pub is_elsewhere: bool,
}

/// One projection of a store.
///
/// # JSON
///
/// ```json
/// {"name":"sales","position":1204,"lag":0,"lag_seconds":0,"failure":null,"rebuild":{"position":300,"of":1204},"skipped":0}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProjectionHealth {
    /// Its stored name.
    pub name: String,
    /// The position of the last event that it has seen.
    pub position: u64,
    /// The number of positions behind it. A projection catches up at each read, so an unread projection lags.
    pub lag: u64,
    /// The age of the first position behind it, in seconds; 0 without lag, and none if the journal cannot be read.
    pub lag_seconds: Option<u64>,
    /// The reason why it does not advance. For a projection in memory, this is the failure of the last read.
    pub failure: Option<String>,
    /// The progress of its rebuild, while there is one.
    pub rebuild: Option<RebuildProgress>,
    /// The number of events that it has skipped by its [`on_failure`](crate::ProjectionFailure::Skip) policy.
    pub skipped: u64,
}

impl AggregateStore {
    /// The health of the store. It also answers on a closed, poisoned or read-only store.
    ///
    /// It is cheap enough for a probe each second. It reads counters, and one event of the journal for each distinct position
    /// of a lagging process manager or projection. That event comes from memory within the last 8 MiB. It scans no rows and
    /// waits for no reaction. Opening the store makes the counters, from the rows of dead letters, parked work and retries.
    ///
    /// Lag does not make a store [`HealthStatus::Degraded`]: you judge how much is too much. `docs/guide/operations.md` has a
    /// route that does.
    ///
    /// # Examples
    ///
    /// ```
    /// use eventfold_es::AggregateStore;
    /// use eventfold_es::store::HealthStatus;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = AggregateStore::open(directory.path()).await?;
    /// let health = store.health().await;
    /// assert_eq!(health.status, HealthStatus::Healthy);
    /// println!("{}", serde_json::to_string(&health).unwrap());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn health(&self) -> Health {
        let shared = &self.shared;
        let journal = &shared.runtime.journal;
        // The progress of a member may pass this position meanwhile. The lag is then 0.
        let position = *journal.durable().borrow();
        let members = shared.runtime.reactions.members();
        let tallied = shared.runtime.reactions.tallied();
        let is_closed = {
            let shutdown = shared.shutdown.lock();
            shutdown.unwrap_or_else(PoisonError::into_inner).has_begun()
        };
        let projected = shared.gauges.iter().map(|(_, gauge)| gauge.position());
        let here = members
            .iter()
            .filter(|member| !member.presence.is_elsewhere());
        let progress = here.map(|member| member.processed);
        let behind = progress.chain(projected).filter(|at| *at < position);
        let ages = match is_closed {
            // Another store may use the directory.
            true => HashMap::new(),
            false => self.ages(behind.collect()).await,
        };
        let age = |at: u64| match at < position {
            true => ages.get(&at).copied(),
            false => Some(0),
        };
        let process_managers: Vec<_> = members
            .into_iter()
            .zip(tallied)
            .map(|(member, tallied)| match member.presence.is_elsewhere() {
                true => ProcessManagerHealth {
                    position: self.durable_progress(&member),
                    lag_seconds: Some(0),
                    ..ProcessManagerHealth::of(member, tallied)
                },
                false => ProcessManagerHealth {
                    lag: position.saturating_sub(member.processed),
                    lag_seconds: age(member.processed),
                    ..ProcessManagerHealth::of(member, tallied)
                },
            })
            .collect();
        let projections: Vec<_> = shared
            .gauges
            .iter()
            .map(|(name, gauge)| {
                let at = gauge.position();
                ProjectionHealth {
                    name: (*name).to_owned(),
                    position: at,
                    lag: position.saturating_sub(at),
                    lag_seconds: age(at),
                    failure: gauge.failure(),
                    rebuild: gauge.rebuild(),
                    skipped: gauge.skipped(),
                }
            })
            .collect();
        let vitals = journal.vitals();
        let standing = journal.standing();
        let role = standing
            .is_replicated()
            .then(|| standing.role().borrow().clone());
        let (status, reasons) = match self.unusable(is_closed) {
            Some(reason) => (HealthStatus::Unusable, vec![reason]),
            None => {
                let read_only = journal.read_only().map(|reason| {
                    format!("nothing can be written: {reason}. The stored events can be read")
                });
                let stands = journal.clock().stands_for().map(|behind| {
                    format!(
                        "the clock is {} seconds behind the last commit: it was ahead then, or it is wrong now. Until it \
                         has caught up, the time of the store stands: new commits get the time of that commit, and deadlines \
                         wait. Correct the clock",
                        behind.as_secs()
                    )
                });
                let unwritten = vitals.write_failure.as_ref().map(|reason| {
                    format!(
                        "the last commits were refused: {reason}. Make room on the disk, or repair it; the next command that is \
                         stored ends this"
                    )
                });
                let without_leader = role.as_ref().and_then(role_reason);
                #[cfg(feature = "schedules")]
                let stands = stands.into_iter().chain(self.schedule_reasons());
                let reasons: Vec<_> = read_only
                    .into_iter()
                    .chain(unwritten)
                    .chain(without_leader)
                    .chain(stands)
                    .chain(process_managers.iter().flat_map(|one| {
                        // On a read-only file system all of them have ended, for the first reason in the list.
                        let is_running = journal.read_only().is_none();
                        one.reasons().filter(move |_| is_running)
                    }))
                    .chain(projections.iter().filter_map(ProjectionHealth::reason))
                    .collect();
                match reasons.is_empty() {
                    true => (HealthStatus::Healthy, reasons),
                    false => (HealthStatus::Degraded, reasons),
                }
            }
        };
        Health {
            status,
            reasons,
            role,
            node: self.node_health(),
            position,
            journal: JournalHealth {
                bytes: vitals.bytes,
                last_sync: vitals.last_sync.and_then(time_of),
                last_checkpoint: vitals.last_checkpoint.and_then(time_of),
            },
            process_managers,
            projections,
        }
    }

    /// The position of the last durable progress of a member.
    pub(super) fn durable_progress(&self, member: &Member) -> u64 {
        let progress = self.shared.runtime.journal.progress(member.name);
        progress.map_or(member.processed, |progress| progress.position)
    }

    /// The reason why the store executes no more commands, and the remedy.
    fn unusable(&self, is_closed: bool) -> Option<String> {
        if let Some(reason) = self.shared.runtime.journal.poisoned() {
            return Some(format!(
                "nothing can be written any more: {reason}; start the program again, or open the store again"
            ));
        }
        if is_closed {
            return Some("the store is closed; open it again".to_owned());
        }
        match self.shared.runtime.reactions.ended_because() {
            Some(StoreError::RuntimeGone) => Some(
                "the tokio runtime that the store was opened on has shut down; open the store again, on a runtime that lives as long \
                 as the store"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The age in seconds of the first event after each of these positions, for each event that can be read.
    async fn ages(&self, behind: BTreeSet<u64>) -> HashMap<u64, u64> {
        let journal = &self.shared.runtime.journal;
        let now = journal.clock().now_ms() / 1000;
        let mut ages = HashMap::new();
        let mut unread = Vec::new();
        for at in behind {
            let mut cursor = Cursor::for_commit_at(at + 1);
            match journal.read_recent(&mut cursor) {
                Some(commits) => {
                    let event = commits.first().and_then(|commit| commit.event_at(at + 1));
                    let stored = event.and_then(stored_at);
                    ages.extend(stored.map(|ts| (at, now.saturating_sub(ts))));
                }
                None => unread.push(at),
            }
        }
        if unread.is_empty() {
            return ages;
        }
        let log: Arc<dyn Log> = journal.clone();
        let what = || "reading the age of an event".to_owned();
        let read = blocking(what, move || {
            let read = unread.into_iter().filter_map(|at| {
                // The reader of the event itself reports the damage.
                let stored = log.event_at(at + 1, stored_at).ok()??;
                Some((at, now.saturating_sub(stored)))
            });
            Ok(read.collect::<Vec<_>>())
        });
        ages.extend(read.await.unwrap_or_default());
        ages
    }
}

/// The reason why commands cannot be executed anywhere, as far as this node knows.
fn role_reason(role: &Role) -> Option<String> {
    match role {
        Role::Leader | Role::Follower { leader: Some(_) } => None,
        Role::Follower { leader: None } => Some(
            "no node is known to be the leader: commands wait. Look at the other nodes, and at the servers of the log".to_owned(),
        ),
        Role::Detached { reason, .. } => Some(format!(
            "this node is cut off from the log: {reason}. It answers reads with its last state. Look at the servers of the log and at the \
             network"
        )),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_false(is: &bool) -> bool {
    !is
}

/// The time at which an event was stored, in seconds since 1970; none if it cannot be read.
fn stored_at(event: CommittedEvent<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Stored {
        ts: u64,
    }
    serde_json::from_str::<Stored>(event.line)
        .ok()
        .map(|stored| stored.ts)
}

fn time_of(ms: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

impl ProcessManagerHealth {
    /// The health without the lag.
    fn of(member: Member, tallied: Tallied) -> Self {
        let is_retried = member.is_retried();
        let stays = member.stays.filter(|_| !is_retried);
        Self {
            name: member.name.to_owned(),
            position: member.processed,
            lag: 0,
            lag_seconds: None,
            is_paused: member.is_paused,
            parked_at: stays.map(ParkedAt::from),
            parked: tallied.parked,
            retrying: tallied.retrying + u64::from(is_retried),
            dead_letters: tallied.dead_letters,
            ended: member.presence.ended().map(ToString::to_string),
            is_elsewhere: member.presence.is_elsewhere(),
        }
    }

    /// The reasons for an operator to act.
    fn reasons(&self) -> impl Iterator<Item = String> + '_ {
        let name = &self.name;
        let ended = self
            .ended
            .as_ref()
            .map(|ended| format!("`{name}` no longer reacts: {ended}; open the store again"));
        let stays = self.parked_at.as_ref().map(|parked| {
            let ParkedAt { position, reason } = parked;
            format!(
                "`{name}` is parked at position {position}: {reason}. Fix the cause, and call `retry()` or `skip()` on its handle"
            )
        });
        let paused = self
            .is_paused
            .then(|| format!("`{name}` is paused; `resume()` on its handle lets it react again"));
        let parked = (self.parked > 0).then(|| {
            format!(
                "{} parked in `{name}` (instances or streams); `parked()` on its handle lists them, and `release(..)` lets \
                 them go on",
                self.parked
            )
        });
        [ended, stays, paused, parked].into_iter().flatten()
    }
}

impl ProjectionHealth {
    fn reason(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        Some(format!(
            "the projection `{}` does not get past position {}: {failure}",
            self.name, self.position
        ))
    }
}
