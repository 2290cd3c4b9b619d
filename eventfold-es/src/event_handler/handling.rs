use std::fmt;
use std::sync::OnceLock;

use super::{DeclaredEventHandler, EventHandler, SentByHandler};
use crate::aggregate::Aggregate;
use crate::command::{CommandContext, IdOf};
use crate::envelope::Envelope;
use crate::event::RecordedEvent;

/// The context of one call of an event handler: the event, the key for the world outside, and the commands to send.
///
/// All commands of a call that succeeds are stored together with the progress past the event: all of them or none. The
/// commands of a call that fails are discarded.
///
/// # Examples
///
/// A test can build it, to see the commands:
///
/// ```
/// # use eventfold_es::{CommandContext, CommandEnvelope, EventHandler, HandleError, Handling, RecordedEvent};
/// # struct Mailer;
/// # impl EventHandler for Mailer {
/// #     const NAME: &'static str = "mailer";
/// #     const SUBSCRIPTIONS: &'static [&'static str] = &["order"];
/// #     type Envelope = CommandEnvelope;
/// #     async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
/// #         let (aggregate_type, instance_id) = ("order".to_owned(), cx.stream_id().to_owned());
/// #         let (command, context) = (serde_json::json!("NoteMail"), CommandContext::default());
/// #         cx.send_envelope(CommandEnvelope { aggregate_type, instance_id, command, context });
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), HandleError> {
/// # let event = serde_json::from_value(serde_json::json!({
/// #     "type": "Shipped", "data": null, "ts": 0
/// # })).unwrap();
/// let event = RecordedEvent::new(7, 2, event);
/// let mut cx = Handling::new("order", "ord-1", &event);
/// Mailer.handle_event(&mut cx).await?;
/// assert_eq!(cx.idempotency_key(), "mailer:order/ord-1/2");
/// assert_eq!(cx.envelopes()[0].instance_id, "ord-1");
/// # Ok(())
/// # }
/// ```
pub struct Handling<'a, H: DeclaredEventHandler> {
    aggregate_type: &'a str,
    stream_id: &'a str,
    event: &'a RecordedEvent,
    attempt: u32,
    idempotency_key: OnceLock<String>,
    envelopes: Vec<<H as DeclaredEventHandler>::Envelope>,
}

impl<'a, H: EventHandler> Handling<'a, H> {
    /// The first attempt at `event` of the stream `stream_id`, still without commands.
    #[must_use]
    pub fn new(aggregate_type: &'a str, stream_id: &'a str, event: &'a RecordedEvent) -> Self {
        Self {
            aggregate_type,
            stream_id,
            event,
            attempt: 1,
            idempotency_key: OnceLock::new(),
            envelopes: Vec::new(),
        }
    }

    /// Sets the number of the attempt, from 1.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Sends `command` to the instance `instance_id` of its aggregate, under the correlation id of the event.
    ///
    /// The id is any value that [displays](IdOf) as an id: a `String`, a `&str`, or a number. It compiles only if the command's
    /// aggregate is in the `dispatches` list. A command that the aggregate rejects becomes a dead letter; the event stays
    /// handled.
    pub fn send<C, A>(&mut self, instance_id: impl IdOf<A>, command: C)
    where
        C: SentByHandler<H, Aggregate = A>,
        A: Aggregate<Command = C>,
    {
        let context = CommandContext {
            correlation_id: self.correlation_id().map(str::to_owned),
            ..CommandContext::default()
        };
        self.send_with(instance_id, command, context);
    }

    /// Sends `command` with its own context, without any additions.
    pub fn send_with<C, A>(
        &mut self,
        instance_id: impl IdOf<A>,
        command: C,
        context: impl Into<CommandContext>,
    ) where
        C: SentByHandler<H, Aggregate = A>,
        A: Aggregate<Command = C>,
    {
        let envelope = Envelope::<A>::new(instance_id.into_id(), command, context);
        self.send_envelope(<C as SentByHandler<H>>::envelope(envelope));
    }

    /// Sends a command that is already in its envelope, as a hand-written handler does.
    pub fn send_envelope(&mut self, envelope: H::Envelope) {
        self.envelopes.push(envelope);
    }

    /// The key with which a service outside recognizes a repeated call: the name of the handler and the identity of the event.
    ///
    /// It is the same in each attempt at this event, through restarts, retries, redriven dead letters, and an export and import
    /// of the store. No other event and no other handler has it. For example, `mailer:order/ord-1/3` is the third event of the
    /// order `ord-1`.
    ///
    /// It is ASCII without spaces, as a header needs it. In the stream's id, only letters, digits and `-._~` stay. Each other
    /// byte becomes `%` and two hexadecimal digits. With an id of 36 letters and digits, the key has less than 270 bytes.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        self.idempotency_key.get_or_init(|| {
            idempotency_key::<H>(self.aggregate_type, self.stream_id, self.event.version)
        })
    }

    /// The number of this attempt, from 1. It counts failed attempts, and not those that a crash has ended. A redriven dead
    /// letter begins at 1 again.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
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
    pub fn envelopes(&self) -> &[H::Envelope] {
        &self.envelopes
    }

    /// The commands, in order.
    #[must_use]
    pub fn into_envelopes(self) -> Vec<H::Envelope> {
        self.envelopes
    }
}

/// See [`Handling::idempotency_key`].
pub(crate) fn idempotency_key<H: EventHandler>(
    aggregate_type: &str,
    stream_id: &str,
    version: u64,
) -> String {
    let mut key = format!("{}:{aggregate_type}/", H::NAME);
    for byte in stream_id.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => key.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => key.push(char::from(byte)),
            _ => key.push_str(&format!("%{byte:02X}")),
        }
    }
    key.push_str(&format!("/{version}"));
    key
}

impl<H: EventHandler> fmt::Debug for Handling<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handling")
            .field("event_handler", &H::NAME)
            .field("aggregate_type", &self.aggregate_type)
            .field("stream_id", &self.stream_id)
            .field("event", &self.event)
            .field("attempt", &self.attempt)
            .field("sent", &self.envelopes.len())
            .finish()
    }
}
