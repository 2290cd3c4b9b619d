//! Process managers: events in, commands out, exactly once.

mod backoff;
mod correlation;
mod deadline;
mod effects;
mod failure;
mod reaction;
mod state;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
pub(crate) mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use backoff::{Backoff, Exhausted};
pub use correlation::{Correlate, Correlation, InstanceKey, Join, JoinKind, KeyOf, Keyed};
pub use deadline::{
    Deadline, DeadlineMessage, DeadlineOf, NameOf, OnDeadline, ScheduledDeadline, Schedules,
    SourceEvent, StoredDeadline, TimeOf,
};
pub use effects::{Effects, TimerChange};
pub use failure::{Failure, FailureAction, FailureCause, FailurePolicy, HandleFailure};
pub use reaction::Reaction;
pub use state::{MigrateState, MigrationError, StateVersioned, StoredState};

use crate::__private::{Subscribes, Yields};
use crate::aggregate::{Aggregate, Subscribed};
use crate::command::Command;
use crate::envelope::{Dispatch, Envelope};
use crate::event::{EventError, RecordedEvent};
use crate::schema::{NamedType, Shape};

/// A workflow across aggregates: it reacts to events by sending commands, and has a state of its own.
///
/// `#[process_manager]` implements it by delegating to [`React`]. A hand-written implementation works next to declared
/// types in one store.
///
/// # Contract
///
/// - [`react`](ProcessManager::react) is deterministic and does no I/O. Its effects are the returned commands and the
///   change of its own state. One commit stores both, with the events of the commands and the position of the source
///   event. So each event is handled exactly once.
/// - Each reaction begins with the saved state, even without a restart in between. So a value that `Serialize` leaves
///   out is lost after the reaction.
/// - An event without commands needs no commit. After a crash it may be delivered again, to the state before it.
///
/// # Examples
///
/// ```
/// use eventfold_es::{CommandContext, CommandEnvelope, ProcessManager, RecordedEvent};
/// use eventfold_es::contract::ReactError;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Greeter;
///
/// impl ProcessManager for Greeter {
///     const NAME: &'static str = "greeter";
///     type Envelope = CommandEnvelope;
///
///     fn subscriptions(&self) -> &'static [&'static str] {
///         &["visitor"]
///     }
///
///     fn react(
///         &mut self,
///         _aggregate_type: &str,
///         stream_id: &str,
///         event: &RecordedEvent,
///     ) -> Result<Vec<CommandEnvelope>, ReactError> {
///         Ok(vec![CommandEnvelope {
///             aggregate_type: "mailbox".to_owned(),
///             instance_id: stream_id.to_owned(),
///             command: serde_json::json!({ "Deliver": event.event_type }),
///             context: CommandContext::default(),
///         }])
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process manager",
    label = "not a process manager",
    note = "put `#[process_manager(subscribes = [..], dispatches = [..])]` on `{Self}`, or implement `ProcessManager` by hand",
    note = "an event handler is a value: it is given to the builder, as in `.event_handler(Mailer {{ .. }})`"
)]
pub trait ProcessManager: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stored name of this process manager, and its directory under `process_managers/`.
    ///
    /// It is persisted: under another name it starts from the first event again. See [`crate::names`].
    const NAME: &'static str;

    /// The stored names of the subscribed aggregate types, as far as they are known at compile time. An
    /// [`#[event_store]`](macro@crate::event_store) checks and draws them. They equal
    /// [`subscriptions`](Self::subscriptions). Default: `None`, unknown.
    const SUBSCRIPTIONS: Option<&'static [&'static str]> = None;

    /// The stored names of the target aggregate types, as far as they are known at compile time. Default: `None`,
    /// unknown.
    const TARGETS: Option<&'static [&'static str]> = None;

    /// The shape of its state. Default: unknown.
    const STATE: Shape = Shape::Unknown;

    /// The version of its state. Raise it when older states no longer decode or change their meaning.
    ///
    /// It is stored with each state. [`migrate_state`](ProcessManager::migrate_state) receives the states of earlier
    /// versions.
    const STATE_VERSION: u32 = 1;

    /// Its starting point in a store that does not know it.
    const START: StartFrom = StartFrom::Origin;

    /// Whether each key has an instance with its own state. Otherwise there is one instance, with an empty key.
    const IS_KEYED: bool = false;

    /// The name of its key's type in the program, for the lock of stored shapes: a key is stored as text, which another type
    /// may not read. Default: empty, and not compared.
    const KEY_TYPE: &'static str = "";

    /// Whether its instances have a state. The store of an event handler sets it to `false`.
    #[doc(hidden)]
    const HAS_STATE: bool = true;

    /// The stored names of the messages that it schedules for itself.
    const DEADLINES: &'static [&'static str] = &[];

    /// The shapes of these messages, under their stored names. A message without an entry has an unknown shape.
    /// Default: empty.
    const DEADLINE_MESSAGES: &'static [NamedType] = &[];

    /// Its output: the generated enum of typed envelopes, or [`CommandEnvelope`](crate::CommandEnvelope).
    type Envelope: Dispatch;

    /// The stored names of the subscribed aggregate types. Default: [`SUBSCRIPTIONS`](Self::SUBSCRIPTIONS). A
    /// hand-written type has one of the two. Without either, or with an empty list here,
    /// [`OpenError::NoSubscriptions`](crate::OpenError::NoSubscriptions) keeps the store from opening. A type that only
    /// handles deadlines which are already armed sets `SUBSCRIPTIONS = Some(&[])`.
    fn subscriptions(&self) -> &'static [&'static str] {
        Self::SUBSCRIPTIONS.unwrap_or_default()
    }

    /// Reacts to one event of a subscribed stream.
    ///
    /// # Errors
    ///
    /// [`ReactError`] if the event does not decode. The process manager is then parked at this event, until you start a
    /// program that decodes it. Other process managers continue.
    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<Self::Envelope>, ReactError>;

    /// The instances of an event of a subscribed stream. They depend on the event alone.
    ///
    /// By default every event belongs to the one instance.
    ///
    /// # Errors
    ///
    /// [`ReactError`] if the event does not decode. Its stream is then held until it does; other streams continue.
    fn correlate(
        _aggregate_type: &str,
        _stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Correlation, ReactError> {
        Ok(Correlation::starts_or_continues(String::new()))
    }

    /// Reacts to one event of a subscribed stream, as the instance `key`; the store calls this method.
    ///
    /// By default its effects are the commands that [`react`](ProcessManager::react) returns.
    ///
    /// # Errors
    ///
    /// As [`react`](ProcessManager::react).
    fn react_in(
        &mut self,
        _key: &str,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Effects<Self::Envelope>, ReactError> {
        self.react(aggregate_type, stream_id, event)
            .map(Effects::from)
    }

    /// Reacts to a deadline that fell due, as the instance `key`.
    ///
    /// # Errors
    ///
    /// [`ReactError`] if the deadline does not decode. The default implementation always returns it.
    fn on_deadline(
        &mut self,
        _key: &str,
        deadline: &StoredDeadline,
    ) -> Result<Effects<Self::Envelope>, ReactError> {
        Err(ReactError::unexpected_deadline(deadline))
    }

    /// Decides on one failure. `self` is the state before the failed reaction.
    ///
    /// The default is [`FailureAction::default_for`].
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::default_for(failure)
    }

    /// Converts a state of an earlier [`STATE_VERSION`](ProcessManager::STATE_VERSION) to the current version.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] if it cannot convert the state. The default implementation always returns it.
    fn migrate_state(state: StoredState<'_>) -> Result<Self, MigrationError> {
        Err(MigrationError::unknown(state))
    }
}

/// The part of a [`ProcessManager`] that [`React`], [`Keyed`] and similar traits require. Every process manager
/// implements it.
///
/// It has no supertraits except `Sized`. So a missing `#[derive(Default)]` is reported at the type, and not again at
/// each handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process manager",
    label = "not a process manager",
    note = "put `#[process_manager(subscribes = [..], dispatches = [..])]` on `{Self}`, or implement `ProcessManager` by hand"
)]
pub trait DeclaredProcessManager: Sized {
    /// The type itself.
    type Declared: ProcessManager<Envelope = Self::Envelope>;

    /// [`ProcessManager::Envelope`].
    type Envelope: Dispatch;
}

#[diagnostic::do_not_recommend]
impl<PM: ProcessManager> DeclaredProcessManager for PM {
    // `PM`. If `PM` is not a process manager, it is no type at all, so that rustc reports nothing more about it.
    type Declared = <<PM as ProcessManager>::Envelope as Yields<PM>>::Type;
    type Envelope = <PM as ProcessManager>::Envelope;
}

/// The starting point of a process manager in a store that does not know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartFrom {
    /// At the first event of the store.
    #[default]
    Origin,
    /// After the last event that is durable when the store is opened with it for the first time.
    Now,
}

/// The reaction of a process manager to the events of one aggregate, written by the user of `#[process_manager]`.
///
/// Outside of an impl, call it as `React::<Order>::react(&mut saga, &event, &mut reaction)`, since
/// `ProcessManager::react` has the same name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` subscribes to `{A}` but does not react to its events",
    label = "`impl React<{A}> for {Self}` is missing",
    note = "write `impl React<{A}> for {Self} {{ fn react(&mut self, event: &.., cx: &mut Reaction<'_, Self>) {{ .. }} }}`, or remove `{A}` from `subscribes`"
)]
pub trait React<A: Aggregate>:
    DeclaredProcessManager<Declared: SubscribesTo<Subscribed<A>>>
{
    /// Reacts to one event: changes the process manager's own state and sends commands through `cx`.
    // The trait has the same bound. rustc assumes it here when it compares an impl, so that a missing attribute is
    // reported once.
    fn react(&mut self, event: &<A as Aggregate>::DomainEvent, cx: &mut Reaction<'_, Self>)
    where
        Self: DeclaredProcessManager;
}

/// The aggregates in the `subscribes` list of a process manager or projection. It follows from the generated code.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not subscribe to `{A}`",
    label = "handles the events of `{A}`, which is not in `subscribes`",
    note = "add `{A}` to `subscribes = [..]` of `{Self}`, or remove this impl"
)]
pub trait SubscribesTo<A> {}

#[diagnostic::do_not_recommend]
impl<T: Subscribes<A>, A> SubscribesTo<A> for T {}

/// Wraps a command for one of the `dispatches` targets of a process manager. The attribute generates it.
pub trait DispatchesTo<A> {
    /// The envelope of this target.
    fn envelope(envelope: Envelope<A>) -> Self::Envelope
    where
        Self: ProcessManager,
        A: Aggregate;
}

/// An aggregate that the process manager `PM` may send commands to: an entry of its `dispatches` list.
#[diagnostic::on_unimplemented(
    message = "`{PM}` does not dispatch to `{Self}`",
    label = "this command belongs to `{Self}`, which is not in `dispatches`",
    note = "add `{Self}` to `dispatches = [..]` of `{PM}`"
)]
pub trait TargetOf<PM: ProcessManager>: Aggregate {
    /// The envelope of this target.
    fn envelope(envelope: Envelope<Self>) -> PM::Envelope;
}

#[diagnostic::do_not_recommend]
impl<PM: ProcessManager + DispatchesTo<A>, A: Aggregate> TargetOf<PM> for A {
    fn envelope(envelope: Envelope<A>) -> PM::Envelope {
        <PM as DispatchesTo<A>>::envelope(envelope)
    }
}

/// A command that the process manager `PM` may send: its aggregate is in the `dispatches` list. It follows from [`Command`] and
/// [`TargetOf`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the command of any aggregate",
    label = "not a command",
    note = "a command is the type named by `#[aggregate(command = ..)]`",
    note = "the id comes first, and then the command, as in `cx.send(\"ord-1\", OrderCommand::Cancel)`"
)]
pub trait SentBy<PM: ProcessManager>: Command {
    /// The envelope that holds it.
    fn envelope(envelope: Envelope<<Self as Command>::Aggregate>) -> PM::Envelope;
}

impl<PM, C> SentBy<PM> for C
where
    PM: ProcessManager,
    C: Command,
    <C as Command>::Aggregate: TargetOf<PM>,
{
    fn envelope(envelope: Envelope<<C as Command>::Aggregate>) -> PM::Envelope {
        <<C as Command>::Aggregate as TargetOf<PM>>::envelope(envelope)
    }
}

/// An event that a process manager cannot react to.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReactError {
    /// The stored event does not decode.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The event comes from an aggregate type that is not in the subscriptions.
    #[error(
        "the process manager has no handler for events of the aggregate type `{aggregate_type}`"
    )]
    UnexpectedAggregate {
        /// The stored name of the aggregate type.
        aggregate_type: String,
    },
    /// The key of an instance cannot be stored or does not read back.
    #[error("the key `{key}` cannot be used: {reason}")]
    Key {
        /// The text of the key.
        key: String,
        /// The problem of the key.
        reason: String,
    },
    /// A deadline that cannot be stored, or a stored deadline that cannot be read.
    #[error("the deadline `{name}` (`{message_type}`) cannot be used: {reason}")]
    Deadline {
        /// Its name.
        name: String,
        /// The stored name of its message's type.
        message_type: String,
        /// The problem of the deadline.
        reason: String,
    },
    /// A deadline whose message is not in the `deadlines` list.
    #[error(
        "the process manager has no handler for the deadline `{name}`, whose message is a `{message_type}`: put that type back into \
         `deadlines`, under the name it had"
    )]
    UnexpectedDeadline {
        /// Its name.
        name: String,
        /// The stored name of its message's type.
        message_type: String,
    },
    /// A reaction of a keyed process manager was requested without a key.
    #[error(
        "the process manager has an instance for each key: call `react_in` with the key of one"
    )]
    NoKey,
    /// The reason of a hand-written process manager.
    #[error("{0}")]
    Other(String),
}

impl ReactError {
    /// The error of a deadline without a handler.
    #[must_use]
    pub fn unexpected_deadline(deadline: &StoredDeadline) -> Self {
        Self::UnexpectedDeadline {
            name: deadline.name.clone(),
            message_type: deadline.message_type.clone(),
        }
    }
}
