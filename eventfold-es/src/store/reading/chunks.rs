//! The events after a position, in chunks: the latest from memory, older events from the journal's files.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::error::StoreError;
use crate::journal::{Cursor, EventChunk, Log, TextPlace, Types};
use crate::runtime::blocking;

/// The number of bytes of the journal in a chunk from the files.
const CHUNK_BYTES: u64 = 256 << 10;
/// The maximum number of chunks that are ready, apart from the chunk that the reader has and the chunk that is being read.
const AHEAD: usize = 4;
/// The number of chunks for which there is room when the reading goes on.
const ROOM: usize = 2;

/// The place of a reader in the journal.
pub(super) struct Chunks {
    log: Arc<dyn Log>,
    durable: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    cursor: Cursor,
    /// The aggregate types that the reader wants.
    pub(super) types: Types,
    /// The position of the last event that the reader wants.
    pub(super) until: Option<u64>,
    /// The next chunks from the files. They are read while the reader handles the previous chunk.
    ahead: Option<mpsc::Receiver<Result<EventChunk, StoreError>>>,
    /// Used chunks, whose memory serves for the next chunks.
    used: Used,
    /// The error behind the last chunk.
    failure: Option<StoreError>,
}

type Used = Arc<Mutex<Vec<EventChunk>>>;

/// The result of waiting for the next chunk.
pub(super) enum Chunk {
    Events(EventChunk),
    Failed(StoreError),
    End { is_closed: bool },
}

impl Chunks {
    pub(super) fn new(log: Arc<dyn Log>, closing: watch::Receiver<bool>) -> Self {
        Self {
            durable: log.durable(),
            log,
            closing,
            cursor: Cursor::default(),
            types: None,
            until: None,
            ahead: None,
            used: Used::default(),
            failure: None,
        }
    }

    pub(super) fn begin_after(&mut self, position: u64) {
        self.cursor = Cursor::after(position);
        self.ahead = None;
    }

    /// The position of the last durable event.
    pub(super) fn durable(&self) -> u64 {
        *self.durable.borrow()
    }

    /// The position after which the next chunk begins.
    pub(super) fn position(&self) -> u64 {
        self.cursor.position
    }

    /// Waits for an event that the reader wants, and skips all events before it.
    async fn wait_behind(&mut self) {
        let Self {
            cursor, closing, ..
        } = self;
        let Some(waiting) = self.log.wait_behind(cursor.position, &self.types) else {
            return;
        };
        tokio::select! {
            position = waiting.woken() => {
                let before = position.saturating_sub(1);
                if before > cursor.position {
                    *cursor = Cursor::after(before);
                }
            }
            // A dropped sender has announced before that the store closes.
            _ = closing.changed() => {}
        }
    }
}

impl Chunks {
    /// Waits for the next chunk, and returns it with `self`.
    pub(super) async fn next(mut self: Box<Self>, used: EventChunk) -> (Box<Self>, Chunk) {
        if self.ahead.is_some() {
            lock(&self.used).push(used);
        }
        let next = self.wait().await;
        (self, next.unwrap_or_else(Chunk::Failed))
    }

    async fn wait(&mut self) -> Result<Chunk, StoreError> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if *self.closing.borrow_and_update() {
                return Ok(Chunk::End { is_closed: true });
            }
            if self
                .until
                .is_some_and(|until| self.cursor.position >= until)
            {
                return Ok(Chunk::End { is_closed: false });
            }
            if let Some(ahead) = &mut self.ahead {
                let Some(read) = ahead.recv().await else {
                    self.ahead = None;
                    lock(&self.used).clear();
                    continue;
                };
                let mut chunk = read?;
                self.log.pass_text(&mut self.cursor, &chunk)?;
                self.failure = chunk.take_failure().map(StoreError::from);
                return Ok(Chunk::Events(chunk));
            }
            if self.cursor.position >= self.durable() {
                self.wait_behind().await;
                continue;
            }
            if let Some(commits) = self.log.read_recent(&mut self.cursor) {
                return Ok(Chunk::Events(EventChunk::of_commits(commits)));
            }
            // The first chunk may be enough, as for a page.
            if let Some(place) = self.cursor.text_place() {
                let (sender, ahead) = mpsc::channel(AHEAD);
                let (log, used) = (Arc::clone(&self.log), Arc::clone(&self.used));
                tokio::spawn(read_text_ahead(log, place, used, sender));
                self.ahead = Some(ahead);
                continue;
            }
            let (events, cursor) = read_first(Arc::clone(&self.log), self.cursor).await?;
            self.cursor = cursor;
            return Ok(Chunk::Events(events));
        }
    }
}

/// Reads the events behind a cursor.
async fn read_first(
    log: Arc<dyn Log>,
    mut cursor: Cursor,
) -> Result<(EventChunk, Cursor), StoreError> {
    let what = || "reading the journal".to_owned();
    // On a task of its own, whose end does not depend on the reader.
    let reading = tokio::spawn(blocking(what, move || {
        let chunk = log.read_events(&mut cursor, CHUNK_BYTES, EventChunk::default())?;
        Ok((chunk, cursor))
    }));
    reading.await.unwrap_or(Err(StoreError::RuntimeGone))
}

type Ahead = mpsc::Sender<Result<EventChunk, StoreError>>;

/// Reads the text of the files up to its end, and finds its events. It ends early if the reader is gone. While the reader is
/// slower, it occupies no thread.
async fn read_text_ahead(log: Arc<dyn Log>, mut place: TextPlace, used: Used, chunks: Ahead) {
    // Only this task adds chunks, so that the room stays.
    while chunks.reserve_many(ROOM).await.is_ok() {
        let (log, used, chunks) = (Arc::clone(&log), Arc::clone(&used), chunks.clone());
        let ahead = chunks.clone();
        let what = || "reading the journal".to_owned();
        match blocking(what, move || Ok(fill(&*log, place, &used, &ahead))).await {
            Ok(Some(behind)) => place = behind,
            Ok(None) => return,
            Err(error) => {
                // The reader may be gone.
                let _ = chunks.send(Err(error)).await;
                return;
            }
        }
    }
}

/// Reads chunks while there is room for them. `None` at the end of the text, after an error, or if the reader is gone. Blocks.
fn fill(log: &dyn Log, mut place: TextPlace, used: &Used, chunks: &Ahead) -> Option<TextPlace> {
    loop {
        let room = match chunks.try_reserve() {
            Ok(room) => room,
            Err(TrySendError::Full(())) => return Some(place),
            Err(TrySendError::Closed(())) => return None,
        };
        let memory = lock(used).pop().unwrap_or_default();
        match log.read_text(&mut place, CHUNK_BYTES, memory) {
            Ok(Some(mut chunk)) => {
                log.find_events(&mut chunk);
                room.send(Ok(chunk));
            }
            Ok(None) => return None,
            Err(error) => {
                room.send(Err(error.into()));
                return None;
            }
        }
    }
}

fn lock(used: &Used) -> MutexGuard<'_, Vec<EventChunk>> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}
