//! E-mails, and a mail server that counts them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::order::OrderEvent;

#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    /// The same for each attempt to send this e-mail.
    pub message_id: String,
    pub to: String,
    pub subject: String,
}

impl Email {
    /// The e-mail for an event, if it needs one.
    pub fn about(event: &OrderEvent, event_id: &str, order: &str) -> Option<Self> {
        let (to, subject) = match event {
            OrderEvent::Placed { email } => (email, format!("We have your order {order}")),
            OrderEvent::Shipped { email, parcel } => {
                (email, format!("Your order {order} is on its way: {parcel}"))
            }
            OrderEvent::Packed => return None,
        };
        Some(Self {
            message_id: event_id.to_owned(),
            to: to.clone(),
            subject,
        })
    }
}

/// A server that drops an e-mail with a known `message_id`, as the API of a mail service does with an idempotency key.
#[derive(Clone, Default)]
pub struct MailServer {
    state: Arc<Mutex<Mails>>,
}

#[derive(Clone, Default)]
pub struct Mails {
    /// The number of calls of `send`.
    pub attempts: usize,
    /// The delivered e-mails by their `message_id`. Ids of events increase, so the oldest e-mail is first.
    pub delivered: BTreeMap<String, Email>,
}

impl MailServer {
    pub async fn send(&self, email: Email) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.attempts += 1;
        state
            .delivered
            .entry(email.message_id.clone())
            .or_insert(email);
    }

    pub fn mails(&self) -> Mails {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
