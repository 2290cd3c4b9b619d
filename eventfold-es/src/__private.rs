//! Everything that generated code names, and nothing else. Not part of the public API.

use serde::Serialize;
use serde::de::DeserializeOwned;
pub use serde::{Deserializer, Serializer};
pub use serde_json::value::RawValue;

use crate::aggregate::Aggregate;
use crate::envelope::{Envelope, Router, TargetVisitor};
use crate::process_manager::{Correlation, InstanceKey, Keyed, ReactError};

pub use crate::__fingerprint as fingerprint;
pub use crate::__is_same as is_same;
pub use crate::comparing::{Comparing, NotComparable, NotEquatable};
pub use crate::fingerprint::{TellsIntent, fingerprint_by};
pub use crate::topology::listed::{
    Commands, ListedAggregate, ListedProcessManager, ListedProjection, NotATarget, OfNobody,
};
pub use crate::topology::objection::{aggregate_fits, process_manager_fits, projection_fits};

/// What the stubs of a generic declaration, which is an error, assume of the type.
pub trait Stored: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Stored for T {}

/// Gives `T`, whatever it is implemented for, so that `<Known as Yields<T>>::Type` is `T` if `Known` is a type.
pub trait Yields<T> {
    /// `T`.
    type Type;
}

impl<Known: ?Sized, T> Yields<T> for Known {
    type Type = T;
}

/// [`Correlation::erase`] for the key of `PM`, which is asked to be one where it is declared, and not here once more.
///
/// # Errors
///
/// As [`Correlation::erase`].
pub fn erase<PM: Keyed>(correlation: Correlation<PM::Key>) -> Result<Correlation, ReactError> {
    correlation.erase()
}

/// The key of `PM` that is stored as `text`; as in [`erase`], the key is asked to be one where it is declared.
///
/// # Errors
///
/// As [`InstanceKey::from_text`].
pub fn own_key<PM: Keyed>(text: &str) -> Result<PM::Key, ReactError> {
    PM::Key::from_text(text)
}

/// How generated code uses the envelope of an entry of `dispatches`: in one form only, `<Envelope<Inventory> as Addressed>::…`.
///
/// rustc prints errors that agree in words and place once. The type alone says whether its target is an aggregate, in the
/// words that it has in the envelope enum; what is left for the trait to say is whether the commands can be kept.
pub trait Addressed: Sized {
    /// The stored name of the target.
    const TARGET: &'static str;

    /// Names the target.
    fn visit(targets: &mut impl TargetVisitor);

    /// Hands the command over.
    fn route<R: Router>(self, router: R) -> R::Routed;
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
