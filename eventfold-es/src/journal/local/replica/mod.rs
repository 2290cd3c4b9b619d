//! One node of a replicated store: its writer appends batches to the log first, and follows the batches of other nodes.
//!
//! Entry `n` of the log is the text of batch `n` of the journal. So the number of the last batch says where this node is in
//! the log, and the chain of line hashes says whether both have one history.
//!
//! | file | holds |
//! |---|---|
//! | [`node`] | the thread that follows the log, tells other nodes that it lives, and claims the log |
//! | [`following`] | the part of the writer: entries, claims, and the batch of an unknown outcome |
//! | [`entries`] | entries of the log, as a batch |
//! | [`joining`] | opening: the log and the journal are compared, or the journal is published |
//! | [`program`] | whether the log is that of another program |
//! | [`claim`], [`signal`] | the record of a claim; the messages between nodes |

mod claim;
mod entries;
mod following;
mod joining;
mod node;
mod program;
mod signal;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{oneshot, watch};

pub(in crate::journal::local) use claim::{Claim, Claimant};
pub(in crate::journal::local) use joining::{join, leave, tail};
pub(in crate::journal::local) use node::{Parts as NodeParts, take_part};
pub(in crate::journal::local) use program::Program;

use crate::journal::local::appends::lock;
use crate::journal::local::batch::Batch;
use crate::journal::local::jobs::ReactionToWrite;
use crate::journal::{CommitError, Progress};
use crate::replication::{AppendError, Entry, Measured};

/// The replicated log below the writer.
pub(in crate::journal::local) struct Replica {
    log: Arc<Measured>,
    claimant: Claimant,
    /// The batch that the log has taken or not. The next entry of the log decides.
    unsettled: Option<Batch>,
    /// The progress of each process manager, from which it continues when this node becomes the leader.
    progress: Arc<Mutex<BTreeMap<String, Progress>>>,
    /// Dropped when the writer appends nothing more.
    _ended: watch::Sender<()>,
}

impl Replica {
    pub(in crate::journal::local) fn new(
        log: Arc<Measured>,
        claimant: Claimant,
        progress: Arc<Mutex<BTreeMap<String, Progress>>>,
        ended: watch::Sender<()>,
    ) -> Self {
        Self {
            log,
            claimant,
            unsettled: None,
            progress,
            _ended: ended,
        }
    }

    /// Notes the progress of a durable reaction.
    pub(in crate::journal::local) fn reacted(&self, reaction: &ReactionToWrite) {
        let name = reaction.process_manager.to_string();
        let progress = reaction.state.progress.clone();
        lock(&self.progress).insert(name, progress);
    }

    /// Appends the text of a batch behind the batch with the number `after`. Blocks.
    fn append(&self, after: u64, text: &str) -> Result<(), AppendError> {
        self.log.append(after, text.into())
    }
}

/// Work of the node that only the writer can do.
pub(in crate::journal) enum Errand {
    /// Apply the next entries of the log.
    Apply {
        entries: Vec<Entry>,
        answer: oneshot::Sender<Result<Followed, NotApplied>>,
    },
    /// Decide nothing until the log is in reach again.
    Detach { reason: String },
    /// Append a claim behind the last batch, and become the leader.
    Claim {
        answer: oneshot::Sender<Result<(), AppendError>>,
    },
}

impl Errand {
    /// Whether it adds commits, for which the backlog needs room.
    pub(in crate::journal::local) fn adds(&self) -> bool {
        match self {
            Self::Apply { .. } | Self::Claim { .. } => true,
            Self::Detach { .. } => false,
        }
    }

    /// Answers that the derived files cannot be written.
    pub(in crate::journal::local) fn refuse(self, reason: &str) {
        match self {
            Self::Apply { answer, .. } => {
                let _ = answer.send(Err(NotApplied::Files(reason.to_owned())));
            }
            Self::Claim { answer } => {
                let _ = answer.send(Err(AppendError::Unavailable(reason.to_owned())));
            }
            Self::Detach { .. } => {}
        }
    }
}

/// The reason why the log did not take a batch.
pub(in crate::journal::local) enum NotAppended {
    /// The log does not have the batch, and never will.
    Never(CommitError),
    /// The next entry of the log says whether it has the batch.
    Unsettled,
}

/// The reason why entries were not applied.
#[derive(Debug)]
pub(in crate::journal) enum NotApplied {
    /// An entry does not belong behind the last batch, or this program cannot read it.
    Entry(String),
    /// The files of this node cannot be written.
    Files(String),
}

/// The state of the writer after it has applied entries.
pub(in crate::journal) struct Followed {
    /// The last claim among the entries.
    claim: Option<Claim>,
}
