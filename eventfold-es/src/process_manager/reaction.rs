use std::any::Any;
use std::fmt;

use super::deadline::check_name;
use super::effects::Collected;
use super::{
    DeadlineOf, DeclaredProcessManager, Effects, Keyed, NameOf, ProcessManager, ReactError,
    ScheduledDeadline, SentBy, StoredDeadline, TimeOf, TimerChange,
};
use crate::aggregate::Aggregate;
use crate::command::{CommandContext, IdOf};
use crate::envelope::Envelope;
use crate::event::RecordedEvent;

/// The context of a reaction to one event or deadline: the source, the commands to send, the deadlines, and the completion of
/// the instance.
///
/// All effects of a reaction are stored together with the progress past the event: all of them or none.
///
/// # Examples
///
/// A test can build a reaction, to see its effects:
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
pub struct Reaction<'a, PM: DeclaredProcessManager> {
    aggregate_type: &'a str,
    stream_id: &'a str,
    event: &'a RecordedEvent,
    /// The key of its instance, in the type of the user.
    own_key: Option<&'a (dyn Any + Send + Sync)>,
    collected: Collected<<PM as DeclaredProcessManager>::Envelope>,
}

impl<'a, PM: ProcessManager> Reaction<'a, PM> {
    /// A reaction to `event` of the stream `stream_id`, still without commands.
    #[must_use]
    pub fn new(aggregate_type: &'a str, stream_id: &'a str, event: &'a RecordedEvent) -> Self {
        Self {
            aggregate_type,
            stream_id,
            event,
            own_key: None,
            collected: Collected::default(),
        }
    }

    /// A reaction to `deadline`. `event` is the deadline in its [form as an event](StoredDeadline::as_event).
    #[must_use]
    pub fn to_deadline(deadline: &'a StoredDeadline, event: &'a RecordedEvent) -> Self {
        let source = &deadline.source;
        Self::new(&source.aggregate_type, &source.stream_id, event)
    }

    /// Sets the instance of the reaction to `key`.
    ///
    /// [`InstanceKey::from_text`](super::InstanceKey::from_text) reads a stored key.
    #[must_use]
    pub fn with_key(mut self, key: &'a <PM as Keyed>::Key) -> Self
    where
        PM: Keyed,
    {
        self.own_key = Some(key);
        self
    }

    /// Sends `command` to the instance `instance_id` of its aggregate, under the correlation id of the event.
    ///
    /// The id is any value that [displays](IdOf) as an id: a `String`, a `&str`, a number, or [the key](Self::key) of
    /// this instance, as in `cx.send(cx.key(), OrderCommand::Cancel)`.
    ///
    /// It compiles only if the command's aggregate is in the `dispatches` list. A command that the aggregate rejects becomes
    /// a dead letter.
    pub fn send<C, A>(&mut self, instance_id: impl IdOf<A>, command: C)
    where
        C: SentBy<PM, Aggregate = A>,
        A: Aggregate<Command = C>,
    {
        let context = correlated(self.correlation_id());
        self.send_with(instance_id, command, context);
    }

    /// Sends `command` with its own context, without any additions.
    pub fn send_with<C, A>(
        &mut self,
        instance_id: impl IdOf<A>,
        command: C,
        context: impl Into<CommandContext>,
    ) where
        C: SentBy<PM, Aggregate = A>,
        A: Aggregate<Command = C>,
    {
        let envelope = Envelope::<A>::new(instance_id.into_id(), command, context);
        self.collected
            .effects
            .envelopes
            .push(<C as SentBy<PM>>::envelope(envelope));
    }

    /// Arms the deadline `name`. When it is due, the store calls
    /// [`OnDeadline::on_deadline`](super::OnDeadline::on_deadline) with `message`, exactly once. It does not if the
    /// deadline is cancelled or the instance completes first.
    ///
    /// It is delivered after every event that was stored at its time or before, and before every later event, however
    /// late either is handled. For example, a deadline that is due at 12:00 is delivered after a payment that was
    /// stored at 12:00. It is delivered before a payment of 12:01.
    ///
    /// A name belongs to the instance, and has 1 to 512 bytes and no control characters. A deadline of the same name is
    /// replaced. The call compiles only if the message is in the `deadlines` list.
    ///
    /// `when` is a [`Deadline`], a `Duration` (as [`Deadline::after`]), or a `SystemTime` (as [`Deadline::at`]).
    ///
    /// [`Deadline`]: super::Deadline
    /// [`Deadline::after`]: super::Deadline::after
    /// [`Deadline::at`]: super::Deadline::at
    ///
    /// A name or a message that cannot be stored fails the reaction.
    ///
    /// See [`#[process_manager]`](macro@crate::process_manager) for an example.
    pub fn schedule<M, N, W>(&mut self, name: N, when: W, message: M)
    where
        M: DeadlineOf<PM>,
        N: NameOf<M>,
        W: TimeOf<M>,
    {
        let message_type = <M as DeadlineOf<PM>>::MESSAGE_TYPE;
        let encoded = <M as DeadlineOf<PM>>::encode(&message);
        let (name, when) = (name.into_name(), when.into_deadline());
        let scheduled = ScheduledDeadline::new(name, when, message_type, encoded);
        self.collected.timer(scheduled.map(TimerChange::Schedule));
    }

    /// Disarms the deadline `name` of this instance. It has no effect without such a deadline.
    pub fn cancel(&mut self, name: impl Into<String>) {
        let name = name.into();
        // A name that cannot be stored belongs to no deadline.
        if check_name(&name).is_ok() {
            self.collected.timer(Ok(TimerChange::Cancel(name)));
        }
    }

    /// Completes this instance with the commit of this reaction. Its state and its deadlines are removed then.
    ///
    /// Later events that only [continue](super::Correlation::continues) it are ignored. An event that may start it starts a new
    /// instance.
    pub fn complete(&mut self)
    where
        PM: Keyed,
    {
        self.collected.effects.is_complete = true;
    }

    /// The key of this instance. It does not borrow the reaction, so that you can pass it to [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// In a reaction that a test has built by hand without [`with_key`](Self::with_key).
    #[must_use]
    #[track_caller]
    pub fn key(&self) -> &'a <PM as Keyed>::Key
    where
        PM: Keyed,
    {
        match self.own_key.and_then(<dyn Any + Send + Sync>::downcast_ref) {
            Some(key) => key,
            None => panic!(
                "this reaction of `{}` has no key: build it with `Reaction::new(..).with_key(..)`",
                PM::NAME
            ),
        }
    }

    /// The stored name of the aggregate type that the event belongs to.
    #[must_use]
    pub fn aggregate_type(&self) -> &'a str {
        self.aggregate_type
    }

    /// The instance of the event.
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

    /// The stored correlation id of the event.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&'a str> {
        self.event.correlation_id()
    }

    /// The commands so far, in order.
    #[must_use]
    pub fn envelopes(&self) -> &[PM::Envelope] {
        &self.collected.effects.envelopes
    }

    /// The changes of deadlines so far, in order.
    #[must_use]
    pub fn timers(&self) -> &[TimerChange] {
        &self.collected.effects.timers
    }

    /// The commands, in order.
    #[must_use]
    pub fn into_envelopes(self) -> Vec<PM::Envelope> {
        self.collected.effects.envelopes
    }

    /// All effects.
    ///
    /// # Errors
    ///
    /// [`ReactError::Deadline`] for the first deadline that cannot be stored.
    pub fn into_effects(self) -> Result<Effects<PM::Envelope>, ReactError> {
        self.collected.finish()
    }
}

impl<PM: ProcessManager> fmt::Debug for Reaction<'_, PM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaction")
            .field("process_manager", &PM::NAME)
            .field("aggregate_type", &self.aggregate_type)
            .field("stream_id", &self.stream_id)
            .field("event", &self.event)
            .field("sent", &self.envelopes().len())
            .field("timers", &self.timers())
            .field("is_complete", &self.collected.effects.is_complete)
            .finish()
    }
}

/// The context of a command of a conversation. It is not generic, so that it is compiled once and not for each target.
fn correlated(correlation_id: Option<&str>) -> CommandContext {
    CommandContext {
        correlation_id: correlation_id.map(str::to_owned),
        ..CommandContext::default()
    }
}
