//! Signed webhooks with axum: the program of the guide's page "Receiving webhooks".
//!
//! ```text
//! cargo run -p eventfold-es-services --example webhooks
//! ```
//!
//! A provider sends each webhook several times: one after the other, at the same time, and again after a restart. Some are
//! forged. The example checks that each payment is recorded once.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod invoice;
mod webhook;

use std::error::Error;
use std::path::Path;

use eventfold_es::prelude::*;
use invoice::{Invoice, InvoiceCommand};
use reqwest::StatusCode;
use webhook::{SIGNATURE, Webhook, Webhooks};

const SECRET: &[u8] = b"of the provider and the shop";
const EXPECTED: &str = "\
the first time: 200 OK, version 2
again: 200 OK, version 2
eight at the same time: 8 answers 200 OK
after a restart: 200 OK, version 2
with a wrong signature: 401 Unauthorized
without a signature: 401 Unauthorized
another amount under the same id: 409 Conflict
without an id: 400 Bad Request
while the store is closed: 503 Service Unavailable
inv-1: 1000 of 1000 cents
inv-2: 500 of 0 cents
";

/// A shop with its store and its web server, on a free port.
struct Shop {
    store: AggregateStore,
    url: String,
}

impl Shop {
    async fn open(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let store = AggregateStore::open(directory).await?;
        let webhooks = Webhooks {
            store: store.clone(),
            secret: SECRET.to_owned(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/webhooks/payments", listener.local_addr()?);
        tokio::spawn(axum::serve(listener, webhook::routes(webhooks)).into_future());
        Ok(Self { store, url })
    }

    async fn invoice(&self, id: &str) -> Result<Invoice, Box<dyn Error>> {
        Ok(self.store.get::<Invoice>(id).await?.state().await?)
    }
}

fn webhook(id: &str, invoice: &str, cents: u64) -> Webhook {
    let (id, invoice) = (id.to_owned(), invoice.to_owned());
    Webhook { id, invoice, cents }
}

/// The provider sends a webhook.
async fn deliver(url: &str, webhook: &Webhook) -> Result<(StatusCode, String), Box<dyn Error>> {
    let body = serde_json::to_vec(webhook)?;
    let signature = webhook::signature(SECRET, &body).ok_or("the secret is no key")?;
    let request = reqwest::Client::new()
        .post(url)
        .header(SIGNATURE, signature);
    let response = request.body(body).send().await?;
    Ok((response.status(), response.text().await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut report = String::new();
    let shop = Shop::open(directory.path()).await?;
    let issue = InvoiceCommand::Issue { cents: 1000 };
    shop.store.send("inv-1", issue, ()).await?;

    let paid = webhook("wh-1", "inv-1", 1000);
    for time in ["the first time", "again"] {
        let (status, answer) = deliver(&shop.url, &paid).await?;
        report += &format!("{time}: {status}, {answer}\n");
    }
    // No invoice has this payment. It is recorded all the same.
    let unknown = webhook("wh-2", "inv-2", 500);
    let eight = (0..8).map(|_| {
        let (url, unknown) = (shop.url.clone(), unknown.clone());
        tokio::spawn(async move {
            deliver(&url, &unknown)
                .await
                .map_err(|error| error.to_string())
        })
    });
    let mut answers = 0;
    for delivered in eight.collect::<Vec<_>>() {
        let (status, _) = delivered.await??;
        answers += usize::from(status == StatusCode::OK);
    }
    report += &format!("eight at the same time: {answers} answers 200 OK\n");

    shop.store.close().await?;
    let shop = Shop::open(directory.path()).await?;
    let (status, answer) = deliver(&shop.url, &paid).await?;
    report += &format!("after a restart: {status}, {answer}\n");

    let forged = serde_json::to_vec(&webhook("wh-3", "inv-1", 9_999))?;
    for (name, signature) in [
        (
            "with a wrong signature",
            webhook::signature(b"guessed", &forged),
        ),
        ("without a signature", None),
    ] {
        let mut request = reqwest::Client::new().post(&shop.url);
        if let Some(signature) = signature {
            request = request.header(SIGNATURE, signature);
        }
        let response = request.body(forged.clone()).send().await?;
        report += &format!("{name}: {}\n", response.status());
    }
    let (status, _) = deliver(&shop.url, &webhook("wh-1", "inv-1", 2000)).await?;
    report += &format!("another amount under the same id: {status}\n");
    let (status, _) = deliver(&shop.url, &webhook("", "inv-1", 1)).await?;
    report += &format!("without an id: {status}\n");

    let invoices = [
        ("inv-1", shop.invoice("inv-1").await?),
        ("inv-2", shop.invoice("inv-2").await?),
    ];
    shop.store.close().await?;
    let (status, _) = deliver(&shop.url, &webhook("wh-4", "inv-1", 1)).await?;
    report += &format!("while the store is closed: {status}\n");
    for (id, Invoice { due, paid }) in invoices {
        report += &format!("{id}: {paid} of {due} cents\n");
    }
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
