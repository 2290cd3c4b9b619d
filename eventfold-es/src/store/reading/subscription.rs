//! A stream of events.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::RawRecorded;
use super::events::Events;
use super::filter::Filter;
use super::recorded::Decode;
use crate::error::ReadError;
use crate::journal::Types;
use crate::runtime::Kept;
use crate::store::AggregateStore;

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
    events: Events,
    filter: Filter<T>,
    /// Called when an event is delivered, on the thread of the reader: its memory comes from there and goes back there.
    decode: Decode<T>,
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("aggregate_types", &self.filter.types)
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    /// A subscription to these types.
    pub(super) fn subscription<T>(&self, types: Types, decode: Decode<T>) -> Subscription<T> {
        Subscription {
            events: Events::new(self, types.clone()),
            filter: Filter::of_types(types),
            decode,
        }
    }
}

impl<T> Subscription<T> {
    /// Begins after a position instead of at the first event. It waits if the store has not reached that position yet.
    ///
    /// Call this before you read the first event.
    pub fn after(mut self, position: u64) -> Self {
        self.events.begin_after(position);
        self
    }

    /// Ends after the last event that is durable now, instead of waiting for new events.
    pub fn until_now(mut self) -> Self {
        self.events.end_now();
        self
    }

    pub(super) fn set_types(&mut self, types: Types) {
        self.events.set_types(types.clone());
        self.filter.types = types;
    }

    /// The filter by names and types.
    pub(super) fn filter(&mut self) -> &mut Filter<T> {
        &mut self.filter
    }

    /// Whether the subscription has ended because the store closes.
    pub(super) fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>> {
        loop {
            while let Some(event) = self.events.next() {
                if !self.filter.may_want(event) {
                    continue;
                }
                let event = (self.decode)(RawRecorded::new(event));
                if self.filter.wants(&event) {
                    return Poll::Ready(Some(event));
                }
                drop(Kept::new(event));
            }
            match ready!(self.events.poll_chunk(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(())) => {}
            }
        }
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
}

/// No event is pinned.
impl<T> Unpin for Subscription<T> {}

impl<T> Stream for Subscription<T> {
    type Item = Result<T, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}
