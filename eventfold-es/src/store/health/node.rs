//! The figures of a node of a replicated store.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::journal::Changed;
use crate::report_json;
use crate::store::AggregateStore;
use crate::store::forwarding::{Counted, Forwarding};

/// A node of a replicated store. Its counters begin at 0 when the store is opened.
///
/// # JSON
///
/// ```json
/// {
///   "name": "node-2", "term": 118, "entry": 1204, "lag_entries": 2, "lag_events": 9,
///   "last_contact": "2026-11-26T22:00:49.120Z", "claims": 0, "handovers": 0, "cut_offs": 1, "reconnects": 1,
///   "appends": {"acknowledged": 0, "refused": 0, "fenced": 0, "unavailable": 0, "unknown": 0, "seconds": 0.0},
///   "sent": {"questions": 31, "executed": 29, "rejected": 1, "failed": 0, "unknown": 0},
///   "taken": {"questions": 0, "executed": 0, "rejected": 0, "failed": 0, "unknown": 0}
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NodeHealth {
    /// Its name.
    pub name: String,
    /// The number of the term: that of the log entry by which the present leader leads. It is the same on all nodes, and grows with
    /// each leader. None until this node has heard of a leader.
    pub term: Option<u64>,
    /// The number of the last log entry that this node has.
    pub entry: u64,
    /// The number of log entries behind it, as far as this node has heard.
    pub lag_entries: u64,
    /// The number of events behind it. The leader tells its position four times a second, so this is up to 250 ms old.
    pub lag_events: u64,
    /// The time of the last answer of the log. A node that is in contact gets one each second.
    #[serde(serialize_with = "report_json::time")]
    pub last_contact: Option<SystemTime>,
    /// The number of times that this node has become the leader.
    pub claims: u64,
    /// The number of these times behind a leader that had closed its store. The others came after a silence of the leader, or with the
    /// first leader.
    pub handovers: u64,
    /// The number of times that this node was cut off from the log.
    pub cut_offs: u64,
    /// The number of times that it has reached the log again.
    pub reconnects: u64,
    /// Its appends to the log: batches of commands, and claims.
    pub appends: AppendHealth,
    /// Its commands that went to the leader.
    pub sent: ForwardedHealth,
    /// The commands of other nodes, which came to this node.
    pub taken: ForwardedHealth,
}

/// The appends of a node to the log, by their answers.
///
/// # JSON
///
/// ```json
/// {"acknowledged":117,"refused":0,"fenced":1,"unavailable":0,"unknown":0,"seconds":0.351}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AppendHealth {
    /// The number of appends that the log has acknowledged.
    pub acknowledged: u64,
    /// The number of appends that the log never takes: for example, because this node lacks a permission. A commit that is larger than an
    /// entry of the log may be refused without an append.
    pub refused: u64,
    /// The number of appends that came behind an entry of another node. This node was no longer the leader, or another node was faster.
    pub fenced: u64,
    /// The number of appends that did not reach the log.
    pub unavailable: u64,
    /// The number of appends without an answer. The next entry of the log settles each of them.
    pub unknown: u64,
    /// The time of all acknowledged appends together. In the JSON it is `seconds`, a number with a fraction.
    #[serde(rename = "seconds", serialize_with = "report_json::seconds")]
    pub time: Duration,
}

/// Commands and transactions between nodes, by their outcomes. A command whose future is dropped has none.
///
/// # JSON
///
/// ```json
/// {"questions":31,"executed":29,"rejected":1,"failed":0,"unknown":0}
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForwardedHealth {
    /// The number of questions. A command is asked again if its answer is lost.
    pub questions: u64,
    /// The number that was executed, also those that had nothing to do.
    pub executed: u64,
    /// The number that was decided and rejected: by the aggregate, the expected version or the idempotency key.
    pub rejected: u64,
    /// The number for which nothing is stored for another reason: for example, because no leader was found.
    pub failed: u64,
    /// The number whose outcome is unknown.
    pub unknown: u64,
}

impl ForwardedHealth {
    fn of(counted: Counted) -> Self {
        let Counted {
            questions,
            executed,
            rejected,
            failed,
            unknown,
        } = counted;
        Self {
            questions,
            executed,
            rejected,
            failed,
            unknown,
        }
    }
}

impl AggregateStore {
    /// The figures of this node, if the store is replicated.
    pub(super) fn node_health(&self) -> Option<NodeHealth> {
        let (log, name) = self.shared.node.as_ref()?;
        let standing = self.shared.runtime.journal.standing();
        let Changed {
            claims,
            handovers,
            cut_offs,
            reconnects,
        } = standing.changes();
        let appends = log.appends();
        let entry = standing.batch();
        let of = |outcomes: fn(&Forwarding) -> Counted| {
            let forwarding = self.shared.forwarding.as_ref();
            forwarding
                .map(|forwarding| ForwardedHealth::of(outcomes(forwarding)))
                .unwrap_or_default()
        };
        Some(NodeHealth {
            name: name.clone(),
            term: Some(standing.known_claim()).filter(|claim| *claim > 0),
            entry,
            lag_entries: log.follow().borrow().saturating_sub(entry),
            lag_events: standing.events_behind(),
            last_contact: log.last_answer(),
            claims,
            handovers,
            cut_offs,
            reconnects,
            appends: AppendHealth {
                acknowledged: appends.acknowledged,
                refused: appends.refused,
                fenced: appends.fenced,
                unavailable: appends.unavailable,
                unknown: appends.unknown,
                time: appends.time,
            },
            sent: of(|forwarding| forwarding.sent.so_far()),
            taken: of(|forwarding| forwarding.taken.so_far()),
        })
    }
}
