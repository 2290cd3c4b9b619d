//! The event handler that takes the intentions of reservations to the services.

use std::time::Duration;

use async_trait::async_trait;
use eventfold_es::prelude::*;
use eventfold_es::{Exhausted, FailureCause, HandleError};

use super::reservation::{Reservation, ReservationCommand, ReservationEvent, Service};

/// The answer to a request to book.
pub enum Booked {
    Confirmed,
    Refused(String),
}

/// The services outside. A test gives a fake.
#[async_trait]
pub trait TravelServices: Send + Sync {
    /// Books `item`. For a key that the service knows, it answers as the first time.
    async fn book(
        &self,
        service: Service,
        reservation: &str,
        item: &str,
        key: &str,
    ) -> Result<Booked, HandleError>;

    /// Cancels a reservation, whether or not it is booked. It cannot be booked any more.
    async fn cancel(&self, service: Service, reservation: &str) -> Result<(), HandleError>;
}

#[event_handler(subscribes = [Reservation], dispatches = [Reservation], timeout = "2s", on_failure)]
pub struct Agency {
    pub services: Box<dyn TravelServices>,
}

impl Handle<Reservation> for Agency {
    type Error = HandleError;

    async fn handle(
        &self,
        event: &ReservationEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), HandleError> {
        let reservation = cx.stream_id();
        let noted = match event {
            ReservationEvent::Requested { service, item, .. } => {
                let key = cx.idempotency_key();
                let booked = self.services.book(*service, reservation, item, key);
                match booked.await? {
                    Booked::Confirmed => ReservationCommand::NoteConfirmation,
                    Booked::Refused(reason) => ReservationCommand::NoteRefusal { reason },
                }
            }
            ReservationEvent::CancelRequested { service, .. } => {
                self.services.cancel(*service, reservation).await?;
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
