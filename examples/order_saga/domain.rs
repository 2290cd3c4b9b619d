//! Orders, payments and stock. None of them knows the others.

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { sku: String, qty: u32 },
    Ship,
    Cancel { reason: String },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { sku: String, qty: u32 },
    Shipped,
    Cancelled { reason: String },
}

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("the order was already placed")]
    AlreadyPlaced,
    #[error("the order is not open")]
    NotOpen,
}

/// The end of an order.
#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Order {
    #[default]
    New,
    Open,
    Shipped,
    Cancelled(String),
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match (self, command) {
            (Self::New, OrderCommand::Place { sku, qty }) => {
                Ok(vec![OrderEvent::Placed { sku, qty }])
            }
            (_, OrderCommand::Place { .. }) => Err(OrderError::AlreadyPlaced),
            (Self::Open, OrderCommand::Ship) => Ok(vec![OrderEvent::Shipped]),
            (Self::Open, OrderCommand::Cancel { reason }) => {
                Ok(vec![OrderEvent::Cancelled { reason }])
            }
            _ => Err(OrderError::NotOpen),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        *self = match event {
            OrderEvent::Placed { .. } => Self::Open,
            OrderEvent::Shipped => Self::Shipped,
            OrderEvent::Cancelled { reason } => Self::Cancelled(reason.clone()),
        };
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PaymentCommand {
    Pay { order: String },
    Refund,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PaymentEvent {
    Paid { order: String },
    Refunded,
}

#[derive(Debug, thiserror::Error)]
#[error("nothing was paid")]
pub struct NothingPaid;

/// Whether there is money to give back.
#[aggregate(error = NothingPaid)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    pub is_paid: bool,
}

impl Decider for Payment {
    fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, NothingPaid> {
        match command {
            PaymentCommand::Pay { .. } if self.is_paid => Ok(vec![]),
            PaymentCommand::Pay { order } => Ok(vec![PaymentEvent::Paid { order }]),
            PaymentCommand::Refund if self.is_paid => Ok(vec![PaymentEvent::Refunded]),
            PaymentCommand::Refund => Err(NothingPaid),
        }
    }

    fn evolve(&mut self, event: &PaymentEvent) {
        self.is_paid = matches!(event, PaymentEvent::Paid { .. });
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StockCommand {
    Receive { qty: u32 },
    Reserve { order: String, qty: u32 },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum StockEvent {
    Received { qty: u32 },
    Reserved { order: String, qty: u32 },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("only {left} left")]
pub struct OutOfStock {
    pub left: u32,
}

/// The stock of one article.
#[aggregate(error = OutOfStock)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    pub left: u32,
}

impl Decider for Stock {
    fn decide(&self, command: StockCommand) -> Result<Vec<StockEvent>, OutOfStock> {
        match command {
            StockCommand::Receive { qty } => Ok(vec![StockEvent::Received { qty }]),
            StockCommand::Reserve { qty, .. } if qty > self.left => {
                Err(OutOfStock { left: self.left })
            }
            StockCommand::Reserve { order, qty } => Ok(vec![StockEvent::Reserved { order, qty }]),
        }
    }

    fn evolve(&mut self, event: &StockEvent) {
        match event {
            StockEvent::Received { qty } => self.left += qty,
            StockEvent::Reserved { qty, .. } => self.left -= qty,
        }
    }
}
