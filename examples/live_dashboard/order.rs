//! The orders that the dashboard follows.

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { branch: String, cents: u64 },
    Ship,
    Cancel,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { branch: String, cents: u64 },
    Shipped,
    Cancelled,
}

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("the order was already placed")]
    AlreadyPlaced,
    #[error("the order is not open")]
    NotOpen,
}

/// An order of a branch.
#[aggregate]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
enum State {
    #[default]
    New,
    Open,
    Ended,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match (command, &self.state) {
            (OrderCommand::Place { branch, cents }, State::New) => {
                Ok(vec![OrderEvent::Placed { branch, cents }])
            }
            (OrderCommand::Place { .. }, _) => Err(OrderError::AlreadyPlaced),
            (OrderCommand::Ship, State::Open) => Ok(vec![OrderEvent::Shipped]),
            (OrderCommand::Cancel, State::Open) => Ok(vec![OrderEvent::Cancelled]),
            (OrderCommand::Ship | OrderCommand::Cancel, _) => Err(OrderError::NotOpen),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        self.state = match event {
            OrderEvent::Placed { .. } => State::Open,
            OrderEvent::Shipped | OrderEvent::Cancelled => State::Ended,
        };
    }
}
