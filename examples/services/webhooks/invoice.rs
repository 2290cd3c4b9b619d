//! Invoices, and the money that arrives for them.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum InvoiceCommand {
    Issue { cents: u64 },
    NotePayment { cents: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InvoiceEvent {
    Issued { cents: u64 },
    Paid { cents: u64 },
}

/// The amounts of an invoice.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Invoice {
    pub due: u64,
    pub paid: u64,
}

impl Decider for Invoice {
    // A payment is a fact, also for an invoice that does not exist: the aggregate records it and never refuses it.
    fn decide(&self, command: InvoiceCommand) -> Result<Vec<InvoiceEvent>, Infallible> {
        Ok(vec![match command {
            InvoiceCommand::Issue { cents } => InvoiceEvent::Issued { cents },
            InvoiceCommand::NotePayment { cents } => InvoiceEvent::Paid { cents },
        }])
    }

    fn evolve(&mut self, event: &InvoiceEvent) {
        match event {
            InvoiceEvent::Issued { cents } => self.due += cents,
            InvoiceEvent::Paid { cents } => self.paid += cents,
        }
    }
}
