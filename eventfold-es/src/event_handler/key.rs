//! The key of an event: events of one key are handled in order.

use super::{DeclaredEventHandler, EventHandler};
use crate::aggregate::Aggregate;
use crate::process_manager::{InstanceKey, ReactError, SubscribesTo};
use crate::projection::EventContext;

/// An event handler whose events are ordered by a key. `#[event_handler(.., key = CustomerId)]` generates it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared without `key`, so its events are in order per stream",
    label = "there is no key",
    note = "add `key = ..` to `#[event_handler(..)]` of `{Self}`, with the type of the key, or remove this impl"
)]
pub trait HandlerKeyed: DeclaredEventHandler {
    /// The type of the key.
    type Key: InstanceKey;
}

/// The key of a [`HandlerKeyed`] event handler.
pub type HandlerKeyOf<H> = <<H as DeclaredEventHandler>::Declared as HandlerKeyed>::Key;

/// The keys of the events of one aggregate, written by the user of `#[event_handler(.., key = ..)]`.
///
/// There is one impl for each aggregate in `subscribes`. The result must depend on the event alone. For example, with the
/// customer as the key, the mails to one customer leave in the order of the events, whichever orders they are about.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `key`, but does not say which key the events of `{A}` have",
    label = "`impl HandleKey<{A}> for {Self}` is missing",
    note = "write `impl HandleKey<{A}> for {Self} {{ fn key(event: &.., cx: &EventContext<'_>) -> .. {{ .. }} }}`, or remove `{A}` from `subscribes`"
)]
pub trait HandleKey<A: Aggregate>:
    DeclaredEventHandler<Declared: SubscribesTo<A> + HandlerKeyed>
{
    /// The key of `event`.
    fn key(event: &<A as Aggregate>::DomainEvent, cx: &EventContext<'_>) -> HandlerKeyOf<Self>;
}

/// The stored text of a key.
///
/// # Errors
///
/// [`ReactError::Key`] if it cannot be stored; see [`InstanceKey::to_text`].
pub fn key_text<H: EventHandler + HandlerKeyed>(
    key: &<H as HandlerKeyed>::Key,
) -> Result<String, ReactError> {
    key.to_text()
}

/// The key of an event of a handler without `key`: `order/ord-1`.
#[must_use]
pub fn stream_key(aggregate_type: &str, stream_id: &str) -> String {
    // A stored name has no `/`.
    format!("{aggregate_type}/{stream_id}")
}
