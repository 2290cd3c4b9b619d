//! The event handler that sends mails.

use eventfold_es::prelude::*;
use lettre::message::Mailbox;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, address, transport,
};

use super::order::{Order, OrderCommand, OrderEvent};

/// Mails a confirmation for each placed order.
#[event_handler(subscribes = [Order], dispatches = [Order], on_failure)]
pub struct Mailer {
    pub smtp: AsyncSmtpTransport<Tokio1Executor>,
    pub from: Mailbox,
}

#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("the address is malformed: {0}")]
    Address(#[from] address::AddressError),
    #[error("the mail cannot be written: {0}")]
    Message(#[from] lettre::error::Error),
    #[error("the mail was not accepted: {0}")]
    Smtp(#[from] transport::smtp::Error),
}

impl Handle<Order> for Mailer {
    type Error = MailError;

    async fn handle(
        &self,
        event: &OrderEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), MailError> {
        let OrderEvent::Placed { email } = event else {
            return Ok(());
        };
        // The same in each attempt. A Message-ID has no colon.
        let id = cx.idempotency_key().replace(':', ".");
        let mail = Message::builder()
            .message_id(Some(format!("<{id}@shop.example>")))
            .from(self.from.clone())
            .to(email.parse()?)
            .subject(format!("Your order {}", cx.stream_id()))
            .body("We have received your order.".to_owned())?;
        let accepted = self.smtp.send(mail).await?;
        let receipt = accepted.message().collect();
        cx.send(cx.stream_id(), OrderCommand::NoteMail { receipt });
        Ok(())
    }
}

impl HandlerPolicy for Mailer {
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        let permanent = match failure.error::<MailError>() {
            Some(MailError::Smtp(error)) if !error.is_permanent() => None,
            other => other,
        };
        match permanent {
            // No attempt would succeed: the order says so, in place of the mail.
            Some(error) => {
                let (order, reason) = (&failure.source.stream_id, error.to_string());
                FailureAction::send_instead(order, OrderCommand::NoteBounce { reason })
            }
            None => FailureAction::default_for(failure),
        }
    }
}
