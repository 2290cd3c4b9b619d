use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { sku: String, qty: u32 },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { sku: String, qty: u32 },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OrderError {
    #[error("the order was already placed")]
    AlreadyPlaced,
}

#[aggregate]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match command {
            OrderCommand::Place { .. } if self.qty > 0 => Err(OrderError::AlreadyPlaced),
            OrderCommand::Place { sku, qty } => Ok(vec![OrderEvent::Placed { sku, qty }]),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed { qty, .. } => self.qty = *qty,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum InventoryCommand {
    Reserve { qty: u32 },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InventoryEvent {
    Reserved { qty: u32 },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Inventory {
    pub reserved: u32,
}

impl Decider for Inventory {
    fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, Infallible> {
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
pub struct ReservationSaga {
    pub placed: u64,
}

impl React<Order> for ReservationSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        let OrderEvent::Placed { sku, qty } = event;
        self.placed += 1;
        cx.send(
            format!("inv-{sku}"),
            InventoryCommand::Reserve { qty: *qty },
        );
    }
}

#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}

impl Project<Order> for Sales {
    fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
        let OrderEvent::Placed { qty, .. } = event;
        self.units += u64::from(*qty);
    }
}

pub async fn run(directory: &std::path::Path, id: &str) -> Result<u32, eventfold_es::Error> {
    let store = AggregateStore::builder(directory)
        .process_manager::<ReservationSaga>()
        .projection::<Sales>()
        .open()
        .await?;
    let place = OrderCommand::Place {
        sku: "W-1".to_owned(),
        qty: 2,
    };
    store.send(id, place, ()).await?;
    let sales = store.projection::<Sales>().await?;
    println!("{} units", sales.units);
    let inventory = store.get::<Inventory>("inv-W-1").await?;
    Ok(inventory.state().await?.reserved)
}
