//! A file whose changes are in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::super::{DiskFile, OpenMode};
use super::{Names, OverlayDisk, lock};

/// The shared part of all handles of a file, under any of its names.
#[derive(Default)]
pub(super) struct OverlayFile {
    /// The path of its unchanged bytes on the disk below.
    below: Option<PathBuf>,
    content: RwLock<Content>,
}

#[derive(Default)]
struct Content {
    length: u64,
    /// The end of the bytes that the disk below supplies for unwritten places. Behind it, unwritten places are zeros.
    shown: u64,
    /// The written pieces, by offset. They do not overlap, and none ends behind `length`.
    written: BTreeMap<u64, Vec<u8>>,
}

impl OverlayFile {
    /// A file with the content of the disk below.
    pub(super) fn below(path: &Path, length: u64) -> Self {
        Self {
            below: Some(path.to_owned()),
            content: RwLock::new(Content {
                length,
                shown: length,
                written: BTreeMap::new(),
            }),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of bytes between two offsets, limited to the size of memory.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

fn end_of(offset: u64, bytes: &[u8]) -> u64 {
    offset.saturating_add(bytes.len() as u64)
}

/// Cuts a piece in two.
fn split(bytes: &mut Vec<u8>, at: usize) -> Vec<u8> {
    bytes.split_off(at.min(bytes.len()))
}

impl Content {
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let end = end_of(offset, bytes);
        self.length = end.max(self.length);
        if let Some((start, piece)) = self.written.range_mut(..=offset).next_back() {
            let from = distance(*start, offset);
            if let Some(place) = piece.get_mut(from..from.saturating_add(bytes.len())) {
                return place.copy_from_slice(bytes);
            }
        }
        self.discard(offset, end);
        match self.written.range_mut(..offset).next_back() {
            Some((start, piece)) if end_of(*start, piece) == offset => {
                piece.extend_from_slice(bytes);
            }
            _ => drop(self.written.insert(offset, bytes.to_vec())),
        }
    }

    /// Drops the written bytes from `start` to `end`.
    fn discard(&mut self, start: u64, end: u64) {
        if let Some((at, piece)) = self.written.range_mut(..start).next_back() {
            let mut behind = split(piece, distance(*at, start));
            let kept = split(&mut behind, distance(start, end));
            if !kept.is_empty() {
                self.written.insert(end, kept);
            }
        }
        while let Some((&at, _)) = self.written.range(start..end).next() {
            let kept = self
                .written
                .remove(&at)
                .map(|mut piece| split(&mut piece, distance(at, end)));
            if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
                self.written.insert(end, kept);
            }
        }
    }

    fn set_len(&mut self, length: u64) {
        self.discard(length, u64::MAX);
        self.shown = self.shown.min(length);
        self.length = length;
    }
}

/// An open file.
pub(super) struct OverlayHandle {
    file: Arc<OverlayFile>,
    below: Option<Box<dyn DiskFile>>,
    names: Arc<Mutex<Names>>,
    is_writable: bool,
}

impl OverlayHandle {
    pub(super) fn new(
        file: Arc<OverlayFile>,
        disk: &OverlayDisk,
        is_writable: bool,
    ) -> io::Result<Self> {
        let below = match &file.below {
            Some(path) => Some(disk.below.open(path, OpenMode::Read)?),
            None => None,
        };
        Ok(Self {
            file,
            below,
            names: Arc::clone(&disk.names),
            is_writable,
        })
    }

    fn require_writable(&self) -> io::Result<()> {
        if self.is_writable {
            return Ok(());
        }
        let reason = "the file is open for reading only";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
    }
}

impl DiskFile for OverlayHandle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.read().length)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.file.read();
        let count = buffer.len().min(distance(offset, content.length));
        let buffer = buffer.get_mut(..count).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some((start, piece)) = content.written.range(..=offset).next_back()
            && let Some(rest) = piece.get(distance(*start, offset)..)
            && !rest.is_empty()
        {
            let count = rest.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(rest) {
                *to = *from;
            }
            return Ok(count);
        }
        let mut following = content.written.range(offset..);
        let next = following.next().map_or(content.length, |(next, _)| *next);
        match &self.below {
            Some(below) if offset < content.shown => {
                let count = buffer.len().min(distance(offset, next.min(content.shown)));
                below.read_at(buffer.get_mut(..count).unwrap_or_default(), offset)
            }
            _ => {
                let count = buffer.len().min(distance(offset, next));
                let zeros = buffer.get_mut(..count).unwrap_or_default();
                zeros.fill(0);
                Ok(count)
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.require_writable()?;
        if !bytes.is_empty() {
            self.file.write().put(offset, bytes);
        }
        Ok(bytes.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.require_writable()?;
        self.file.write().set_len(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let found = lock(&self.names).file(path);
        Ok(found.is_some_and(|found| Arc::ptr_eq(&found, &self.file)))
    }
}
