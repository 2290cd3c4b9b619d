use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

mod legacy {
    use std::convert::Infallible;

    use eventfold_es::prelude::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum OrderCommand {}

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum OldEvent {}

    #[aggregate(name = "old-order", command = OrderCommand, event = OldEvent, error = Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct OldOrder;

    impl Decider for OldOrder {
        fn decide(&self, command: OrderCommand) -> Result<Vec<OldEvent>, Infallible> {
            match command {}
        }

        fn evolve(&mut self, _event: &OldEvent) {}
    }
}

use legacy::{OldEvent, OldOrder};

#[projection(subscribes = [Order, OldOrder])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales;

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

impl Project<OldOrder> for Sales {
    fn project(&mut self, _event: &OldEvent, _cx: &EventContext<'_>) {}
}

fn main() {}
