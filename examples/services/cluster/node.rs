//! One node: a web server over a store, which is the leader or follows it.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use axum::extract::{self, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use eventfold_es::ExecuteError;
use eventfold_es::prelude::*;

use crate::domain::{Inventory, Order, OrderCommand, ReservationSaga};
use crate::engine::Engine;

/// The header with the idempotency key of a client.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewOrder {
    pub sku: String,
    pub qty: u32,
}

/// The sums over all orders, on the node that is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub placed: u32,
    pub confirmed: u32,
    pub reserved: u32,
}

/// Serves until `closing` ends. Then another node takes over at once.
pub async fn run(
    name: &str,
    directory: &Path,
    listen: SocketAddr,
    engine: Engine,
    servers: &str,
    closing: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let builder = AggregateStore::builder(directory)
        .process_manager::<ReservationSaga>()
        .node(name)
        .advertise(format!("http://{listen}"));
    let store = engine.replicated(builder, servers).open().await?;
    let routes = Router::new()
        .route("/orders/{id}", post(place))
        .route("/totals", get(totals))
        .route("/role", get(role))
        .with_state(store.clone());
    println!("serving");
    tokio::select! {
        served = axum::serve(listener, routes).into_future() => served?,
        () = closing => {}
    }
    store.close().await?;
    Ok(())
}

/// Every node places orders. With NATS, the store of a follower sends the command to the leader.
async fn place(
    State(store): State<AggregateStore>,
    extract::Path(id): extract::Path<String>,
    headers: HeaderMap,
    Json(NewOrder { sku, qty }): Json<NewOrder>,
) -> Response {
    let Some(key) = headers
        .get(IDEMPOTENCY_KEY)
        .and_then(|key| key.to_str().ok())
    else {
        return (StatusCode::BAD_REQUEST, "an idempotency key is missing").into_response();
    };
    let context = CommandContext::default().with_idempotency_key(key);
    let command = OrderCommand::Place { sku, qty };
    match store.send(&id, command, context).await {
        Ok(executed) => Json(executed.version).into_response(),
        Err(ExecuteError::Domain(error)) => {
            (StatusCode::CONFLICT, error.to_string()).into_response()
        }
        // PostgreSQL passes no commands between nodes. The client follows the redirect.
        Err(ExecuteError::NotLeader {
            leader: Some(leader),
        }) => {
            let address = leader.address.unwrap_or_default();
            Redirect::temporary(&format!("{address}/orders/{id}")).into_response()
        }
        // Nothing was stored, or the client repeats the command with the same key.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// Every node reads from its own files.
async fn totals(State(store): State<AggregateStore>) -> Response {
    match sums(&store).await {
        Ok(totals) => Json(totals).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn sums(store: &AggregateStore) -> Result<Totals, eventfold_es::Error> {
    let mut totals = Totals::default();
    for id in store.list::<Order>().await? {
        let order = store.get::<Order>(&id).await?.state().await?;
        totals.placed += u32::from(order.is_placed);
        totals.confirmed += order.confirmations;
    }
    for sku in store.list::<Inventory>().await? {
        totals.reserved += store.get::<Inventory>(&sku).await?.state().await?.reserved;
    }
    Ok(totals)
}

async fn role(State(store): State<AggregateStore>) -> Response {
    Json(store.role().borrow().clone()).into_response()
}
