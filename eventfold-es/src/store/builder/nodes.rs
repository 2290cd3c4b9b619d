//! The settings of a store with several nodes.

use std::sync::Arc;
use std::time::Duration;

use super::AggregateStoreBuilder;
use crate::error::OpenError;
use crate::names;
use crate::replication::{CommitLog, Measured, Membership, Node, Replication};

/// The settings of a node.
#[derive(Default)]
pub(super) struct NodeSettings {
    log: Option<Arc<Measured>>,
    name: Option<String>,
    address: Option<String>,
    declared: Declared,
}

/// Whether an `#[event_store]` lists the aggregates of the program.
#[derive(Default, Clone, Copy)]
enum Declared {
    #[default]
    No,
    /// All of them are registered.
    Whole,
    /// Some of them cannot be registered.
    InPart,
}

impl<Handlers> AggregateStoreBuilder<Handlers> {
    /// Makes the store a node of a replicated store: all nodes that are opened with the same log have the same events.
    ///
    /// One node is the leader. It decides commands, and runs process managers, event handlers and schedules. A commit is stored when
    /// the log has it; the local files are not synced for it. The other nodes follow, and answer reads. When the leader ends, another
    /// node becomes the leader. [`AggregateStore::role`](crate::AggregateStore::role) tells which this node is.
    ///
    /// A directory with a store of one machine is published to an empty log, from its first event. With a log that has
    /// events, the directory must be empty, or have the same events. A directory of a node that is opened without this call is a
    /// store on one machine again.
    ///
    /// [`node`](Self::node) is necessary, too.
    ///
    /// # Commands on followers
    ///
    /// A log with a [`messenger`](CommitLog::messenger), such as that in NATS, forwards commands and transactions to the leader. The
    /// answer is that of the leader, and this node has the events by then. The aggregate types have to be registered, on all nodes:
    /// `#[event_store]` does that, and so does a process manager for its targets. For others there is
    /// [`aggregate_type`](Self::aggregate_type). All other commands are answered with
    /// [`NotLeader`](crate::StoreError::NotLeader), and the program sends them to the leader.
    ///
    /// A forwarded command is stored once, also if an answer is lost or the leader ends. Without an [idempotency
    /// key](crate::CommandContext::with_idempotency_key) it gets a generated one, which adds about 60 bytes to each of its events, and an
    /// entry of the index to the command. Such a command goes through its JSON.
    pub fn replicated(mut self, log: impl CommitLog) -> Self {
        self.node.log = Some(Arc::new(Measured::new(log)));
        self
    }

    /// The name of this node among those of a [replicated](Self::replicated) store: 1 to 100 bytes of `[A-Za-z0-9._-]`. It must not
    /// change, and no two nodes that run at the same time may have the same name.
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node.name = Some(name.into());
        self
    }

    /// The address at which clients reach this node, for [`Node::address`]. Only the program interprets it: for example, a web server
    /// redirects to the address of the leader.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.node.address = Some(address.into());
        self
    }

    /// The time that a command waits for a leader, if no node is known to be the leader: for example, during a takeover. A command on a
    /// node that knows another leader is [forwarded](Self::replicated), or does not wait. Default: 5 seconds.
    ///
    /// If this node becomes the leader, the command goes on. Otherwise it fails with
    /// [`StoreError::NotLeader`](crate::StoreError::NotLeader) or [`StoreError::Unavailable`](crate::StoreError::Unavailable), and
    /// nothing is stored. A store that is not replicated never waits.
    ///
    /// A forwarded command looks for a leader for as long. If a leader may have executed it and has not answered, the command asks on, for
    /// another [`outcome_patience`](Self::outcome_patience). Then it fails with
    /// [`StoreError::OutcomeUnknown`](crate::StoreError::OutcomeUnknown).
    pub fn leader_patience(mut self, patience: Duration) -> Self {
        self.waits.leader = patience;
        self
    }

    /// The time that a command waits for the replicated log to acknowledge its events. After it the command fails with
    /// [`ExecuteError::OutcomeUnknown`](crate::ExecuteError::OutcomeUnknown). Default: 10 seconds.
    ///
    /// The store itself goes on to find out whether the events are stored. Then a repeated command with the same
    /// [idempotency key](crate::CommandContext::with_idempotency_key) gets its answer. A store that is not replicated waits for its disk
    /// for as long as it takes.
    pub fn outcome_patience(mut self, patience: Duration) -> Self {
        self.waits.outcome = patience;
        self
    }
}

impl AggregateStoreBuilder {
    /// Notes that an `#[event_store]` lists an aggregate, which is registered or cannot be.
    pub(crate) fn declares(mut self, is_registered: bool) -> Self {
        self.node.declared = match self.node.declared {
            Declared::No | Declared::Whole if is_registered => Declared::Whole,
            Declared::No | Declared::Whole | Declared::InPart => Declared::InPart,
        };
        self
    }
}

impl NodeSettings {
    /// The replicated log, and the name of this node.
    pub(super) fn log(&self) -> Option<(Arc<Measured>, String)> {
        let log = Arc::clone(self.log.as_ref()?);
        Some((log, self.name.clone().unwrap_or_default()))
    }

    /// The part of the store in replication. `registered` are the aggregate types of the program.
    pub(super) fn membership(
        self,
        registered: impl Iterator<Item = &'static str>,
    ) -> Result<Membership, OpenError> {
        let Some(log) = self.log else {
            return Ok(Membership::Alone);
        };
        let name = self.name.unwrap_or_default();
        if !names::is_storable(&name) {
            return Err(OpenError::NodeName { name });
        }
        let node = Node {
            name,
            address: self.address,
        };
        let aggregate_types = match self.declared {
            Declared::Whole => registered.collect(),
            Declared::No | Declared::InPart => Vec::new(),
        };
        Ok(Membership::Node(Replication {
            log,
            node,
            aggregate_types,
        }))
    }
}
