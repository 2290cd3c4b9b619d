//! What a cell knows of its stream beside the state: the ids of the events, and the answers to commands with idempotency keys.
//!
//! Most aggregates are never asked, so nothing is known until the first time; then it is read from the stream, once. What
//! becomes durable meanwhile is collected, so that a stream that never rests becomes known as well. Only what is durable is
//! in here: what is pending or staged is looked up where it is, and leaves nothing behind when it fails.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use serde::Deserialize;

use super::{Cell, LockedCell, Pending, clones};
use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{Damage, StoreError};
use crate::journal::{KeyedLines, Outcome, Receipt, StoredLines, keyed};
use crate::runtime::guarded::{Kept, guard};
use crate::sabotage::{Bug, planted};

/// What has to be known of a stream before something can be decided on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The state.
    State,
    /// And the ids of its events.
    EventIds,
    /// And the answers to its commands with idempotency keys.
    Answers,
}

impl Needs {
    /// What a command needs that has this idempotency key, or none.
    pub(crate) fn of_command(key: Option<&str>) -> Self {
        key.map_or(Self::State, |_| Self::Answers)
    }
}

/// The idempotency key of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) text: &'a str,
    /// What tells the command from others, if it can be compared.
    pub(crate) digest: Option<u64>,
}

impl<'a> Key<'a> {
    /// The key of a command, if its context has one.
    pub(crate) fn of<A: Aggregate>(
        context: &'a CommandContext,
        command: &A::Command,
    ) -> Option<Self> {
        let text = context.idempotency_key.as_deref()?;
        let digest = fingerprint::<A>(command);
        Some(Self { text, digest })
    }

    /// Whether the command that had this key before is known to be another one.
    pub(crate) fn is_reused(&self, before: Option<u64>) -> bool {
        matches!((self.digest, before), (Some(own), Some(before)) if own != before)
    }

    /// The error if it is.
    pub(crate) fn reused(&self) -> StoreError {
        StoreError::KeyReused {
            key: self.text.to_owned(),
        }
    }
}

/// [`Aggregate::fingerprint`]; a command whose code panics cannot be compared.
fn fingerprint<A: Aggregate>(command: &A::Command) -> Option<u64> {
    let what = || format!("the fingerprint of a command of `{}`", A::AGGREGATE_TYPE);
    guard(what, || A::fingerprint(command)).ok().flatten()
}

/// Where the events of a command stand that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) last_version: u64,
    pub(crate) last_position: u64,
    pub(crate) event_count: u64,
    /// See [`Key::digest`].
    pub(crate) digest: Option<u64>,
}

impl Answer {
    pub(crate) fn first_version(&self) -> u64 {
        (self.last_version + 1).saturating_sub(self.event_count)
    }

    pub(crate) fn first_position(&self) -> u64 {
        (self.last_position + 1).saturating_sub(self.event_count)
    }
}

/// What was found in a stream.
#[derive(Default)]
pub(crate) struct Found {
    event_ids: HashSet<String>,
    answers: HashMap<Arc<str>, Answer>,
}

impl Found {
    /// Looks through a whole stream for what is needed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if a line is not what an event is stored as.
    pub(crate) fn in_stream(stored: &StoredLines, needs: Needs) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let mut offset = 0;
        for (version, line) in (1..).zip(stored.text.lines()) {
            let read = match needs {
                Needs::State => Ok(()),
                Needs::EventIds => found.read_id(line),
                Needs::Answers => found.read_answer(line, version),
            };
            read.map_err(|error| {
                let reason = format!("the line is no event: {error}");
                StoreError::Damaged(Arc::new(Damage::new(&stored.path, offset, reason)))
            })?;
            offset += line.len() as u64 + 1;
        }
        Ok(found)
    }

    fn read_id(&mut self, line: &str) -> Result<(), serde_json::Error> {
        #[derive(Deserialize)]
        struct Identity {
            id: Option<String>,
        }
        let event: Identity = serde_json::from_str(line)?;
        let is_read = !planted(Bug::InjectedIdForgotten);
        self.event_ids.extend(event.id.filter(|_| is_read));
        Ok(())
    }

    fn read_answer(&mut self, line: &str, version: u64) -> Result<(), serde_json::Error> {
        let Some(event) = keyed::read(line)?.filter(|_| !planted(Bug::KeyForgotten)) else {
            return Ok(());
        };
        let answer = Answer {
            last_version: version,
            last_position: event.position,
            event_count: 1,
            digest: event.digest,
        };
        match self.answers.get_mut(&*event.key) {
            Some(begun) if begun.last_version + 1 == version => {
                begun.last_version = version;
                begun.last_position = event.position;
                begun.event_count += 1;
            }
            // The first answer counts; the store never gives a second one.
            Some(_) => {}
            None => {
                self.answers.insert(event.key.into(), answer);
            }
        }
        Ok(())
    }
}

/// What is known of the durable part of a stream.
#[derive(Default)]
pub(super) struct Known {
    event_ids: Part<HashSet<String>>,
    answers: Part<HashMap<Arc<str>, Answer>>,
}

#[derive(Default)]
enum Part<T> {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// The stream is being read; here is what became durable since that began.
    Collecting(T),
    Complete(T),
}

impl<T: Default> Part<T> {
    /// Collects from now on; whether the stream is to be read.
    fn collect(&mut self) -> bool {
        if matches!(self, Self::Unknown) {
            *self = Self::Collecting(T::default());
        }
        matches!(self, Self::Collecting(_))
    }

    /// Takes what was found in the stream. It has everything that was durable when collecting began; where both have
    /// something, they agree.
    fn complete<I>(&mut self, mut found: T)
    where
        T: IntoIterator<Item = I> + Extend<I>,
    {
        *self = match std::mem::take(self) {
            Self::Unknown => Self::Unknown,
            Self::Collecting(collected) => {
                found.extend(collected);
                Self::Complete(found)
            }
            Self::Complete(known) => Self::Complete(known),
        };
    }

    fn add_to(&mut self) -> Option<&mut T> {
        match self {
            Self::Unknown => None,
            Self::Collecting(known) | Self::Complete(known) => Some(known),
        }
    }

    fn all(&self) -> Option<&T> {
        match self {
            Self::Complete(known) => Some(known),
            Self::Unknown | Self::Collecting(_) => None,
        }
    }
}

/// What a commit that is not durable yet will make known.
pub(super) struct Marks {
    /// How many events of the commit stand before those of this stream.
    pub(super) before: u64,
    pub(super) event_ids: Vec<String>,
    pub(super) keyed: Vec<KeyedLines>,
}

impl Known {
    /// Takes over what a commit makes known that became durable, with its first event here at `first_version`.
    pub(super) fn add(&mut self, marks: Marks, receipt: &Receipt, first_version: u64) {
        if let Some(ids) = self.event_ids.add_to() {
            ids.extend(marks.event_ids);
        }
        if let Some(answers) = self.answers.add_to() {
            for group in marks.keyed {
                let answer = answer(&group, marks.before, receipt, first_version);
                answers.insert(group.key, answer);
            }
        }
    }
}

fn answer(group: &KeyedLines, before: u64, receipt: &Receipt, first_version: u64) -> Answer {
    let end = (group.before + group.count) as u64;
    Answer {
        last_version: first_version + end - 1,
        last_position: receipt.first_position + before + end - 1,
        event_count: group.count as u64,
        digest: group.digest,
    }
}

/// Where something that was looked for is.
pub(crate) enum Place {
    Durable,
    /// In a commit on its way.
    Pending(Arc<Outcome>),
}

/// A command that was decided before, under the same key.
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

    /// The commit that it is in, if that is on its way.
    pub(crate) fn pending(&self) -> Option<Arc<Outcome>> {
        match self {
            Self::Durable(_) => None,
            Self::Pending(pending) => Some(Arc::clone(&pending.outcome)),
        }
    }
}

/// An answer that counts as soon as its commit is durable.
pub(crate) struct PendingAnswer<E> {
    pub(crate) outcome: Arc<Outcome>,
    pub(crate) events: Vec<Kept<E>>,
    group: KeyedLines,
    before: u64,
    first_version: u64,
}

impl<E> PendingAnswer<E> {
    /// The answer, when the commit is durable.
    pub(crate) fn with(&self, receipt: &Receipt) -> Answer {
        answer(&self.group, self.before, receipt, self.first_version)
    }
}

impl<A: Aggregate> Cell<A> {
    /// Collects what becomes known from now on; whether the stream is to be read for the rest.
    pub(in crate::runtime) fn begin_to_learn(&self, needs: Needs) -> bool {
        let mut locked = self.lock();
        let known = locked.body.known.get_or_insert_default();
        match needs {
            Needs::State => false,
            Needs::EventIds => known.event_ids.collect(),
            Needs::Answers => known.answers.collect(),
        }
    }

    /// Takes what was found in the stream after [`begin_to_learn`](Self::begin_to_learn).
    pub(in crate::runtime) fn learn(&self, needs: Needs, found: Found) {
        let mut locked = self.lock();
        let known = locked.body.known.get_or_insert_default();
        match needs {
            Needs::State => {}
            Needs::EventIds => known.event_ids.complete(found.event_ids),
            Needs::Answers => known.answers.complete(found.answers),
        }
    }
}

impl<A: Aggregate> LockedCell<'_, A> {
    /// Whether it can be told what is there; [`AggregateCells::learn`](crate::runtime::AggregateCells::learn) changes that.
    pub(crate) fn knows(&self, needs: Needs) -> bool {
        match needs {
            Needs::State => true,
            Needs::EventIds => self.known_ids().is_some(),
            Needs::Answers => self.known_answers().is_some(),
        }
    }

    /// Where the event of this id is.
    pub(crate) fn find_event(&self, id: &str) -> Option<Place> {
        if self.known_ids().is_some_and(|ids| ids.contains(id)) {
            return Some(Place::Durable);
        }
        let has_id = |pending: &&Pending<A>| pending.marks.event_ids.iter().any(|own| own == id);
        let pending = self.body.pending.iter().rev().find(has_id);
        pending.map(|pending| Place::Pending(Arc::clone(&pending.outcome)))
    }

    /// The digest of the command that had this key before, staged or not, if there was one.
    pub(crate) fn decided_before(&self, key: &str) -> Option<Option<u64>> {
        let staged = self.staged_keys.iter().find(|group| &*group.key == key);
        match staged {
            Some(group) => Some(group.digest),
            None => Some(self.repeated_without_events(key)?.digest()),
        }
    }

    /// What the command with this key came to, unless it is staged only.
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

    /// The same, for those who do not know the events.
    pub(in crate::runtime) fn repeated_without_events(&self, key: &str) -> Option<Repeated<()>> {
        let repeated = self.repeated_with(key, |_| Ok::<_, Infallible>(Vec::new()));
        repeated.unwrap_or_else(|never| match never {})
    }

    fn repeated_with<E, F>(
        &self,
        key: &str,
        copy: impl FnOnce(&[Kept<A::DomainEvent>]) -> Result<Vec<Kept<E>>, F>,
    ) -> Result<Option<Repeated<E>>, F> {
        if let Some(answer) = self.durable_answer(key) {
            return Ok(Some(Repeated::Durable(answer)));
        }
        let Some((pending, group, first_version)) = self.pending_answer(key) else {
            return Ok(None);
        };
        let events = pending.events.get(group.before..group.before + group.count);
        Ok(Some(Repeated::Pending(PendingAnswer {
            outcome: Arc::clone(&pending.outcome),
            events: copy(events.unwrap_or_default())?,
            group: group.clone(),
            before: pending.marks.before,
            first_version,
        })))
    }

    fn durable_answer(&self, key: &str) -> Option<Answer> {
        self.known_answers()?.get(key).copied()
    }

    /// The commit on its way that has the events of the command with this key, which of them they are, and the version of its first.
    fn pending_answer(&self, key: &str) -> Option<(&Pending<A>, &KeyedLines, u64)> {
        if planted(Bug::KeyNotClaimed) {
            return None;
        }
        let mut first_version = self.body.durable_extent.lines + 1;
        for pending in &self.body.pending {
            let group = pending.marks.keyed.iter().find(|group| &*group.key == key);
            if let Some(group) = group {
                return Some((pending, group, first_version));
            }
            first_version += pending.events.len() as u64;
        }
        None
    }

    fn known_ids(&self) -> Option<&HashSet<String>> {
        self.body.known.as_ref()?.event_ids.all()
    }

    fn known_answers(&self) -> Option<&HashMap<Arc<str>, Answer>> {
        self.body.known.as_ref()?.answers.all()
    }
}
