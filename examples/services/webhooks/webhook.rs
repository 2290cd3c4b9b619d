//! The route that receives webhooks.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use eventfold_es::StoreError;
use eventfold_es::prelude::*;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::invoice::InvoiceCommand;

/// The HMAC-SHA256 of the body under the shared secret, in hexadecimal.
pub const SIGNATURE: &str = "Webhook-Signature";

pub struct Webhooks {
    pub store: AggregateStore,
    pub secret: Vec<u8>,
}

/// The provider repeats a webhook with the same id until an answer is 200.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Webhook {
    pub id: String,
    pub invoice: String,
    pub cents: u64,
}

pub fn routes(webhooks: Webhooks) -> Router {
    Router::new()
        .route("/webhooks/payments", post(receive))
        .with_state(Arc::new(webhooks))
}

async fn receive(
    State(webhooks): State<Arc<Webhooks>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    if !is_signed(&webhooks.secret, &headers, &body) {
        return (StatusCode::UNAUTHORIZED, "wrong signature".to_owned());
    }
    let webhook: Webhook = match serde_json::from_slice(&body) {
        Ok(webhook) => webhook,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()),
    };
    let Webhook { id, invoice, cents } = webhook;
    // The command is executed at most once: a repeated webhook has the answer of the first.
    let context = CommandContext::default().with_idempotency_key(id);
    let noted = webhooks
        .store
        .send(&invoice, InvoiceCommand::NotePayment { cents }, context)
        .await;
    match noted {
        Ok(executed) => (StatusCode::OK, format!("version {}", executed.version)),
        Err(ExecuteError::Domain(never)) => match never {},
        // The provider has sent another payment under this id. A person has to look at it.
        Err(error @ ExecuteError::KeyReused { .. }) => (StatusCode::CONFLICT, error.to_string()),
        Err(ExecuteError::Store(
            error @ (StoreError::InvalidId { .. } | StoreError::InvalidIdempotencyKey { .. }),
        )) => (StatusCode::BAD_REQUEST, error.to_string()),
        // The provider tries again later.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// Compares in constant time.
fn is_signed(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let signature = headers.get(SIGNATURE).and_then(|hex| hex.to_str().ok());
    let signature = signature.and_then(from_hex).unwrap_or_default();
    hmac(secret, body).is_some_and(|hmac| hmac.verify_slice(&signature).is_ok())
}

/// `None` for a secret that HMAC does not take; it takes every length.
fn hmac(secret: &[u8], body: &[u8]) -> Option<Hmac<Sha256>> {
    let hmac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    Some(hmac.chain_update(body))
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    let bytes = digits.map(|pair| match pair {
        [b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f'] => {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        }
        _ => None,
    });
    bytes.collect()
}

/// The signature of a body, as the provider makes it.
pub fn signature(secret: &[u8], body: &[u8]) -> Option<String> {
    let bytes = hmac(secret, body)?.finalize().into_bytes();
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
