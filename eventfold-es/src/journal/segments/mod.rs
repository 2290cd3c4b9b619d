//! The older part of the journal's text, compressed: segments, which are written once and never changed.
//!
//! A segment is named after the place of its first byte in the text. It is a valid `.zst` file, so that
//! `zstdcat meta/journal/*.zst` prints the lines of the journal in their order.

mod segment;
mod segment_writer;
mod table;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;

pub(crate) use segment_writer::SegmentWriter;

use self::segment::Segment;
use crate::disk::{FileError, Files, OpenMode};
use crate::journal::block_cache::BlockCache;
use crate::journal::{Damage, JournalError};

/// Of how many segments the tables stay in memory.
const TABLES: usize = 8;
const SUFFIX: &str = ".jsonl.zst";
/// How many digits a name has: enough for a petabyte.
const DIGITS: usize = 15;

/// The segments of a journal.
pub(crate) struct Segments {
    files: Files,
    directory: PathBuf,
    cache: Arc<BlockCache>,
    read: Cache<u64, Arc<Segment>>,
    list: Mutex<Arc<Vec<Span>>>,
}

/// The part of the text that a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// How many bytes the file has.
    pub(crate) bytes: u64,
}

impl Segments {
    /// The segments in a directory that are before `end` in the text. Those behind were left by a rotation that did not come to its end,
    /// and are removed. Blocks.
    ///
    /// # Errors
    ///
    /// Damage, if one of them is missing.
    pub(crate) fn open(
        files: &Files,
        directory: &Path,
        cache: &Arc<BlockCache>,
        end: u64,
    ) -> Result<Self, JournalError> {
        let mut starts = starts(files, directory)?;
        let behind = starts.split_off(starts.partition_point(|start| *start < end));
        for start in behind {
            files.remove(&path(directory, start))?;
        }
        let mut spans = Vec::with_capacity(starts.len());
        let ends = starts.iter().copied().skip(1).chain([end]);
        for (start, end) in starts.iter().copied().zip(ends) {
            let bytes = files.open(&path(directory, start), OpenMode::Read)?.len()?;
            spans.push(Span { start, end, bytes });
        }
        let segments = Self {
            files: files.clone(),
            directory: directory.to_owned(),
            cache: Arc::clone(cache),
            read: Cache::new(TABLES),
            list: Mutex::new(Arc::new(spans)),
        };
        match starts.first() {
            None if end > 0 => Err(segments.missing(0, end).into()),
            Some(first) if *first > 0 => Err(segments.missing(0, *first).into()),
            _ => Ok(segments),
        }
    }

    /// What the last segment in a directory says of itself; `None` if there is none. Blocks.
    pub(crate) fn last(
        files: &Files,
        directory: &Path,
    ) -> Result<Option<LastSegment>, JournalError> {
        let Some(start) = starts(files, directory)?.last().copied() else {
            return Ok(None);
        };
        let segment = Segment::open(files, &path(directory, start))?;
        Ok(Some(LastSegment {
            span: segment.span(),
            first_commit: segment.first_commit(),
        }))
    }

    /// Begins to write one that comes behind all others. Blocks.
    pub(crate) fn begin(&self, start: u64, first_commit: u64) -> Result<SegmentWriter, FileError> {
        SegmentWriter::create(
            &self.files,
            &path(&self.directory, start),
            start,
            first_commit,
        )
    }

    /// Counts a finished one among the others. Blocks.
    pub(crate) fn add(&self, span: Span) {
        let mut list = self.list();
        let mut spans = Vec::clone(&list);
        spans.push(span);
        *list = Arc::new(spans);
    }

    fn list(&self) -> MutexGuard<'_, Arc<Vec<Span>>> {
        // Every critical section leaves its data whole.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spans(&self) -> Arc<Vec<Span>> {
        Arc::clone(&self.list())
    }

    fn path(&self, span: Span) -> PathBuf {
        path(&self.directory, span.start)
    }

    /// The span with a place in the text.
    fn span(&self, offset: u64) -> Option<Span> {
        let list = self.list();
        let next = list.partition_point(|span| span.start <= offset);
        let span = list.get(next.checked_sub(1)?)?;
        (offset < span.end).then_some(*span)
    }

    fn segment(&self, span: Span) -> Result<Arc<Segment>, JournalError> {
        if let Some(segment) = self.read.get(&span.start) {
            return Ok(segment);
        }
        let path = self.path(span);
        let segment = match Segment::open(&self.files, &path) {
            Err(JournalError::File(error)) if error.is_not_found() => {
                return Err(self.missing(span.start, span.end).into());
            }
            segment => Arc::new(segment?),
        };
        if segment.span() != span {
            let Span { start, end, .. } = segment.span();
            let reason = format!(
                "it says that it holds the journal from byte {start} to {end} of its text, where {} to {} is expected; restore it \
                 from a copy",
                span.start, span.end
            );
            return Err(Damage::new(path, 0, reason).into());
        }
        segment.cached_in(&self.cache);
        self.read.insert(span.start, Arc::clone(&segment));
        Ok(segment)
    }

    /// Up to `length` bytes of the text from `offset` on: fewer at the end of a segment, and none behind the last. What is read
    /// stays in memory for a while. Blocks.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, JournalError> {
        self.read_with(offset, length, Some(&*self.cache))
    }

    /// The same for a reader that goes through, and comes back to nothing. Blocks.
    pub(crate) fn read_through(&self, offset: u64, length: u64) -> Result<Vec<u8>, JournalError> {
        self.read_with(offset, length, None)
    }

    fn read_with(
        &self,
        offset: u64,
        length: u64,
        cache: Option<&BlockCache>,
    ) -> Result<Vec<u8>, JournalError> {
        match self.span(offset) {
            Some(span) => self.segment(span)?.read(offset, length, cache),
            None => Ok(Vec::new()),
        }
    }

    /// Where in the text to look for the event at a position: at a line that begins before it, or at the end of the segments. Blocks.
    pub(crate) fn find(&self, position: u64) -> Result<u64, JournalError> {
        let spans = self.spans();
        let (mut low, mut high) = (0, spans.len());
        while low < high {
            let middle = low.midpoint(high);
            let Some(span) = spans.get(middle) else {
                break;
            };
            match self.segment(*span)?.first_position() <= position {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        match low.checked_sub(1).and_then(|index| spans.get(index)) {
            Some(span) => Ok(self.segment(*span)?.find(position)),
            None => Ok(0),
        }
    }

    /// The bytes that the segments take on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.list().iter().map(|span| span.bytes).sum()
    }

    /// The error of a place in the text at which something is wrong.
    pub(crate) fn damage(&self, offset: u64, reason: impl Into<String>) -> Damage {
        let Some(span) = self.span(offset) else {
            return Damage::new(&self.directory, offset, reason);
        };
        let place = self.segment(span).map(|segment| segment.place_of(offset));
        Damage::new(self.path(span), place.unwrap_or_default(), reason)
    }

    fn missing(&self, start: u64, end: u64) -> Damage {
        let reason = format!(
            "the part of the journal from byte {start} to {end} of its text is missing; restore the file from a copy"
        );
        Damage::new(path(&self.directory, start), 0, reason)
    }
}

/// What the last segment of a directory says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastSegment {
    pub(crate) span: Span,
    pub(crate) first_commit: u64,
}

/// Where the segments of a directory begin, in order.
fn starts(files: &Files, directory: &Path) -> Result<Vec<u64>, FileError> {
    let mut starts = Vec::new();
    for entry in files.list(directory)? {
        let digits = entry.name.strip_suffix(SUFFIX);
        let digits = digits.filter(|digits| {
            digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit())
        });
        starts.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    Ok(starts)
}

fn path(directory: &Path, start: u64) -> PathBuf {
    directory.join(format!("{start:0DIGITS$}{SUFFIX}"))
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    reason = "a test that reaches behind the end fails"
)]
mod tests;
