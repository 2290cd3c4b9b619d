//! The `Ticket` aggregate.

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TicketCommand {
    Open {
        subject: String,
        agent: String,
        priority: u8,
    },
    /// To another agent.
    HandOver(String),
    Close,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum TicketEvent {
    Opened {
        subject: String,
        agent: String,
        priority: u8,
    },
    HandedOver {
        agent: String,
    },
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    #[error("the ticket exists")]
    Exists,
    #[error("the ticket is not open")]
    NotOpen,
}

/// A question of a customer.
#[aggregate]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Ticket {
    #[default]
    New,
    Open,
    Closed,
}

impl Decider for Ticket {
    fn decide(&self, command: TicketCommand) -> Result<Vec<TicketEvent>, TicketError> {
        match (command, self) {
            (
                TicketCommand::Open {
                    subject,
                    agent,
                    priority,
                },
                Self::New,
            ) => Ok(vec![TicketEvent::Opened {
                subject,
                agent,
                priority,
            }]),
            (TicketCommand::Open { .. }, _) => Err(TicketError::Exists),
            (TicketCommand::HandOver(agent), Self::Open) => {
                Ok(vec![TicketEvent::HandedOver { agent }])
            }
            (TicketCommand::Close, Self::Open) => Ok(vec![TicketEvent::Closed]),
            (TicketCommand::HandOver(_) | TicketCommand::Close, _) => Err(TicketError::NotOpen),
        }
    }

    fn evolve(&mut self, event: &TicketEvent) {
        match event {
            TicketEvent::Opened { .. } => *self = Self::Open,
            TicketEvent::HandedOver { .. } => {}
            TicketEvent::Closed => *self = Self::Closed,
        }
    }
}
