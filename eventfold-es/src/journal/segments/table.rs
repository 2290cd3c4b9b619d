//! The table of a segment: it describes the text before it, in a frame that zstd skips.
//!
//! ```text
//! 4 bytes   0x184D2A5E, which marks a frame that zstd skips; little endian, as all numbers here
//! 4 bytes   number of bytes that follow
//! content:
//!   varint  format
//!   varint  the offset of the first byte of text in the journal
//!   varint  number of bytes of text
//!   varint  the number of the first commit
//!   varint  number of places of commits that follow
//!           for each, two varints: the position of its first event and the offset of its line in the segment, each as the
//!           difference to the place before; the first counts from 0
//!   varint  number of frames
//!           for each, a varint: its length in the file. Each holds 4,096 bytes of text, the last one the rest.
//!   8 bytes xxh64 of the content before
//!   4 bytes number of bytes of the content, these last two fields included
//! ```

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::format::{self, Newer};
use crate::journal::varint;

const SKIPPED: u32 = 0x184D_2A5E;
const CHECKSUM_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;
/// The number of bytes of text in a frame.
pub(super) const FRAME_BYTES: u64 = 4 << 10;

/// The place of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitPlace {
    /// The position of its first event.
    pub(super) position: u64,
    /// The offset of its line in the text of the segment.
    pub(super) offset: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) start: u64,
    pub(super) text: u64,
    pub(super) first_commit: u64,
    /// The places of some commits. The first commit is included if it has events.
    pub(super) commits: Vec<CommitPlace>,
    /// The offset of each frame in the file, and the end of the last frame.
    pub(super) frames: Arc<[u32]>,
}

pub(super) enum TableError {
    Incomplete,
    Newer(Newer),
}

impl Table {
    /// The frame that zstd skips.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for number in [
            format::SEGMENTS,
            self.start,
            self.text,
            self.first_commit,
            self.commits.len() as u64,
        ] {
            varint::push(&mut content, number);
        }
        let mut before = CommitPlace {
            position: 0,
            offset: 0,
        };
        for place in &self.commits {
            varint::push(&mut content, place.position - before.position);
            varint::push(&mut content, place.offset - before.offset);
            before = *place;
        }
        varint::push(&mut content, self.frames.len().saturating_sub(1) as u64);
        for ends in self.frames.windows(2) {
            if let [start, end] = ends {
                varint::push(&mut content, u64::from(end - start));
            }
        }
        let checksum = xxh64(&content, 0);
        content.extend_from_slice(&checksum.to_le_bytes());
        let length = (content.len() + LENGTH_BYTES) as u32;
        content.extend_from_slice(&length.to_le_bytes());
        let mut frame = SKIPPED.to_le_bytes().to_vec();
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&content);
        frame
    }

    /// The length of the content, from the last bytes of a file.
    pub(super) fn length(last: &[u8]) -> Option<u64> {
        let digits = last.get(last.len().checked_sub(LENGTH_BYTES)?..)?;
        Some(u32::from_le_bytes(digits.try_into().ok()?).into())
    }

    pub(super) fn decode(content: &[u8]) -> Result<Self, TableError> {
        let content = content
            .len()
            .checked_sub(LENGTH_BYTES + CHECKSUM_BYTES)
            .and_then(|length| content.split_at_checked(length));
        let Some((content, end)) = content else {
            return Err(TableError::Incomplete);
        };
        if !end.starts_with(&xxh64(content, 0).to_le_bytes()) {
            return Err(TableError::Incomplete);
        }
        let mut rest = content;
        let format = varint::take(&mut rest).ok_or(TableError::Incomplete)?;
        format::refuse_newer(format, format::SEGMENTS).map_err(TableError::Newer)?;
        Self::fields(&mut rest).ok_or(TableError::Incomplete)
    }

    fn fields(rest: &mut &[u8]) -> Option<Self> {
        let start = varint::take(rest)?;
        let text = varint::take(rest)?;
        let first_commit = varint::take(rest)?;
        let mut place = CommitPlace {
            position: 0,
            offset: 0,
        };
        let mut commits = Vec::new();
        for _ in 0..varint::take(rest)? {
            place.position = place.position.checked_add(varint::take(rest)?)?;
            place.offset = place.offset.checked_add(varint::take(rest)?)?;
            commits.push(place);
        }
        let mut frames = vec![0];
        let mut end = 0_u32;
        for _ in 0..varint::take(rest)? {
            end = end.checked_add(u32::try_from(varint::take(rest)?).ok()?)?;
            frames.push(end);
        }
        let is_whole = rest.is_empty() && text.div_ceil(FRAME_BYTES) + 1 == frames.len() as u64;
        is_whole.then(|| Self {
            start,
            text,
            first_commit,
            commits,
            frames: frames.into(),
        })
    }
}
