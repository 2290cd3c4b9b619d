use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::event_id;
use crate::replication::Node;

/// The record with which a node becomes the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::journal) struct Claim {
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The opened store, so that a node that was opened again is another claimant.
    instance: String,
}

impl Claim {
    pub(super) fn read(record: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(record)
    }

    pub(super) fn node(&self) -> Node {
        Node::new(&self.node, self.address.as_deref())
    }

    /// Whether a node of this name has made it, in this or in an earlier run.
    pub(super) fn is_of_node(&self, claimant: &Claimant) -> bool {
        self.node == claimant.node.name
    }

    pub(super) fn is_of(&self, claimant: &Claimant) -> bool {
        self.instance == claimant.instance
    }
}

/// A node while its store is open.
#[derive(Debug, Clone)]
pub(in crate::journal::local) struct Claimant {
    pub(super) node: Node,
    pub(super) instance: String,
}

impl Claimant {
    pub(in crate::journal::local) fn new(node: Node) -> Self {
        Self {
            node,
            instance: event_id().to_string(),
        }
    }

    pub(super) fn claim(&self) -> Result<Box<RawValue>, serde_json::Error> {
        to_raw_value(&Claim {
            node: self.node.name.clone(),
            address: self.node.address.clone(),
            instance: self.instance.clone(),
        })
    }
}
