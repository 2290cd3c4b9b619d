//! Orders, and the mail about each of them.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { email: String },
    NoteMail { receipt: String },
    NoteBounce { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { email: String },
    Mailed { receipt: String },
    Bounced { reason: String },
}

/// The state of the mail about an order.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Order {
    #[default]
    Waiting,
    Mailed(String),
    Bounced(String),
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(vec![match command {
            OrderCommand::Place { email } => OrderEvent::Placed { email },
            OrderCommand::NoteMail { receipt } => OrderEvent::Mailed { receipt },
            OrderCommand::NoteBounce { reason } => OrderEvent::Bounced { reason },
        }])
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed { .. } => {}
            OrderEvent::Mailed { receipt } => *self = Self::Mailed(receipt.clone()),
            OrderEvent::Bounced { reason } => *self = Self::Bounced(reason.clone()),
        }
    }
}
