//! A service with seats and charges on a loopback port.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;

#[derive(Debug, Default)]
struct Books {
    seats: BTreeSet<String>,
    charges: BTreeSet<String>,
    /// The number of requests to give a seat back.
    deletes: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Theater {
    books: Arc<Mutex<Books>>,
}

impl Theater {
    /// Listens on a free port, until the runtime ends. Returns the address for clients.
    pub async fn start() -> io::Result<(Self, String)> {
        let theater = Self::default();
        let routes = Router::new()
            .route("/seats/{step}", put(take_seat).delete(free_seat))
            .route("/charges/{step}", put(charge));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let server = axum::serve(listener, routes.with_state(theater.clone()));
        tokio::spawn(server.into_future());
        Ok((theater, address))
    }

    pub fn seats(&self) -> Vec<String> {
        self.books().seats.iter().cloned().collect()
    }

    pub fn charges(&self) -> Vec<String> {
        self.books().charges.iter().cloned().collect()
    }

    pub fn deletes(&self) -> usize {
        self.books().deletes
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take_seat(
    State(theater): State<Theater>,
    Path(step): Path<String>,
) -> (StatusCode, &'static str) {
    let mut books = theater.books();
    if books.seats.len() == 2 && !books.seats.contains(&step) {
        return (StatusCode::CONFLICT, "the theater is full");
    }
    books.seats.insert(step);
    (StatusCode::OK, "")
}

async fn charge(
    State(theater): State<Theater>,
    Path(step): Path<String>,
    card: String,
) -> (StatusCode, &'static str) {
    if card == "expired" {
        return (StatusCode::PAYMENT_REQUIRED, "the card has expired");
    }
    theater.books().charges.insert(step);
    (StatusCode::OK, "")
}

/// The first two requests fail. The third frees the seat, and its answer never arrives.
async fn free_seat(State(theater): State<Theater>, Path(step): Path<String>) -> StatusCode {
    let (deletes, was_taken) = {
        let mut books = theater.books();
        books.deletes += 1;
        let deletes = books.deletes;
        (deletes, deletes > 2 && books.seats.remove(&step))
    };
    match deletes {
        1 | 2 => StatusCode::SERVICE_UNAVAILABLE,
        3 => std::future::pending().await,
        _ if was_taken => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    }
}
