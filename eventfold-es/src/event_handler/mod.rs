//! Event handlers: events in, calls of the outside world and commands out.

mod error;
mod handled;
mod handling;
mod key;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

pub use error::HandleError;
pub use handled::Handled;
pub use handling::Handling;
#[cfg(feature = "testing")]
pub(crate) use handling::idempotency_key;
pub use key::{HandleKey, HandlerKeyOf, HandlerKeyed, key_text, stream_key};

use crate::__private::Yields;
use crate::aggregate::{Aggregate, Subscribed};
use crate::command::Command;
use crate::envelope::{Dispatch, Envelope};
use crate::event::RecordedEvent;
use crate::process_manager::{Failure, FailureAction, ReactError, StartFrom, SubscribesTo};

/// A workflow that reaches the world outside: e-mail, payment providers, webhooks, files, other services.
///
/// It is a value with its resources, which the program gives to
/// [`event_handler`](crate::AggregateStoreBuilder::event_handler) of the builder. It has no stored state.
/// `#[event_handler]` implements this trait by delegating to [`Handle`]. A hand-written implementation works next to
/// declared types in one store.
///
/// # Contract
///
/// - **At least once outside, exactly once inside.** One commit stores the commands of an event and the progress past
///   the event. A crash before this commit leads to another call for the same event, with the same
///   [`idempotency_key`](Handling::idempotency_key). After this commit there is no other call.
/// - A call begins only when its event is durable. Events of one key are handled in their order, one after the other.
///   The default key of an event is its stream.
/// - At most [`CONCURRENCY`](EventHandler::CONCURRENCY) calls run at a time. A key that is slow, that waits for a retry
///   or is parked delays no other key.
/// - A call that takes longer than [`TIMEOUT`](EventHandler::TIMEOUT) is dropped, and has failed. So has a call that
///   panics or returns an error. Its commands are discarded, and
///   [`on_failure`](EventHandler::on_failure) decides.
/// - The progress of events without commands is stored in batches: after 1,024 events, and at the latest 100 ms after
///   the first of them. After a crash these events may be handled again.
///
/// # Cancel safety
///
/// The future of [`handle_event`](EventHandler::handle_event) is dropped at its time-out, and when the store closes and
/// [`handler_patience`](crate::AggregateStoreBuilder::handler_patience) is over. The event is handled again, with the same
/// key.
///
/// # Examples
///
/// A hand-written handler of all events of the aggregate type `order`:
///
/// ```
/// use std::sync::Mutex;
///
/// use eventfold_es::{CommandContext, CommandEnvelope, EventHandler, HandleError, Handling};
///
/// #[derive(Default)]
/// struct Mailer { sent: Mutex<Vec<String>> }
///
/// impl EventHandler for Mailer {
///     const NAME: &'static str = "mailer";
///     const SUBSCRIPTIONS: &'static [&'static str] = &["order"];
///     type Envelope = CommandEnvelope;
///
///     async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
///         if cx.event().event_type == "Shipped" {
///             let mail = format!("{} {}", cx.idempotency_key(), cx.stream_id());
///             self.sent.lock().map_err(|error| HandleError::failed(error.to_string()))?.push(mail);
///             cx.send_envelope(CommandEnvelope {
///                 aggregate_type: "order".to_owned(),
///                 instance_id: cx.stream_id().to_owned(),
///                 command: serde_json::json!("NoteMail"),
///                 context: CommandContext::default(),
///             });
///         }
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event handler",
    label = "not an event handler",
    note = "put `#[event_handler(subscribes = [..], dispatches = [..])]` on `{Self}`, or implement `EventHandler` by hand"
)]
pub trait EventHandler: Send + Sync + Sized + 'static {
    /// The stored name of this handler. It shares the names of process managers.
    ///
    /// It is persisted: under another name it starts at [`START`](EventHandler::START) again. See [`crate::names`].
    const NAME: &'static str;

    /// The stored names of the subscribed aggregate types.
    const SUBSCRIPTIONS: &'static [&'static str];

    /// The stored names of the target aggregate types, as far as they are known at compile time. Default: `None`,
    /// unknown.
    const TARGETS: Option<&'static [&'static str]> = None;

    /// Its starting point in a store that does not know it. Default: the first event.
    const START: StartFrom = StartFrom::Origin;

    /// The number of keys that it handles at a time. Default: 16; 0 counts as 1.
    const CONCURRENCY: usize = 16;

    /// The longest time of one call. Default: 30 seconds.
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Whether [`key_of`](EventHandler::key_of) orders its events. Otherwise the stream does.
    const IS_KEYED: bool = false;

    /// The name of its key's type in the program, for the lock of stored shapes. Default: empty, and not compared.
    const KEY_TYPE: &'static str = "";

    /// Its output: the generated enum of typed envelopes, or [`CommandEnvelope`](crate::CommandEnvelope).
    type Envelope: Dispatch + Send;

    /// Handles one event of a subscribed stream. `cx` has the event, and takes the commands.
    ///
    /// # Errors
    ///
    /// [`HandleError`] if the event does not decode, or if the handler fails.
    fn handle_event(
        &self,
        cx: &mut Handling<'_, Self>,
    ) -> impl Future<Output = Result<(), HandleError>> + Send;

    /// The key of an event: events of one key are handled in order. It depends on the event alone. Default:
    /// [`stream_key`].
    ///
    /// # Errors
    ///
    /// [`ReactError`] if the event does not decode, or if the key cannot be stored. The stream of the event is then held until
    /// an operator or a retry releases it; other streams continue.
    fn key_of(
        aggregate_type: &str,
        stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<String, ReactError> {
        Ok(stream_key(aggregate_type, stream_id))
    }

    /// Decides on one failure: a call that failed, or a command that was not executed.
    ///
    /// The default is [`FailureAction::default_for`].
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        FailureAction::default_for(failure)
    }
}

/// The action of an event handler for a failure: a [`FailureAction`]. The instance of the handler is the key.
pub type HandlerAction<H> = FailureAction<Handled<H>>;

/// The part of an [`EventHandler`] that [`Handle`] and similar traits require. Every event handler implements it.
///
/// It has no supertraits except `Sized`. So a type that is not `Send` is reported once, at the type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event handler",
    label = "not an event handler",
    note = "put `#[event_handler(subscribes = [..], dispatches = [..])]` on `{Self}`, or implement `EventHandler` by hand"
)]
pub trait DeclaredEventHandler: Sized {
    /// The type itself.
    type Declared: EventHandler<Envelope = Self::Envelope>;

    /// [`EventHandler::Envelope`].
    type Envelope: Dispatch + Send;
}

#[diagnostic::do_not_recommend]
impl<H: EventHandler> DeclaredEventHandler for H {
    // `H`. If `H` is not an event handler, it is no type at all, so that rustc reports nothing more about it.
    type Declared = <<H as EventHandler>::Envelope as Yields<H>>::Type;
    type Envelope = <H as EventHandler>::Envelope;
}

/// The work of an event handler for the events of one aggregate, written by the user of `#[event_handler]`.
///
/// The impl has an `async fn`. Its future is `Send`: it holds no `Rc` and no guard of a `std::sync::Mutex` across an
/// `.await`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` subscribes to `{A}` but does not handle its events",
    label = "`impl Handle<{A}> for {Self}` is missing",
    note = "write `impl Handle<{A}> for {Self} {{ type Error = ..; async fn handle(&self, event: &.., cx: &mut Handling<'_, Self>) -> Result<(), ..> {{ .. }} }}`, or remove `{A}` from `subscribes`"
)]
pub trait Handle<A: Aggregate>:
    DeclaredEventHandler<Declared: SubscribesTo<Subscribed<A>>>
{
    /// The error of a call: any error, `String`, `anyhow::Error`, or `std::convert::Infallible`.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Handles one event: calls the world outside, and sends commands through `cx`.
    ///
    /// It may run again for the same event, with the same [`idempotency_key`](Handling::idempotency_key): after a crash, a
    /// time-out, or an error.
    ///
    /// # Errors
    ///
    /// Any error fails the call. Its commands are discarded, and the policy decides: by default the call is retried.
    // The trait has the same bound. rustc assumes it here when it compares an impl, so that a missing attribute is
    // reported once.
    fn handle(
        &self,
        event: &<A as Aggregate>::DomainEvent,
        cx: &mut Handling<'_, Self>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send
    where
        Self: DeclaredEventHandler;

    /// Decodes the event, and handles it. Generated code calls it.
    ///
    /// Its future is `Send` by its declaration. rustc would inspect the future of [`handle`](Handle::handle) once more where it is
    /// awaited, and report a future that is not `Send` in two places.
    ///
    /// # Errors
    ///
    /// As [`EventHandler::handle_event`].
    #[doc(hidden)]
    fn handled(
        &self,
        cx: &mut Handling<'_, Self>,
    ) -> impl Future<Output = Result<(), HandleError>> + Send
    where
        Self: EventHandler,
    {
        async move {
            let event = crate::__private::decode::<A>(cx.event())?;
            let handled = Handle::<A>::handle(self, &event, cx).await;
            handled.map_err(HandleError::failed)
        }
    }
}

/// The policy of an event handler for failures, written by the user of `#[event_handler(.., on_failure)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared with `on_failure`, but does not say what is done about a failure",
    label = "`impl HandlerPolicy for {Self}` is missing",
    note = "write `impl HandlerPolicy for {Self} {{ fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {{ .. }} }}`, or remove `on_failure`"
)]
pub trait HandlerPolicy:
    DeclaredEventHandler<Declared: crate::process_manager::FailurePolicy>
{
    /// Decides on one failure.
    ///
    /// Return [`FailureAction::default_for`] for failures without a specific action.
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self>
    where
        Self: EventHandler;
}

/// Wraps a command for one of the `dispatches` targets of an event handler. The attribute generates it.
pub trait HandlerDispatchesTo<A> {
    /// The envelope of this target.
    fn envelope(envelope: Envelope<A>) -> Self::Envelope
    where
        Self: EventHandler,
        A: Aggregate;
}

/// An aggregate that the event handler `H` may send commands to: an entry of its `dispatches` list.
#[diagnostic::on_unimplemented(
    message = "`{H}` does not dispatch to `{Self}`",
    label = "this command belongs to `{Self}`, which is not in `dispatches`",
    note = "add `{Self}` to `dispatches = [..]` of `{H}`"
)]
pub trait TargetOfHandler<H: EventHandler>: Aggregate {
    /// The envelope of this target.
    fn envelope(envelope: Envelope<Self>) -> H::Envelope;
}

#[diagnostic::do_not_recommend]
impl<H: EventHandler + HandlerDispatchesTo<A>, A: Aggregate> TargetOfHandler<H> for A {
    fn envelope(envelope: Envelope<A>) -> H::Envelope {
        <H as HandlerDispatchesTo<A>>::envelope(envelope)
    }
}

/// A command that the event handler `H` may send: its aggregate is in the `dispatches` list. It follows from [`Command`] and
/// [`TargetOfHandler`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the command of any aggregate",
    label = "not a command",
    note = "a command is the type named by `#[aggregate(command = ..)]`",
    note = "the id comes first, and then the command, as in `cx.send(\"ord-1\", OrderCommand::Cancel)`"
)]
pub trait SentByHandler<H: EventHandler>: Command {
    /// The envelope that holds it.
    fn envelope(envelope: Envelope<<Self as Command>::Aggregate>) -> H::Envelope;
}

impl<H, C> SentByHandler<H> for C
where
    H: EventHandler,
    C: Command,
    <C as Command>::Aggregate: TargetOfHandler<H>,
{
    fn envelope(envelope: Envelope<<C as Command>::Aggregate>) -> H::Envelope {
        <<C as Command>::Aggregate as TargetOfHandler<H>>::envelope(envelope)
    }
}
