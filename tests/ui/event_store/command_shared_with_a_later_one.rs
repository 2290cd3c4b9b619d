use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Draft;

impl Aggregate for Draft {
    const AGGREGATE_TYPE: &'static str = "draft";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = Infallible;

    fn handle(&self, _command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
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
