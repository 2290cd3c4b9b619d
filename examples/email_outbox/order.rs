//! Orders, whose customers get e-mails.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { email: String },
    Pack,
    Ship { parcel: String },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { email: String },
    Packed,
    Shipped { email: String, parcel: String },
}

/// An order, and the address of its customer.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    email: String,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
        let email = self.email.clone();
        Ok(vec![match command {
            OrderCommand::Place { email } => OrderEvent::Placed { email },
            OrderCommand::Pack => OrderEvent::Packed,
            OrderCommand::Ship { parcel } => OrderEvent::Shipped { email, parcel },
        }])
    }

    fn evolve(&mut self, event: &OrderEvent) {
        if let OrderEvent::Placed { email } = event {
            self.email.clone_from(email);
        }
    }
}
