//! The place of a subscription, and the chunks that it reads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::chunks::{Chunk, Chunks};
use crate::error::StoreError;
use crate::journal::{CommittedEvent, EventChunk, EventPlace, Types};
use crate::store::AggregateStore;

type Reading = Pin<Box<dyn Future<Output = (Box<Chunks>, Chunk)> + Send>>;

/// The events behind a place, undecoded.
pub(super) struct Events {
    state: State,
    /// The events from here on were not delivered yet.
    chunk: EventChunk,
    place: EventPlace,
    /// The positions of the first and the last wanted event of the chunk.
    from: u64,
    until: u64,
}

enum State {
    /// No chunk is being read.
    Ready(Box<Chunks>),
    /// A chunk is being read.
    Reading(Reading),
    Ended {
        is_closed: bool,
    },
}

impl Events {
    pub(super) fn new(store: &AggregateStore, types: Types) -> Self {
        let journal = Arc::clone(&store.shared.runtime.journal);
        let mut chunks = Chunks::new(journal, store.shared.closing.clone());
        chunks.types = types;
        Self {
            state: State::Ready(Box::new(chunks)),
            chunk: EventChunk::default(),
            place: EventPlace::default(),
            from: 0,
            until: u64::MAX,
        }
    }

    /// See [`Subscription::after`](super::Subscription::after).
    pub(super) fn begin_after(&mut self, position: u64) {
        if let State::Ready(chunks) = &mut self.state {
            chunks.begin_after(position);
        }
    }

    /// See [`Subscription::until_now`](super::Subscription::until_now).
    pub(super) fn end_now(&mut self) {
        if let State::Ready(chunks) = &mut self.state {
            chunks.until = Some(chunks.durable());
        }
    }

    pub(super) fn set_types(&mut self, types: Types) {
        if let State::Ready(chunks) = &mut self.state {
            chunks.types = types;
        }
    }

    /// Whether it has ended because the store closes.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Ended { is_closed: true })
    }

    /// The next event of the chunk.
    pub(super) fn next(&mut self) -> Option<CommittedEvent<'_>> {
        let wanted = self.from..=self.until;
        loop {
            let event = self.chunk.next(&mut self.place)?;
            if wanted.contains(&event.position) {
                return Some(event);
            }
        }
    }

    /// Waits for the next chunk. `None` at the end.
    pub(super) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<(), StoreError>>> {
        let ended = State::Ended { is_closed: false };
        let mut reading = match std::mem::replace(&mut self.state, ended) {
            State::Ready(chunks) => {
                let used = std::mem::take(&mut self.chunk);
                self.place = EventPlace::default();
                self.from = chunks.position() + 1;
                self.until = chunks.until.unwrap_or(u64::MAX);
                Box::pin(chunks.next(used))
            }
            State::Reading(reading) => reading,
            ended @ State::Ended { .. } => {
                self.state = ended;
                return Poll::Ready(None);
            }
        };
        let Poll::Ready((chunks, chunk)) = reading.as_mut().poll(context) else {
            self.state = State::Reading(reading);
            return Poll::Pending;
        };
        Poll::Ready(match chunk {
            Chunk::Failed(error) => Some(Err(error)),
            Chunk::End { is_closed } => {
                self.state = State::Ended { is_closed };
                None
            }
            Chunk::Events(events) => {
                self.chunk = events;
                self.state = State::Ready(chunks);
                Some(Ok(()))
            }
        })
    }
}
