//! A payment provider on a loopback port.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;

use super::cashier::Charge;

#[derive(Debug, Default)]
struct Books {
    /// The amounts by the id of the charge.
    charges: BTreeMap<String, u64>,
    /// The id of the charge of each idempotency key.
    keys: BTreeMap<String, String>,
    /// The number of requests about each card.
    requests: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, Default)]
pub struct Provider {
    books: Arc<Mutex<Books>>,
}

#[derive(Deserialize)]
struct Request {
    card: String,
    cents: u64,
}

impl Provider {
    /// Listens on a free port, until the runtime ends. Returns the address for clients.
    pub async fn start() -> io::Result<(Self, String)> {
        let provider = Self::default();
        let routes = Router::new().route("/charges", post(charge));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let server = axum::serve(listener, routes.with_state(provider.clone()));
        tokio::spawn(server.into_future());
        Ok((provider, address))
    }

    pub fn charges(&self) -> Vec<u64> {
        self.books().charges.values().copied().collect()
    }

    pub fn requests(&self, card: &str) -> usize {
        self.books().requests.get(card).copied().unwrap_or_default()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The charge of a key: the first request makes it, and each other request finds it.
    fn charge(&self, key: &str, cents: u64) -> Charge {
        let mut books = self.books();
        let next = format!("ch-{}", books.charges.len() + 1);
        let id = books.keys.entry(key.to_owned()).or_insert(next).clone();
        books.charges.insert(id.clone(), cents);
        Charge { id }
    }
}

async fn charge(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Json(Request { card, cents }): Json<Request>,
) -> Response {
    let key = headers.get("Idempotency-Key");
    let Some(key) = key.and_then(|key| key.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, "the key is missing").into_response();
    };
    let attempt = {
        let mut books = provider.books();
        let requests = books.requests.entry(card.clone()).or_default();
        *requests += 1;
        *requests
    };
    match (card.as_str(), attempt) {
        ("declined", _) => (StatusCode::PAYMENT_REQUIRED, "the card has expired").into_response(),
        ("busy", 1 | 2) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        // It charges the card, and its answer never arrives.
        ("slow" | "crash", 1) => {
            provider.charge(key, cents);
            std::future::pending().await
        }
        _ => Json(provider.charge(key, cents)).into_response(),
    }
}
