//! Reads the journal ahead, while earlier commits are processed.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::journal::{Cursor, JournalError, Log, RecordedCommit};

/// The maximum number of waiting chunks, apart from the processed chunk and the chunk that is being read.
const WAITING_CHUNKS: usize = 3;

/// The time to poll for the next chunk before blocking. It is about the time of reading a chunk.
const PATIENCE: Duration = Duration::from_millis(1);

/// Commits that were read together, and the cursor after them.
pub(super) type Chunk = (Vec<Arc<RecordedCommit>>, Cursor);

/// Calls `work` with the commits between the cursor and a position, in order. If there is more than one chunk, another thread reads ahead.
/// The first error ends the work. A read error comes after the commits that were read before it. Blocks.
pub(super) fn read_ahead(
    log: &dyn Log,
    cursor: Cursor,
    position: u64,
    work: impl FnMut(Chunk) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut chunks = Chunks {
        log,
        cursor,
        position,
    };
    let first = chunks.next();
    if chunks.cursor.position >= chunks.position {
        return work_through(first, work);
    }
    thread::scope(|scope| {
        let (sender, ahead) = mpsc::sync_channel(WAITING_CHUNKS);
        let reader = chunks.clone();
        let spawned = thread::Builder::new()
            .name("eventfold-es-read".to_owned())
            .spawn_scoped(scope, move || {
                for chunk in reader {
                    // After a failure of the work, the receiver is gone.
                    if sender.send(chunk).is_err() {
                        break;
                    }
                }
            });
        match spawned {
            Ok(_) => work_through(first.into_iter().chain(Ahead(ahead)), work),
            Err(_) => work_through(first.into_iter().chain(chunks), work),
        }
    })
}

/// The chunks from the reading thread.
struct Ahead(mpsc::Receiver<Result<Chunk, JournalError>>);

impl Iterator for Ahead {
    type Item = Result<Chunk, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        // The next chunk comes soon. A wake-up would cost the reader more than reading a part of the next chunk.
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.0.try_recv() {
                Ok(chunk) => return Some(chunk),
                Err(mpsc::TryRecvError::Empty) => thread::yield_now(),
                Err(mpsc::TryRecvError::Disconnected) => return None,
            }
        }
        self.0.recv().ok()
    }
}

fn work_through(
    chunks: impl IntoIterator<Item = Result<Chunk, JournalError>>,
    mut work: impl FnMut(Chunk) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for chunk in chunks {
        work(chunk?)?;
    }
    Ok(())
}

/// The chunks up to a position. An error is the last item.
#[derive(Clone)]
struct Chunks<'a> {
    log: &'a dyn Log,
    cursor: Cursor,
    position: u64,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Chunk, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.position >= self.position {
            return None;
        }
        match self.log.read_on(&mut self.cursor) {
            Ok(commits) if commits.is_empty() => {
                self.position = 0;
                None
            }
            Ok(commits) => Some(Ok((commits, self.cursor))),
            Err(error) => {
                self.position = 0;
                Some(Err(error))
            }
        }
    }
}
