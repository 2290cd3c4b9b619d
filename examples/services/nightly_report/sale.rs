//! Sales, which the report counts.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sell {
    pub cents: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum SaleEvent {
    Sold { cents: u64 },
}

#[aggregate(command = Sell, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sale;

impl Decider for Sale {
    fn decide(&self, Sell { cents }: Sell) -> Result<Vec<SaleEvent>, Infallible> {
        Ok(vec![SaleEvent::Sold { cents }])
    }

    fn evolve(&mut self, _event: &SaleEvent) {}
}
