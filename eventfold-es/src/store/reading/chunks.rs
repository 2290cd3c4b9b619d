//! The commits after a position, in chunks: the latest from memory, older commits from the journal's files.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::StoreError;
use crate::journal::{Cursor, Log, RecordedCommit, Types};
use crate::runtime::blocking;

type Commits = Vec<Arc<RecordedCommit>>;
type Read = Result<(Commits, Cursor), StoreError>;

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
    /// The next chunk. It is read while the reader handles the previous chunk.
    ahead: Option<JoinHandle<Read>>,
}

/// The result of waiting for the next chunk.
pub(super) enum Chunk {
    Commits(Commits),
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

    /// Waits for the next chunk, and returns it with `self`.
    pub(super) async fn next(mut self) -> (Self, Chunk) {
        let next = self.wait().await;
        (self, next)
    }

    async fn wait(&mut self) -> Chunk {
        loop {
            if *self.closing.borrow_and_update() {
                return Chunk::End { is_closed: true };
            }
            if self
                .until
                .is_some_and(|until| self.cursor.position >= until)
            {
                return Chunk::End { is_closed: false };
            }
            if self.cursor.position >= self.durable() {
                self.wait_behind().await;
                continue;
            }
            if self.ahead.is_none()
                && let Some(commits) = self.log.read_recent(&mut self.cursor)
            {
                return Chunk::Commits(commits);
            }
            let reading = self.ahead.take();
            let reading = reading.unwrap_or_else(|| self.read_file());
            match reading.await.unwrap_or(Err(StoreError::RuntimeGone)) {
                Ok((commits, cursor)) => {
                    self.cursor = cursor;
                    let mut looking = cursor;
                    let is_in_memory = self.log.read_recent(&mut looking).is_some();
                    self.ahead = (!is_in_memory).then(|| self.read_file());
                    return Chunk::Commits(commits);
                }
                Err(error) => return Chunk::Failed(error),
            }
        }
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

    /// Starts to read the next chunk.
    fn read_file(&self) -> JoinHandle<Read> {
        let log = Arc::clone(&self.log);
        let mut cursor = self.cursor;
        tokio::spawn(blocking(
            || "reading the journal".to_owned(),
            move || {
                let commits = log.read_on(&mut cursor)?;
                Ok((commits, cursor))
            },
        ))
    }
}
