use std::convert::Infallible;

use eventfold_es_020 as eventfold_es;

use eventfold_es::{Aggregate, CommandContext, CommandEnvelope, ProcessManager, Projection};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { sku: String, qty: u32 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { sku: String, qty: u32 },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OrderError {
    #[error("the order was already placed")]
    AlreadyPlaced,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}

impl Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = "order";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = OrderError;

    fn handle(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match command {
            OrderCommand::Place { .. } if self.qty > 0 => Err(OrderError::AlreadyPlaced),
            OrderCommand::Place { sku, qty } => Ok(vec![OrderEvent::Placed { sku, qty }]),
        }
    }

    fn apply(mut self, event: &OrderEvent) -> Self {
        match event {
            OrderEvent::Placed { qty, .. } => self.qty = *qty,
        }
        self
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum InventoryCommand {
    Reserve { qty: u32 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum InventoryEvent {
    Reserved { qty: u32 },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Inventory {
    pub reserved: u32,
}

impl Aggregate for Inventory {
    const AGGREGATE_TYPE: &'static str = "inventory";
    type Command = InventoryCommand;
    type DomainEvent = InventoryEvent;
    type Error = Infallible;

    fn handle(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, Infallible> {
        let InventoryCommand::Reserve { qty } = command;
        Ok(vec![InventoryEvent::Reserved { qty }])
    }

    fn apply(mut self, event: &InventoryEvent) -> Self {
        let InventoryEvent::Reserved { qty } = event;
        self.reserved += qty;
        self
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReservationSaga {
    pub placed: u64,
}

impl ProcessManager for ReservationSaga {
    const NAME: &'static str = "reservation-saga";

    fn subscriptions(&self) -> &'static [&'static str] {
        &["order"]
    }

    fn react(
        &mut self,
        aggregate_type: &str,
        _stream_id: &str,
        event: &eventfold::Event,
    ) -> Vec<CommandEnvelope> {
        if aggregate_type != "order" || event.event_type != "Placed" {
            return Vec::new();
        }
        let (Some(sku), Some(qty)) = (event.data["sku"].as_str(), event.data["qty"].as_u64())
        else {
            return Vec::new();
        };
        self.placed += 1;
        vec![CommandEnvelope {
            aggregate_type: "inventory".to_owned(),
            instance_id: format!("inv-{sku}"),
            command: serde_json::json!({ "Reserve": { "qty": qty } }),
            context: CommandContext::default(),
        }]
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}

impl Projection for Sales {
    const NAME: &'static str = "sales";

    fn subscriptions(&self) -> &'static [&'static str] {
        &["order"]
    }

    fn apply(&mut self, aggregate_type: &str, _stream_id: &str, event: &eventfold::Event) {
        if aggregate_type == "order" && event.event_type == "Placed" {
            self.units += event.data["qty"].as_u64().unwrap_or_default();
        }
    }
}

pub async fn run(directory: &std::path::Path, id: &str) -> Result<u32, Box<dyn std::error::Error>> {
    let store = eventfold_es::AggregateStore::builder(directory)
        .aggregate_type::<Inventory>()
        .process_manager::<ReservationSaga>()
        .projection::<Sales>()
        .open()
        .await?;
    let order = store.get::<Order>(id).await?;
    let place = OrderCommand::Place {
        sku: "W-1".to_owned(),
        qty: 2,
    };
    order.execute(place, CommandContext::default()).await?;
    store.run_process_managers().await?;
    let sales = store.projection::<Sales>()?;
    println!("{} units", sales.units);
    let inventory = store.get::<Inventory>("inv-W-1").await?;
    Ok(inventory.state().await?.reserved)
}
