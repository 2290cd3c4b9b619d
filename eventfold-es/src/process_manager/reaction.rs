use std::fmt;

use super::{ProcessManager, TargetOf};
use crate::command::{Command, CommandContext};
use crate::envelope::Envelope;
use crate::event::RecordedEvent;

/// What a process manager can do while it reacts to one event: look at where the event comes from, and send commands.
///
/// Everything sent during one reaction is decided and stored together with the progress past the event: all of it or none.
///
/// # Examples
///
/// A reaction can be built in a test, to see what it collects:
///
/// ```
/// # use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp;
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
/// #     fn evolve(&mut self, _: &LampEvent) {}
/// # }
/// #[process_manager(subscribes = [Lamp], dispatches = [Lamp])]
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// pub struct Echo;
///
/// impl React<Lamp> for Echo {
///     fn react(&mut self, _event: &LampEvent, cx: &mut Reaction<'_, Self>) {
///         cx.send("kitchen", LampCommand::Switch);
///     }
/// }
///
/// let event = LampEvent::Switched;
/// let recorded = RecordedEvent::new(1, 1, event.to_event()?);
/// let mut reaction = Reaction::new("lamp", "hall", &recorded);
/// React::<Lamp>::react(&mut Echo, &event, &mut reaction);
/// assert!(matches!(
///     reaction.envelopes(),
///     [EchoEnvelope::Lamp(envelope)] if envelope.instance_id == "kitchen" && envelope.command == LampCommand::Switch
/// ));
/// # Ok::<(), eventfold_es::EventError>(())
/// ```
pub struct Reaction<'a, PM: ProcessManager> {
    aggregate_type: &'a str,
    stream_id: &'a str,
    event: &'a RecordedEvent,
    envelopes: Vec<PM::Envelope>,
}

impl<'a, PM: ProcessManager> Reaction<'a, PM> {
    /// A reaction to `event` of the stream `stream_id`, with nothing sent yet.
    #[must_use]
    pub fn new(aggregate_type: &'a str, stream_id: &'a str, event: &'a RecordedEvent) -> Self {
        Self {
            aggregate_type,
            stream_id,
            event,
            envelopes: Vec::new(),
        }
    }

    /// Sends `command` to the instance `instance_id` of its aggregate, in the correlation of the event.
    ///
    /// It compiles only if the command's aggregate is in the `dispatches` list. A command that the aggregate rejects becomes
    /// a dead letter.
    pub fn send<C>(&mut self, instance_id: impl Into<String>, command: C)
    where
        C: Command,
        C::Aggregate: TargetOf<PM>,
    {
        let context = CommandContext {
            correlation_id: self.correlation_id().map(str::to_owned),
            ..CommandContext::default()
        };
        self.send_with(instance_id, command, context);
    }

    /// Sends `command` with a context of its own; nothing is added to it.
    pub fn send_with<C>(
        &mut self,
        instance_id: impl Into<String>,
        command: C,
        context: CommandContext,
    ) where
        C: Command,
        C::Aggregate: TargetOf<PM>,
    {
        let envelope = Envelope::<C::Aggregate>::new(instance_id, command, context);
        self.envelopes
            .push(<C::Aggregate as TargetOf<PM>>::envelope(envelope));
    }

    /// The stored name of the aggregate type that the event belongs to.
    #[must_use]
    pub fn aggregate_type(&self) -> &'a str {
        self.aggregate_type
    }

    /// The instance whose event this is.
    #[must_use]
    pub fn stream_id(&self) -> &'a str {
        self.stream_id
    }

    /// The stored event, with its id, actor, time and metadata.
    #[must_use]
    pub fn event(&self) -> &'a RecordedEvent {
        self.event
    }

    /// The event's place in the total order over all streams, from 1.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.event.position
    }

    /// The correlation id that was stored with the event.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&'a str> {
        self.event
            .event
            .meta
            .as_ref()?
            .get("correlation_id")?
            .as_str()
    }

    /// What was sent so far, in order.
    #[must_use]
    pub fn envelopes(&self) -> &[PM::Envelope] {
        &self.envelopes
    }

    /// What was sent, in order.
    #[must_use]
    pub fn into_envelopes(self) -> Vec<PM::Envelope> {
        self.envelopes
    }
}

impl<PM: ProcessManager> fmt::Debug for Reaction<'_, PM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaction")
            .field("process_manager", &PM::NAME)
            .field("aggregate_type", &self.aggregate_type)
            .field("stream_id", &self.stream_id)
            .field("event", &self.event)
            .field("sent", &self.envelopes.len())
            .finish()
    }
}
