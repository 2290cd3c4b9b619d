//! One call of an event handler.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tracing::{Instrument as _, debug_span};

use super::super::super::Runtime;
use super::super::super::staging::Letter;
use super::super::cause_of;
use super::super::commit::address;
use super::super::definition::{AnyAction, Sent};
use crate::event::RecordedEvent;
use crate::event_handler::{EventHandler, Handling};
use crate::guarded::{Kept, guard};
use crate::journal::StreamId;
use crate::process_manager::{Failure, FailureCause};

/// The commands of a call, or the reason of its failure.
pub(super) type Outcome = Result<Vec<Letter>, FailureCause>;

type Call<T> = Pin<Box<dyn Future<Output = Result<Vec<T>, FailureCause>> + Send>>;

/// The value of an event handler of any type.
pub(crate) trait AnyHandler: Send + Sync {
    fn name(&self) -> &'static str;

    /// The number of calls at a time.
    fn concurrency(&self) -> usize;

    /// Handles an event. The future is guarded.
    fn handle(self: Arc<Self>, event: Arc<(StreamId, RecordedEvent)>, attempt: u32) -> Call<Sent>;

    /// The policy of the handler. Its panics are not guarded.
    fn on_failure(&self, failure: &Failure<'_>) -> AnyAction;
}

impl<H: EventHandler> AnyHandler for Kept<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn concurrency(&self) -> usize {
        H::CONCURRENCY.max(1)
    }

    fn handle(self: Arc<Self>, event: Arc<(StreamId, RecordedEvent)>, attempt: u32) -> Call<Sent> {
        Box::pin(async move { call(&**self, &event, attempt).await })
    }

    fn on_failure(&self, failure: &Failure<'_>) -> AnyAction {
        EventHandler::on_failure(&**self, failure).into()
    }
}

/// An event handler in a store.
pub(crate) struct Handler {
    value: Arc<dyn AnyHandler>,
    runtime: Arc<Runtime>,
    /// The number of calls at a time.
    pub(super) concurrency: usize,
    /// The time that closing waits for calls.
    pub(super) patience: Duration,
}

impl Handler {
    pub(in super::super) fn new(
        value: Arc<dyn AnyHandler>,
        runtime: Arc<Runtime>,
        patience: Duration,
    ) -> Self {
        Self {
            concurrency: value.concurrency(),
            value,
            runtime,
            patience,
        }
    }

    /// Handles an event.
    pub(super) fn call(
        &self,
        event: Arc<(StreamId, RecordedEvent)>,
        attempt: u32,
    ) -> impl Future<Output = Outcome> + Send + 'static {
        let (stream, recorded) = &*event;
        let name = self.value.name();
        let span = debug_span!(
            "handle",
            event_handler = name,
            position = recorded.position,
            event = recorded.event_type,
            aggregate = &*stream.aggregate_type,
            stream = &*stream.instance_id,
            attempt
        );
        let runtime = Arc::clone(&self.runtime);
        let handling = Arc::clone(&self.value).handle(event, attempt);
        let calling = async move {
            let sent = handling.await?.into_iter();
            Ok(sent.map(|sent| address(&runtime, name, sent)).collect())
        };
        calling.instrument(span)
    }
}

/// Calls user code. Each poll and the drop of its future are guarded.
pub(crate) async fn call<H: EventHandler>(
    handler: &H,
    (stream, event): &(StreamId, RecordedEvent),
    attempt: u32,
) -> Result<Vec<Sent>, FailureCause> {
    let (aggregate_type, stream_id) = (&*stream.aggregate_type, &*stream.instance_id);
    let mut cx = Handling::<H>::new(aggregate_type, stream_id, event).with_attempt(attempt);
    let called = {
        let call: Pin<Box<dyn Future<Output = _> + Send + '_>> =
            Box::pin(async { handler.handle_event(&mut cx).await });
        let mut call = Kept::new(call);
        let polled = poll_fn(|context| {
            let what = || format!("the handler `{}`", H::NAME);
            match guard(what, || call.as_mut().poll(context)) {
                Ok(polled) => polled.map(Ok),
                Err(panicked) => Poll::Ready(Err(panicked)),
            }
        });
        tokio::time::timeout(H::TIMEOUT, polled).await
    };
    let sent = cx.into_envelopes().into_iter().map(Sent::from).collect();
    match called {
        Ok(Ok(Ok(()))) => Ok(sent),
        Ok(Ok(Err(error))) => Err(error.into_cause()),
        Ok(Err(panicked)) => Err(cause_of(&panicked)),
        Err(_) => Err(FailureCause::TimedOut { after: H::TIMEOUT }),
    }
}
