//! Commands on a follower, which the leader executes.
//!
//! A command has one errand on its node, which asks the leader until the outcome is known. Each question is an attempt of the errand. All
//! attempts have one idempotency key: the key of the user, or a generated one. So a command is stored once, on whichever node it is decided
//! in the end. Each node has a desk, which takes the questions of other nodes and executes them while it is the leader.
//!
//! | an attempt | is settled by |
//! |---|---|
//! | that is stored | the key, on this leader and on each later one |
//! | that is in work | the next attempt, which waits for it and gets the same answer |
//! | that is late, in the same term | the desk, which has noted a later attempt, and refuses it |
//! | that is late, for an earlier term | its number of a batch: the claim of the present term comes after it |
//!
//! So an answer by which nothing is stored holds for all earlier attempts, too.

mod desk;
mod errand;
mod outcomes;
mod routes;
mod wire;

use std::sync::Arc;

use tokio::sync::mpsc;

pub(super) use desk::Desk;
pub(super) use errand::{Errand, Found};
pub(super) use outcomes::{Counted, Outcomes};
pub(super) use routes::ForwardRoutes;
pub(super) use wire::{Part, Told};

use crate::replication::Messenger;

/// The way of a node to the other nodes.
pub(super) struct Forwarding {
    pub(super) messenger: Arc<dyn Messenger>,
    /// The name of this node.
    pub(super) node: String,
    pub(super) routes: ForwardRoutes,
    /// The commands of this node for the leader.
    pub(super) sent: Outcomes,
    /// The commands of other nodes for this node.
    pub(super) taken: Outcomes,
    /// Each command on its way has a sender, for which closing waits.
    pub(super) alive: mpsc::WeakSender<()>,
}
