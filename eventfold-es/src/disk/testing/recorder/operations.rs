//! The operations of a recording disk: each is performed, and then logged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{RecordingDisk, Shared};
use crate::disk::testing::namespace::Node;
use crate::disk::testing::op::{DiskOp, FileId};
use crate::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode};

impl Disk for RecordingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let relative = match self.inside(path) {
            Ok(relative) => relative,
            Err(_) if mode == OpenMode::Read => return self.inner.open(path, mode),
            Err(error) => return Err(error),
        };
        let mut log = self.shared.log();
        let known = log.find(&*self.shared.ground, path, &relative)?;
        let inner = self.inner.open(path, mode)?;
        let file = match known {
            Some(Node::File(file)) => {
                if mode == OpenMode::Truncate {
                    log.push(DiskOp::SetLen {
                        path: relative.clone(),
                        file,
                        length: 0,
                    });
                }
                file
            }
            Some(Node::Directory(_)) => return Ok(inner),
            None => log.created_file(&relative)?,
        };
        Ok(Box::new(RecordingFile {
            inner,
            shared: Arc::clone(&self.shared),
            path: relative,
            file,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let relative = match self.inside(path) {
            Ok(relative) => relative,
            Err(_) if self.shared.ground.list(path).is_ok() => {
                return self.inner.create_dir_all(path);
            }
            Err(error) => return Err(error),
        };
        let mut log = self.shared.log();
        let mut level = PathBuf::new();
        for name in relative.components() {
            level.push(name);
            let path = self.shared.root.join(&level);
            let known = log.find(&*self.shared.ground, &path, &level)?;
            self.inner.create_dir_all(&path)?;
            if known.is_none() {
                let op = log.recording.len();
                log.namespace
                    .create_dir(op, &level)
                    .map_err(io::Error::other)?;
                log.push(DiskOp::CreateDir {
                    path: level.clone(),
                });
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old, new) = (self.inside(from)?, self.inside(to)?);
        let mut log = self.shared.log();
        log.find(&*self.shared.ground, from, &old)?;
        log.find(&*self.shared.ground, to, &new)?;
        self.inner.rename(from, to)?;
        if old != new {
            let op = log.recording.len();
            log.namespace
                .rename(op, &old, &new)
                .map_err(io::Error::other)?;
            log.push(DiskOp::Rename { from: old, to: new });
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let name = self.inside(path)?;
        let mut log = self.shared.log();
        log.find(&*self.shared.ground, path, &name)?;
        self.inner.remove_file(path)?;
        let op = log.recording.len();
        log.namespace.remove(op, &name).map_err(io::Error::other)?;
        log.push(DiskOp::Remove { path: name });
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut log = self.shared.log();
        self.inner.sync_dir(path)?;
        if let Some(path) = self.shared.relative(path) {
            log.namespace.sync_dir(&path).map_err(io::Error::other)?;
            log.push(DiskOp::SyncDir { path });
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonical(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.list(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        // A lock changes nothing.
        self.inner.try_lock(path)
    }
}

struct RecordingFile {
    inner: Box<dyn DiskFile>,
    shared: Arc<Shared>,
    path: PathBuf,
    file: FileId,
}

impl DiskFile for RecordingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut log = self.shared.log();
        let written = self.inner.write_at(bytes, offset)?;
        if let Some(bytes) = bytes.get(..written).filter(|bytes| !bytes.is_empty()) {
            log.push(DiskOp::Write {
                path: self.path.clone(),
                file: self.file,
                offset,
                bytes: bytes.into(),
            });
        }
        Ok(written)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut log = self.shared.log();
        self.inner.set_len(length)?;
        log.push(DiskOp::SetLen {
            path: self.path.clone(),
            file: self.file,
            length,
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut log = self.shared.log();
        let (path, file) = (self.path.clone(), self.file);
        let synced = self.inner.sync_data();
        log.push(match synced {
            Ok(()) => DiskOp::SyncData { path, file },
            Err(_) => DiskOp::SyncDataFailed { path, file },
        });
        synced
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_at(path)
    }
}
