//! The Goal example of the Phase 3 document, word for word, in the default run mode.

use eventfold_es::prelude::*;

#[derive(Debug)]
pub enum OrderCommand {
    Place { sku: &'static str, qty: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { sku: String, qty: u32 },
}

#[derive(Debug, thiserror::Error)]
pub enum OrderError {}

#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    placed: bool,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        let OrderCommand::Place { sku, qty } = command;
        let sku = sku.to_owned();
        Ok(vec![OrderEvent::Placed { sku, qty }])
    }

    fn evolve(&mut self, event: &OrderEvent) {
        let OrderEvent::Placed { .. } = event;
        self.placed = true;
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum InventoryCommand {
    Reserve { qty: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InventoryEvent {
    Reserved { qty: u32 },
}

#[derive(Debug, thiserror::Error)]
pub enum InventoryError {}

#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    reserved: u32,
}

impl Decider for Inventory {
    fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, InventoryError> {
        let InventoryCommand::Reserve { qty } = command;
        Ok(vec![InventoryEvent::Reserved { qty }])
    }

    fn evolve(&mut self, event: &InventoryEvent) {
        let InventoryEvent::Reserved { qty } = event;
        self.reserved += qty;
    }
}

#[process_manager(subscribes = [Order], dispatches = [Inventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReservationSaga;

impl React<Order> for ReservationSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        let OrderEvent::Placed { sku, qty } = event;
        cx.send(
            format!("inv-{sku}"),
            InventoryCommand::Reserve { qty: *qty },
        );
    }
}

#[tokio::test]
async fn goal_example() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let ctx = CommandContext::default();

    let store = AggregateStore::builder(tmp.path())
        .process_manager::<ReservationSaga>()
        .open()
        .await?;

    // Place an order -- the saga reacts by reserving inventory.
    let order = store.get::<Order>("ord-1").await?;
    order
        .execute(OrderCommand::Place { sku: "W-1", qty: 2 }, ctx)
        .await?;

    // The saga dispatched a command to the Inventory aggregate.
    let inv = store.get::<Inventory>("inv-W-1").await?;
    let inv_state = inv.state().await?;
    assert_eq!(inv_state.reserved, 2);
    Ok(())
}
