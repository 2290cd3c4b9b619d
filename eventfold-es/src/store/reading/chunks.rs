//! The events after a position, in chunks: the latest from memory, older events from the journal's files.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::decoder::{Decoded, Decoder};
use crate::error::StoreError;
use crate::journal::{Cursor, EventChunk, Log, RecordedCommit, TextPlace, Types};
use crate::runtime::blocking;

/// The number of bytes of the journal in a chunk from the files.
const CHUNK_BYTES: u64 = 256 << 10;
/// The maximum number of chunks that are decoded ahead, apart from the chunk that is being decoded and the chunk that is
/// being read.
const AHEAD: usize = 3;

/// A chunk from the files, and its events.
type Read<T> = Result<(EventChunk, Decoded<T>), StoreError>;

/// The place of a reader in the journal.
pub(super) struct Chunks<T> {
    log: Arc<dyn Log>,
    durable: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    cursor: Cursor,
    /// The aggregate types that the reader wants.
    pub(super) types: Types,
    /// The position of the last event that the reader wants.
    pub(super) until: Option<u64>,
    /// The next chunks from the files. They are read and decoded while the reader handles the previous chunk.
    ahead: Option<mpsc::Receiver<JoinHandle<Read<T>>>>,
    /// Used chunks, whose memory serves for the next chunks.
    used: Used,
    /// The error behind the last chunk.
    failure: Option<StoreError>,
}

type Used = Arc<Mutex<Vec<EventChunk>>>;

/// The result of waiting for the next chunk.
pub(super) enum Chunk<T> {
    /// From memory.
    Commits(Vec<Arc<RecordedCommit>>),
    /// From the files.
    Events(Decoded<T>),
    Failed(StoreError),
    End {
        is_closed: bool,
    },
}

impl<T> Chunks<T> {
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

impl<T: Send + 'static> Chunks<T> {
    /// Waits for the next chunk, and returns it with `self`.
    pub(super) async fn next(mut self: Box<Self>, decoder: Decoder<T>) -> (Box<Self>, Chunk<T>) {
        let next = self.wait(decoder).await;
        (self, next.unwrap_or_else(Chunk::Failed))
    }

    async fn wait(&mut self, decoder: Decoder<T>) -> Result<Chunk<T>, StoreError> {
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
                let Some(reading) = ahead.recv().await else {
                    self.ahead = None;
                    continue;
                };
                let (mut chunk, events) = reading.await.unwrap_or(Err(StoreError::RuntimeGone))?;
                self.log.pass_text(&mut self.cursor, &chunk)?;
                self.failure = chunk.take_failure().map(StoreError::from);
                lock(&self.used).push(chunk);
                return Ok(Chunk::Events(events));
            }
            if self.cursor.position >= self.durable() {
                self.wait_behind().await;
                continue;
            }
            if let Some(commits) = self.log.read_recent(&mut self.cursor) {
                return Ok(Chunk::Commits(commits));
            }
            // The first chunk may be enough, as for a page.
            if let Some(place) = self.cursor.text_place() {
                let (sender, ahead) = mpsc::channel(AHEAD);
                let (log, used) = (Arc::clone(&self.log), Arc::clone(&self.used));
                let decoder = decoder.clone();
                tokio::spawn(read_text_ahead(log, place, used, decoder, sender));
                self.ahead = Some(ahead);
                continue;
            }
            let reading = read_first(Arc::clone(&self.log), self.cursor, decoder.clone());
            let (events, cursor) = reading.await?;
            self.cursor = cursor;
            return Ok(Chunk::Events(events));
        }
    }
}

/// Reads the events behind a cursor.
async fn read_first<T: Send + 'static>(
    log: Arc<dyn Log>,
    mut cursor: Cursor,
    decoder: Decoder<T>,
) -> Result<(Decoded<T>, Cursor), StoreError> {
    let what = || "reading the journal".to_owned();
    // On a task of its own, whose end does not depend on the reader.
    let reading = tokio::spawn(blocking(what, move || {
        let chunk = log.read_events(&mut cursor, CHUNK_BYTES, EventChunk::default())?;
        Ok((decoder.decode(&chunk), cursor))
    }));
    reading.await.unwrap_or(Err(StoreError::RuntimeGone))
}

/// Reads the text of the files up to its end, and decodes each chunk on a thread of its own. It ends early if the reader is
/// gone.
async fn read_text_ahead<T: Send + 'static>(
    log: Arc<dyn Log>,
    mut place: TextPlace,
    used: Used,
    decoder: Decoder<T>,
    chunks: mpsc::Sender<JoinHandle<Read<T>>>,
) {
    loop {
        let Ok(room) = chunks.reserve().await else {
            return;
        };
        let reader = Arc::clone(&log);
        let memory = lock(&used).pop().unwrap_or_default();
        let what = || "reading the journal".to_owned();
        let read = blocking(what, move || {
            let chunk = reader.read_text(&mut place, CHUNK_BYTES, memory)?;
            Ok((chunk, place))
        });
        let chunk = match read.await {
            Ok((Some(chunk), behind)) => {
                place = behind;
                chunk
            }
            Ok((None, _)) => return,
            Err(error) => {
                room.send(tokio::spawn(async { Err(error) }));
                return;
            }
        };
        let (reader, decoder) = (Arc::clone(&log), decoder.clone());
        let what = || "decoding events".to_owned();
        room.send(tokio::spawn(blocking(what, move || {
            let mut chunk = chunk;
            reader.find_events(&mut chunk);
            let events = decoder.decode(&chunk);
            Ok((chunk, events))
        })));
    }
}

fn lock(used: &Used) -> MutexGuard<'_, Vec<EventChunk>> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}
