//! Orders, and the stock that is reserved for them.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { sku: String, qty: u32 },
    Confirm,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { sku: String, qty: u32 },
    Confirmed,
}

#[derive(Debug, thiserror::Error)]
#[error("the order was already placed")]
pub struct AlreadyPlaced;

#[aggregate(error = AlreadyPlaced)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub is_placed: bool,
    /// More than one confirmation would be a mistake of the nodes.
    pub confirmations: u32,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, AlreadyPlaced> {
        match command {
            OrderCommand::Place { .. } if self.is_placed => Err(AlreadyPlaced),
            OrderCommand::Place { sku, qty } => Ok(vec![OrderEvent::Placed { sku, qty }]),
            OrderCommand::Confirm => Ok(vec![OrderEvent::Confirmed]),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed { .. } => self.is_placed = true,
            OrderEvent::Confirmed => self.confirmations += 1,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum InventoryCommand {
    Reserve { order: String, qty: u32 },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InventoryEvent {
    Reserved { order: String, qty: u32 },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    pub reserved: u32,
}

impl Decider for Inventory {
    fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, Infallible> {
        let InventoryCommand::Reserve { order, qty } = command;
        Ok(vec![InventoryEvent::Reserved { order, qty }])
    }

    fn evolve(&mut self, event: &InventoryEvent) {
        let InventoryEvent::Reserved { qty, .. } = event;
        self.reserved += qty;
    }
}

/// Reserves stock for each order, and then confirms the order. It runs on the leader.
#[process_manager(subscribes = [Order, Inventory], dispatches = [Order, Inventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReservationSaga;

impl React<Order> for ReservationSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        if let OrderEvent::Placed { sku, qty } = event {
            let (order, qty) = (cx.stream_id().to_owned(), *qty);
            cx.send(sku.clone(), InventoryCommand::Reserve { order, qty });
        }
    }
}

impl React<Inventory> for ReservationSaga {
    fn react(&mut self, event: &InventoryEvent, cx: &mut Reaction<'_, Self>) {
        let InventoryEvent::Reserved { order, .. } = event;
        cx.send(order.clone(), OrderCommand::Confirm);
    }
}
