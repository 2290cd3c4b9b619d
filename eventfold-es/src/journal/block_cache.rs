//! Blocks in memory, up to a number of bytes. Blocks that are read again stay longest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// The approximate overhead of a block.
const ENTRY_BYTES: u64 = 64;
/// The approximate size of a block.
const BLOCK_BYTES: u64 = 4 << 10;

/// Blocks of files that never change, by file and offset.
pub(crate) struct BlockCache {
    blocks: Cache<(FileKey, u64), Arc<[u8]>, Weight>,
    files: AtomicU64,
}

/// The key of an open file in the cache. A file that is opened again gets a new key, and so does a file that takes the name of
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileKey(u64);

#[derive(Clone)]
struct Weight;

impl Weighter<(FileKey, u64), Arc<[u8]>> for Weight {
    fn weight(&self, _: &(FileKey, u64), block: &Arc<[u8]>) -> u64 {
        block.len() as u64 + ENTRY_BYTES
    }
}

impl BlockCache {
    /// A cache that keeps about this number of bytes.
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let blocks = usize::try_from(bytes / BLOCK_BYTES).unwrap_or(usize::MAX);
        Arc::new(Self {
            blocks: Cache::with_weighter(blocks, bytes, Weight),
            files: AtomicU64::default(),
        })
    }

    pub(crate) fn add_file(&self) -> FileKey {
        FileKey(self.files.fetch_add(1, Ordering::Relaxed))
    }

    /// The block, from the cache or from `read`. Several readers that miss it at the same time each read it.
    pub(crate) fn get<E>(
        &self,
        file: FileKey,
        offset: u64,
        read: impl FnOnce() -> Result<Arc<[u8]>, E>,
    ) -> Result<Arc<[u8]>, E> {
        if let Some(block) = self.blocks.get(&(file, offset)) {
            return Ok(block);
        }
        let block = read()?;
        self.insert(file, offset, Arc::clone(&block));
        Ok(block)
    }

    pub(crate) fn insert(&self, file: FileKey, offset: u64, block: Arc<[u8]>) {
        self.blocks.insert((file, offset), block);
    }

    /// The block, if it is in memory.
    pub(crate) fn find(&self, file: FileKey, offset: u64) -> Option<Arc<[u8]>> {
        self.blocks.get(&(file, offset))
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.weight()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn it_keeps_what_fits_and_knows_files_apart() {
        let cache = BlockCache::new(1 << 20);
        let files = [cache.add_file(), cache.add_file()];
        for round in 0..2 {
            for offset in 0..1_000 {
                for (number, file) in (0..).zip(files) {
                    let block = cache.get(file, offset, || {
                        Ok::<_, Infallible>(vec![number; 4096].into())
                    });
                    assert_eq!(
                        block.map(|block| block.first().copied()),
                        Ok(Some(number)),
                        "{round} {offset}"
                    );
                }
            }
        }
        assert!(cache.bytes() <= 1 << 20);
        assert!(cache.bytes() > 1 << 18);
    }
}
