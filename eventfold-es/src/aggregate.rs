//! Aggregates: the types that decide commands and fold events.

mod deciding;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use deciding::{ContextDecider, DecidesWithContext, Deciding};

use crate::__private::Yields;
use crate::event::DomainEvent;
use crate::schema::Shape;

/// A domain type whose state is the fold of its events.
///
/// This is the contract the runtime works with. `#[aggregate]` implements it by delegating to
/// [`Decider`]; a type that implements it by hand works beside macro-declared ones in one store.
///
/// # Contract
///
/// - [`handle`](Aggregate::handle) decides: it reads the state, changes nothing, does no I/O, and returns the events that
///   the command causes (none is a valid answer) or a rejection.
/// - [`apply`](Aggregate::apply) is total and deterministic: the same events give the same state on every machine.
/// - The state survives serde: what `Deserialize` makes of what `Serialize` wrote is the same state. Where it is not, streams are folded
///   from the first event each time: if [fields are left out](Aggregate::NOT_SAVED), if a state does not serialize or does not read
///   back, and once the store has [noticed](crate::store::AggregateStoreBuilder::snapshot_every) that a state which was read back goes on
///   differently.
/// - Whoever changes `apply` raises [`SNAPSHOT_VERSION`](Aggregate::SNAPSHOT_VERSION).
///
/// A panic in either, or in the `Serialize`, `Deserialize`, `Clone` or `Default` of a type, fails that command only; the store
/// discards the state it was computing and goes on. A panic in a `Drop` is told in the log.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// pub enum CounterEvent { Added { amount: u64 } }
///
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// pub struct Counter { total: u64 }
///
/// impl Aggregate for Counter {
///     const AGGREGATE_TYPE: &'static str = "counter";
///     type Command = u64;
///     type DomainEvent = CounterEvent;
///     type Error = std::convert::Infallible;
///
///     fn handle(&self, amount: u64) -> Result<Vec<CounterEvent>, Self::Error> {
///         Ok(vec![CounterEvent::Added { amount }])
///     }
///
///     fn apply(mut self, event: &CounterEvent) -> Self {
///         let CounterEvent::Added { amount } = event;
///         self.total += amount;
///         self
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "put `#[aggregate]` on `{Self}` and implement `Decider` for it, or implement `Aggregate` by hand",
    note = "where an aggregate is asked for, its own type is meant (`Order`), not its command or its event",
    note = "in `subscribes`, list the aggregate (`Order`, and not `OrderEvent`), and match on its events in the handler; a deadline is handled by `impl OnDeadline<..>`"
)]
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The stored name of this aggregate type, which an export also takes for the directory of its streams.
    ///
    /// It is persisted: changing it is a data change. See [`crate::names`] for what can be stored.
    const AGGREGATE_TYPE: &'static str;

    /// The version of the saved states of this aggregate. Default: 0.
    ///
    /// The store saves states now and then ([snapshots](crate::store::AggregateStoreBuilder::snapshot_every)) and goes on
    /// from there instead of folding a stream from its first event. Raise it when [`apply`](Aggregate::apply) or the meaning
    /// of a field changes: a state that was saved under another version is not used, and the stream is folded anew. What no
    /// longer deserializes is not used either, whatever its version.
    const SNAPSHOT_VERSION: u32 = 0;

    /// The fields that a saved state leaves out. Default: none.
    ///
    /// An aggregate with such fields has no [snapshots](crate::store::AggregateStoreBuilder::snapshot_every): each load folds all events of
    /// a stream, so that these fields have their values. `#[aggregate]` lists the fields under `#[serde(skip)]`, `skip_serializing` and
    /// `skip_deserializing`.
    const NOT_SAVED: &'static [&'static str] = &[];

    /// What its saved states look like. Default: not known.
    const STATE: Shape = Shape::Unknown;

    /// What its command type is called in the program, for the drawings of a [`Topology`](crate::topology::Topology). Default:
    /// empty, and not drawn.
    const COMMAND_TYPE: &'static str = "";

    /// The commands this aggregate decides.
    type Command: Send + 'static;

    /// The events this aggregate produces and folds.
    type DomainEvent: DomainEvent;

    /// Why a command is rejected.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Decides `command` against the current state.
    ///
    /// # Errors
    ///
    /// The aggregate's own rejection; nothing is stored then.
    fn handle(&self, command: Self::Command) -> Result<Vec<Self::DomainEvent>, Self::Error>;

    /// [`handle`](Aggregate::handle), with what is known besides the state and the command: the store calls this one. Default: what
    /// `handle` says, which knows nothing else.
    ///
    /// # Errors
    ///
    /// As [`handle`](Aggregate::handle).
    fn handle_with(
        &self,
        command: Self::Command,
        cx: &Deciding<'_>,
    ) -> Result<Vec<Self::DomainEvent>, Self::Error> {
        let _ = cx;
        self.handle(command)
    }

    /// Folds one event into the state.
    fn apply(self, event: &Self::DomainEvent) -> Self;

    /// Whether two states are equal; `None` if they cannot be compared. Default: `None`.
    ///
    /// The store compares a state with the copy that it has read back, before it believes the snapshots of this type. `#[aggregate]`
    /// implements it where the type is `PartialEq`. By hand it is `Some(self == other)`.
    fn is_same(&self, other: &Self) -> Option<bool> {
        let _ = other;
        None
    }

    /// Tells one command from another: an [idempotency key](crate::CommandContext::with_idempotency_key) that is used for two
    /// different ones is refused. Default: `None`, and commands are not compared.
    ///
    /// `#[aggregate]` implements it where the command type is `Serialize`, and `#[aggregate(fingerprint = ..)]` by what a function says of
    /// the command. By hand it is
    /// [`fingerprint(command)`](crate::fingerprint()), or the fingerprint of a part that does not change when a command is sent again.
    fn fingerprint(command: &Self::Command) -> Option<u64> {
        let _ = command;
        None
    }
}

/// `A`, as one of the aggregates in `subscribes = [..]`: what generated code calls it where it calls its handler.
///
/// It is nothing but `A`. Where `A` is no [`Aggregate`] it is no type at all, so that rustc says once that `A` is none, and not once more
/// that it has no handler.
pub type Subscribed<A> = <<A as Aggregate>::DomainEvent as Yields<A>>::Type;

/// An [`Aggregate`] by its types alone: what [`Decider`] asks for. Every aggregate is one.
///
/// Rust asks for the supertraits of a supertrait wherever the trait is implemented. Through this one a missing
/// `#[derive(Default)]` is reported at the type, and not once more at its `impl Decider`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "put `#[aggregate]` on `{Self}` and implement `Decider` for it, or implement `Aggregate` by hand"
)]
pub trait DeclaredAggregate {
    /// [`Aggregate::Command`].
    type Command;

    /// [`Aggregate::DomainEvent`].
    type DomainEvent;

    /// [`Aggregate::Error`].
    type Error;
}

#[diagnostic::do_not_recommend]
impl<A: Aggregate> DeclaredAggregate for A {
    type Command = <A as Aggregate>::Command;
    type DomainEvent = <A as Aggregate>::DomainEvent;
    type Error = <A as Aggregate>::Error;
}

/// What the user of `#[aggregate]` writes: the decision and the fold.
///
/// Signatures may name the concrete types: `fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError>`.
///
/// A decision that needs the id, the version, the time or the actor is that of a [`ContextDecider`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared with `#[aggregate]` but does not decide its commands",
    label = "`impl Decider for {Self}` is missing",
    note = "write `impl Decider for {Self} {{ fn decide(&self, command: ..) -> Result<Vec<..>, ..> {{ .. }} fn evolve(&mut self, event: &..) {{ .. }} }}`"
)]
pub trait Decider: DeclaredAggregate {
    /// Decides `command` against the current state: the events it causes, or a rejection.
    ///
    /// # Errors
    ///
    /// The aggregate's own rejection; nothing is stored then.
    fn decide(
        &self,
        command: <Self as DeclaredAggregate>::Command,
    ) -> Result<Vec<<Self as DeclaredAggregate>::DomainEvent>, <Self as DeclaredAggregate>::Error>;

    /// Folds one event into the state.
    fn evolve(&mut self, event: &<Self as DeclaredAggregate>::DomainEvent);
}
