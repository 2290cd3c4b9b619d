//! The loop that asks the supplier for changes.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{StateError, StoreError, TransactionError};

use super::catalog::{AlreadyKnown, Feed, FeedCommand, ProductCommand};

/// The id of the feed of this supplier.
pub const FEED: &str = "prices";
/// The largest number of changes in one request, and in one commit.
const PAGE: usize = 20;
/// The longest time of a request. Without it, a silent supplier would end the polling.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// From 1, without gaps.
    pub number: u64,
    pub product: String,
    pub cents: u64,
}

#[derive(Clone)]
pub struct Poller {
    pub store: AggregateStore,
    pub client: reqwest::Client,
    /// For example, `https://supplier.example`.
    pub supplier: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("the supplier does not answer: {0}")]
    Supplier(#[from] reqwest::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

impl Poller {
    /// Records the next page of changes, and returns their number.
    pub async fn poll(&self) -> Result<usize, PollError> {
        let feed = self.store.get::<Feed>(FEED).await?;
        let from = feed.state().await?.cursor;
        let url = format!("{}/changes?after={from}&limit={PAGE}", self.supplier);
        let request = self.client.get(url).timeout(PATIENCE);
        let response = request.send().await?;
        let changes: Vec<Change> = response.error_for_status()?.json().await?;
        let Some(to) = changes.last().map(|change| change.number) else {
            return Ok(0);
        };
        // One commit: the cursor never knows a change that is not recorded, nor the other way round.
        let advance = FeedCommand::Advance { from, to };
        let mut transaction = self.store.transaction(()).send(FEED, advance);
        for Change { product, cents, .. } in &changes {
            let cents = *cents;
            transaction = transaction.send(product, ProductCommand::NotePrice { cents });
        }
        match transaction.commit().await {
            Ok(_) => Ok(changes.len()),
            // Another poller has recorded this page meanwhile.
            Err(error) if error.downcast_ref::<AlreadyKnown>().is_some() => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Polls until the task ends. After an empty page or an error it waits.
    pub async fn run(self, pause: Duration) {
        loop {
            match self.poll().await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => eprintln!("polling {}: {error}", self.supplier),
            }
            tokio::time::sleep(pause).await;
        }
    }
}
