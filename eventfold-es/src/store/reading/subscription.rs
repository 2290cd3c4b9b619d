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
pub struct Subscription<T>(Box<dyn Source<T> + Send>);

/// Events that a subscription delivers. It hides whether it holds decoded events: the enum of a declared store need not be known
/// to be `Send`, nor how it is dropped. If an entry of the store is no aggregate, each of these would be a second error for it.
pub(super) trait Source<T> {
    /// See [`Subscription::after`].
    fn begin_after(&mut self, position: u64);
    /// See [`Subscription::until_now`].
    fn end_now(&mut self);
    fn set_types(&mut self, types: Types);
    fn types(&self) -> &Types;
    /// The filter by names, if its events have names.
    fn filter(&mut self) -> Option<&mut Filter<T>>;
    /// Whether it has ended because the store closes.
    fn is_closed(&self) -> bool;
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>>;
}

/// Events that the reader decodes.
struct DecodedByReader<T> {
    events: Events<RawRecorded>,
    decode: Decode<T>,
}

impl<T> Source<T> for DecodedByReader<T> {
    fn begin_after(&mut self, position: u64) {
        self.events.begin_after(position);
    }

    fn end_now(&mut self) {
        self.events.end_now();
    }

    fn set_types(&mut self, types: Types) {
        self.events.set_types(types);
    }

    fn types(&self) -> &Types {
        self.events.types()
    }

    fn filter(&mut self) -> Option<&mut Filter<T>> {
        None
    }

    fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>> {
        let raw = ready!(self.events.poll_event(context));
        Poll::Ready(raw.map(|raw| raw.and_then(self.decode)))
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("aggregate_types", self.0.types())
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    pub(super) fn subscription<T: Send + 'static>(
        &self,
        aggregate_type: Option<&str>,
        decode: Decode<T>,
    ) -> Subscription<T> {
        Subscription(Box::new(Events::new(self, aggregate_type, decode)))
    }

    /// A subscription to these types, whose events the reader decodes.
    pub(super) fn subscription_of<T: 'static>(
        &self,
        types: Types,
        decode: Decode<T>,
    ) -> Subscription<T> {
        let mut events = Events::new(self, None, Ok);
        events.set_types(types);
        Subscription(Box::new(DecodedByReader { events, decode }))
    }
}

impl<T> Subscription<T> {
    /// Begins after a position instead of at the first event. It waits if the store has not reached that position yet.
    ///
    /// Call this before you read the first event.
    pub fn after(mut self, position: u64) -> Self {
        self.0.begin_after(position);
        self
    }

    /// Ends after the last event that is durable now, instead of waiting for new events.
    pub fn until_now(mut self) -> Self {
        self.0.end_now();
        self
    }

    pub(super) fn set_types(&mut self, types: Types) {
        self.0.set_types(types);
    }

    /// The filter by names, if its events have names.
    pub(super) fn filter(&mut self) -> Option<&mut Filter<T>> {
        self.0.filter()
    }

    /// Whether the subscription has ended because the store closes.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
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
        poll_fn(|context| self.0.poll_event(context)).await
    }
}

/// No event is pinned.
impl<T> Unpin for Subscription<T> {}

impl<T> Stream for Subscription<T> {
    type Item = Result<T, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.poll_event(context)
    }
}
