//! The saga of the example `travel_booking` in every order of answers and of its deadline.

use eventfold_es::testing::{self, Exploration, Moment};

#[path = "../../travel_booking/reservation.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod reservation;
#[path = "../../travel_booking/saga.rs"]
mod saga;
#[path = "../../travel_booking/trip.rs"]
mod trip;

use reservation::{Reservation, ReservationCommand, ReservationEvent, Service, reservation_of};
use saga::TripSaga;
use trip::{Plan, Trip, TripCommand, TripEvent};

const SERVICES: [Service; 3] = [Service::Flight, Service::Hotel, Service::Card];

/// The answer of the services.
#[derive(Debug, Clone, Copy, PartialEq)]
enum World {
    Confirms,
    Refuses(Service),
    /// It never answers a request. It answers a cancellation.
    IsSilent(Service),
}

impl World {
    fn answers(self, id: &str, command: &ReservationCommand) -> Vec<ReservationEvent> {
        let trip = "t-1".to_owned();
        match command {
            ReservationCommand::Request { service, item, .. } => {
                let service = *service;
                let requested = ReservationEvent::Requested {
                    trip: trip.clone(),
                    service,
                    item: item.clone(),
                };
                let answer = match self {
                    Self::IsSilent(silent) if silent == service => return vec![requested],
                    Self::Refuses(refused) if refused == service => ReservationEvent::Refused {
                        trip,
                        service,
                        reason: "no".to_owned(),
                    },
                    _ => ReservationEvent::Confirmed { trip, service },
                };
                vec![requested, answer]
            }
            ReservationCommand::Cancel => {
                let of = |service: &&Service| reservation_of("t-1", **service) == id;
                let service = SERVICES.iter().find(of).copied();
                let service = service.expect("only reservations of the trip are cancelled");
                let requested = ReservationEvent::CancelRequested {
                    trip: trip.clone(),
                    service,
                };
                vec![requested, ReservationEvent::Cancelled { trip, service }]
            }
            other => panic!("the saga never sends {other:?}"),
        }
    }
}

fn requested(moment: &Moment<'_, TripSaga>) -> Vec<Service> {
    let sent = moment.sent::<Reservation>().into_iter();
    sent.filter_map(|(_, command)| match command {
        ReservationCommand::Request { service, .. } => Some(service),
        _ => None,
    })
    .collect()
}

fn cancelled(moment: &Moment<'_, TripSaga>) -> Vec<String> {
    let sent = moment.sent::<Reservation>().into_iter();
    sent.filter(|(_, command)| *command == ReservationCommand::Cancel)
        .map(|(id, _)| id)
        .collect()
}

/// A trip ends once. A confirmed trip has everything, and of a cancelled trip nothing stays booked.
fn ends_as_a_whole(world: World, moment: &Moment<'_, TripSaga>) -> Result<(), String> {
    let (requested, cancelled) = (requested(moment), cancelled(moment));
    match moment.sent::<Trip>().as_slice() {
        [(_, TripCommand::Confirm)] if requested == SERVICES && cancelled.is_empty() => Ok(()),
        [(_, TripCommand::Cancel { .. })] => {
            let mut booked = requested.clone();
            booked.reverse();
            let expected = |refused_too: bool| {
                let parts = booked.iter();
                let parts =
                    parts.filter(|service| refused_too || world != World::Refuses(**service));
                parts
                    .map(|service| reservation_of("t-1", *service))
                    .collect::<Vec<_>>()
            };
            // At the deadline, it may be unknown that a part is refused.
            match cancelled == expected(false) || cancelled == expected(true) {
                true => Ok(()),
                false => Err(format!("booked {requested:?}, and cancelled {cancelled:?}")),
            }
        }
        end => Err(format!(
            "booked {requested:?}, cancelled {cancelled:?}, and then {end:?}"
        )),
    }
}

fn a_trip(plan: Exploration<TripSaga>, world: World) -> Exploration<TripSaga> {
    plan.given::<Trip>("t-1", TripEvent::Requested(Plan::default()))
        .answers::<Reservation>(move |id, command| world.answers(id, command))
        .always(|moment| match requested(moment).as_slice() {
            parts if SERVICES.starts_with(parts) => Ok(()),
            parts => Err(format!("it books {parts:?}")),
        })
        .at_rest(move |moment| ends_as_a_whole(world, moment))
}

#[test]
fn a_trip_ends_as_a_whole_in_every_order() {
    let mut worlds = vec![World::Confirms];
    worlds.extend(SERVICES.map(World::Refuses));
    worlds.extend(SERVICES.map(World::IsSilent));
    for world in worlds {
        let explored =
            testing::process_manager::<TripSaga>().explore(move |plan| a_trip(plan, world));
        explored.then_holds();
        assert!(
            explored.is_complete && explored.states > 5,
            "{world:?}: {explored:?}"
        );
    }
}
