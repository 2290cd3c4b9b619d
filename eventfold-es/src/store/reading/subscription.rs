//! A stream of events.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::RawRecorded;
use super::chunks::{Chunk, Chunks};
use super::filter::Filter;
use super::recorded::Decode;
use crate::error::{ReadError, StoreError};
use crate::journal::{CommittedEvent, RecordedCommit, Types};
use crate::runtime::Kept;
use crate::store::AggregateStore;

type Reading = Pin<Box<dyn Future<Output = (Chunks, Chunk)> + Send>>;

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
    state: State,
    chunk: OpenChunk,
    pub(super) filter: Filter<T>,
    decode: Decode<T>,
}

enum State {
    /// No chunk is being read.
    Ready(Chunks),
    /// A chunk is being read. The subscription wants its events from this position on.
    Reading(Reading, u64),
    Ended {
        is_closed: bool,
    },
}

/// Commits of a chunk, and the place of the next event in them.
#[derive(Default)]
struct OpenChunk {
    commits: std::vec::IntoIter<Arc<RecordedCommit>>,
    commit: Option<Arc<RecordedCommit>>,
    append: usize,
    line: usize,
    /// The position of the next event.
    position: u64,
    /// The subscription wants the events from `from` to `until`, both included.
    from: u64,
    until: u64,
}

impl OpenChunk {
    /// The next event that the filter may want.
    fn next<T>(&mut self, filter: &Filter<T>) -> Option<RawRecorded> {
        loop {
            let Some(commit) = &self.commit else {
                let commit = self.commits.next()?;
                (self.append, self.line) = (0, 0);
                self.position = commit.first_position;
                self.commit = Some(commit);
                continue;
            };
            let Some(append) = commit.appends.get(self.append) else {
                self.commit = None;
                continue;
            };
            let line = append.lines.get(self.line);
            let line = line.filter(|_| self.line > 0 || filter.has_type_of(append));
            let Some(line) = line else {
                self.position += (append.lines.len() - self.line) as u64;
                self.append += 1;
                self.line = 0;
                continue;
            };
            let event = CommittedEvent {
                position: self.position,
                stream: &append.stream,
                version: append.first_version + self.line as u64,
                line,
            };
            self.line += 1;
            self.position += 1;
            if (self.from..=self.until).contains(&event.position) && filter.may_want(line) {
                return Some(RawRecorded::new(event, commit.time));
            }
        }
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("aggregate_types", &self.filter.types)
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    pub(super) fn subscription<T>(
        &self,
        aggregate_type: Option<&str>,
        decode: Decode<T>,
    ) -> Subscription<T> {
        let journal = Arc::clone(&self.shared.runtime.journal);
        let mut chunks = Chunks::new(journal, self.shared.closing.clone());
        let filter = Filter::of_type(aggregate_type);
        chunks.types.clone_from(&filter.types);
        Subscription {
            state: State::Ready(chunks),
            chunk: OpenChunk::default(),
            filter,
            decode,
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
        self.filter.types = types;
    }

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

    /// Whether the subscription has ended because the store closes.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Ended { is_closed: true })
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>> {
        loop {
            while let Some(event) = self.chunk.next(&self.filter) {
                let event = Kept::new((self.decode)(event));
                if self.filter.wants(&event) {
                    return Poll::Ready(Some(event.into_inner()));
                }
            }
            let chunk = ready!(self.poll_chunk(context));
            match chunk {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(chunk)) => self.chunk = chunk,
            }
        }
    }
}

impl<T> Subscription<T> {
    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<OpenChunk, StoreError>>> {
        let ended = State::Ended { is_closed: false };
        let (mut reading, from) = match std::mem::replace(&mut self.state, ended) {
            State::Ready(chunks) => {
                let from = chunks.position() + 1;
                (Box::pin(chunks.next()) as Reading, from)
            }
            State::Reading(reading, from) => (reading, from),
            ended @ State::Ended { .. } => {
                self.state = ended;
                return Poll::Ready(None);
            }
        };
        match reading.as_mut().poll(context) {
            Poll::Pending => {
                self.state = State::Reading(reading, from);
                Poll::Pending
            }
            Poll::Ready((_, Chunk::Failed(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready((_, Chunk::End { is_closed })) => {
                self.state = State::Ended { is_closed };
                Poll::Ready(None)
            }
            Poll::Ready((chunks, Chunk::Commits(commits))) => {
                let until = chunks.until.unwrap_or(u64::MAX);
                self.state = State::Ready(chunks);
                Poll::Ready(Some(Ok(OpenChunk {
                    commits: commits.into_iter(),
                    from,
                    until,
                    ..OpenChunk::default()
                })))
            }
        }
    }
}

impl<T> Stream for Subscription<T> {
    type Item = Result<T, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}
