//! The answers to commands with idempotency keys.
//!
//! A key is looked up in three places: the journal, the pending commits, and the staged commands. The writer adds a commit to the journal's
//! table before it settles the outcome. A cell removes a pending commit only after its outcome is settled. So a lookup first settles the
//! cell, and then asks the journal, both under the lock of the cell. In this order it finds every used key, because no command is submitted
//! meanwhile. For example, a commit that becomes durable during the lookup is still pending, or already in the journal. Failed commits
//! leave nothing behind.

use std::convert::Infallible;
use std::sync::Arc;

use super::keys::Keys;
use super::{LockedCell, Pending, clones};
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::{Answer, KeyLookup, KeyedLines, Outcome, Receipt, Streams};
use crate::runtime::guarded::Kept;
use crate::sabotage::{Bug, planted};

/// The ids and answers of a pending commit, which take effect when it is durable.
pub(super) struct Marks {
    /// The number of events in the commit before those of this stream.
    pub(super) before: u64,
    pub(super) event_ids: Vec<String>,
    pub(super) keyed: Vec<KeyedLines>,
}

/// The earlier command with the same key.
pub(crate) enum Repeated<E> {
    Durable(Answer),
    Pending(PendingAnswer<E>),
}

impl<E> Repeated<E> {
    /// See [`Key::digest`].
    pub(crate) fn digest(&self) -> Option<u64> {
        match self {
            Self::Durable(answer) => answer.digest,
            Self::Pending(pending) => pending.group.digest,
        }
    }

    /// Its commit, if that is pending.
    pub(crate) fn pending(&self) -> Option<Arc<Outcome>> {
        match self {
            Self::Durable(_) => None,
            Self::Pending(pending) => Some(Arc::clone(&pending.outcome)),
        }
    }
}

/// An answer that is valid as soon as its commit is durable.
pub(crate) struct PendingAnswer<E> {
    pub(crate) outcome: Arc<Outcome>,
    pub(crate) events: Vec<Kept<E>>,
    group: KeyedLines,
    /// The index of the append in its commit, and the number of events in the commit before it.
    append: usize,
    before: u64,
    /// The version of the first event of the append.
    first_version: u64,
}

impl<E> PendingAnswer<E> {
    /// The answer, from the receipt of the durable commit.
    pub(crate) fn with(&self, receipt: &Receipt) -> Answer {
        let end = receipt.ends.get(self.append);
        let line = end.copied().unwrap_or_default().commit;
        self.group.answer(
            self.first_version,
            receipt.first_position + self.before,
            line,
        )
    }
}

impl<A: Aggregate> LockedCell<'_, A> {
    /// Adds the durable answers for these keys. Returns `false` if a lookup needs I/O. The cell has to be settled first.
    pub(crate) fn learn_answers(&mut self, keys: &Keys, streams: &dyn Streams) -> bool {
        match keys.known(streams, self.stream) {
            Some(known) => {
                self.known_keys.extend(known);
                true
            }
            None => false,
        }
    }

    /// The digest of the earlier command with this key, staged or not, if there was one.
    pub(crate) fn decided_before(&self, key: &str) -> Option<Option<u64>> {
        let staged = self.staged_keys.iter().find(|group| &*group.key == key);
        match staged {
            Some(group) => Some(group.digest),
            None => Some(self.repeated_without_events(key)?.digest()),
        }
    }

    /// The outcome of the earlier command with this key, unless that command is only staged.
    ///
    /// # Errors
    ///
    /// [`StoreError::Panicked`].
    pub(crate) fn repeated(
        &self,
        key: &str,
    ) -> Result<Option<Repeated<A::DomainEvent>>, StoreError> {
        self.repeated_with(key, |events| {
            clones(A::AGGREGATE_TYPE, events.iter().map(|event| &**event))
        })
    }

    /// [`repeated`](Self::repeated) for callers that do not know the type of the events.
    pub(in crate::runtime) fn repeated_without_events(&self, key: &str) -> Option<Repeated<()>> {
        let repeated = self.repeated_with(key, |_| Ok::<_, Infallible>(Vec::new()));
        repeated.unwrap_or_else(|never| match never {})
    }

    fn repeated_with<E, F>(
        &self,
        key: &str,
        copy: impl FnOnce(&[Kept<A::DomainEvent>]) -> Result<Vec<Kept<E>>, F>,
    ) -> Result<Option<Repeated<E>>, F> {
        // The journal has the answer a moment before readers see the commit. If the commit is still pending, the caller waits for
        // its outcome, so that a read after the repeated answer sees it.
        let Some((pending, group, first_version)) = self.pending_answer(key) else {
            return Ok(self.durable_answer(key).map(Repeated::Durable));
        };
        let events = pending.events.get(group.before..group.before + group.count);
        Ok(Some(Repeated::Pending(PendingAnswer {
            outcome: Arc::clone(&pending.outcome),
            append: pending.append,
            events: copy(events.unwrap_or_default())?,
            group: group.clone(),
            before: pending.marks.before,
            first_version,
        })))
    }

    fn durable_answer(&self, key: &str) -> Option<Answer> {
        let known = self.known_keys.iter().find(|(own, _)| **own == *key);
        match known {
            Some((_, KeyLookup::Answered(answer))) => Some(*answer),
            _ => None,
        }
    }

    /// The pending commit with the events of this key, the group of these events, and the version of the commit's first event.
    fn pending_answer(&self, key: &str) -> Option<(&Pending<A>, &KeyedLines, u64)> {
        if planted(Bug::KeyNotClaimed) {
            return None;
        }
        let mut first_version = self.body.durable_end.version + 1;
        for pending in &self.body.pending {
            let group = pending.marks.keyed.iter().find(|group| &*group.key == key);
            if let Some(group) = group {
                return Some((pending, group, first_version));
            }
            first_version += pending.events.len() as u64;
        }
        None
    }
}
