//! A supplier on a loopback port, which publishes the changes of its prices.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::poller::Change;

/// The products, which change by turns.
const PRODUCTS: [&str; 3] = ["coffee", "milk", "tea"];

#[derive(Debug, Clone, Default)]
pub struct Supplier {
    changes: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

#[derive(Deserialize)]
struct Page {
    after: u64,
    limit: u64,
}

impl Supplier {
    /// Listens on a free port, until the runtime ends. Returns the address for clients.
    pub async fn start() -> io::Result<(Self, String)> {
        let supplier = Self::default();
        let routes = Router::new().route("/changes", get(changes));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let server = axum::serve(listener, routes.with_state(supplier.clone()));
        tokio::spawn(server.into_future());
        Ok((supplier, address))
    }

    pub fn publish(&self, changes: u64) {
        self.changes.fetch_add(changes, Ordering::SeqCst);
    }

    pub fn published(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

/// Every third request fails.
async fn changes(
    State(supplier): State<Supplier>,
    Query(Page { after, limit }): Query<Page>,
) -> Response {
    if supplier.requests.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let last = supplier.published().min(after + limit);
    let numbers = after + 1..=last;
    let products = PRODUCTS
        .iter()
        .cycle()
        .skip(after as usize % PRODUCTS.len());
    let changes = numbers.zip(products).map(|(number, product)| Change {
        number,
        product: (*product).to_owned(),
        cents: 100 + number,
    });
    Json(changes.collect::<Vec<_>>()).into_response()
}
