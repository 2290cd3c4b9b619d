//! Products with prices, and the place up to which the supplier's changes are known.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FeedCommand {
    /// The changes after `from`, up to `to`, are recorded in the same transaction.
    Advance { from: u64, to: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum FeedEvent {
    Advanced { to: u64 },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the changes after {from} are known up to {cursor}")]
pub struct AlreadyKnown {
    from: u64,
    cursor: u64,
}

/// The changes of the supplier are numbered. Those up to the cursor are recorded.
#[aggregate(error = AlreadyKnown)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    pub cursor: u64,
}

impl Decider for Feed {
    fn decide(&self, command: FeedCommand) -> Result<Vec<FeedEvent>, AlreadyKnown> {
        let FeedCommand::Advance { from, to } = command;
        match self.cursor {
            cursor if cursor == from => Ok(vec![FeedEvent::Advanced { to }]),
            cursor => Err(AlreadyKnown { from, cursor }),
        }
    }

    fn evolve(&mut self, event: &FeedEvent) {
        let FeedEvent::Advanced { to } = event;
        self.cursor = *to;
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ProductCommand {
    NotePrice { cents: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ProductEvent {
    PriceNoted { cents: u64 },
}

/// The price of a product, and the number of changes that led to it.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Product {
    pub cents: u64,
    pub changes: u64,
}

impl Decider for Product {
    fn decide(&self, command: ProductCommand) -> Result<Vec<ProductEvent>, Infallible> {
        let ProductCommand::NotePrice { cents } = command;
        Ok(vec![ProductEvent::PriceNoted { cents }])
    }

    fn evolve(&mut self, event: &ProductEvent) {
        let ProductEvent::PriceNoted { cents } = event;
        self.cents = *cents;
        self.changes += 1;
    }
}
