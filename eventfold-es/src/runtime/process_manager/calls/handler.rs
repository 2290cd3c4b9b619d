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
use crate::event::RecordedEvent;
use crate::event_handler::{EventHandler, Handled, Handling};
use crate::guarded::{Kept, guard};
use crate::journal::StreamId;
use crate::process_manager::{Failure, FailureAction, FailureCause, ProcessManager};

/// The commands of a call, or the reason of its failure.
pub(super) type Outcome = Result<Vec<Letter>, FailureCause>;

type Call = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// The value of an event handler.
pub(crate) trait Caller<PM: ProcessManager>: Send + Sync {
    /// Handles an event.
    fn call(self: Arc<Self>, event: Arc<(StreamId, RecordedEvent)>, attempt: u32) -> Call;

    /// The policy of the handler.
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<PM>;
}

/// An event handler, with its bounds.
pub(crate) struct Handler<PM> {
    pub(in super::super) caller: Arc<dyn Caller<PM>>,
    /// The number of calls at a time.
    pub(super) concurrency: usize,
    /// The time that closing waits for calls.
    pub(super) patience: Duration,
}

impl<H: EventHandler> Handler<Handled<H>> {
    pub(crate) fn new(value: Arc<Kept<H>>, runtime: Arc<Runtime>, patience: Duration) -> Self {
        Self {
            caller: Arc::new(Value { value, runtime }),
            concurrency: H::CONCURRENCY.max(1),
            patience,
        }
    }
}

struct Value<H> {
    value: Arc<Kept<H>>,
    runtime: Arc<Runtime>,
}

impl<H: EventHandler> Caller<Handled<H>> for Value<H> {
    fn call(self: Arc<Self>, event: Arc<(StreamId, RecordedEvent)>, attempt: u32) -> Call {
        let (stream, recorded) = &*event;
        let span = debug_span!(
            "handle",
            event_handler = H::NAME,
            position = recorded.position,
            event = recorded.event_type,
            aggregate = &*stream.aggregate_type,
            stream = &*stream.instance_id,
            attempt
        );
        let calling = async move {
            let sent = call(&**self.value, &event, attempt).await?.into_iter();
            let letters = sent.map(|envelope| address::<Handled<H>>(&self.runtime, envelope));
            Ok(letters.collect())
        };
        Box::pin(calling.instrument(span))
    }

    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Handled<H>> {
        EventHandler::on_failure(&**self.value, failure)
    }
}

/// Calls user code. Each poll and the drop of its future are guarded.
pub(crate) async fn call<H: EventHandler>(
    handler: &H,
    (stream, event): &(StreamId, RecordedEvent),
    attempt: u32,
) -> Result<Vec<Kept<H::Envelope>>, FailureCause> {
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
    let envelopes = Kept::each(cx.into_envelopes());
    match called {
        Ok(Ok(Ok(()))) => Ok(envelopes),
        Ok(Ok(Err(error))) => Err(error.into_cause()),
        Ok(Err(panicked)) => Err(cause_of(&panicked)),
        Err(_) => Err(FailureCause::TimedOut { after: H::TIMEOUT }),
    }
}
