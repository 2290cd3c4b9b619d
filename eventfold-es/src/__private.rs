//! Everything that generated code names, and nothing else. Not part of the public API.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
pub use serde_json::value::RawValue;

use crate::envelope::{DispatchTarget, Envelope, Router, TargetVisitor};
use crate::process_manager::{Correlation, Keyed, ReactError};

/// What the stubs of a generic declaration, which is an error, assume of the type.
pub trait Stored: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Stored for T {}

/// [`Correlation::erase`] for the key of `PM`, which is asked to be one where it is declared, and not here once more.
///
/// # Errors
///
/// As [`Correlation::erase`].
pub fn erase<PM: Keyed>(correlation: Correlation<PM::Key>) -> Result<Correlation, ReactError> {
    correlation.erase()
}

/// How generated code uses an entry of `dispatches`: in one form only, `<Inventory as Target>::…`.
///
/// All uses of an entry that is no [`DispatchTarget`] then fail with the same words at the same place, which rustc
/// prints once; so the words here are those of `DispatchTarget`. Bounds on the entry or its command would each fail in
/// words of their own, so this trait has none.
#[diagnostic::on_unimplemented(
    message = "the commands of `{Self}` cannot be dispatched by a process manager",
    label = "its command type cannot be stored as a dead letter",
    note = "a dispatched command is kept when it is rejected: put `#[derive(Clone, Serialize, Deserialize)]` on the command type of `{Self}`"
)]
pub trait Target {
    /// A command with its address.
    type Envelope;

    /// Names this target.
    fn visit(targets: &mut impl TargetVisitor);

    /// Hands a command over.
    fn route<R: Router>(envelope: Self::Envelope, router: R) -> R::Routed;

    /// `Clone` of a variant.
    fn clone(envelope: &Self::Envelope) -> Self::Envelope;

    /// `Debug` of a variant.
    ///
    /// # Errors
    ///
    /// Those of the formatter.
    fn fmt(envelope: &Self::Envelope, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

#[diagnostic::do_not_recommend]
impl<A: DispatchTarget> Target for A {
    type Envelope = Envelope<A>;

    fn visit(targets: &mut impl TargetVisitor) {
        targets.target::<A>();
    }

    fn route<R: Router>(envelope: Envelope<A>, router: R) -> R::Routed {
        router.typed(envelope)
    }

    fn clone(envelope: &Envelope<A>) -> Envelope<A> {
        Clone::clone(envelope)
    }

    fn fmt(envelope: &Envelope<A>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(envelope, f)
    }
}
