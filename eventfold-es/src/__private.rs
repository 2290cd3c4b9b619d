//! All items that generated code names, and nothing else. Not part of the public API.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
pub use serde::{Deserializer, Serializer};
pub use serde_json::value::RawValue;

use crate::aggregate::Aggregate;
use crate::envelope::{Envelope, Router, TargetVisitor};
pub use crate::event::StoredEvent;
use crate::event::{DomainEvent, EventError, RecordedEvent};
use crate::process_manager::{Correlation, InstanceKey, Keyed, ReactError};
use crate::projection::{ProjectError, Projection, RowKey, Sink};

pub use crate::__fingerprint as fingerprint;
pub use crate::__is_same as is_same;
pub use crate::comparing::{Comparing, NotComparable, NotEquatable};
pub use crate::event_handler::key_text;
pub use crate::fingerprint::{TellsIntent, fingerprint_by};
pub use crate::projection::Deletion;
pub use crate::store::{Decodes, subscribe};
#[cfg(feature = "schedules")]
pub use crate::topology::listed::ListedSchedule;
pub use crate::topology::listed::{
    Commands, ListedAggregate, ListedEventHandler, ListedProcessManager, ListedProjection,
    NotATarget, OfNobody,
};
pub use crate::topology::objection::{
    aggregate_fits, event_handler_fits, process_manager_fits, projection_fits,
};

/// The assumed bounds of a type in the stubs of a generic declaration, which is an error.
pub trait Stored: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Stored for T {}

/// Maps every type to `T`. So `<Known as Yields<T>>::Type` is `T` if `Known` is a type.
pub trait Yields<T> {
    /// `T`.
    type Type;
}

impl<Known: ?Sized, T> Yields<T> for Known {
    type Type = T;
}

/// `<Order as If<{ CONDITION }>>::Type` is `Order`, whatever `Order` is. With a condition that cannot be evaluated, it
/// is no type at all. rustc then reports the condition, and nothing about such a type.
pub trait If<const CONDITION: bool> {
    /// The type itself.
    type Type;
}

impl<T> If<true> for T {
    type Type = T;
}

/// `T`, if the condition can be evaluated.
pub type Checked<T, const CONDITION: bool> = <T as If<CONDITION>>::Type;

/// Holds for all known names: the condition of `subscribes`. It cannot be evaluated if an entry is not an aggregate.
#[must_use]
pub const fn are_known(_stored_names: &[&'static str]) -> bool {
    true
}

/// Marks the entries of `subscribes`. [`SubscribesTo`](crate::contract::SubscribesTo) follows from it, so that rustc
/// lists none of these impls.
pub trait Subscribes<A> {}

/// Decodes the event of a subscribed aggregate. The declaration of the aggregate already requires a [`DomainEvent`], so
/// this function does not.
///
/// # Errors
///
/// As [`DomainEvent::from_event`].
pub fn decode<A: Aggregate>(event: &RecordedEvent) -> Result<A::DomainEvent, EventError> {
    A::DomainEvent::from_event(event)
}

/// [`decode`], straight from the line of the event if the line is available.
///
/// # Errors
///
/// As [`DomainEvent::from_event`].
pub fn decode_stored<A: Aggregate>(event: &StoredEvent<'_>) -> Result<A::DomainEvent, EventError> {
    A::DomainEvent::from_stored(event)
}

/// The handlers of a declared projection. It has no supertraits, so that a missing `#[derive(Default)]` is reported at the type only.
pub trait Folds {
    /// As [`Projection::apply`](crate::Projection::apply).
    ///
    /// # Errors
    ///
    /// As [`Projection::apply`](crate::Projection::apply).
    fn fold(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &StoredEvent<'_>,
    ) -> Result<(), ProjectError>;
}

/// Makes the state its default, if its handler has called [`EventContext::delete`](crate::EventContext::delete).
///
/// The declaration already requires a `Default`. A bound on [`Projection`] instead of `Default` reports its absence once.
pub fn delete_if_asked<P: Projection>(state: &mut P, deletion: &Deletion) {
    if deletion.is_asked() {
        *state = P::default();
    }
}

/// Holds for the key of rows.
#[must_use]
pub const fn is_row_key<K: RowKey>() -> bool {
    true
}

/// The name of an index over values of this type.
#[must_use]
pub const fn indexed<V: RowKey>(name: &'static str) -> &'static str {
    name
}

/// Holds for a sink.
#[must_use]
pub const fn is_sink<S: Sink>() -> bool {
    true
}

/// Holds for the error of an aggregate.
#[must_use]
pub const fn is_rejection<E: Rejection>() -> bool {
    true
}

/// The error of an aggregate, as `#[aggregate]` requires it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of an aggregate",
    label = "no `std::error::Error` that is `Send`, `Sync` and `'static`",
    note = "put `#[derive(Debug, thiserror::Error)]` on `{Self}` and `#[error(\"..\")]` on each reason, or write `impl std::error::Error for {Self}`",
    note = "what it holds goes from thread to thread: an `Arc` and no `Rc`, a `String` and no `&str`"
)]
pub trait Rejection: std::error::Error + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<E: std::error::Error + Send + Sync + 'static> Rejection for E {}

/// [`Correlation::erase`] for the key of `PM`. The declaration already requires an [`InstanceKey`], so this function
/// does not.
///
/// # Errors
///
/// As [`Correlation::erase`].
pub fn erase<PM: Keyed>(correlation: Correlation<PM::Key>) -> Result<Correlation, ReactError> {
    correlation.erase()
}

/// The key of `PM` whose stored text is `text`. As in [`erase`], the declaration already requires an [`InstanceKey`].
///
/// # Errors
///
/// As [`InstanceKey::from_text`].
pub fn own_key<PM: Keyed>(text: &str) -> Result<PM::Key, ReactError> {
    PM::Key::from_text(text)
}

/// The conversion of an argument, as a bound on the type of another argument: on its aggregate or its message.
///
/// rustc reports a bound on an argument even if the number of arguments is wrong. It does not as long as `Self` is
/// unknown.
pub trait Given<T, To> {
    /// The converted argument.
    fn convert(argument: T) -> To;
}

impl<Known, T: Into<To>, To> Given<T, To> for Known {
    fn convert(argument: T) -> To {
        argument.into()
    }
}

/// Like [`Given`], for an argument that displays as text.
pub trait Shows<T> {
    /// The text.
    fn text(argument: T) -> String;
}

impl<Known, T: fmt::Display> Shows<T> for Known {
    fn text(argument: T) -> String {
        argument.to_string()
    }
}

/// The use of the envelope of an entry of `dispatches` by generated code. There is one form only,
/// `<Envelope<Inventory> as Addressed>::…`.
///
/// rustc prints errors with the same words and place once. The type alone determines whether its target is an
/// aggregate, in the same words as in the envelope enum. The trait only adds whether its commands can be kept.
pub trait Addressed: Sized {
    /// The stored name of the target.
    const TARGET: &'static str;

    /// Names the target.
    fn visit(targets: &mut impl TargetVisitor);

    /// Passes the command to the router.
    fn route<R: Router>(self, router: R) -> R::Routed;

    /// A clone.
    #[must_use]
    fn cloned(&self) -> Self;

    /// Prints the variant of an envelope enum, as a derived `Debug` does.
    ///
    /// # Errors
    ///
    /// As [`fmt::Debug::fmt`].
    fn print(&self, variant: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<A> Addressed for Envelope<A>
where
    A: Aggregate,
    A::Command: Kept,
{
    const TARGET: &'static str = A::AGGREGATE_TYPE;

    fn visit(targets: &mut impl TargetVisitor) {
        targets.target::<A>();
    }

    fn route<R: Router>(self, router: R) -> R::Routed {
        router.typed(self)
    }

    fn cloned(&self) -> Self {
        self.clone()
    }

    fn print(&self, variant: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(variant).field(self).finish()
    }
}

/// A command that the dead-letter log can hold.
#[diagnostic::on_unimplemented(
    message = "the command `{Self}` cannot be dispatched by a process manager",
    label = "its command `{Self}` cannot be kept as a dead letter",
    note = "a dispatched command is kept when it is rejected: put `#[derive(Clone, Serialize, Deserialize)]` on `{Self}`"
)]
pub trait Kept: Clone + Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<C: Clone + Serialize + DeserializeOwned> Kept for C {}
