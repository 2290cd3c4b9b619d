//! Blocks: sorted entries. Each key omits the prefix that it shares with the key before.
//!
//! ```text
//! height    1 byte    0: the values are those of the run; otherwise, they are the places of blocks one level below
//! entry     for each entry:
//!   shared    varint    number of bytes that the key shares with the key before
//!   key       varint    number of its other bytes
//!   value     varint    number of bytes of its value
//!   ..                  the other bytes of the key, and the value
//! checksum  8 bytes   xxh64 of everything before it, seeded with the offset of the block in the file, little endian
//! ```

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::journal::varint;

/// The size in bytes at which a block is full.
const FULL_BYTES: usize = 4 << 10;
/// The number of entries below which a block is never full. Blocks with fewer entries would not make the tree narrower.
const FULL_ENTRIES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

/// A block that is being filled.
pub(super) struct BlockBuilder {
    height: u8,
    bytes: Vec<u8>,
    last: Vec<u8>,
    entries: usize,
}

impl BlockBuilder {
    pub(super) fn new(height: u8) -> Self {
        Self {
            height,
            bytes: vec![height],
            last: Vec::new(),
            entries: 0,
        }
    }

    /// Adds an entry behind all others.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = self.last.iter().zip(key).take_while(|(a, b)| a == b);
        let shared = shared.count();
        let rest = key.get(shared..).unwrap_or_default();
        varint::push(&mut self.bytes, shared as u64);
        varint::push(&mut self.bytes, rest.len() as u64);
        varint::push(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(rest);
        self.bytes.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        self.entries += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES && self.entries >= FULL_ENTRIES
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The finished block at `offset` of a file, and its last key. The builder is empty afterwards.
    pub(super) fn finish(&mut self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        let Self { bytes, last, .. } = std::mem::replace(self, Self::new(self.height));
        (seal(bytes, offset), last)
    }
}

/// Appends the checksum of a block at `offset`.
pub(super) fn seal(mut bytes: Vec<u8>, offset: u64) -> Vec<u8> {
    let checksum = xxh64(&bytes, offset);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Removes the checksum of a block that was read at `offset`; `None` if it is wrong.
pub(super) fn unseal(mut bytes: Vec<u8>, offset: u64) -> Option<Vec<u8>> {
    let length = bytes.len().checked_sub(CHECKSUM_BYTES)?;
    let checksum = bytes.split_off(length);
    (checksum == xxh64(&bytes, offset).to_le_bytes()).then_some(bytes)
}

/// The place of a block in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub(super) offset: u64,
    /// Its checksum included.
    pub(super) length: u64,
}

impl BlockPlace {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::push(&mut bytes, self.offset);
        varint::push(&mut bytes, self.length);
        bytes
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let offset = varint::take(&mut bytes)?;
        let length = varint::take(&mut bytes)?;
        bytes.is_empty().then_some(Self { offset, length })
    }
}

/// A place in a block: before its first entry, at an entry, or behind the last.
pub(super) struct BlockCursor {
    /// Without its checksum.
    block: Arc<[u8]>,
    /// The beginning of the next entry.
    next: usize,
    key: Vec<u8>,
    value: Range<usize>,
}

/// A block with a valid checksum and invalid content.
#[derive(Debug)]
pub(super) struct Malformed;

impl BlockCursor {
    pub(super) fn new(block: Arc<[u8]>) -> Self {
        Self {
            block,
            next: 1,
            key: Vec::new(),
            value: 0..0,
        }
    }

    pub(super) fn height(&self) -> u8 {
        self.block.first().copied().unwrap_or_default()
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn value(&self) -> &[u8] {
        self.block.get(self.value.clone()).unwrap_or_default()
    }

    /// Moves to the next entry; `false` if there is none.
    pub(super) fn advance(&mut self) -> Result<bool, Malformed> {
        let Some(entry) = self.read(self.key.len())? else {
            return Ok(false);
        };
        self.key.truncate(entry.shared);
        self.enter(&entry);
        Ok(true)
    }

    /// Moves from the beginning of the block to the first entry with an equal or greater key; `false` if there is none.
    pub(super) fn seek(&mut self, key: &[u8]) -> Result<bool, Malformed> {
        // The number of bytes that `key` and the entry before have in common. An entry that shares more bytes with the entry
        // before is also less than `key`, so its key is not compared.
        let (mut common, mut length) = (0, 0);
        while let Some(entry) = self.read(length)? {
            length = entry.shared + entry.key.len();
            if entry.shared <= common {
                let (prefix, wanted) = key.split_at_checked(entry.shared).unwrap_or((key, &[]));
                let own = self.block.get(entry.key.clone()).unwrap_or_default();
                let alike = own.iter().zip(wanted).take_while(|(a, b)| a == b);
                common = entry.shared + alike.count();
                if own >= wanted {
                    self.key.clear();
                    self.key.extend_from_slice(prefix);
                    self.enter(&entry);
                    return Ok(true);
                }
            }
            self.next = entry.value.end;
        }
        Ok(false)
    }

    /// The next entry; `None` behind the last. The key of the entry before has this length.
    fn read(&self, length: usize) -> Result<Option<BlockEntry>, Malformed> {
        let mut rest = self.block.get(self.next..).unwrap_or_default();
        let (shared, other, value) = match rest {
            [] => return Ok(None),
            // Nearly all lengths have one byte.
            [shared, other, value, behind @ ..] if shared | other | value < 0x80 => {
                rest = behind;
                (
                    usize::from(*shared),
                    usize::from(*other),
                    usize::from(*value),
                )
            }
            _ => {
                let mut number = || {
                    let number = varint::take(&mut rest);
                    number
                        .and_then(|number| usize::try_from(number).ok())
                        .ok_or(Malformed)
                };
                (number()?, number()?, number()?)
            }
        };
        let start = self.block.len() - rest.len();
        let end = other
            .checked_add(value)
            .filter(|bytes| *bytes <= rest.len() && shared <= length)
            .ok_or(Malformed)?;
        let middle = start + other;
        Ok(Some(BlockEntry {
            shared,
            key: start..middle,
            value: middle..start + end,
        }))
    }

    /// Moves to an entry. `key` has the bytes that it shares with the entry before.
    fn enter(&mut self, entry: &BlockEntry) {
        let own = self.block.get(entry.key.clone()).unwrap_or_default();
        self.key.extend_from_slice(own);
        self.value = entry.value.clone();
        self.next = entry.value.end;
    }
}

/// The places of an entry in its block.
struct BlockEntry {
    /// The number of bytes of the key that the entry before also has.
    shared: usize,
    /// The other bytes of the key.
    key: Range<usize>,
    value: Range<usize>,
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    type Entry = (Vec<u8>, Vec<u8>);

    fn entries() -> Vec<Entry> {
        let keys = ["", "a", "aa", "ab", "abc\u{0}", "b", "bbbbbbbb", "bbbbbbbc"];
        let values = (0..).map(|number| vec![b'v'; number * 7 % 30]);
        keys.iter()
            .map(|key| key.as_bytes().to_vec())
            .zip(values)
            .collect()
    }

    fn built(entries: &[Entry], offset: u64) -> Vec<u8> {
        let mut builder = BlockBuilder::new(0);
        for (key, value) in entries {
            builder.push(key, value);
        }
        let (block, last) = builder.finish(offset);
        assert_eq!(Some(&last), entries.last().map(|(key, _)| key));
        assert_eq!(builder.entries(), 0);
        block
    }

    fn cursor(block: Vec<u8>, offset: u64) -> Option<BlockCursor> {
        unseal(block, offset).map(|block| BlockCursor::new(block.into()))
    }

    #[test]
    fn entries_are_read_back_in_order() -> Result<(), Malformed> {
        let entries = entries();
        let mut cursor = cursor(built(&entries, 99), 99).ok_or(Malformed)?;
        let mut read = Vec::new();
        while cursor.advance()? {
            read.push((cursor.key().to_vec(), cursor.value().to_vec()));
        }
        assert_eq!(read, entries);
        Ok(())
    }

    #[test]
    fn seeking_finds_the_first_that_is_not_less() -> Result<(), Malformed> {
        let mut entries = entries();
        // Longer than one byte can say.
        entries.push((vec![b'b'; 300], vec![b'v'; 300]));
        entries.push((vec![b'b'; 301], Vec::new()));
        entries.sort();
        let long = "b".repeat(300);
        for key in [
            &long,
            "",
            "a",
            "a\u{0}",
            "abb",
            "b",
            "bbbbbbbbb",
            "bbbbbbbc",
            "c",
        ] {
            let mut cursor = cursor(built(&entries, 0), 0).ok_or(Malformed)?;
            let mut found = Vec::new();
            let mut is_there = cursor.seek(key.as_bytes())?;
            while is_there {
                found.push((cursor.key().to_vec(), cursor.value().to_vec()));
                is_there = cursor.advance()?;
            }
            let expected = entries.iter();
            let expected = expected.skip_while(|(other, _)| &other[..] < key.as_bytes());
            assert!(found.iter().eq(expected), "{key:?}: {found:?}");
        }
        Ok(())
    }

    #[test]
    fn a_changed_byte_and_another_place_are_noticed() {
        let block = built(&entries(), 5);
        assert!(unseal(block.clone(), 6).is_none());
        for index in 0..block.len() {
            let mut changed = block.clone();
            changed[index] ^= 0x20;
            assert!(unseal(changed, 5).is_none(), "{index}");
            assert!(unseal(block[..index].to_vec(), 5).is_none(), "{index}");
        }
    }

    /// Reading any sealed bytes ends without a panic.
    #[test]
    fn a_block_that_makes_no_sense_is_malformed() {
        let block = built(&entries(), 0);
        let block = unseal(block, 0).unwrap_or_default();
        let mut malformed = 0;
        for index in 1..block.len() {
            for byte in [0x00, 0x7f, 0xff] {
                let mut changed = block.clone();
                changed[index] = byte;
                let mut cursor = BlockCursor::new(changed.clone().into());
                loop {
                    match cursor.advance() {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(Malformed) => {
                            malformed += 1;
                            break;
                        }
                    }
                }
                let mut cursor = BlockCursor::new(changed.into());
                malformed += usize::from(cursor.seek(b"zzz").is_err());
            }
        }
        assert!(malformed > 10);
    }
}
