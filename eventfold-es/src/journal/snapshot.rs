use serde_json::value::RawValue;

use super::varint;
use super::{CommitPlace, StreamEnd};

/// The state of an aggregate after some of its events.
///
/// It is used only if it fits: its commit must be in the journal and end the stream at its version.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The end of the stream for this state.
    pub(crate) seen: StreamEnd,
    /// The meaning of the state; see [`Aggregate::SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    pub(crate) snapshot_version: u32,
    pub(crate) state: Box<RawValue>,
}

impl Snapshot {
    /// ```text
    /// varint version, varint offset, varint length, varint hash, varint snapshot version, the state as JSON
    /// ```
    pub(super) fn encode(&self) -> Vec<u8> {
        let CommitPlace {
            offset,
            length,
            hash,
        } = self.seen.commit;
        let state = self.state.get();
        let mut bytes = Vec::with_capacity(state.len() + 32);
        let version = u64::from(self.snapshot_version);
        for number in [self.seen.version, offset, length, hash, version] {
            varint::push(&mut bytes, number);
        }
        bytes.extend_from_slice(state.as_bytes());
        bytes
    }

    /// The snapshot, if the bytes encode one.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut next = || varint::take(&mut bytes);
        let (version, offset, length, hash) = (next()?, next()?, next()?, next()?);
        let snapshot_version = next()?.try_into().ok()?;
        Some(Self {
            seen: StreamEnd {
                version,
                commit: CommitPlace {
                    offset,
                    length,
                    hash,
                },
            },
            snapshot_version,
            state: serde_json::from_slice(bytes).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back() -> Result<(), serde_json::Error> {
        let snapshot = Snapshot {
            seen: StreamEnd {
                version: 300,
                commit: CommitPlace {
                    offset: 1 << 40,
                    length: 700,
                    hash: u64::MAX,
                },
            },
            snapshot_version: 3,
            state: serde_json::from_str(r#"{"balance":1.0}"#)?,
        };
        let bytes = snapshot.encode();
        let read = Snapshot::decode(&bytes).map(|read| (read.seen, read.state.to_string()));
        assert_eq!(read, Some((snapshot.seen, snapshot.state.to_string())));
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap_or_default();
            assert!(Snapshot::decode(cut).is_none(), "{length} bytes");
        }
        Ok(())
    }
}
