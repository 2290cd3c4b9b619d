use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

use crate::report_json;

/// The role of this node among the nodes of a store.
///
/// A store on one machine is always the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// The node decides commands, and runs process managers, event handlers and schedules.
    Leader,
    /// The node applies the commits of the leader, and answers reads.
    Follower {
        /// The leader, if it is known.
        leader: Option<Node>,
    },
    /// The node is cut off from the log. It answers reads with the state of its last commit.
    Detached {
        /// The time since when it is cut off.
        #[serde(serialize_with = "report_json::since")]
        since: SystemTime,
        /// The reason, from the log.
        reason: String,
    },
}

impl Role {
    /// Whether the node decides commands.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self, Self::Leader)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("leader"),
            Self::Follower { leader: None } => f.write_str("follower of an unknown leader"),
            Self::Follower {
                leader: Some(leader),
            } => write!(f, "follower of {leader}"),
            Self::Detached { reason, .. } => write!(f, "cut off from the log: {reason}"),
        }
    }
}

/// A node of a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// Its name, unique among the nodes of the store.
    pub name: String,
    /// The address that it advertises, for clients that are sent to it.
    pub address: Option<String>,
}

impl Node {
    pub(crate) fn new(name: &str, address: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            address: address.map(ToOwned::to_owned),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "`{}` at {address}", self.name),
            None => write!(f, "`{}`", self.name),
        }
    }
}
