//! The event handler that mails the approver.

use eventfold_es::prelude::*;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::expense::{Expense, ExpenseEvent};

/// Asks for a decision. It sends no commands: the answer of the person is a command of the program.
#[event_handler(subscribes = [Expense])]
pub struct Postman {
    pub smtp: AsyncSmtpTransport<Tokio1Executor>,
    pub from: Mailbox,
}

impl Handle<Expense> for Postman {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    async fn handle(
        &self,
        event: &ExpenseEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), Self::Error> {
        let (approver, subject) = match event {
            ExpenseEvent::Submitted { approver, .. } => (approver, "please decide"),
            ExpenseEvent::Reminded { approver } => (approver, "please decide soon"),
            _ => return Ok(()),
        };
        let id = cx.idempotency_key().replace(':', ".");
        let mail = Message::builder()
            .message_id(Some(format!("<{id}@office.example>")))
            .from(self.from.clone())
            .to(approver.parse()?)
            .subject(format!("{}: {subject}", cx.stream_id()))
            .body("The office has a new expense.".to_owned())?;
        self.smtp.send(mail).await?;
        Ok(())
    }
}
