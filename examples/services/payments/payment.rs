//! Payments: the amount, and its end.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PaymentCommand {
    Request { card: String, cents: u64 },
    NoteCharge { charge: String },
    NoteDecline { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PaymentEvent {
    Requested { card: String, cents: u64 },
    Charged { charge: String },
    Declined { reason: String },
}

/// The state of a payment.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Payment {
    #[default]
    New,
    Requested,
    Charged(String),
    Declined(String),
}

impl Decider for Payment {
    fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, Infallible> {
        Ok(match command {
            PaymentCommand::Request { card, cents } if *self == Self::New => {
                vec![PaymentEvent::Requested { card, cents }]
            }
            // It is requested already. A second request would be a second charge.
            PaymentCommand::Request { .. } => vec![],
            PaymentCommand::NoteCharge { charge } => vec![PaymentEvent::Charged { charge }],
            PaymentCommand::NoteDecline { reason } => vec![PaymentEvent::Declined { reason }],
        })
    }

    fn evolve(&mut self, event: &PaymentEvent) {
        *self = match event {
            PaymentEvent::Requested { .. } => Self::Requested,
            PaymentEvent::Charged { charge } => Self::Charged(charge.clone()),
            PaymentEvent::Declined { reason } => Self::Declined(reason.clone()),
        };
    }
}
