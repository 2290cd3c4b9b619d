//! A product of a catalog.

use std::convert::Infallible;
use std::fmt;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ProductCommand {
    Rename(String),
    SetPrice(u64),
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ProductEvent {
    Renamed(String),
    PriceSet(u64),
}

/// A product, with its price in cents.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Product {
    name: Option<String>,
    cents: u64,
}

impl Decider for Product {
    fn decide(&self, command: ProductCommand) -> Result<Vec<ProductEvent>, Infallible> {
        Ok(vec![match command {
            ProductCommand::Rename(name) => ProductEvent::Renamed(name),
            ProductCommand::SetPrice(cents) => ProductEvent::PriceSet(cents),
        }])
    }

    fn evolve(&mut self, event: &ProductEvent) {
        match event {
            ProductEvent::Renamed(name) => self.name = Some(name.clone()),
            ProductEvent::PriceSet(cents) => self.cents = *cents,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}, {}", Euros(self.cents)),
            None => write!(f, "no product"),
        }
    }
}

impl fmt::Display for ProductEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renamed(name) => write!(f, "the name is {name}"),
            Self::PriceSet(cents) => write!(f, "the price is {}", Euros(*cents)),
        }
    }
}

struct Euros(u64);

impl fmt::Display for Euros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02} EUR", self.0 / 100, self.0 % 100)
    }
}
