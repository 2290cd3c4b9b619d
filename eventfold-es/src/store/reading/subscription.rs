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
pub struct Subscription<T>(Source<T>);

enum Source<T> {
    /// Decoded on other threads.
    Decoded(Events<T>),
    /// Decoded by the reader, for a type that need not be known to be `Send`: the enum of a declared store. If an entry of the
    /// store is no aggregate, a bound on the enum would be a second error for it.
    Raw(Box<Events<RawRecorded>>, Decode<T>),
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = match &self.0 {
            Source::Decoded(events) => events.types(),
            Source::Raw(events, _) => events.types(),
        };
        f.debug_struct("Subscription")
            .field("aggregate_types", types)
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    pub(super) fn subscription<T: Send + 'static>(
        &self,
        aggregate_type: Option<&str>,
        decode: Decode<T>,
    ) -> Subscription<T> {
        Subscription(Source::Decoded(Events::new(self, aggregate_type, decode)))
    }

    /// A subscription to these types, whose events the reader decodes.
    pub(super) fn subscription_of<T>(&self, types: Types, decode: Decode<T>) -> Subscription<T> {
        let mut events = Events::new(self, None, Ok);
        events.set_types(types);
        Subscription(Source::Raw(Box::new(events), decode))
    }
}

impl<T> Subscription<T> {
    /// Begins after a position instead of at the first event. It waits if the store has not reached that position yet.
    ///
    /// Call this before you read the first event.
    pub fn after(mut self, position: u64) -> Self {
        match &mut self.0 {
            Source::Decoded(events) => events.begin_after(position),
            Source::Raw(events, _) => events.begin_after(position),
        }
        self
    }

    /// Ends after the last event that is durable now, instead of waiting for new events.
    pub fn until_now(mut self) -> Self {
        match &mut self.0 {
            Source::Decoded(events) => events.end_now(),
            Source::Raw(events, _) => events.end_now(),
        }
        self
    }

    pub(super) fn set_types(&mut self, types: Types) {
        match &mut self.0 {
            Source::Decoded(events) => events.set_types(types),
            Source::Raw(events, _) => events.set_types(types),
        }
    }

    /// The filter, if its events are decoded on other threads.
    pub(super) fn filter(&mut self) -> Option<&mut Filter<T>> {
        match &mut self.0 {
            Source::Decoded(events) => Some(events.filter()),
            Source::Raw(..) => None,
        }
    }

    /// Whether the subscription has ended because the store closes.
    pub(super) fn is_closed(&self) -> bool {
        match &self.0 {
            Source::Decoded(events) => events.is_closed(),
            Source::Raw(events, _) => events.is_closed(),
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

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>> {
        match &mut self.0 {
            Source::Decoded(events) => events.poll_event(context),
            Source::Raw(events, decode) => {
                let raw = ready!(events.poll_event(context));
                Poll::Ready(raw.map(|raw| raw.and_then(*decode)))
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
