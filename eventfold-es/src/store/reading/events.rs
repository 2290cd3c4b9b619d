//! The events of a subscription, as they are read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::chunks::{Chunk, Chunks};
use super::decoder::Decoder;
use super::filter::Filter;
use super::recorded::Decode;
use super::subscription::Source;
use crate::error::{ReadError, StoreError};
use crate::journal::{CommittedEvent, RecordedCommit, Types};
use crate::runtime::Kept;
use crate::store::AggregateStore;

type Reading<T> = Pin<Box<dyn Future<Output = (Box<Chunks<T>>, Chunk<T>)> + Send>>;
/// Begins to wait for the next chunk. Made where the type is known to be `Send`, so that no reader has to say it.
type NextChunk<T> = fn(Box<Chunks<T>>, Decoder<T>) -> Reading<T>;

/// See [`Subscription`](super::Subscription).
pub(super) struct Events<T> {
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

impl<T: Send + 'static> Events<T> {
    pub(super) fn new(
        store: &AggregateStore,
        aggregate_type: Option<&str>,
        decode: Decode<T>,
    ) -> Self {
        let journal = Arc::clone(&store.shared.runtime.journal);
        let mut chunks = Chunks::new(journal, store.shared.closing.clone());
        let filter = Filter::of_type(aggregate_type);
        chunks.types.clone_from(&filter.types);
        Self {
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

impl<T> Source<T> for Events<T> {
    fn begin_after(&mut self, position: u64) {
        if let State::Ready(chunks) = &mut self.state {
            chunks.begin_after(position);
        }
    }

    fn end_now(&mut self) {
        if let State::Ready(chunks) = &mut self.state {
            chunks.until = Some(chunks.durable());
        }
    }

    fn types(&self) -> &Types {
        &self.decoder.filter.types
    }

    fn set_types(&mut self, types: Types) {
        if let State::Ready(chunks) = &mut self.state {
            chunks.types.clone_from(&types);
        }
        self.decoder.filter.types = types;
    }

    fn filter(&mut self) -> Option<&mut Filter<T>> {
        Some(&mut self.decoder.filter)
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Ended { is_closed: true })
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
}

impl<T> Events<T> {
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
