use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OldCommand {}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OldEvent {}

#[aggregate(name = "old-order", command = OldCommand, event = OldEvent, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OldOrder;

impl Decider for OldOrder {
    fn decide(&self, command: OldCommand) -> Result<Vec<OldEvent>, Infallible> {
        match command {}
    }

    fn evolve(&mut self, _event: &OldEvent) {}
}

#[event_store(aggregates = [Order, OldOrder])]
struct Shop;

fn main() {
    let _ = Shop::builder("shop");
}
