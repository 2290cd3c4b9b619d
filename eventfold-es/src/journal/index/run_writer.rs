//! Writing a run. Blocks of entries come first, followed by levels of blocks with the places of the blocks below, up to a
//! single root. The filter comes last.

use std::path::Path;
use std::sync::Arc;

use super::block::{BlockBuilder, BlockPlace, seal};
use super::entry::filtered;
use super::filter::{self, PAGE_BYTES, Spot};
use super::footer::{Coverage, FOOTER_BYTES, Footer, HEAD_BYTES, encode_head};
use super::run::{Run, RunCursor, Tree};
use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::format;
use crate::journal::JournalError;
use crate::journal::block_cache::BlockCache;
use crate::sabotage::{Bug, planted};

/// The size of a write.
const WRITE_BYTES: usize = 1 << 20;
/// The number of bytes between two syncs. It keeps the last sync short.
const SYNC_BYTES: u64 = 8 << 20;
/// The number of pages of a filter that are filled at once. For a larger filter, the entries are read several times.
const FILTER_PAGES: u64 = 16 << 10;
/// The approximate size of an entry. It measures the steps of a filter.
const ENTRY_BYTES: u64 = 32;

/// A run under construction. Its entries are added in the order of their keys.
pub(super) struct RunWriter {
    output: Output,
    /// The unfinished blocks, by height.
    builders: Vec<BlockBuilder>,
    entries: u64,
    filtered: u64,
    last_filtered: Vec<u8>,
}

impl RunWriter {
    /// Blocks.
    pub(super) fn create(files: &Files, path: &Path) -> Result<Self, FileError> {
        let head = encode_head(format::RUNS as u32);
        debug_assert_eq!(head.len() as u64, HEAD_BYTES);
        Ok(Self {
            output: Output {
                file: files.open(path, OpenMode::Truncate)?,
                pending: head,
                offset: 0,
                unsynced: 0,
            },
            builders: vec![BlockBuilder::new(0)],
            entries: 0,
            filtered: 0,
            last_filtered: Vec::new(),
        })
    }

    /// Adds an entry whose key is greater than all others. Blocks.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), FileError> {
        self.entries += 1;
        let known = filtered(key);
        if self.last_filtered != known || self.entries == 1 {
            self.filtered += 1;
            self.last_filtered.clear();
            self.last_filtered.extend_from_slice(known);
        }
        self.push_at(0, key, value)
    }

    fn push_at(&mut self, height: usize, key: &[u8], value: &[u8]) -> Result<(), FileError> {
        if self.builders.len() == height {
            self.builders
                .push(BlockBuilder::new(u8::try_from(height).unwrap_or(u8::MAX)));
        }
        let Some(builder) = self.builders.get_mut(height) else {
            return Ok(());
        };
        builder.push(key, value);
        match builder.is_full() {
            true => self.end_block(height),
            false => Ok(()),
        }
    }

    /// Ends the block at a height, and adds its place to the block above.
    fn end_block(&mut self, height: usize) -> Result<(), FileError> {
        let offset = self.end();
        let Some(builder) = self.builders.get_mut(height) else {
            return Ok(());
        };
        let (block, last) = builder.finish(offset);
        let place = BlockPlace {
            offset,
            length: block.len() as u64,
        };
        self.output.append(&block)?;
        self.push_at(height + 1, &last, &place.encode())
    }

    /// The length of the file, including unwritten bytes.
    pub(super) fn end(&self) -> u64 {
        self.output.end()
    }

    /// Ends the part with the entries; the filter follows. Blocks.
    pub(super) fn end_entries(mut self) -> Result<FilterWriter, JournalError> {
        let root = self.end_tree()?;
        self.output.flush()?;
        let Output {
            file,
            offset,
            unsynced,
            ..
        } = self.output;
        let tree = Tree::new(file, root);
        Ok(FilterWriter {
            cursor: RunCursor::seek(Arc::clone(&tree), None, &[])?,
            tree,
            start: offset,
            end: offset,
            unsynced,
            pages: filter::page_count(self.filtered),
            first: 0,
            filled: Vec::new(),
            written: 0,
            last_filtered: Vec::new(),
            entries: self.entries,
            filtered: self.filtered,
        })
    }

    /// Ends all blocks, the lowest first. The result is the place of the topmost block.
    fn end_tree(&mut self) -> Result<BlockPlace, FileError> {
        let mut height = 0;
        loop {
            let is_last = self.builders.len() == height + 1;
            let offset = self.end();
            let Some(builder) = self.builders.get_mut(height) else {
                return Ok(BlockPlace { offset, length: 0 });
            };
            if is_last && (height == 0 || builder.entries() > 0) {
                let (block, _) = builder.finish(offset);
                self.output.append(&block)?;
                return Ok(BlockPlace {
                    offset,
                    length: block.len() as u64,
                });
            }
            if builder.entries() > 0 {
                self.end_block(height)?;
            }
            height += 1;
        }
    }
}

/// The file of a run, with a write buffer.
struct Output {
    file: FileHandle,
    /// The bytes in the buffer.
    pending: Vec<u8>,
    /// The offset in the file of the buffer.
    offset: u64,
    /// The number of bytes since the last sync.
    unsynced: u64,
}

impl Output {
    fn end(&self) -> u64 {
        self.offset + self.pending.len() as u64
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.pending.extend_from_slice(bytes);
        match self.pending.len() >= WRITE_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.file.write_all_at(&self.pending, self.offset)?;
        self.offset += self.pending.len() as u64;
        self.unsynced += self.pending.len() as u64;
        self.pending.clear();
        sync_some(&self.file, &mut self.unsynced)
    }
}

fn sync_some(file: &FileHandle, unsynced: &mut u64) -> Result<(), FileError> {
    if *unsynced >= SYNC_BYTES {
        file.sync_data()?;
        *unsynced = 0;
    }
    Ok(())
}

/// A run whose entries are written, and whose filter is built from a second read of them.
pub(super) struct FilterWriter {
    tree: Arc<Tree>,
    /// The next entry for the filter.
    cursor: RunCursor,
    /// The start of the filter.
    start: u64,
    /// The end of the written bytes.
    end: u64,
    unsynced: u64,
    pages: u64,
    /// The first of the pages that are being filled.
    first: u64,
    /// The pages that are being filled; empty if there are none.
    filled: Vec<u8>,
    /// The number of their bytes that are written.
    written: usize,
    last_filtered: Vec<u8>,
    entries: u64,
    filtered: u64,
}

impl FilterWriter {
    /// Continues for about `bytes` bytes. The result is whether everything is written. Blocks.
    pub(super) fn step(&mut self, bytes: u64) -> Result<bool, JournalError> {
        if self.first >= self.pages {
            return Ok(true);
        }
        if self.filled.is_empty() {
            let count = FILTER_PAGES.min(self.pages - self.first);
            self.filled = vec![0; usize::try_from(count).unwrap_or(0) * PAGE_BYTES];
            self.cursor = RunCursor::seek(Arc::clone(&self.tree), None, &[])?;
            self.last_filtered.clear();
        }
        for _ in 0..bytes.div_ceil(ENTRY_BYTES) {
            if !self.note_entry()? {
                return self.write_pages(bytes);
            }
        }
        Ok(false)
    }

    /// Adds the next entry to the filter; `false` behind the last entry.
    fn note_entry(&mut self) -> Result<bool, JournalError> {
        let Some((key, _)) = self.cursor.entry() else {
            return Ok(false);
        };
        let key = filtered(key);
        if key != self.last_filtered {
            self.last_filtered.clear();
            self.last_filtered.extend_from_slice(key);
            let spot = Spot::of(key, self.pages);
            let page = spot.page.checked_sub(self.first);
            if let Some(page) = page.and_then(|page| usize::try_from(page).ok())
                && let Some(page) = self.filled.chunks_exact_mut(PAGE_BYTES).nth(page)
                && !planted(Bug::EmptyFilter)
            {
                spot.set(page);
            }
        }
        self.cursor.advance()?;
        Ok(true)
    }

    /// Writes filled pages. The result is whether they were the last of the filter.
    fn write_pages(&mut self, bytes: u64) -> Result<bool, JournalError> {
        let end = self.end.saturating_add(bytes);
        let left = self.filled.get(self.written..).unwrap_or_default();
        for page in left.chunks_exact(PAGE_BYTES) {
            if self.end >= end {
                return Ok(false);
            }
            let page = seal(page.to_vec(), self.end);
            self.tree.file.write_all_at(&page, self.end)?;
            self.end += page.len() as u64;
            self.unsynced += page.len() as u64;
            self.written += PAGE_BYTES;
            sync_some(&self.tree.file, &mut self.unsynced)?;
        }
        self.first += (self.filled.len() / PAGE_BYTES) as u64;
        self.filled.clear();
        self.written = 0;
        Ok(self.first >= self.pages)
    }

    /// Ends the file and syncs it. Its name is not durable yet. Blocks.
    pub(super) fn finish(
        self,
        coverage: Coverage,
        cache: &Arc<BlockCache>,
    ) -> Result<Run, JournalError> {
        let footer = Footer {
            root: self.tree.root,
            filter: self.start,
            pages: self.pages,
            entries: self.entries,
            filtered: self.filtered,
            coverage,
        };
        let file = &self.tree.file;
        file.write_all_at(&footer.encode(self.end), self.end)?;
        if !planted(Bug::RunNotSynced) {
            file.sync_data()?;
        }
        Run::written(self.tree, footer, self.end + FOOTER_BYTES, cache)
    }
}
