//! The event handler that charges cards.

use eventfold_es::prelude::*;
use reqwest::StatusCode;

use super::payment::{Payment, PaymentCommand, PaymentEvent};

/// Charges the card of each requested payment.
#[event_handler(subscribes = [Payment], dispatches = [Payment], timeout = "2s")]
pub struct Cashier {
    pub client: reqwest::Client,
    /// For example, `https://provider.example`.
    pub provider: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Charge {
    pub id: String,
}

impl Handle<Payment> for Cashier {
    type Error = reqwest::Error;

    async fn handle(
        &self,
        event: &PaymentEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), reqwest::Error> {
        let PaymentEvent::Requested { card, cents } = event else {
            return Ok(());
        };
        let response = self
            .client
            .post(format!("{}/charges", self.provider))
            // The same in each attempt: the provider charges once.
            .header("Idempotency-Key", cx.idempotency_key())
            .json(&serde_json::json!({ "card": card, "cents": cents }))
            .send()
            .await?;
        let noted = match response.status() {
            // An answer, and no failure: another attempt would have the same answer.
            StatusCode::PAYMENT_REQUIRED => PaymentCommand::NoteDecline {
                reason: response.text().await?,
            },
            // 503 and every other error is a failure, and is retried.
            _ => PaymentCommand::NoteCharge {
                charge: response.error_for_status()?.json::<Charge>().await?.id,
            },
        };
        cx.send(cx.stream_id(), noted);
        Ok(())
    }
}
