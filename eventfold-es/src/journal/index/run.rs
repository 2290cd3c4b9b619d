//! Reading a run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::block::{BlockCursor, BlockPlace, Malformed, unseal};
use super::entry::filtered;
use super::filter::{PAGE_BYTES, Spot};
use super::footer::{Coverage, FOOTER_BYTES, Footer, HEAD_BYTES, decode_head};
use crate::disk::{FileHandle, Files, OpenMode};
use crate::format;
use crate::journal::block_cache::{BlockCache, FileKey};
use crate::journal::{Damage, JournalError};

/// The tree of a run's blocks. Each block is reached from the root.
pub(super) struct Tree {
    pub(super) file: FileHandle,
    pub(super) root: BlockPlace,
    /// Whether a reader has found damage.
    is_damaged: AtomicBool,
}

/// The maximum size of a filter that stays in memory as a whole, in pages: 8 MiB, for six million streams.
const MAX_FILTER_PAGES: u64 = if cfg!(test) { 1 } else { 2048 };

/// The cache of blocks, and the key of the file in it.
pub(super) type Cached = (Arc<BlockCache>, FileKey);

impl Tree {
    pub(super) fn new(file: FileHandle, root: BlockPlace) -> Arc<Self> {
        Arc::new(Self {
            file,
            root,
            is_damaged: AtomicBool::new(false),
        })
    }

    /// The content of a block, without its checksum. Blocks.
    fn block(&self, place: BlockPlace, cache: Option<&Cached>) -> Result<Arc<[u8]>, JournalError> {
        let read = || self.read(place).map(Arc::from);
        match cache {
            Some((cache, file)) => cache.get(*file, place.offset, read),
            None => read(),
        }
    }

    fn read(&self, place: BlockPlace) -> Result<Vec<u8>, JournalError> {
        let BlockPlace { offset, length } = place;
        let bytes = self.file.read_range(offset, length)?;
        unseal(bytes, offset).ok_or_else(|| self.damaged(offset).into())
    }

    fn damaged(&self, offset: u64) -> Damage {
        self.is_damaged.store(true, Ordering::Relaxed);
        let reason = "a block of the index has a wrong checksum or content; close the store and open it again, which writes this part of the index again";
        Damage::new(self.file.path(), offset, reason)
    }
}

/// A place in a run: at an entry, or behind the last entry.
pub(crate) struct RunCursor {
    tree: Arc<Tree>,
    cache: Option<Cached>,
    /// The blocks from the root to the entry; empty behind the last entry.
    path: Vec<(BlockPlace, BlockCursor)>,
}

impl RunCursor {
    /// A cursor at the first entry with an equal or greater key. A reader of all entries uses no cache. Blocks.
    pub(super) fn seek(
        tree: Arc<Tree>,
        cache: Option<Cached>,
        key: &[u8],
    ) -> Result<Self, JournalError> {
        let mut cursor = Self {
            path: Vec::new(),
            cache,
            tree,
        };
        let mut place = cursor.tree.root;
        loop {
            cursor.descend(place)?;
            let Some((at, last)) = cursor.path.last_mut() else {
                break;
            };
            let found = last.seek(key);
            let child = Self::child(last);
            match found.map_err(|Malformed| cursor.tree.damaged(at.offset))? {
                false => {
                    cursor.path.pop();
                    cursor.advance()?;
                    break;
                }
                true if last.height() == 0 => break,
                true => place = child.ok_or_else(|| cursor.tree.damaged(at.offset))?,
            }
        }
        Ok(cursor)
    }

    /// Enters a block, before its first entry.
    fn descend(&mut self, place: BlockPlace) -> Result<(), JournalError> {
        let block = BlockCursor::new(self.tree.block(place, self.cache.as_ref())?);
        let above = self.path.last().map(|(_, above)| above.height());
        if above.is_some_and(|above| u16::from(above) != u16::from(block.height()) + 1) {
            return Err(self.tree.damaged(place.offset).into());
        }
        self.path.push((place, block));
        Ok(())
    }

    fn child(cursor: &BlockCursor) -> Option<BlockPlace> {
        BlockPlace::decode(cursor.value())
    }

    /// Moves to the next entry. Blocks.
    pub(super) fn advance(&mut self) -> Result<(), JournalError> {
        while let Some((place, cursor)) = self.path.last_mut() {
            let moved = cursor.advance();
            match moved.map_err(|Malformed| self.tree.damaged(place.offset))? {
                false => drop(self.path.pop()),
                true if cursor.height() == 0 => break,
                true => {
                    let child = Self::child(cursor);
                    let child = child.ok_or_else(|| self.tree.damaged(place.offset))?;
                    self.descend(child)?;
                }
            }
        }
        Ok(())
    }

    /// The key and the value of the entry.
    pub(super) fn entry(&self) -> Option<(&[u8], &[u8])> {
        let (_, cursor) = self.path.last()?;
        Some((cursor.key(), cursor.value()))
    }
}

/// A run.
pub(crate) struct Run {
    tree: Arc<Tree>,
    footer: Footer,
    bytes: u64,
    /// The pages of the filter, if it is small. The pages of a large filter come from the cache.
    filter: Option<Vec<u8>>,
    cache: Cached,
}

impl Run {
    /// Opens an existing run. Blocks.
    ///
    /// # Errors
    ///
    /// Damage, also if the run is missing or incomplete. A newer format is an error of the file.
    pub(super) fn open(
        files: &Files,
        path: &Path,
        cache: &Arc<BlockCache>,
    ) -> Result<Self, JournalError> {
        let file = match files.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => {
                return Err(Damage::new(path, 0, "this part of the index is missing").into());
            }
            Err(error) => return Err(error.into()),
        };
        let Some(number) = decode_head(file.read_range(0, HEAD_BYTES)?) else {
            return Err(Damage::new(path, 0, "this is not a part of the index").into());
        };
        format::refuse_newer(number.into(), format::RUNS).map_err(|newer| newer.in_file(path))?;
        let bytes = file.len()?;
        let offset = bytes.saturating_sub(FOOTER_BYTES);
        let Some(footer) = Footer::decode(file.read_range(offset, FOOTER_BYTES)?, offset) else {
            return Err(Damage::new(path, offset, "this part of the index is not complete").into());
        };
        Self::written(Tree::new(file, footer.root), footer, bytes, cache)
    }

    /// A run whose file is complete. Blocks.
    pub(super) fn written(
        tree: Arc<Tree>,
        footer: Footer,
        bytes: u64,
        cache: &Arc<BlockCache>,
    ) -> Result<Self, JournalError> {
        let filter = match footer.pages <= MAX_FILTER_PAGES {
            true => Some(read_filter(&tree, &footer)?),
            false => None,
        };
        Ok(Self {
            tree,
            footer,
            bytes,
            filter,
            cache: (Arc::clone(cache), cache.add_file()),
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Marks the run as damaged.
    pub(super) fn set_damaged(&self) {
        self.tree.is_damaged.store(true, Ordering::Relaxed);
    }

    /// Whether a reader has found damage in the run.
    pub(super) fn is_damaged(&self) -> bool {
        self.tree.is_damaged.load(Ordering::Relaxed)
    }

    pub(super) fn coverage(&self) -> Coverage {
        self.footer.coverage
    }

    pub(super) fn entries(&self) -> u64 {
        self.footer.entries
    }

    /// Whether the run may have a key with the same filtered part. Blocks.
    pub(super) fn may_hold(&self, key: &[u8]) -> Result<bool, JournalError> {
        let spot = Spot::of(filtered(key), self.footer.pages);
        match self.in_memory(spot) {
            Some(is_set) => Ok(is_set),
            None => {
                let place = page_place(&self.footer, spot.page);
                Ok(spot.is_set(&self.tree.block(place, Some(&self.cache))?))
            }
        }
    }

    /// Whether the run certainly has no key with the same filtered part, if memory has the answer.
    pub(super) fn surely_lacks(&self, key: &[u8]) -> bool {
        let spot = Spot::of(filtered(key), self.footer.pages);
        self.in_memory(spot) == Some(false)
    }

    /// Whether the bits of the key are set, if this page of the filter is in memory.
    fn in_memory(&self, spot: Spot) -> Option<bool> {
        match &self.filter {
            Some(filter) => {
                let page = usize::try_from(spot.page).ok()?;
                let page = filter.chunks_exact(PAGE_BYTES).nth(page)?;
                Some(spot.is_set(page))
            }
            None => {
                let (cache, file) = &self.cache;
                let place = page_place(&self.footer, spot.page);
                let page = cache.find(*file, place.offset)?;
                Some(spot.is_set(&page))
            }
        }
    }

    /// The entries from a key on, read through the cache. Blocks.
    pub(super) fn seek(&self, key: &[u8]) -> Result<RunCursor, JournalError> {
        RunCursor::seek(Arc::clone(&self.tree), Some(self.cache.clone()), key)
    }

    /// The entries from a key on, read without the cache. Blocks.
    pub(super) fn through(&self, key: &[u8]) -> Result<RunCursor, JournalError> {
        RunCursor::seek(Arc::clone(&self.tree), None, key)
    }
}

/// The place of a page of the filter.
fn page_place(footer: &Footer, page: u64) -> BlockPlace {
    let length = PAGE_BYTES as u64 + 8;
    BlockPlace {
        offset: footer.filter.saturating_add(page.saturating_mul(length)),
        length,
    }
}

/// All pages of the filter, without their checksums. Blocks.
fn read_filter(tree: &Tree, footer: &Footer) -> Result<Vec<u8>, JournalError> {
    let length = page_place(footer, 0).length;
    let bytes = tree.file.read_range(footer.filter, footer.pages * length)?;
    let mut filter = Vec::with_capacity(bytes.len());
    for number in 0..footer.pages {
        let place = page_place(footer, number);
        let start = usize::try_from(number * length).unwrap_or(usize::MAX);
        let page = bytes.get(start..).unwrap_or_default();
        let page = page.get(..PAGE_BYTES + 8).unwrap_or_default();
        let page = unseal(page.to_vec(), place.offset);
        filter.extend_from_slice(&page.ok_or_else(|| tree.damaged(place.offset))?);
    }
    Ok(filter)
}
