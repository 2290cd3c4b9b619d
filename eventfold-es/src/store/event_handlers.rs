//! An operator's view of an event handler: the handle of a process manager, whose instances are the keys.

use std::any::type_name;

use super::{AggregateStore, ProcessManagerHandle};
use crate::error::StoreError;
use crate::event_handler::{EventHandler, Handled};

/// One event handler of a store: its progress, its failures, and its controls.
///
/// An instance of a process manager is here a key: the value of [`EventHandler::key_of`], by default the stream in the form
/// `order/ord-1`. For example, [`release("order/ord-1")`](ProcessManagerHandle::release) lets a parked stream continue.
///
/// | call | effect for a handler |
/// |---|---|
/// | [`pause`](ProcessManagerHandle::pause) | no call begins until [`resume`](ProcessManagerHandle::resume); running calls end, and are stored |
/// | [`release`](ProcessManagerHandle::release) | the held events of a key are called now, in order |
/// | [`discard_parked`](ProcessManagerHandle::discard_parked) | the held events of a key are skipped; a call that runs for one of them ends without an effect inside |
/// | [`redrive`](ProcessManagerHandle::redrive) | the event of a dead letter is called again, with the same idempotency key |
/// | [`rebuild_state`](ProcessManagerHandle::rebuild_state) | refused: a handler has no state |
pub type EventHandlerHandle<H> = ProcessManagerHandle<Handled<H>>;

impl AggregateStore {
    /// The handle of an event handler for an operator.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it.
    pub fn event_handler<H: EventHandler>(&self) -> Result<EventHandlerHandle<H>, StoreError> {
        self.process_manager::<Handled<H>>()
            .map_err(|_| StoreError::NotRegistered {
                type_name: type_name::<H>(),
                method: "event_handler",
            })
    }
}
