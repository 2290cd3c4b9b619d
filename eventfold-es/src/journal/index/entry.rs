//! Entries of the index, which locate the events of streams in the journal.
//!
//! ```text
//! key    "n" type 0 id                the last snapshot of a stream; its value has a different form
//!        "s" type 0 id 0 version      an append to a stream; `version` is that of its first event
//!        "k" hash version             the events of a command with an idempotency key; `version` is that of the first of them
//! value  varint offset, varint length, varint count
//! ```
//!
//! `hash` is the xxh3 of type 0 id 0 key: 8 bytes, the highest first. The journal tells keys with the same hash apart. `type`
//! and `id` contain no zeros. A version is one byte with the number of its other bytes, followed by these bytes, the highest
//! first and without leading zeros. The order of the bytes is therefore that of the numbers. For example, version 256 is `02 01
//! 00`.

use xxhash_rust::xxh3::Xxh3;

use crate::journal::StreamId;
use crate::journal::varint;

const STREAM: u8 = b's';
const SNAPSHOT: u8 = b'n';
const ANSWER: u8 = b'k';
/// The bytes of the key of an answer without its version.
const ANSWER_BYTES: usize = 9;

/// The key of an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryKey(Vec<u8>);

impl EntryKey {
    /// The key of the append to a stream that begins with this version. Version 0 gives a key before all appends of the stream.
    pub(crate) fn append(stream: &StreamId, version: u64) -> Self {
        let mut key = Self::named(STREAM, stream);
        key.push_version(version);
        key
    }

    /// The key of the events that a command with an idempotency key caused on a stream; `version` is that of the first event.
    /// Version 0 gives a key before all of them.
    pub(crate) fn answer(stream: &StreamId, idempotency_key: &str, version: u64) -> Self {
        let hash = answer_hash(stream, idempotency_key);
        let mut key = Self(Vec::with_capacity(ANSWER_BYTES + 4));
        key.0.push(ANSWER);
        key.0.extend_from_slice(&hash.to_be_bytes());
        key.push_version(version);
        key
    }

    /// A key before the answers and the appends of all streams.
    pub(crate) fn first() -> Self {
        Self(vec![ANSWER])
    }

    fn push_version(&mut self, version: u64) {
        let digits = version.to_be_bytes();
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let digits = digits.get(zeros..).unwrap_or_default();
        self.0.push(digits.len() as u8);
        self.0.extend_from_slice(digits);
    }

    /// The key of the snapshot of a stream.
    pub(crate) fn snapshot(stream: &StreamId) -> Self {
        Self::named(SNAPSHOT, stream)
    }

    /// A key before all appends to streams of one aggregate type, or of all types.
    pub(crate) fn first_append(aggregate_type: Option<&str>) -> Self {
        let mut key = vec![STREAM];
        if let Some(aggregate_type) = aggregate_type {
            key.extend_from_slice(aggregate_type.as_bytes());
            key.push(0);
        }
        Self(key)
    }

    fn named(kind: u8, stream: &StreamId) -> Self {
        let (aggregate_type, id) = (
            stream.aggregate_type.as_bytes(),
            stream.instance_id.as_bytes(),
        );
        let mut key = Vec::with_capacity(aggregate_type.len() + id.len() + 12);
        key.push(kind);
        key.extend_from_slice(aggregate_type);
        key.push(0);
        key.extend_from_slice(id);
        key.push(0);
        Self(key)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The stream and the version, if the key is that of an append.
    pub(crate) fn read_append(key: &[u8]) -> Option<(StreamId, u64)> {
        let (stream, rest) = Self::read_named(key, STREAM)?;
        Some((stream, read_version(rest)?))
    }

    /// The part of the keys of all appends to a stream before the version.
    pub(crate) fn before_version(stream: &StreamId) -> Self {
        Self::named(STREAM, stream)
    }

    /// The version, if the key has [this part](Self::before_version) before it.
    pub(crate) fn version_behind(key: &[u8], before: &Self) -> Option<u64> {
        read_version(key.strip_prefix(&before.0[..])?)
    }

    /// The version, if the key is that of an answer.
    pub(crate) fn read_answer(key: &[u8]) -> Option<u64> {
        match key.split_at_checked(ANSWER_BYTES)? {
            ([ANSWER, ..], version) => read_version(version),
            _ => None,
        }
    }

    /// Whether two keys of answers have the same hash.
    pub(crate) fn is_alike(&self, other: &[u8]) -> bool {
        filtered(&self.0) == filtered(other)
    }

    /// The stream, if the key is that of a snapshot.
    pub(crate) fn read_snapshot(key: &[u8]) -> Option<StreamId> {
        let (stream, rest) = Self::read_named(key, SNAPSHOT)?;
        rest.is_empty().then_some(stream)
    }

    fn read_named(key: &[u8], kind: u8) -> Option<(StreamId, &[u8])> {
        let (found, rest) = key.split_first()?;
        if *found != kind {
            return None;
        }
        let (aggregate_type, rest) = until_zero(rest)?;
        let (id, rest) = until_zero(rest)?;
        let stream = StreamId::new(
            std::str::from_utf8(aggregate_type).ok()?,
            std::str::from_utf8(id).ok()?,
        );
        Some((stream, rest))
    }
}

/// The hash in the key of an answer.
pub(crate) fn answer_hash(stream: &StreamId, idempotency_key: &str) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(stream.aggregate_type.as_bytes());
    hash.update(&[0]);
    hash.update(stream.instance_id.as_bytes());
    hash.update(&[0]);
    hash.update(idempotency_key.as_bytes());
    hash.digest()
}

fn read_version(bytes: &[u8]) -> Option<u64> {
    let (count, digits) = bytes.split_first()?;
    if usize::from(*count) != digits.len() || digits.len() > 8 {
        return None;
    }
    let version = digits.iter();
    Some(version.fold(0, |version, digit| version << 8 | u64::from(*digit)))
}

/// The part of a key that the filters contain. For an append or an answer, it is the key without the version; for a snapshot,
/// the whole key.
pub(super) fn filtered(key: &[u8]) -> &[u8] {
    let without_version = || match key.split_first()? {
        (&ANSWER, _) => key.get(..ANSWER_BYTES),
        (&STREAM, rest) => {
            let (_, rest) = until_zero(rest)?;
            let (_, version) = until_zero(rest)?;
            key.get(..key.len() - version.len())
        }
        _ => None,
    };
    without_version().unwrap_or(key)
}

/// The bytes before the first zero, and the bytes behind it.
fn until_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = memchr::memchr(0, bytes)?;
    Some((bytes.get(..zero)?, bytes.get(zero + 1..)?))
}

/// The place of a commit's line in the text of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) offset: u64,
    /// The length in bytes, newline included.
    pub(crate) length: u64,
    /// The number of the stream's events in the commit.
    pub(crate) count: u64,
}

impl Address {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12);
        varint::push(&mut bytes, self.offset);
        varint::push(&mut bytes, self.length);
        varint::push(&mut bytes, self.count);
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let offset = varint::take(&mut bytes)?;
        let length = varint::take(&mut bytes)?;
        let count = varint::take(&mut bytes)?;
        bytes.is_empty().then_some(Self {
            offset,
            length,
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_that_of_types_ids_and_versions() {
        let mut keys = Vec::new();
        for aggregate_type in ["a", "a-b", "b"] {
            for id in ["1", "1 ", "10", "2", "\u{1F980}"] {
                for version in [0, 1, 2, 127, 128, 255, 256, 65_535, 65_536, u64::MAX] {
                    keys.push(EntryKey::append(
                        &StreamId::new(aggregate_type, id),
                        version,
                    ));
                }
            }
        }
        assert!(keys.is_sorted());
        for key in &keys {
            let (stream, version) =
                EntryKey::read_append(key.as_bytes()).unwrap_or_else(|| unreachable!());
            assert_eq!(*key, EntryKey::append(&stream, version));
            let before = EntryKey::before_version(&stream);
            assert_eq!(
                EntryKey::version_behind(key.as_bytes(), &before),
                Some(version)
            );
            let longer = StreamId::new(&stream.aggregate_type, &format!("{}1", stream.instance_id));
            let before = EntryKey::before_version(&longer);
            assert_eq!(EntryKey::version_behind(key.as_bytes(), &before), None);
            let filtered = filtered(key.as_bytes());
            assert_eq!(filtered, EntryKey::named(STREAM, &stream).as_bytes());
            assert!(key >= &EntryKey::first_append(Some(&stream.aggregate_type)));
        }
    }

    #[test]
    fn answers_are_in_the_order_of_versions_and_filtered_without_them() {
        let stream = StreamId::new("a", "1");
        let versions = [0, 1, 255, 256, u64::MAX];
        let keys = versions.map(|version| EntryKey::answer(&stream, "k", version));
        assert!(keys.is_sorted() && EntryKey::first() < keys[0]);
        for (key, version) in keys.iter().zip(versions) {
            assert!(key < &EntryKey::first_append(None));
            assert_eq!(EntryKey::read_answer(key.as_bytes()), Some(version));
            assert_eq!(EntryKey::read_append(key.as_bytes()), None);
            assert!(key.is_alike(keys[0].as_bytes()));
        }
        // Without the zeros, these would hash the same text.
        for (stream, key) in [
            (StreamId::new("a", "1"), "k "),
            (StreamId::new("a", "1k"), ""),
            (StreamId::new("a1", "k"), ""),
        ] {
            let other = EntryKey::answer(&stream, key, 1);
            assert!(!other.is_alike(keys[1].as_bytes()), "{stream:?} {key:?}");
        }
        let append = EntryKey::append(&stream, 7);
        assert_eq!(EntryKey::read_answer(append.as_bytes()), None);
    }

    #[test]
    fn snapshots_are_no_appends_and_filtered_as_a_whole() {
        let stream = StreamId::new("a", "1");
        let key = EntryKey::snapshot(&stream);
        assert_eq!(EntryKey::read_append(key.as_bytes()), None);
        assert_eq!(EntryKey::read_snapshot(key.as_bytes()), Some(stream));
        assert_eq!(filtered(key.as_bytes()), key.as_bytes());
    }

    #[test]
    fn an_address_is_read_back() {
        let address = Address {
            offset: 1 << 40,
            length: 300,
            count: 1,
        };
        let mut bytes = address.encode();
        assert_eq!(Address::decode(&bytes), Some(address));
        bytes.push(0);
        assert_eq!(Address::decode(&bytes), None);
    }
}
