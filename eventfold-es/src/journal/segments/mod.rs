//! The older part of the journal's text, compressed: segments, which are written once and never changed.
//!
//! A segment is named after the offset of its first byte in the text. It is a valid `.zst` file. For example, `zstdcat
//! meta/journal/*.zst` prints the lines of the journal in order.

mod segment;
mod segment_writer;
mod table;

use std::cmp::Ordering::{Equal, Greater, Less};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;

pub(crate) use segment_writer::SegmentWriter;

use self::segment::Segment;
use crate::disk::{FileError, Files, OpenMode};
use crate::journal::block_cache::{BlockCache, FileKey};
use crate::journal::{Damage, JournalError};

/// The number of segments whose tables stay in memory, and whose files stay open.
const TABLES: usize = 64;
const SUFFIX: &str = ".jsonl.zst";
/// The suffix of an incomplete file.
pub(crate) const UNFINISHED: &str = ".new";
/// The number of digits of a name: enough for a petabyte.
const DIGITS: usize = 15;

/// The segments of a journal.
pub(crate) struct Segments {
    files: Files,
    directory: PathBuf,
    /// Frames are cached by their places in the text. They stay when the table of their segment is evicted.
    cache: (Arc<BlockCache>, FileKey),
    read: Cache<u64, Arc<Segment>>,
    list: Mutex<Arc<Vec<Span>>>,
}

/// The part of the text that a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The size of the file.
    pub(crate) bytes: u64,
}

impl Segments {
    /// Opens the segments in a directory before `end` in the text. Later segments are remains of an interrupted rotation, and
    /// are removed. Blocks.
    ///
    /// # Errors
    ///
    /// Damage, if a segment is missing.
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
            cache: (Arc::clone(cache), cache.add_file()),
            read: Cache::new(TABLES),
            list: Mutex::new(Arc::new(spans)),
        };
        // A copy that was made while the store was open can only lack its last segment.
        if let Some(span) = segments.spans().last()
            && let Ok((found, _)) = span_of(files, &segments.path(*span))
            && found != *span
        {
            return Err(segments.missing(found.end, span.end).into());
        }
        match starts.first() {
            None if end > 0 => Err(segments.missing(0, end).into()),
            Some(first) if *first > 0 => Err(segments.missing(0, *first).into()),
            _ => Ok(segments),
        }
    }

    /// The offset in the text of an active file with the first commit `first`: the end of the segments before it. Segments that
    /// begin with that commit or later do not count; later ones exist only during a backup. Blocks.
    pub(crate) fn start_of(
        files: &Files,
        directory: &Path,
        first: Option<u64>,
        is_backup: bool,
    ) -> Result<u64, JournalError> {
        for start in starts(files, directory)?.into_iter().rev() {
            let path = path(directory, start);
            let segment = Segment::open(files, &path)?;
            match first.map(|first| segment.first_commit().cmp(&first)) {
                None | Some(Less) => return Ok(segment.span().end),
                Some(Equal) => return Ok(start),
                Some(Greater) if is_backup => {}
                Some(Greater) => {
                    let reason = format!(
                        "the segment begins with commit {}, which the active file, from commit {} on, should have; restore both from \
                         one copy",
                        segment.first_commit(),
                        first.unwrap_or_default()
                    );
                    return Err(Damage::new(path, 0, reason).into());
                }
            }
        }
        Ok(0)
    }

    /// Begins a segment that follows all others. Blocks.
    pub(crate) fn begin(&self, start: u64, first_commit: u64) -> Result<SegmentWriter, FileError> {
        SegmentWriter::create(
            &self.files,
            &path(&self.directory, start),
            start,
            first_commit,
        )
    }

    /// Adds a finished segment. Blocks.
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

    pub(crate) fn spans(&self) -> Arc<Vec<Span>> {
        Arc::clone(&self.list())
    }

    pub(crate) fn path(&self, span: Span) -> PathBuf {
        path(&self.directory, span.start)
    }

    /// The span with an offset of the text.
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
        self.read.insert(span.start, Arc::clone(&segment));
        Ok(segment)
    }

    /// Up to `length` bytes of the text from `offset` on: fewer at the end of a segment, and none behind the last segment. The
    /// bytes are cached. Blocks.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, JournalError> {
        match self.span(offset) {
            Some(span) => self.segment(span)?.read(offset, length, &self.cache),
            None => Ok(Vec::new()),
        }
    }

    /// [`read`](Self::read), for a reader that reads every byte once: nothing is cached. Blocks.
    pub(crate) fn read_through(&self, offset: u64, length: u64) -> Result<Vec<u8>, JournalError> {
        let mut text = Vec::new();
        self.read_into(offset, length, &mut text)?;
        Ok(text)
    }

    /// [`read_through`](Self::read_through), in place of the content of `text`. Blocks.
    pub(crate) fn read_into(
        &self,
        offset: u64,
        length: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
        match self.span(offset) {
            Some(span) => self.segment(span)?.read_into(offset, length, text),
            None => {
                text.clear();
                Ok(())
            }
        }
    }

    /// The offset from which a read finds the event at a position: the start of a line before it, or the end of the segments.
    /// Blocks.
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

    /// The size of the segments on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.list().iter().map(|span| span.bytes).sum()
    }

    /// The error of damage at a place in the text.
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

/// The starts of the segments of a directory, in order.
fn starts(files: &Files, directory: &Path) -> Result<Vec<u64>, FileError> {
    let mut starts = Vec::new();
    for entry in files.list(directory)? {
        starts.extend(start(&entry.name));
    }
    Ok(starts)
}

/// The start of the segment with this name.
fn start(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_name = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_name)
}

/// Whether a segment can have this name.
pub(crate) fn is_segment(name: &str) -> bool {
    start(name).is_some()
}

/// The span of a segment, and the number of its first commit. Blocks.
pub(crate) fn span_of(files: &Files, path: &Path) -> Result<(Span, u64), JournalError> {
    let segment = Segment::open(files, path)?;
    Ok((segment.span(), segment.first_commit()))
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
