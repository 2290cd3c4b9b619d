//! The head and the footer of a run.
//!
//! ```text
//! head     16 bytes  "eventfold-es run"
//!           4 bytes  format, little endian
//!           8 bytes  xxh64 of both, so that a damaged format does not look like a newer format; every format has this head
//! ..                 blocks, then the pages of the filter, each with its checksum
//! footer   10 numbers of 8 bytes, little endian:
//!           root: offset, length       the block from which all others are reached
//!           filter: offset, pages
//!           entries, filtered          the number of entries, and the number of keys in the filter
//!           from, to                   the part of the journal's text that it covers
//!           hash                       of the last commit in it
//!           checksum                   xxh64 of the nine numbers, seeded with their offset
//! ```

use super::block::{BlockPlace, seal, unseal};

const MAGIC: &[u8; 16] = b"eventfold-es run";
pub(super) const HEAD_BYTES: u64 = 28;
const NUMBERS: usize = 9;
pub(super) const FOOTER_BYTES: u64 = (NUMBERS as u64 + 1) * 8;

/// The part of the journal that a run covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Coverage {
    /// The beginning of its first line in the text.
    pub(crate) from: u64,
    /// The end of its last line.
    pub(crate) to: u64,
    /// The hash of its last line.
    pub(crate) hash: u64,
}

/// The head of a run of this format.
pub(super) fn encode_head(format: u32) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&format.to_le_bytes());
    seal(head, 0)
}

/// The format of a head, if it is whole.
pub(super) fn decode_head(bytes: Vec<u8>) -> Option<u32> {
    let head = unseal(bytes, 0)?;
    let format = head.strip_prefix(MAGIC)?.try_into().ok()?;
    Some(u32::from_le_bytes(format))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) root: BlockPlace,
    pub(super) filter: u64,
    pub(super) pages: u64,
    pub(super) entries: u64,
    pub(super) filtered: u64,
    pub(super) coverage: Coverage,
}

impl Footer {
    /// The bytes of the footer at `offset`.
    pub(super) fn encode(&self, offset: u64) -> Vec<u8> {
        let numbers = [
            self.root.offset,
            self.root.length,
            self.filter,
            self.pages,
            self.entries,
            self.filtered,
            self.coverage.from,
            self.coverage.to,
            self.coverage.hash,
        ];
        seal(
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect(),
            offset,
        )
    }

    /// The footer in bytes that were read at `offset`, if they are whole.
    pub(super) fn decode(bytes: Vec<u8>, offset: u64) -> Option<Self> {
        let bytes = unseal(bytes, offset)?;
        let mut numbers = bytes.chunks_exact(8).map(|digits| {
            let digits: [u8; 8] = digits.try_into().unwrap_or_default();
            u64::from_le_bytes(digits)
        });
        let mut next = || numbers.next();
        let footer = Self {
            root: BlockPlace {
                offset: next()?,
                length: next()?,
            },
            filter: next()?,
            pages: next()?,
            entries: next()?,
            filtered: next()?,
            coverage: Coverage {
                from: next()?,
                to: next()?,
                hash: next()?,
            },
        };
        (bytes.len() == NUMBERS * 8).then_some(footer)
    }
}
