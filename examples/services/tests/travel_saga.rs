//! The saga and the handler of the example `travel_booking` in every order: of calls, answers and the deadline, with a crash, a
//! time-out, and a service that refuses or is silent.

use std::collections::BTreeSet;

use async_trait::async_trait;
use eventfold_es::HandleError;
use eventfold_es::testing::{self, Exploration, Moment, Outside};

#[path = "../travel_booking/agency.rs"]
mod agency;
#[path = "../travel_booking/reservation.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod reservation;
#[path = "../travel_booking/saga.rs"]
mod saga;
#[path = "../travel_booking/trip.rs"]
mod trip;

use agency::{Agency, Booked, TravelServices};
use reservation::{Reservation, ReservationCommand, ReservationEvent, Service, reservation_of};
use saga::TripSaga;
use trip::{Plan, Trip, TripCommand, TripEvent};

const SERVICES: [Service; 3] = [Service::Flight, Service::Hotel, Service::Card];

/// The service that does not book.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Trouble {
    #[default]
    None,
    Refuses(Service),
    /// It books, and never answers.
    IsSilent(Service),
}

/// The world outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct World {
    trouble: Trouble,
    booked: BTreeSet<String>,
    cancelled: BTreeSet<String>,
    keys: BTreeSet<String>,
    charges: Vec<String>,
}

struct FakeServices(Outside<World>);

#[async_trait]
impl TravelServices for FakeServices {
    async fn book(
        &self,
        service: Service,
        reservation: &str,
        _item: &str,
        key: &str,
    ) -> Result<Booked, HandleError> {
        let booked = self.0.with(|world| {
            let is_known = world.keys.contains(key);
            if world.trouble == Trouble::Refuses(service) || world.cancelled.contains(reservation) {
                return Some(Booked::Refused("no".to_owned()));
            }
            if !is_known {
                world.keys.insert(key.to_owned());
                world.booked.insert(reservation.to_owned());
                if service == Service::Card {
                    world.charges.push(reservation.to_owned());
                }
            }
            (world.trouble != Trouble::IsSilent(service)).then_some(Booked::Confirmed)
        });
        match booked {
            Some(booked) => Ok(booked),
            None => std::future::pending().await,
        }
    }

    async fn cancel(&self, _service: Service, reservation: &str) -> Result<(), HandleError> {
        self.0.with(|world| {
            world.booked.remove(reservation);
            world.cancelled.insert(reservation.to_owned());
        });
        Ok(())
    }
}

/// The events of a command to a reservation.
fn events(id: &str, command: &ReservationCommand) -> Vec<ReservationEvent> {
    let trip = "t-1".to_owned();
    let of = |service: &&Service| reservation_of(&trip, **service) == id;
    let service = SERVICES.iter().find(of).copied();
    let service = service.expect("a reservation of the trip");
    vec![match command {
        ReservationCommand::Request { item, .. } => ReservationEvent::Requested {
            trip,
            service,
            item: item.clone(),
        },
        ReservationCommand::NoteConfirmation => ReservationEvent::Confirmed { trip, service },
        ReservationCommand::NoteRefusal { reason } => ReservationEvent::Refused {
            trip,
            service,
            reason: reason.clone(),
        },
        ReservationCommand::Cancel => ReservationEvent::CancelRequested { trip, service },
        ReservationCommand::NoteCancellation => ReservationEvent::Cancelled { trip, service },
    }]
}

/// A confirmed trip has every part outside, and a cancelled trip has none.
fn ends_as_a_whole(moment: &Moment<'_, TripSaga, World>) -> Result<(), String> {
    let booked = moment.outside().booked.len();
    match (moment.sent::<Trip>().as_slice(), booked) {
        ([(_, TripCommand::Confirm)], 3) | ([(_, TripCommand::Cancel { .. })], 0) => Ok(()),
        (end, booked) => Err(format!("{end:?}, and {booked} parts are booked")),
    }
}

fn a_trip(plan: Exploration<TripSaga>, trouble: Trouble) -> Exploration<TripSaga, World> {
    // The calls of a silent service time out in any case.
    let timeouts = u32::from(!matches!(trouble, Trouble::IsSilent(_)));
    let world = World {
        trouble,
        ..World::default()
    };
    plan.given::<Trip>("t-1", TripEvent::Requested(Plan::default()))
        .answers::<Reservation>(events)
        .outside(world)
        .event_handler(|outside| Agency {
            services: Box::new(FakeServices(outside)),
        })
        .crashes(1)
        .timeouts(timeouts)
        .always(|moment| match moment.outside().charges.len() {
            0 | 1 => Ok(()),
            charges => Err(format!("the card is charged {charges} times")),
        })
        .at_rest(ends_as_a_whole)
}

#[test]
fn a_trip_ends_as_a_whole_in_every_order() {
    let mut troubles = vec![Trouble::None];
    troubles.extend(SERVICES.map(Trouble::Refuses));
    troubles.extend(SERVICES.map(Trouble::IsSilent));
    for trouble in troubles {
        let plan = move |plan| a_trip(plan, trouble);
        let explored = testing::process_manager::<TripSaga>().explore(plan);
        explored.then_holds();
        assert!(explored.is_complete, "{trouble:?}: {explored:?}");
        assert!(explored.states > 20, "{trouble:?}: {explored:?}");
    }
}
