//! Airline, hotels and bank on one loopback port. They are flaky by a script with a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;

/// The number of requests to book, or to cancel, one reservation that the script may spoil. Later requests are answered.
const SPOILED: u32 = 2;

type Answer = (StatusCode, &'static str);

const OUT_OF_ORDER: Answer = (StatusCode::INTERNAL_SERVER_ERROR, "out of order");

#[derive(Debug, Default)]
struct Books {
    seed: u64,
    /// The items of the reservations that are booked now.
    booked: BTreeMap<String, String>,
    /// The keys of the requests that were carried out.
    keys: BTreeSet<String>,
    /// The reservations that were cancelled. They cannot be booked any more.
    cancelled: BTreeSet<String>,
    /// Each time that a card was charged.
    charges: Vec<String>,
    /// The number of requests to book, and to cancel, each reservation.
    requests: BTreeMap<String, u32>,
    /// For example, `POST closed-inn`: each of these requests fails.
    outages: BTreeSet<&'static str>,
    lost: u32,
}

#[derive(Debug, Clone)]
pub struct FlakyServices {
    books: Arc<Mutex<Books>>,
}

/// What the script does to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answers,
    /// It does nothing, and answers 500.
    Fails,
    /// It does the work, and a proxy loses the answer.
    LosesTheAnswer,
    /// It does the work, and never answers.
    IsSilent,
}

impl FlakyServices {
    /// Listens on a free port, until the runtime ends. Returns the address for clients.
    pub async fn start(seed: u64) -> io::Result<(Self, String)> {
        let books = Books {
            seed,
            outages: [
                "POST inn-in-repair",
                "POST closed-inn",
                "DELETE strict-plane",
            ]
            .into(),
            ..Books::default()
        };
        let services = Self {
            books: Arc::new(Mutex::new(books)),
        };
        let route = post(book).delete(cancel);
        let routes = Router::new().route("/{service}/{reservation}", route);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let server = axum::serve(listener, routes.with_state(services.clone()));
        tokio::spawn(server.into_future());
        Ok((services, address))
    }

    /// Ends an outage.
    pub fn repair(&self, request: &str) {
        self.books().outages.remove(request);
    }

    /// The reservations that are booked now.
    pub fn booked(&self) -> Vec<String> {
        self.books().booked.keys().cloned().collect()
    }

    /// The reservation of each charge that was ever made.
    pub fn charges(&self) -> Vec<String> {
        self.books().charges.clone()
    }

    /// The number of answers that never arrived, although the work was done.
    pub fn lost_answers(&self) -> u32 {
        self.books().lost
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The fate of the next request about `reservation`, which is of `item`.
    fn fate(&mut self, method: &str, item: &str, reservation: &str) -> Fate {
        let request = format!("{method} {reservation}");
        let requests = self.requests.entry(request.clone()).or_default();
        *requests += 1;
        let number = *requests;
        match format!("{method} {item}").as_str() {
            outage if self.outages.contains(outage) => return Fate::Fails,
            // The card is charged, and each answer is lost.
            "POST lost-card" => return Fate::LosesTheAnswer,
            _ if number > SPOILED => return Fate::Answers,
            _ => {}
        }
        // FNV-1a, with more mixing for the few bits that are used.
        let mut hash = self.seed ^ u64::from(number);
        for byte in request.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match hash >> 60 {
            0..=3 => Fate::Fails,
            4..=7 => Fate::LosesTheAnswer,
            8 if number == 1 => Fate::IsSilent,
            _ => Fate::Answers,
        }
    }

    /// Each key is carried out once.
    fn book(&mut self, key: &str, service: &str, reservation: &str, item: String) -> Answer {
        if self.keys.contains(key) {
            return (StatusCode::OK, "booked already");
        }
        if self.cancelled.contains(reservation) {
            return (StatusCode::CONFLICT, "the reservation is cancelled");
        }
        match item.as_str() {
            "full-plane" => return (StatusCode::CONFLICT, "the flight is full"),
            "full-inn" => return (StatusCode::CONFLICT, "the hotel is full"),
            "expired-card" => return (StatusCode::CONFLICT, "the card has expired"),
            _ => {}
        }
        self.keys.insert(key.to_owned());
        self.booked.insert(reservation.to_owned(), item);
        if service == "card" {
            self.charges.push(reservation.to_owned());
        }
        (StatusCode::OK, "booked")
    }

    fn cancel(&mut self, reservation: &str) -> Answer {
        self.booked.remove(reservation);
        self.cancelled.insert(reservation.to_owned());
        (StatusCode::OK, "cancelled")
    }
}

async fn book(
    State(services): State<FlakyServices>,
    Path((service, reservation)): Path<(String, String)>,
    headers: HeaderMap,
    item: String,
) -> Answer {
    let key = headers.get("Idempotency-Key");
    let Some(key) = key.and_then(|key| key.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, "the key is missing");
    };
    let fate = services.books().fate("POST", &item, &reservation);
    let work = |books: &mut Books| books.book(key, &service, &reservation, item);
    services.answer(fate, work).await
}

async fn cancel(
    State(services): State<FlakyServices>,
    Path((_, reservation)): Path<(String, String)>,
) -> Answer {
    let fate = {
        let mut books = services.books();
        let item = books.booked.get(&reservation).cloned().unwrap_or_default();
        books.fate("DELETE", &item, &reservation)
    };
    services
        .answer(fate, |books| books.cancel(&reservation))
        .await
}

impl FlakyServices {
    async fn answer(&self, fate: Fate, work: impl FnOnce(&mut Books) -> Answer) -> Answer {
        if fate == Fate::Fails {
            return OUT_OF_ORDER;
        }
        let answer = {
            let mut books = self.books();
            books.lost += u32::from(fate != Fate::Answers);
            work(&mut books)
        };
        match fate {
            Fate::LosesTheAnswer => (StatusCode::BAD_GATEWAY, "the answer is lost"),
            Fate::IsSilent => std::future::pending().await,
            Fate::Answers | Fate::Fails => answer,
        }
    }
}
