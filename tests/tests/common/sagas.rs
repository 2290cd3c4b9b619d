//! Process managers over the [shop](super::shop), declared with the macro and written by hand.

use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;

use super::shop::{Inventory, InventoryCommand, Order, OrderEvent};

/// Reserves what is ordered.
#[process_manager(subscribes = [Order], dispatches = [Inventory])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReservationSaga {
    /// How many orders it saw.
    pub placed: u64,
}

impl React<Order> for ReservationSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        if let OrderEvent::Placed { sku, qty } = event {
            self.placed += 1;
            cx.send(
                format!("inv-{sku}"),
                InventoryCommand::Reserve { qty: *qty },
            );
        }
    }
}

/// The envelope that reserves `qty` pieces of `sku`, as a process manager without macro writes it.
#[must_use]
pub fn reserve(sku: &str, qty: u32) -> CommandEnvelope {
    CommandEnvelope {
        aggregate_type: Inventory::AGGREGATE_TYPE.to_owned(),
        instance_id: format!("inv-{sku}"),
        command: serde_json::json!({ "Reserve": { "qty": qty } }),
        context: CommandContext::default().with_actor("reservation-by-hand"),
    }
}

/// The same without the macro, with erased envelopes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReservationByHand {
    /// How many orders it saw.
    pub placed: u64,
}

impl ProcessManager for ReservationByHand {
    const NAME: &'static str = "reservation-by-hand";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Order::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        match OrderEvent::from_event(event)? {
            OrderEvent::Placed { sku, qty } => {
                self.placed += 1;
                Ok(vec![reserve(&sku, qty)])
            }
            OrderEvent::Confirmed => Ok(Vec::new()),
        }
    }
}
