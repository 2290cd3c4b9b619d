//! The idempotency keys of commands, and the journal's answers to them before the commands are decided.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::StoreError;
use crate::journal::{KeyLookup, StreamId, Streams};
use crate::runtime::guarded::{blocking, guard};

/// The first character of a generated key. No key of a user has it, and a transaction's key does not begin with it.
const GENERATED: char = '\n';

/// A key that no other command has, from random bits.
pub(crate) fn generated_key(random: &str) -> String {
    format!("{GENERATED}{random}")
}

/// Whether a key was made by [`generated_key`].
fn is_generated(key: &str) -> bool {
    key.starts_with(GENERATED)
}

/// The idempotency key of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) text: &'a str,
    /// A digest of the command, if commands can be compared.
    pub(crate) digest: Option<u64>,
}

impl<'a> Key<'a> {
    /// The key of a command, if its context has one.
    pub(crate) fn of<A: Aggregate>(
        context: &'a CommandContext,
        command: &A::Command,
    ) -> Option<Self> {
        let text = context.idempotency_key.as_deref()?;
        // Only one command has a generated key, so no other one can be compared with it.
        let digest = match is_generated(text) {
            true => None,
            false => fingerprint::<A>(command),
        };
        Some(Self { text, digest })
    }

    /// Whether the earlier command with this key is known to be a different one.
    pub(crate) fn is_reused(&self, before: Option<u64>) -> bool {
        matches!((self.digest, before), (Some(own), Some(before)) if own != before)
    }

    /// The error for a reused key.
    pub(crate) fn reused(&self) -> StoreError {
        StoreError::KeyReused {
            key: self.text.to_owned(),
        }
    }
}

/// [`Aggregate::fingerprint`]. If its code panics, the command cannot be compared.
fn fingerprint<A: Aggregate>(command: &A::Command) -> Option<u64> {
    let what = || format!("the fingerprint of a command of `{}`", A::AGGREGATE_TYPE);
    guard(what, || A::fingerprint(command)).ok().flatten()
}

/// The keys of the commands to one aggregate, each with the result of its lookup. Most commits have at most one key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(SmallVec<[(Arc<str>, Option<KeyLookup>); 1]>);

impl Keys {
    /// A key without a lookup, or no key.
    pub(crate) fn of(key: Option<&str>) -> Self {
        Self(key.map(|key| (key.into(), None)).into_iter().collect())
    }

    pub(in crate::runtime) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(in crate::runtime) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(own, _)| **own == *key)
    }

    /// The durable answer to each key now. `None` if a lookup needs I/O.
    pub(super) fn known(&self, streams: &dyn Streams, stream: &StreamId) -> Option<KnownKeys> {
        let known = self.0.iter().map(|(key, before)| {
            let known = streams.known_answer(stream, key, *before)?;
            Some((Arc::clone(key), known))
        });
        known.collect()
    }

    pub(in crate::runtime) fn are_known(&self, streams: &dyn Streams, stream: &StreamId) -> bool {
        self.0.is_empty() || self.known(streams, stream).is_some()
    }

    /// Looks up the keys without a known answer. Cancel safe.
    pub(in crate::runtime) async fn look_for(
        &mut self,
        streams: &Arc<dyn Streams>,
        stream: &StreamId,
    ) -> Result<(), StoreError> {
        if let Some(known) = self.known(&**streams, stream) {
            self.0 = known
                .into_iter()
                .map(|(key, known)| (key, Some(known)))
                .collect();
            return Ok(());
        }
        let what = || {
            let (aggregate_type, id) = (&stream.aggregate_type, &stream.instance_id);
            format!("looking for an idempotency key of `{id}` of `{aggregate_type}`")
        };
        let (keys, streams, stream) = (self.clone(), Arc::clone(streams), stream.clone());
        *self = blocking(what, move || {
            let found = keys.0.into_iter().map(|(key, before)| {
                let found = match streams.known_answer(&stream, &key, before) {
                    Some(known) => known,
                    None => streams.find_answer(&stream, &key)?,
                };
                Ok((key, Some(found)))
            });
            found.collect::<Result<_, StoreError>>().map(Self)
        })
        .await?;
        Ok(())
    }
}

/// Keys with their durable answers, valid while the lock on the cell is held.
pub(super) type KnownKeys = SmallVec<[(Arc<str>, KeyLookup); 1]>;
