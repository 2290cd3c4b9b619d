use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Draft;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum DraftCommand {}

impl Aggregate for Draft {
    const AGGREGATE_TYPE: &'static str = "draft";
    type Command = DraftCommand;
    type DomainEvent = OrderEvent;
    type Error = Infallible;

    fn handle(&self, _command: DraftCommand) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(Vec::new())
    }

    fn apply(self, _event: &OrderEvent) -> Self {
        self
    }
}

#[event_store(aggregates = [Draft, Order])]
struct Shop;

fn main() {
    let _ = Shop::builder("shop");
}
