//! The read model: one row for each open ticket.

use eventfold_es::prelude::*;

use super::ticket::{Ticket, TicketEvent};

/// An open ticket. Its key is the id of the ticket.
#[projection(subscribes = [Ticket], key = String)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenTicket {
    pub subject: String,
    #[index]
    pub agent: String,
    #[index]
    pub priority: u8,
}

impl Locate<Ticket> for OpenTicket {
    fn locate(_event: &TicketEvent, cx: &EventContext<'_>) -> Keys<String> {
        Keys::one(cx.stream_id().to_owned())
    }
}

impl Project<Ticket> for OpenTicket {
    fn project(&mut self, event: &TicketEvent, cx: &EventContext<'_>) {
        match event {
            TicketEvent::Opened {
                subject,
                agent,
                priority,
            } => {
                self.subject.clone_from(subject);
                self.agent.clone_from(agent);
                self.priority = *priority;
            }
            TicketEvent::HandedOver { agent } => self.agent.clone_from(agent),
            TicketEvent::Closed => cx.delete(),
        }
    }
}
