//! The event handler that takes the intentions of reservations to the services.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{Exhausted, FailureCause};
use reqwest::StatusCode;

use super::reservation::{Reservation, ReservationCommand, ReservationEvent};

#[event_handler(subscribes = [Reservation], dispatches = [Reservation], timeout = "2s", on_failure)]
pub struct Agency {
    pub client: reqwest::Client,
    pub services: String,
}

impl Handle<Reservation> for Agency {
    type Error = reqwest::Error;

    async fn handle(
        &self,
        event: &ReservationEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), reqwest::Error> {
        let reservation = cx.stream_id();
        let noted = match event {
            ReservationEvent::Requested { service, item, .. } => {
                let url = format!("{}/{}/{reservation}", self.services, service.name());
                let key = cx.idempotency_key();
                let request = self.client.post(url).header("Idempotency-Key", key);
                let response = request.body(item.clone()).send().await?;
                match response.status() {
                    StatusCode::CONFLICT => ReservationCommand::NoteRefusal {
                        reason: response.text().await?,
                    },
                    _ => {
                        response.error_for_status()?;
                        ReservationCommand::NoteConfirmation
                    }
                }
            }
            ReservationEvent::CancelRequested { service, .. } => {
                let url = format!("{}/{}/{reservation}", self.services, service.name());
                let response = self.client.delete(url).send().await?;
                response.error_for_status()?;
                ReservationCommand::NoteCancellation
            }
            _ => return Ok(()),
        };
        cx.send(reservation, noted);
        Ok(())
    }
}

impl HandlerPolicy for Agency {
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        let retry = Backoff::exponential(Duration::from_secs(1)).attempts(6);
        match (&failure.cause, failure.source.event_type.as_str()) {
            // The saga has a deadline: the trip ends without this part, unless an operator redrives the letter in time.
            (FailureCause::Failed { .. } | FailureCause::TimedOut { .. }, "Requested") => {
                FailureAction::Retry(retry.then(Exhausted::DeadLetter))
            }
            // Nothing may stay booked: an operator releases the reservation.
            (FailureCause::Failed { .. } | FailureCause::TimedOut { .. }, _) => {
                FailureAction::Retry(retry.then(Exhausted::Park))
            }
            _ => FailureAction::default_for(failure),
        }
    }
}
