//! An event handler, as the engine of process managers sees it.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{EventHandler, SentByHandler};
use crate::command::CommandContext;
use crate::envelope::Envelope;
use crate::event::RecordedEvent;
use crate::process_manager::{
    Correlation, Failure, FailureAction, ProcessManager, ReactError, StartFrom,
};

/// An event handler in the place of a process manager: each key is an instance without a state.
///
/// [`HandlerAction`](super::HandlerAction) and the operator's
/// [handle](crate::AggregateStore::event_handler) name it. A program does not build it.
pub struct Handled<H>(PhantomData<fn() -> H>);

impl<H> fmt::Debug for Handled<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handled")
    }
}

impl<H> Default for Handled<H> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<H> Serialize for Handled<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de, H> Deserialize<'de> for Handled<H> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self::default())
    }
}

#[diagnostic::do_not_recommend]
impl<H: EventHandler> ProcessManager for Handled<H> {
    const NAME: &'static str = H::NAME;
    const SUBSCRIPTIONS: Option<&'static [&'static str]> = Some(H::SUBSCRIPTIONS);
    const TARGETS: Option<&'static [&'static str]> = H::TARGETS;
    const START: StartFrom = H::START;
    const IS_KEYED: bool = true;
    const KEY_TYPE: &'static str = H::KEY_TYPE;
    const HAS_STATE: bool = false;
    type Envelope = H::Envelope;

    fn react(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<H::Envelope>, ReactError> {
        Err(ReactError::Other(format!(
            "the event handler `{}` runs only in the store that has its value",
            H::NAME
        )))
    }

    fn correlate(
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Correlation, ReactError> {
        H::key_of(aggregate_type, stream_id, event).map(Correlation::starts_or_continues)
    }

    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        // The store asks the value of the handler instead.
        FailureAction::default_for(failure)
    }
}

impl<H: EventHandler> FailureAction<Handled<H>> {
    /// Sends `command` to the instance `instance_id` of its aggregate, instead of the failed call or command.
    ///
    /// It compiles only if the command's aggregate is in the `dispatches` list of the event handler.
    #[must_use]
    pub fn send_instead<C: SentByHandler<H>>(instance_id: impl Into<String>, command: C) -> Self {
        Self::Compensate(Vec::new()).also_send(instance_id, command)
    }

    /// Sends another command, after the commands of [`send_instead`](Self::send_instead). It has no effect on another action.
    #[must_use]
    pub fn also_send<C: SentByHandler<H>>(
        mut self,
        instance_id: impl Into<String>,
        command: C,
    ) -> Self {
        if let Self::Compensate(envelopes) = &mut self {
            let context = CommandContext::default();
            let envelope = Envelope::<C::Aggregate>::new(instance_id, command, context);
            envelopes.push(<C as SentByHandler<H>>::envelope(envelope));
        }
        self
    }
}
