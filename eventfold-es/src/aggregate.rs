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
/// This is the contract of the runtime. `#[aggregate]` implements it by delegating to [`Decider`]. A hand-written
/// implementation works next to declared types in one store.
///
/// # Contract
///
/// - [`handle`](Aggregate::handle) decides. It reads the state, changes nothing, does no I/O, and returns the events of the
///   command or a rejection. An empty list is a valid answer.
/// - [`apply`](Aggregate::apply) is total and deterministic: the same events result in the same state on every machine.
/// - The state survives serde: a state that is written and read back is the same state. Otherwise each load folds the
///   stream from its first event. This happens if [fields are left out](Aggregate::NOT_SAVED), or if a state does not
///   serialize or does not read back. It also happens after the store has
///   [detected](crate::store::AggregateStoreBuilder::snapshot_every) that a state differs after reading it back.
/// - A change of `apply` raises [`SNAPSHOT_VERSION`](Aggregate::SNAPSHOT_VERSION).
///
/// A panic in one of these, or in the `Serialize`, `Deserialize`, `Clone` or `Default` of a type, fails only that
/// command. The store discards the computed state and continues. A panic in a `Drop` is logged.
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
    /// The stored name of this aggregate type. An export also uses it as the directory of its streams.
    ///
    /// It is persisted: changing it is a data change. See [`crate::names`] for the allowed characters.
    const AGGREGATE_TYPE: &'static str;

    /// The version of the saved states of this aggregate. Default: 0.
    ///
    /// The store saves states as [snapshots](crate::store::AggregateStoreBuilder::snapshot_every) and loads aggregates from
    /// them. Raise the version when [`apply`](Aggregate::apply) or the meaning of a field changes: the store then ignores
    /// saved states of another version and folds the whole stream. It also ignores a state that does not deserialize.
    const SNAPSHOT_VERSION: u32 = 0;

    /// The fields that a saved state leaves out. Default: none.
    ///
    /// An aggregate with such fields has no [snapshots](crate::store::AggregateStoreBuilder::snapshot_every): each load folds
    /// all events of a stream, which gives these fields their values. `#[aggregate]` lists the fields under `#[serde(skip)]`,
    /// `skip_serializing` and `skip_deserializing`.
    const NOT_SAVED: &'static [&'static str] = &[];

    /// The shape of its saved states. Default: unknown.
    const STATE: Shape = Shape::Unknown;

    /// The name of its command type in the program, for the drawings of a [`Topology`](crate::topology::Topology). Default:
    /// empty, and not drawn.
    const COMMAND_TYPE: &'static str = "";

    /// Whether it is a schedule, whose occurrences the store records.
    #[doc(hidden)]
    const IS_SCHEDULE: bool = false;

    /// The commands this aggregate decides.
    type Command: Send + 'static;

    /// The events this aggregate produces and folds.
    type DomainEvent: DomainEvent;

    /// The reason of a rejection.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Decides `command` against the current state.
    ///
    /// # Errors
    ///
    /// The rejection of the aggregate. It stores nothing.
    fn handle(&self, command: Self::Command) -> Result<Vec<Self::DomainEvent>, Self::Error>;

    /// [`handle`](Aggregate::handle) with the context of the decision; the store calls this method. Default: calls `handle`.
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
    /// The store compares a state with its copy after reading it back, before it uses snapshots of this type. `#[aggregate]`
    /// implements the comparison for `PartialEq` types. By hand it is `Some(self == other)`.
    fn is_same(&self, other: &Self) -> Option<bool> {
        let _ = other;
        None
    }

    /// A fingerprint of the command. If two commands with different fingerprints have the same [idempotency
    /// key](crate::CommandContext::with_idempotency_key), the second is refused. Default: `None`, and commands are not
    /// compared.
    ///
    /// `#[aggregate]` implements it for `Serialize` command types, and `#[aggregate(fingerprint = ..)]` by the value of a
    /// function. By hand it is [`fingerprint(command)`](crate::fingerprint()), or the fingerprint of a part that does not
    /// change when a command is sent again.
    fn fingerprint(command: &Self::Command) -> Option<u64> {
        let _ = command;
        None
    }
}

/// `A`, as an entry of `subscribes = [..]`. Generated code uses this name when it calls the handler.
///
/// It is `A` itself. If `A` is not an [`Aggregate`], it is no type at all. So rustc reports once that `A` is not an
/// aggregate, and does not also report the missing handler.
pub type Subscribed<A> = <<A as Aggregate>::DomainEvent as Yields<A>>::Type;

/// The types of an [`Aggregate`], which [`Decider`] requires. Every aggregate implements it.
///
/// Rust checks the supertraits of a supertrait wherever the trait is implemented. Through this trait a missing
/// `#[derive(Default)]` is reported at the type, and not again at its `impl Decider`.
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

/// The decision and the fold that the user of `#[aggregate]` writes.
///
/// Signatures may name the concrete types: `fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError>`.
///
/// A decision with the id, the version, the time or the actor is a [`ContextDecider`].
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
    /// The rejection of the aggregate. It stores nothing.
    fn decide(
        &self,
        command: <Self as DeclaredAggregate>::Command,
    ) -> Result<Vec<<Self as DeclaredAggregate>::DomainEvent>, <Self as DeclaredAggregate>::Error>;

    /// Folds one event into the state.
    fn evolve(&mut self, event: &<Self as DeclaredAggregate>::DomainEvent);
}
