//! Commits that are not written yet.

use std::sync::Arc;

use super::{KeyedLines, Outcome, Progress, Receipt, RowChange, StreamId};

/// Called on the writer's thread when a commit is durable, before any reader can read it.
pub(crate) type OnDurable = Box<dyn FnOnce(&Receipt) + Send>;

/// A commit that is decided but not written yet.
#[derive(Default)]
pub(crate) struct ProposedCommit {
    /// The commits that it was decided on, if they were not known to be durable. If one of them fails, this commit fails too.
    pub(crate) after: Vec<Arc<Outcome>>,
    /// The events, per stream.
    pub(crate) appends: Vec<ProposedAppend>,
    /// The reaction of a process manager, if the commit is one.
    pub(crate) reaction: Option<ProposedReaction>,
    pub(crate) on_durable: Option<OnDurable>,
    /// Called on the writer's thread when the commit is durable and every reader can read it.
    pub(crate) on_settled: Option<Box<dyn FnOnce() + Send>>,
}

impl ProposedCommit {
    /// Whether the commit was decided on a commit that failed.
    pub(crate) fn is_undone(&self) -> bool {
        self.after
            .iter()
            .any(|outcome| matches!(outcome.get(), Some(Err(_))))
    }
}

/// The events that a commit adds to one stream.
pub(crate) struct ProposedAppend {
    pub(crate) stream: StreamId,
    /// The version the stream has before.
    pub(crate) expected_version: u64,
    /// One eventfold event each, as JSON without a newline.
    pub(crate) lines: Vec<Box<str>>,
    /// The lines that commands with an idempotency key caused. The writer completes them.
    pub(crate) keyed: Vec<KeyedLines>,
}

/// The approximate size that a line adds beside its own bytes.
const LENGTH_BYTES: usize = 8;

impl ProposedAppend {
    /// The approximate size that it adds to a stream, in bytes.
    pub(crate) fn byte_count(&self) -> usize {
        let lines = self.lines.iter().map(|line| line.len() + LENGTH_BYTES);
        let keyed = self.keyed.iter().map(KeyedLines::byte_count);
        lines.chain(keyed).sum()
    }
}

/// The part of a commit that a reaction adds.
pub(crate) struct ProposedReaction {
    pub(crate) process_manager: Arc<str>,
    pub(crate) progress: Progress,
    pub(crate) dispatched: u64,
    /// The changes of rows. The last change of a key counts.
    pub(crate) rows: Vec<RowChange>,
    /// One JSON line each.
    pub(crate) dead_letters: Vec<Box<str>>,
}

impl ProposedReaction {
    pub(crate) fn byte_count(&self) -> usize {
        let letters = self.dead_letters.iter().map(|line| line.len() + 1);
        let rows = self.rows.iter().map(RowChange::byte_count);
        self.progress.state.get().len() + letters.sum::<usize>() + rows.sum::<usize>()
    }
}
