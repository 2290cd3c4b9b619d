//! The saga: flight, hotel, card; and after a refusal or a day, everything back in reverse order.

use std::time::Duration;

use eventfold_es::prelude::*;

use super::reservation::{
    Reservation, ReservationCommand, ReservationEvent, Service, reservation_of,
};
use super::trip::{Plan, Trip, TripCommand, TripEvent};

/// The time that a trip may take to be booked.
pub const PATIENCE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Serialize, Deserialize)]
pub struct TripDue;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Begun,
    Booking(Service),
    Cancelling(Service),
}

/// One instance for each trip.
#[process_manager(
    subscribes = [Trip, Reservation],
    dispatches = [Trip, Reservation],
    key = String,
    deadlines = [TripDue]
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TripSaga {
    plan: Plan,
    stage: Stage,
    /// The reason to cancel.
    reason: String,
}

impl TripSaga {
    /// Books the part of `service`, or ends the trip behind the last.
    fn book(&mut self, service: Option<Service>, cx: &mut Reaction<'_, Self>) {
        let Some(service) = service else {
            cx.send(cx.key(), TripCommand::Confirm);
            return cx.complete();
        };
        self.stage = Stage::Booking(service);
        let item = match service {
            Service::Flight => &self.plan.flight,
            Service::Hotel => &self.plan.hotel,
            Service::Card => &self.plan.card,
        };
        let request = ReservationCommand::Request {
            trip: cx.key().clone(),
            service,
            item: item.clone(),
        };
        cx.send(reservation_of(cx.key(), service), request);
    }

    /// Cancels the part of `service`, or ends the trip before the first.
    fn cancel(&mut self, service: Option<Service>, cx: &mut Reaction<'_, Self>) {
        let Some(service) = service else {
            let reason = self.reason.clone();
            cx.send(cx.key(), TripCommand::Cancel { reason });
            return cx.complete();
        };
        self.stage = Stage::Cancelling(service);
        cx.send(
            reservation_of(cx.key(), service),
            ReservationCommand::Cancel,
        );
    }
}

impl Correlate<Trip> for TripSaga {
    fn correlate(event: &TripEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            TripEvent::Requested(_) => Correlation::starts(cx.stream_id().to_owned()),
            TripEvent::Confirmed | TripEvent::Cancelled { .. } => Correlation::none(),
        }
    }
}

impl Correlate<Reservation> for TripSaga {
    fn correlate(event: &ReservationEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            ReservationEvent::Requested { .. } | ReservationEvent::CancelRequested { .. } => {
                Correlation::none()
            }
            ReservationEvent::Confirmed { trip, .. }
            | ReservationEvent::Refused { trip, .. }
            | ReservationEvent::Cancelled { trip, .. } => Correlation::continues(trip.clone()),
        }
    }
}

impl React<Trip> for TripSaga {
    fn react(&mut self, event: &TripEvent, cx: &mut Reaction<'_, Self>) {
        if let TripEvent::Requested(plan) = event {
            self.plan = plan.clone();
            cx.schedule("booked", PATIENCE, TripDue);
            self.book(Some(Service::Flight), cx);
        }
    }
}

impl React<Reservation> for TripSaga {
    fn react(&mut self, event: &ReservationEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            // After the deadline, the cancellation of this part is already on its way.
            ReservationEvent::Confirmed { service, .. }
                if self.stage == Stage::Booking(*service) =>
            {
                self.book(service.next(), cx);
            }
            ReservationEvent::Refused {
                service, reason, ..
            } if self.stage == Stage::Booking(*service) => {
                self.reason.clone_from(reason);
                self.cancel(service.previous(), cx);
            }
            ReservationEvent::Cancelled { service, .. }
                if self.stage == Stage::Cancelling(*service) =>
            {
                self.cancel(service.previous(), cx);
            }
            _ => {}
        }
    }
}

impl OnDeadline<TripDue> for TripSaga {
    fn on_deadline(&mut self, _message: TripDue, cx: &mut Reaction<'_, Self>) {
        if let Stage::Booking(service) = self.stage {
            "it was not booked within a day".clone_into(&mut self.reason);
            // It is unknown whether the service has booked this part, so it is cancelled as well.
            self.cancel(Some(service), cx);
        }
    }
}
