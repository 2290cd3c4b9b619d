//! Trips of a flight, a hotel and a card, booked at services that fail: the longest example of event handlers.
//!
//! ```text
//! cargo run -p eventfold-es-services --example travel_booking
//! ```
//!
//! A saga books the three parts of a trip one after the other. If a part is refused, or if the trip takes longer than a day, the saga
//! cancels the parts in reverse order. The services run in this process. By a script with a seed they fail, lose answers after the
//! work, and stay silent. The program crashes once. An operator redrives a dead letter, and releases a parked reservation.
//!
//! The example checks its output: the bookings inside and outside are equal, and no card is charged twice. The
//! tests of the examples explore the saga and the handler in every order.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod agency;
mod http;
mod reservation;
mod saga;
mod services;
mod trip;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use agency::Agency;
use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es_services::until;
use http::HttpServices;
use reservation::{Phase, Reservation, ReservationEvent};
use saga::{PATIENCE, TripSaga};
use services::FlakyServices;
use trip::{Plan, Trip, TripCommand};

const SEED: u64 = 7;
/// The flight, the hotel and the card of each trip.
const TRIPS: [(&str, &str, &str); 16] = [
    ("plane", "inn", "card"),
    ("plane", "inn", "card"),
    ("plane", "inn", "card"),
    ("full-plane", "inn", "card"),
    ("plane", "full-inn", "card"),
    ("plane", "full-inn", "card"),
    ("plane", "inn", "expired-card"),
    ("plane", "inn", "expired-card"),
    ("plane", "inn", "card"),
    ("plane", "inn", "card"),
    ("plane", "inn", "card"),
    ("plane", "inn", "card"),
    // The hotel is repaired, and the operator redrives.
    ("plane", "inn-in-repair", "card"),
    // The hotel is never repaired.
    ("plane", "closed-inn", "card"),
    // The card is charged, and each answer is lost.
    ("plane", "inn", "lost-card"),
    // The flight is booked, and cannot be cancelled until the operator releases it.
    ("strict-plane", "full-inn", "card"),
];
const EXPECTED: &str = "\
before the operator: 7 confirmed, 5 cancelled, 3 dead letters, 1 parked
redriven: 1, released: 1
a day later: 8 confirmed, 8 cancelled
  it was not booked within a day: 2
  the card has expired: 2
  the flight is full: 1
  the hotel is full: 3
t-15 was undone in this order: card, hotel, flight
booked inside: 24, outside: 24
charges: 9, one for each card, and 1 of them given back
";

async fn open(
    directory: &Path,
    services: &str,
    clock: &ManualClock,
) -> Result<AggregateStore, Box<dyn Error>> {
    let agency = Agency {
        services: Box::new(HttpServices {
            client: reqwest::Client::new(),
            address: services.to_owned(),
        }),
    };
    let store = AggregateStore::builder(directory)
        .process_manager::<TripSaga>()
        .event_handler(agency)
        // So that the crash of this example does not wait for the calls.
        .handler_patience(Duration::ZERO)
        .clock(clock.clone())
        .open()
        .await?;
    Ok(store)
}

async fn request(
    store: &AggregateStore,
    trips: impl Iterator<Item = usize>,
) -> Result<(), Box<dyn Error>> {
    for index in trips {
        let (flight, hotel, card) = TRIPS.get(index).ok_or("there is no such trip")?;
        let plan = Plan {
            flight: (*flight).to_owned(),
            hotel: (*hotel).to_owned(),
            card: (*card).to_owned(),
        };
        let trip = format!("t-{:02}", index + 1);
        store.send(&trip, TripCommand::Request(plan), ()).await?;
    }
    Ok(())
}

/// The ends of all trips: the number of confirmed trips, and the reasons of the others.
async fn ends(store: &AggregateStore) -> Result<(usize, Vec<String>), Box<dyn Error>> {
    let (mut confirmed, mut cancelled) = (0, Vec::new());
    for trip in store.list::<Trip>().await? {
        match store.get::<Trip>(&trip).await?.state().await? {
            Trip::Confirmed => confirmed += 1,
            Trip::Cancelled(reason) => cancelled.push(reason),
            Trip::New | Trip::Requested => {}
        }
    }
    Ok((confirmed, cancelled))
}

/// Lets the time of the store pass until so many trips have ended, and so much work waits for the operator.
async fn until_ended(
    trips: usize,
    waiting: (u64, u64),
    store: &AggregateStore,
    clock: &ManualClock,
) -> Result<(), Box<dyn Error>> {
    let agency = store.event_handler::<Agency>()?;
    until("the trips have ended", async || {
        clock.advance(Duration::from_secs(1));
        let (confirmed, cancelled) = ends(store).await?;
        let status = agency.status().await?;
        let has_ended = confirmed + cancelled.len() == trips;
        Ok(has_ended && (status.dead_letters, status.instances.parked) == waiting)
    })
    .await
}

/// The parts of a trip in the order of their cancellations.
async fn undone(store: &AggregateStore, trip: &str) -> Result<Vec<&'static str>, Box<dyn Error>> {
    let mut undone = Vec::new();
    let mut events = store.subscribe::<Reservation>().until_now();
    while let Some(recorded) = events.next().await {
        match recorded?.event {
            ReservationEvent::Cancelled { trip: of, service } if of == trip => {
                undone.push(service.name());
            }
            _ => {}
        }
    }
    Ok(undone)
}

/// The reservations that are confirmed inside, in order.
async fn booked(store: &AggregateStore) -> Result<Vec<String>, Box<dyn Error>> {
    let mut booked = Vec::new();
    for id in store.list::<Reservation>().await? {
        let reservation = store.get::<Reservation>(&id).await?.state().await?;
        if reservation.phase == Phase::Confirmed {
            booked.push(id);
        }
    }
    booked.sort_unstable();
    Ok(booked)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (services, address) = FlakyServices::start(SEED).await?;
    let clock = ManualClock::new(SystemTime::now());
    let mut report = String::new();

    // A crash in the middle of some calls.
    let store = open(directory.path(), &address, &clock).await?;
    request(&store, 0..6).await?;
    drop(store);

    let store = open(directory.path(), &address, &clock).await?;
    request(&store, 6..TRIPS.len()).await?;
    until_ended(12, (3, 1), &store, &clock).await?;
    let agency = store.event_handler::<Agency>()?;
    let (confirmed, cancelled) = ends(&store).await?;
    report += &format!(
        "before the operator: {confirmed} confirmed, {} cancelled, 3 dead letters, 1 parked\n",
        cancelled.len()
    );

    // The operator repairs two services, and lets the work continue.
    services.repair("POST inn-in-repair");
    let mut redriven = 0;
    for letter in agency.dead_letters().await? {
        if letter.source.stream_id == "t-13-hotel" {
            redriven += agency.redrive(&letter.id).await?.done;
        }
    }
    services.repair("DELETE strict-plane");
    let released = agency.release("reservation/t-16-flight").await?.done;
    report += &format!("redriven: {redriven}, released: {released}\n");
    until_ended(14, (2, 0), &store, &clock).await?;

    // Two trips are still open. Their deadline cancels them.
    clock.advance(PATIENCE);
    until_ended(TRIPS.len(), (2, 0), &store, &clock).await?;
    agency.discard_all().await?;
    let (confirmed, cancelled) = ends(&store).await?;
    report += &format!(
        "a day later: {confirmed} confirmed, {} cancelled\n",
        cancelled.len()
    );
    let mut reasons = BTreeMap::<_, usize>::new();
    for reason in cancelled {
        *reasons.entry(reason).or_default() += 1;
    }
    for (reason, trips) in reasons {
        report += &format!("  {reason}: {trips}\n");
    }
    let order = undone(&store, "t-15").await?.join(", ");
    report += &format!("t-15 was undone in this order: {order}\n");

    let (inside, outside) = (booked(&store).await?, services.booked());
    assert_eq!(inside, outside);
    report += &format!(
        "booked inside: {}, outside: {}\n",
        inside.len(),
        outside.len()
    );
    let charges = services.charges();
    let cards: BTreeSet<_> = charges.iter().collect();
    assert_eq!(cards.len(), charges.len(), "a card was charged twice");
    let returned = charges.iter().filter(|card| !outside.contains(card));
    report += &format!(
        "charges: {}, one for each card, and {} of them given back\n",
        charges.len(),
        returned.count()
    );
    assert!(services.lost_answers() > 10, "the script is too kind");
    store.close().await?;
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
