use serde::{Deserialize, Serialize};

use super::claim::Claimant;
use crate::journal::Standing;
use crate::replication::Node;

/// A message between nodes. It may be lost, so nothing but the speed of a takeover depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signal {
    kind: Kind,
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    instance: String,
    /// The number of the batch with the last claim of which the node knows.
    #[serde(default)]
    claim: u64,
    /// The last position of the node.
    #[serde(default)]
    position: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The leader lives.
    Beat,
    /// The leader has closed its store.
    Resigned,
    /// A node asks who else is there.
    Hello,
    /// A node that is not the leader answers.
    Here,
    /// A kind of a later version.
    #[serde(other)]
    Other,
}

impl Signal {
    pub(super) fn text(kind: Kind, from: &Claimant, standing: &Standing) -> String {
        let signal = Self {
            kind,
            node: from.node.name.clone(),
            address: from.node.address.clone(),
            instance: from.instance.clone(),
            claim: standing.known_claim(),
            position: standing.position(),
        };
        // Strings and unit variants always serialize.
        serde_json::to_string(&signal).unwrap_or_default()
    }

    /// The signal of another opened store, if the text is one.
    pub(super) fn of_other(text: &str, me: &Claimant) -> Option<Self> {
        let signal: Self = serde_json::from_str(text).ok()?;
        (signal.instance != me.instance).then_some(signal)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn claim(&self) -> u64 {
        self.claim
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn node(&self) -> Node {
        Node::new(&self.node, self.address.as_deref())
    }

    /// Whether it comes from another opened store of a node with the same name.
    pub(super) fn is_of_namesake(&self, me: &Claimant) -> bool {
        self.node == me.node.name
    }
}
