//! A stream of events.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::chunks::{Chunk, Chunks};
use super::decoder::Decoder;
use super::filter::Filter;
use super::recorded::Decode;
use crate::error::{ReadError, StoreError};
use crate::journal::{CommittedEvent, RecordedCommit, Types};
use crate::runtime::Kept;
use crate::store::AggregateStore;

type Reading<T> = Pin<Box<dyn Future<Output = (Box<Chunks<T>>, Chunk<T>)> + Send>>;
/// Begins to wait for the next chunk. Made where the type is known to be `Send`, so that no reader has to say it.
type NextChunk<T> = fn(Box<Chunks<T>>, Decoder<T>) -> Reading<T>;

/// Events as a [`Stream`](https://docs.rs/futures-core/0.3/futures_core/stream/trait.Stream.html): the stored events,
/// and then each event when it becomes durable.
///
/// Made by [`AggregateStore::subscribe`] and [`AggregateStore::subscribe_all`], and polled on a tokio runtime. An event
/// that does not decode is an `Err` item with its position, and the stream continues after it. An unreadable journal is
/// an `Err` item, and the stream ends. The stream also ends when the store closes.
///
/// # Cancel safety
///
/// [`next`](Self::next) is cancel safe: no event is lost when its future is dropped.
#[must_use = "a subscription reads when it is polled"]
pub struct Subscription<T> {
    state: State<T>,
    chunk: OpenChunk<T>,
    decoder: Decoder<T>,
    next_chunk: NextChunk<T>,
}

enum State<T> {
    /// No chunk is being read.
    Ready(Box<Chunks<T>>),
    /// A chunk is being read.
    Reading(Reading<T>),
    Ended {
        is_closed: bool,
    },
}

/// The events of a chunk that were not delivered yet.
enum OpenChunk<T> {
    /// From memory. They are decoded when they are delivered.
    Commits {
        commits: std::vec::IntoIter<Arc<RecordedCommit>>,
        commit: Option<Arc<RecordedCommit>>,
        /// The place of the next event in the commit, and its position.
        append: usize,
        line: usize,
        position: u64,
    },
    Decoded(std::vec::IntoIter<Kept<Result<T, ReadError>>>),
}

impl<T> OpenChunk<T> {
    fn of_commits(commits: Vec<Arc<RecordedCommit>>) -> Self {
        Self::Commits {
            commits: commits.into_iter(),
            commit: None,
            append: 0,
            line: 0,
            position: 0,
        }
    }

    /// The next wanted event.
    fn next(&mut self, decoder: &Decoder<T>) -> Option<Kept<Result<T, ReadError>>> {
        let (commits, commit, append, line, position) = match self {
            Self::Decoded(events) => return events.next(),
            Self::Commits {
                commits,
                commit,
                append,
                line,
                position,
            } => (commits, commit, append, line, position),
        };
        loop {
            let Some(open) = &*commit else {
                let next = commits.next()?;
                (*append, *line, *position) = (0, 0, next.first_position);
                *commit = Some(next);
                continue;
            };
            let Some(of_stream) = open.appends.get(*append) else {
                *commit = None;
                continue;
            };
            let Some(text) = of_stream.lines.get(*line) else {
                (*append, *line) = (*append + 1, 0);
                continue;
            };
            let event = CommittedEvent {
                position: *position,
                stream: of_stream.stream.borrowed(),
                version: of_stream.first_version + *line as u64,
                time: open.time,
                line: text,
            };
            *line += 1;
            *position += 1;
            if let Some(event) = decoder.decode_one(event) {
                return Some(event);
            }
        }
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("aggregate_types", &self.decoder.filter.types)
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    pub(super) fn subscription<T: Send + 'static>(
        &self,
        aggregate_type: Option<&str>,
        decode: Decode<T>,
    ) -> Subscription<T> {
        let journal = Arc::clone(&self.shared.runtime.journal);
        let mut chunks = Chunks::new(journal, self.shared.closing.clone());
        let filter = Filter::of_type(aggregate_type);
        chunks.types.clone_from(&filter.types);
        Subscription {
            state: State::Ready(Box::new(chunks)),
            chunk: OpenChunk::of_commits(Vec::new()),
            decoder: Decoder {
                filter,
                decode,
                from: 0,
                until: u64::MAX,
            },
            next_chunk: |chunks, decoder| Box::pin(chunks.next(decoder)),
        }
    }
}

impl<T> Subscription<T> {
    /// Begins after a position instead of at the first event. It waits if the store has not reached that position yet.
    ///
    /// Call this before you read the first event.
    pub fn after(mut self, position: u64) -> Self {
        if let State::Ready(chunks) = &mut self.state {
            chunks.begin_after(position);
        }
        self
    }

    /// Ends after the last event that is durable now, instead of waiting for new events.
    pub fn until_now(mut self) -> Self {
        if let State::Ready(chunks) = &mut self.state {
            chunks.until = Some(chunks.durable());
        }
        self
    }

    pub(super) fn set_types(&mut self, types: Types) {
        if let State::Ready(chunks) = &mut self.state {
            chunks.types.clone_from(&types);
        }
        self.decoder.filter.types = types;
    }

    pub(super) fn filter(&mut self) -> &mut Filter<T> {
        &mut self.decoder.filter
    }

    /// Whether the subscription has ended because the store closes.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Ended { is_closed: true })
    }
}

impl<T> Subscription<T> {
    /// The next event; `None` when the subscription has ended.
    ///
    /// # Errors
    ///
    /// [`ReadError::Event`] if the event does not decode: the next call continues after it. [`ReadError::Store`] if the
    /// journal cannot be read: the next call returns `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Result<T, ReadError>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>> {
        loop {
            if let Some(event) = self.chunk.next(&self.decoder) {
                return Poll::Ready(Some(event.into_inner()));
            }
            let chunk = ready!(self.poll_chunk(context));
            match chunk {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(chunk)) => self.chunk = chunk,
            }
        }
    }

    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<OpenChunk<T>, StoreError>>> {
        let ended = State::Ended { is_closed: false };
        let mut reading = match std::mem::replace(&mut self.state, ended) {
            State::Ready(chunks) => {
                self.decoder.from = chunks.position() + 1;
                self.decoder.until = chunks.until.unwrap_or(u64::MAX);
                (self.next_chunk)(chunks, self.decoder.clone())
            }
            State::Reading(reading) => reading,
            ended @ State::Ended { .. } => {
                self.state = ended;
                return Poll::Ready(None);
            }
        };
        match reading.as_mut().poll(context) {
            Poll::Pending => {
                self.state = State::Reading(reading);
                Poll::Pending
            }
            Poll::Ready((_, Chunk::Failed(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready((_, Chunk::End { is_closed })) => {
                self.state = State::Ended { is_closed };
                Poll::Ready(None)
            }
            Poll::Ready((chunks, Chunk::Commits(commits))) => {
                self.state = State::Ready(chunks);
                Poll::Ready(Some(Ok(OpenChunk::of_commits(commits))))
            }
            Poll::Ready((chunks, Chunk::Events(events))) => {
                self.state = State::Ready(chunks);
                Poll::Ready(Some(Ok(OpenChunk::Decoded(events.into_iter()))))
            }
        }
    }
}

/// No event is pinned.
impl<T> Unpin for Subscription<T> {}

impl<T> Stream for Subscription<T> {
    type Item = Result<T, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}
